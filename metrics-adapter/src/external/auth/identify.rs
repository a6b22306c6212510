//! Who asks, as far as certificates and headers tell.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName};
use percent_encoding::percent_decode_str;

use super::trust::{FrontProxy, Proxying, Standing, Trust};
use super::user::User;

/// What they tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Identity<'a> {
    /// Who it is.
    User(User),
    /// A token, of which somebody else knows whose it is.
    Token(&'a str),
    /// Something was shown that is not good, and nothing that is. The text says what.
    Refused(Cow<'static, str>),
    /// Nothing was shown.
    Anonymous,
}

/// The first that is good counts: what the front proxy says, the peer's own certificate, a token.
pub(super) fn identify<'a>(trust: &Trust, standing: &Standing, headers: &'a HeaderMap) -> Identity<'a> {
    let mut refused = None;
    match (&standing.proxy, &trust.proxy) {
        (Proxying::Yes, Some(proxy)) => match named(proxy, headers) {
            Ok(Some(user)) => return Identity::User(user.proven()),
            Ok(None) => {}
            // A front proxy that contradicts itself was made to: nothing else that it passes on is believed either.
            Err(text) => return Identity::Refused(text.into()),
        },
        (Proxying::WrongName(text), _) => refused = Some(Cow::Owned(text.clone())),
        _ => {}
    }
    if let Some(user) = &standing.own {
        return Identity::User(user.clone().proven());
    }
    match (bearer(headers), refused) {
        (Ok(Some(token)), _) => Identity::Token(token),
        (Err(text), _) => Identity::Refused(text.into()),
        (Ok(None), Some(text)) => Identity::Refused(text),
        (Ok(None), None) => Identity::Anonymous,
    }
}

/// Takes out what told who asks: nobody behind may read it again.
pub(super) fn strip(trust: &Trust, headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    let Some(proxy) = &trust.proxy else { return };
    for name in proxy.user.iter().chain(&proxy.uid).chain(&proxy.groups) {
        headers.remove(name);
    }
    let is_extra = |name: &&HeaderName| proxy.extra.iter().any(|prefix| name.as_str().starts_with(prefix));
    let extra: Vec<HeaderName> = headers.keys().filter(is_extra).cloned().collect();
    for name in extra {
        headers.remove(name);
    }
}

/// The user whom a front proxy names; none if it names none. Names of headers are the same in upper and lower case.
fn named(proxy: &FrontProxy, headers: &HeaderMap) -> Result<Option<User>, &'static str> {
    let Some(name) = one(headers, &proxy.user)? else { return Ok(None) };
    let uid = one(headers, &proxy.uid)?;
    let groups =
        proxy.groups.iter().flat_map(|name| headers.get_all(name)).map(|value| text(value.as_bytes()));
    let groups = groups.filter(|group| *group != Ok("")).map(|group| group.map(str::to_owned));
    let groups = groups.collect::<Result<_, _>>()?;
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        // The longest prefix, should one be the beginning of another.
        let keys = proxy.extra.iter().filter_map(|prefix| name.as_str().strip_prefix(&**prefix));
        if let Some(key) = keys.min_by_key(|key| key.len()) {
            extra.entry(decoded(key)?).or_default().push(text(value.as_bytes())?.to_owned());
        }
    }
    Ok(Some(User { name: name.to_owned(), uid: uid.map(str::to_owned), groups, extra }))
}

/// The value of the first header that is there and not empty.
fn one<'a>(headers: &'a HeaderMap, names: &[HeaderName]) -> Result<Option<&'a str>, &'static str> {
    for name in names {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            return Err("the front proxy names two users, or one twice");
        }
        match text(value.as_bytes())? {
            "" => {}
            text => return Ok(Some(text)),
        }
    }
    Ok(None)
}

fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    str::from_utf8(bytes).map_err(|_| "what the front proxy says of the user is not UTF-8")
}

/// A key of `extra`, percent-decoded. One that is not well encoded stays as it is, as everywhere in Kubernetes.
fn decoded(key: &str) -> Result<String, &'static str> {
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = key.as_bytes();
    let encoded = |at: usize| hex(bytes.get(at + 1)) && hex(bytes.get(at + 2));
    if !bytes.iter().enumerate().all(|(at, byte)| *byte != b'%' || encoded(at)) {
        return Ok(key.to_owned());
    }
    let decoded = percent_decode_str(key).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| "what the front proxy says of the user is not UTF-8")
}

