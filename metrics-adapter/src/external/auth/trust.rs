//! What the cluster says about whom to believe.
//!
//! The API server writes it into a ConfigMap: which authority signs the certificates of the front proxy and in which
//! headers that one names users, and which authority signs the certificates of users themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::HeaderName;
use plimsoll::units::Time;
use rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;
use x509_parser::x509::AttributeTypeAndValue;

use super::authorities::{Authorities, AuthoritiesError};
use super::user::User;

const CLIENT_CA: &str = "client-ca-file";
const PROXY_CA: &str = "requestheader-client-ca-file";
const ALLOWED_NAMES: &str = "requestheader-allowed-names";
const USER_HEADERS: &str = "requestheader-username-headers";
const UID_HEADERS: &str = "requestheader-uid-headers";
const GROUP_HEADERS: &str = "requestheader-group-headers";
const EXTRA_PREFIXES: &str = "requestheader-extra-headers-prefix";

/// Why a part of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A bundle of authorities.
    #[error("{key}: {source}")]
    Authorities {
        /// The ConfigMap's key.
        key: &'static str,
        /// What is wrong with it.
        source: AuthoritiesError,
    },
    /// A list.
    #[error("{0} must be a JSON array of texts")]
    List(&'static str),
    /// A list of headers.
    #[error("{key}: {name:?} is no name of a header")]
    Header {
        /// The ConfigMap's key.
        key: &'static str,
        /// What stands there.
        name: String,
    },
}

/// Whom to believe about what.
#[derive(Debug)]
pub struct Trust {
    /// What it was read from.
    data: BTreeMap<String, String>,
    clients: Option<Arc<Authorities>>,
    pub(super) proxy: Option<Arc<FrontProxy>>,
}

/// The front proxy: who may name others, and where.
#[derive(Debug)]
pub(super) struct FrontProxy {
    authorities: Authorities,
    /// Common names; any if there are none.
    allowed: Vec<String>,
    /// The first that is there counts.
    pub(super) user: Vec<HeaderName>,
    /// The first that is there counts.
    pub(super) uid: Vec<HeaderName>,
    /// All count.
    pub(super) groups: Vec<HeaderName>,
    /// In lower case, as the names of headers are. None is empty.
    pub(super) extra: Vec<String>,
}

/// What a peer's certificates are worth.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// As a front proxy.
    pub(super) proxy: Proxying,
    /// As a user's own.
    pub(super) own: Option<User>,
}

/// Whether a peer may name others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Proxying {
    /// It is nobody's front proxy.
    #[default]
    No,
    /// It has a certificate of the right authority, with a name that may not. The text says so.
    WrongName(String),
    /// It may.
    Yes,
}

impl Trust {
    /// Reads the ConfigMap's data. A part that cannot be used stays as it was `before`, or is left out, and is told of; a
    /// part that is not there is switched off.
    pub fn read(data: BTreeMap<String, String>, before: Option<&Self>) -> (Self, Vec<TrustError>) {
        let (clients, broken_clients) = match authorities(&data, CLIENT_CA) {
            Ok(clients) => (clients.map(Arc::new), None),
            Err(error) => (before.and_then(|before| before.clients.clone()), Some(error)),
        };
        let (proxy, broken_proxy) = match FrontProxy::read(&data) {
            Ok(proxy) => (proxy.map(Arc::new), None),
            Err(error) => (before.and_then(|before| before.proxy.clone()), Some(error)),
        };
        (Self { data, clients, proxy }, broken_clients.into_iter().chain(broken_proxy).collect())
    }

    /// What it was read from.
    pub(super) const fn data(&self) -> &BTreeMap<String, String> {
        &self.data
    }

