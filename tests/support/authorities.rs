//! Certificate authorities for tests, and the ConfigMap by which a cluster names them.

use std::collections::BTreeMap;

use plimsoll::units::Time;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// 2026-01-31T09:30:00Z, when all that these authorities sign is valid.
pub(crate) const NOW: Time = Time::from_secs(1_769_851_800);

/// The one common name that [`configuration`] lets name users.
pub(crate) const PROXY: &str = "front-proxy-client";

/// An authority with a key of its own.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(crate) pem: String,
}

impl Ca {
    /// One that is valid for long.
    pub(crate) fn new(name: &str) -> Self {
        Self::until(name, 2040)
    }

    /// One that is valid until a year begins.
    pub(crate) fn until(name: &str, year: i32) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate and its key.
    pub(crate) fn issue(
        &self,
        params: CertificateParams,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.into()], key.into())
    }
}

/// A client's certificate: the user `name` in these groups.
pub(crate) fn client(name: &str, groups: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if !name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    if let [group] = groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = date_time_ymd(2039, 1, 1);
    params
}

/// The data of `kube-system/extension-apiserver-authentication`.
pub(crate) fn configuration(proxy_ca: &str, client_ca: &str) -> BTreeMap<String, String> {
    let allowed = format!("[{PROXY:?}]");
    [
        ("client-ca-file", client_ca),
        ("requestheader-client-ca-file", proxy_ca),
        ("requestheader-allowed-names", &allowed),
        ("requestheader-username-headers", r#"["X-Remote-User"]"#),
        ("requestheader-uid-headers", r#"["X-Remote-Uid"]"#),
        ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
        ("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}