/// The bearer's token; none if there is none, or another way of authorization.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("there are two Authorization headers");
    }
    let Some((scheme, token)) = value.to_str().ok().and_then(|value| value.trim().split_once(' ')) else {
        return Ok(None);
    };
    let token = token.trim();
    Ok((scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::super::testing::{Ca, configuration};
    use super::*;

    fn trust() -> Trust {
        let ca = Ca::new("ca").pem;
        Trust::read(configuration(&ca, &ca), None).0
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn proxy() -> Standing {
        Standing { proxy: Proxying::Yes, own: None }
    }

    fn wrong() -> Standing {
        Standing { proxy: Proxying::WrongName("wrong".to_owned()), own: None }
    }

    fn own() -> Standing {
        let user = User { name: "own".to_owned(), ..User::default() };
        Standing { proxy: Proxying::No, own: Some(user) }
    }

    #[test]
    fn the_front_proxy_names_user_uid_groups_and_more() {
        let headers = headers(&[
            ("X-Remote-User", "jané"),
            ("x-remote-uid", "7"),
            ("X-REMOTE-GROUP", "dev"),
            ("X-Remote-Group", ""),
            ("X-Remote-Group", "a, b"),
            ("X-Remote-Extra-Scopes", "read"),
            ("X-Remote-Extra-Scopes", "write"),
            ("X-Remote-Extra-Acme.COM%2fProject%3A", "p"),
            ("X-Remote-Extra-50%", "odd"),
        ]);
        let Identity::User(user) = identify(&trust(), &proxy(), &headers) else { panic!() };
        assert_eq!((&*user.name, user.uid.as_deref()), ("jané", Some("7")));
        assert_eq!(user.groups, ["dev", "a, b", "system:authenticated"]);
        let extra: Vec<_> = user.extra.iter().map(|(key, values)| (&**key, values.len())).collect();
        assert_eq!(extra, [("50%", 1), ("acme.com/project:", 1), ("scopes", 2)]);
    }

    #[test]
    fn nobody_else_names_anybody() {
        let headers = headers(&[("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters")]);
        assert_eq!(identify(&trust(), &Standing::default(), &headers), Identity::Anonymous);
        assert_eq!(identify(&trust(), &wrong(), &headers), Identity::Refused("wrong".into()));
        let Identity::User(user) = identify(&trust(), &own(), &headers) else { panic!() };
        assert_eq!((&*user.name, user.groups), ("own", vec!["system:authenticated".to_owned()]));
    }

    #[test]
    fn two_users_are_none_in_whatever_case_they_are_written() {
        for second in ["X-Remote-User", "x-remote-user", "X-REMOTE-USER"] {
            let headers = headers(&[("X-Remote-User", "a"), (second, "b"), ("Authorization", "Bearer t")]);
            assert!(matches!(identify(&trust(), &proxy(), &headers), Identity::Refused(_)), "{second}");
        }
        let mut headers = headers(&[]);
        headers.insert("x-remote-user", HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(matches!(identify(&trust(), &proxy(), &headers), Identity::Refused(_)));
    }

    #[test]
    fn a_front_proxy_that_names_nobody_is_asked_for_itself() {
        for none in [headers(&[]), headers(&[("X-Remote-User", ""), ("X-Remote-Group", "system:masters")])] {
            assert_eq!(identify(&trust(), &proxy(), &none), Identity::Anonymous);
        }
    }

    #[test]
    fn a_token_counts_if_no_certificate_does() {
        let token = headers(&[("Authorization", "bearer  abc ")]);
        assert_eq!(identify(&trust(), &Standing::default(), &token), Identity::Token("abc"));
        assert_eq!(identify(&trust(), &wrong(), &token), Identity::Token("abc"));
        assert!(matches!(identify(&trust(), &own(), &token), Identity::User(_)));
        for other in ["Basic abc", "Bearer", "Bearer ", "", "bearerabc"] {
            let headers = headers(&[("Authorization", other)]);
            assert_eq!(identify(&trust(), &Standing::default(), &headers), Identity::Anonymous, "{other}");
        }
        let two = headers(&[("Authorization", "Bearer a"), ("Authorization", "Bearer b")]);
        assert!(matches!(identify(&trust(), &Standing::default(), &two), Identity::Refused(_)));
    }

    #[test]
    fn what_told_who_asks_is_taken_out() {
        let mut headers = headers(&[
            ("X-Remote-User", "a"),
            ("X-Remote-Uid", "1"),
            ("X-Remote-Group", "g"),
            ("X-Remote-Extra-Scopes", "s"),
            ("Authorization", "Bearer t"),
            ("Accept", "*/*"),
        ]);
        strip(&trust(), &mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
