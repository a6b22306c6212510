//! Which of the formats that are served a client accepts.
//!
//! Everything is JSON. Kubernetes' clients ask for protobuf first and take JSON as second best, `kubectl get` asks for
//! a table first; both list plain JSON behind it.

use hyper::header::{ACCEPT, HeaderMap};

use super::status::{Reason, Status};

/// What an answer can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Plain JSON.
    Json,
    /// All groups and resources in one object, `apidiscovery.k8s.io/v2`: Kubernetes 1.30 and later.
    DiscoveryV2,
    /// The same object as Kubernetes 1.27 to 1.29 knew it.
    DiscoveryV2Beta1,
}

/// The format that the client likes best among those offered: by `q`, then by its own order.
///
/// # Errors
/// 406 if it accepts none of them.
pub(super) fn choose(headers: &HeaderMap, offered: &[Format]) -> Result<Format, Status> {
    let mut blank = true;
    let mut best: Option<(Format, f32)> = None;
    for value in headers.get_all(ACCEPT) {
        for range in String::from_utf8_lossy(value.as_bytes()).split(',').filter(|r| !r.trim().is_empty()) {
            blank = false;
            if let Some((format, q)) = read(range)
                && offered.contains(&format)
                && q > best.map_or(0.0, |(_, q)| q)
            {
                best = Some((format, q));
            }
        }
    }
    match best {
        Some((format, _)) => Ok(format),
        None if blank => Ok(Format::Json),
        None => Err(Status::new(
            Reason::NotAcceptable,
            "only the following media types are accepted: application/json; put it, or */*, into Accept",
        )),
    }
}

/// What one media range stands for, and its `q`. Parameters that ask for nothing that is known here are passed over.
fn read(range: &str) -> Option<(Format, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next()?;
    if !["*/*", "application/*", "application/json"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(media_type))
    {
        return None;
    }
    let (mut q, mut object, mut group, mut version) = (1.0, None, None, None);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name.trim() {
            "q" => q = value.trim().parse().unwrap_or(0.0),
            "as" => object = Some(value.trim()),
            "g" => group = Some(value.trim()),
            "v" => version = Some(value.trim()),
            _ => {}
        }
    }
    let format = match (object, group, version) {
        (None, ..) => Format::Json,
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => Format::DiscoveryV2,
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
            Format::DiscoveryV2Beta1
        }
        _ => return None,
    };
    Some((format, q))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Format; 3] = [Format::Json, Format::DiscoveryV2, Format::DiscoveryV2Beta1];
    const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

    fn chosen(accept: &str, offered: &[Format]) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        choose(&headers, offered).ok()
    }

    #[test]
    fn json_is_what_every_client_of_kubernetes_ends_up_with() {
        assert_eq!(choose(&HeaderMap::new(), &[Format::Json]), Ok(Format::Json));
        for accept in [
            "",
            "*/*",
            "application/*",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/vnd.kubernetes.protobuf, */*",
            "application/vnd.kubernetes.protobuf,application/json",
            &format!("{TABLE},application/json"),
        ] {
            assert_eq!(chosen(accept, &[Format::Json]), Some(Format::Json), "{accept:?}");
        }
    }

    #[test]
    fn who_accepts_no_json_gets_none() {
        for accept in
            ["application/yaml", "text/html, application/cbor", TABLE, V2, "application/json;q=0", "json"]
        {
            assert_eq!(chosen(accept, &[Format::Json]), None, "{accept:?}");
        }
    }

    #[test]
    fn the_first_of_the_best_liked_is_chosen() {
        for (accept, format) in [
            (format!("{V2},{V2BETA1},application/json"), Format::DiscoveryV2),
            (format!("{V2BETA1},{V2}"), Format::DiscoveryV2Beta1),
            (format!("{V2};q=0.5,{V2BETA1};q=0.9"), Format::DiscoveryV2Beta1),
            (format!("application/json,{V2}"), Format::Json),
            (format!("{V2};profile=nopeer"), Format::DiscoveryV2),
        ] {
            assert_eq!(chosen(&accept, &ALL), Some(format), "{accept}");
        }
    }

    #[test]
    fn the_header_may_be_sent_in_pieces() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, "application/yaml".parse().unwrap());
        headers.append(ACCEPT, V2.parse().unwrap());
        assert_eq!(choose(&headers, &ALL), Ok(Format::DiscoveryV2));
    }
}