    /// What certificates are worth at a time.
    pub(super) fn standing(&self, chain: &[CertificateDer<'_>], now: Time) -> Standing {
        let Some(subject) = chain.first().and_then(|own| Subject::of(own)) else {
            return Standing::default();
        };
        let vouched = |authorities: &Authorities| authorities.vouch_for(chain, now);
        let proxy = match &self.proxy {
            Some(proxy) if vouched(&proxy.authorities) => proxy.judge(&subject),
            _ => Proxying::No,
        };
        let own = self.clients.as_ref().filter(|clients| vouched(clients)).and_then(|_| subject.into_user());
        Standing { proxy, own }
    }
}

impl FrontProxy {
    fn read(data: &BTreeMap<String, String>) -> Result<Option<Self>, TrustError> {
        let Some(authorities) = authorities(data, PROXY_CA)? else { return Ok(None) };
        let headers = |key| {
            let header = |name: String| {
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| TrustError::Header { key, name })
            };
            list(data, key)?.into_iter().map(header).collect::<Result<Vec<_>, _>>()
        };
        Ok(Some(Self {
            authorities,
            allowed: list(data, ALLOWED_NAMES)?,
            user: headers(USER_HEADERS)?,
            uid: headers(UID_HEADERS)?,
            groups: headers(GROUP_HEADERS)?,
            // A prefix by itself must be a name that a header can have; an empty one would take them all.
            extra: headers(EXTRA_PREFIXES)?.into_iter().map(|name| name.as_str().to_owned()).collect(),
        }))
    }

    fn judge(&self, subject: &Subject) -> Proxying {
        let name = subject.name();
        if self.allowed.is_empty() || name.is_some_and(|name| self.allowed.iter().any(|one| one == name)) {
            Proxying::Yes
        } else {
            let name = name.unwrap_or_default();
            Proxying::WrongName(format!("the client certificate's common name {name:?} may not name users"))
        }
    }
}

/// The bundle under a key; none if the key is not there or has nothing.
fn authorities(
    data: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Option<Authorities>, TrustError> {
    let text = data.get(key).filter(|text| !text.trim().is_empty());
    text.map(|text| Authorities::from_pem(text).map_err(|source| TrustError::Authorities { key, source }))
        .transpose()
}

/// The texts under a key; none if the key is not there.
fn list(data: &BTreeMap<String, String>, key: &'static str) -> Result<Vec<String>, TrustError> {
    let text = data.get(key).map_or("", |text| text.trim());
    if text.is_empty() {
        return Ok(vec![]);
    }
    let list: Option<Vec<String>> = serde_json::from_str(text).map_err(|_| TrustError::List(key))?;
    Ok(list.unwrap_or_default())
}

/// Whose certificate it is.
struct Subject {
    common_names: Vec<String>,
    organizations: Vec<String>,
}

impl Subject {
    /// None if the certificate cannot be read.
    fn of(certificate: &[u8]) -> Option<Self> {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        let text = |value: &AttributeTypeAndValue<'_>| value.as_str().ok().map(str::to_owned);
        let subject = parsed.subject();
        Some(Self {
            common_names: subject.iter_common_name().map(text).collect::<Option<_>>()?,
            organizations: subject.iter_organization().map(text).collect::<Option<_>>()?,
        })
    }

    /// The common name. One with several has none: readers differ in which they take.
    fn name(&self) -> Option<&str> {
        if let [name] = &*self.common_names { Some(name) } else { None }
    }

    /// The user of that name in the groups that the organizations are.
    fn into_user(self) -> Option<User> {
        let name = self.name().filter(|name| !name.is_empty())?.to_owned();
        Some(User { name, groups: self.organizations, ..User::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Ca, NOW, PROXY, client, configuration};
    use super::*;

    fn edit(data: &BTreeMap<String, String>, key: &str, value: &str) -> BTreeMap<String, String> {
        let mut data = data.clone();
        data.insert(key.to_owned(), value.to_owned());
        data
    }

    #[test]
    fn a_certificate_is_worth_what_its_authority_is_for() {
        let (proxies, clients) = (Ca::new("front-proxy"), Ca::new("kubernetes"));
        let (trust, faults) = Trust::read(configuration(&proxies.pem, &clients.pem), None);
        assert!(faults.is_empty());
        let standing = trust.standing(&proxies.issue(client(PROXY, &["system:masters"])).0, NOW);
        assert_eq!((standing.proxy, standing.own), (Proxying::Yes, None));
        let standing = trust.standing(&clients.issue(client(PROXY, &["dev"])).0, NOW);
        let own = standing.own.unwrap();
        assert_eq!((standing.proxy, &*own.name), (Proxying::No, PROXY));
        assert_eq!(own.groups, ["dev"]);
    }

    #[test]
    fn only_the_names_that_are_allowed_may_name_users() {
        let (proxies, clients) = (Ca::new("front-proxy"), Ca::new("kubernetes"));
        let data = configuration(&proxies.pem, &clients.pem);
        let (other, _) = proxies.issue(client("other", &[]));
        let of =
            |data: &BTreeMap<String, String>| Trust::read(data.clone(), None).0.standing(&other, NOW).proxy;
        assert!(matches!(of(&data), Proxying::WrongName(text) if text.contains("\"other\"")));
        for any in ["[]", "", "null"] {
            assert_eq!(of(&edit(&data, ALLOWED_NAMES, any)), Proxying::Yes, "{any}");
        }
        assert_eq!(of(&edit(&data, ALLOWED_NAMES, r#"["a","other"]"#)), Proxying::Yes);
    }

    #[test]
    fn a_certificate_with_no_or_several_names_is_nobodys() {
        let (proxies, clients) = (Ca::new("front-proxy"), Ca::new("kubernetes"));
        let (trust, _) = Trust::read(configuration(&proxies.pem, &clients.pem), None);
        assert!(trust.standing(&clients.issue(client("", &["dev"])).0, NOW).own.is_none());
        let subject = Subject { common_names: vec!["a".to_owned(), "b".to_owned()], organizations: vec![] };
        assert!(subject.into_user().is_none());
    }

    #[test]
    fn without_a_front_proxy_nobody_may_name_users() {
        let (proxies, clients) = (Ca::new("front-proxy"), Ca::new("kubernetes"));
        let mut data = configuration(&proxies.pem, &clients.pem);
        let (before, _) = Trust::read(data.clone(), None);
        data.remove(PROXY_CA);
        let (trust, faults) = Trust::read(data.clone(), Some(&before));
        assert!(faults.is_empty());
        assert_eq!(trust.standing(&proxies.issue(client(PROXY, &[])).0, NOW).proxy, Proxying::No);
    }

    #[test]
    fn a_part_that_cannot_be_read_stays_as_it_was() {
        let (proxies, clients) = (Ca::new("front-proxy"), Ca::new("kubernetes"));
        let data = configuration(&proxies.pem, &clients.pem);
        let (before, _) = Trust::read(data.clone(), None);
        let (chain, own) = (proxies.issue(client(PROXY, &[])).0, clients.issue(client("u", &[])).0);
        for (key, value) in [
            (PROXY_CA, "nothing"),
            (ALLOWED_NAMES, "front-proxy-client"),
            (USER_HEADERS, r#"["X Remote"]"#),
            (EXTRA_PREFIXES, r#"[""]"#),
            (CLIENT_CA, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ] {
            let (trust, faults) = Trust::read(edit(&data, key, value), Some(&before));
            assert!(faults.len() == 1 && faults[0].to_string().contains(key), "{faults:?}");
            assert_eq!(trust.standing(&chain, NOW).proxy, Proxying::Yes, "{key}");
            assert!(trust.standing(&own, NOW).own.is_some(), "{key}");
        }
        let (trust, faults) = Trust::read(edit(&data, PROXY_CA, "nothing"), None);
        assert!(faults.len() == 1 && trust.proxy.is_none());
    }
}
