//! The certificate that the server shows, and how it speaks TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plimsoll::units::Time;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

use super::auth::AnyClient;
use super::fingerprint::{Fingerprint, Maker};

/// The file of a certificate directory that holds the chain, as in a Secret of type `kubernetes.io/tls`.
const CHAIN_FILE: &str = "tls.crt";
/// The file that holds the private key.
const KEY_FILE: &str = "tls.key";

/// What is in the first.
const CHAIN: &str = "the server's certificate and those that lead to its CA";
/// What is in the second.
const KEY: &str = "the private key";

/// Names by which a certificate that is made here is good on the machine itself.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Years for which a certificate with an authority of its own is valid: no process lives so long.
const YEARS: i16 = 10;

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read, or holds nothing of what it should.
    #[error("{} must hold {expected} as PEM", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The files are read, but do not make a certificate to serve with.
    #[error("{CHAIN_FILE} and {KEY_FILE} in {} must belong together", dir.display())]
    Pair {
        /// Their directory.
        dir: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// It does not say until when it is valid.
    #[error("the server's certificate cannot be read: it does not tell until when it is valid")]
    Unreadable,
    /// No certificate could be made.
    #[error("no self-made certificate for {names}; give names of hosts, or a directory with {CHAIN_FILE}")]
    SelfMade {
        /// The names that it was to be for.
        names: String,
        /// What went wrong.
        source: rcgen::Error,
    },
    /// The certificate that was made cannot be used.
    #[error("the self-made certificate cannot be used; please report this")]
    Unusable(#[source] rustls::Error),
}

/// A certificate with its private key, ready to serve with HTTP/2 and HTTP/1.1.
#[derive(Debug, Clone)]
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    config: Arc<ServerConfig>,
    expires: jiff::Timestamp,
    ca_pem: Option<String>,
    files: Option<Fingerprint>,
}

/// The two files of a directory, as they are.
pub(super) struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    /// Reads both.
    ///
    /// # Errors
    /// If one cannot be read.
    pub(super) fn read(dir: &Path) -> Result<Self, CertificateError> {
        let read = |file, expected| {
            let path = dir.join(file);
            let cannot = |error: io::Error| CertificateError::File {
                path: path.clone(),
                expected,
                source: pem::Error::Io(error),
            };
            std::fs::read(&path).map_err(cannot)
        };
        Ok(Self { chain: read(CHAIN_FILE, CHAIN)?, key: read(KEY_FILE, KEY)? })
    }

    /// What they are known again by.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Maker::new().bytes(&self.chain).bytes(&self.key).done()
    }
}

impl Certificate {
    /// The chain in `tls.crt` and the key in `tls.key` of a directory, both PEM, the server's own certificate first.
    ///
    /// # Errors
    /// If a file cannot be read or holds something else, or the two do not belong together.
    pub fn read(dir: &Path) -> Result<Self, CertificateError> {
        Self::of(&Files::read(dir)?, dir)
    }

    /// What the files hold that were read from `dir`.
    pub(super) fn of(files: &Files, dir: &Path) -> Result<Self, CertificateError> {
        let fault = |file, expected| {
            let path = dir.join(file);
            move |source| CertificateError::File { path, expected, source }
        };
        let chain = CertificateDer::pem_slice_iter(&files.chain)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(fault(CHAIN_FILE, CHAIN))?;
        let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(fault(KEY_FILE, KEY))?;
        let read = Self::new(chain, key, |source| CertificateError::Pair { dir: dir.to_owned(), source })?;
        Ok(Self { files: Some(files.fingerprint()), ..read })
    }

    /// A certificate that nobody signed, for this machine and for `dns_names`; another one at each call. A client must
    /// be given it, or be told not to verify.
    ///
    /// # Errors
    /// If one of the names cannot stand in a certificate.
    pub fn self_signed(dns_names: &[String]) -> Result<Self, CertificateError> {
        let names: Vec<String> = LOCAL_NAMES.map(String::from).iter().chain(dns_names).cloned().collect();
        let (certificate, key) = sign(names.clone())
            .map_err(|source| CertificateError::SelfMade { names: names.join(", "), source })?;
        Self::new(vec![certificate.into()], key.into(), CertificateError::Unusable)
    }

    /// A certificate that an authority signed which is made for it, for this machine and for `dns_names`; valid for ten
    /// years from `now`. Clients are given [`ca_pem`](Self::ca_pem). The authority's key is forgotten at once, so nobody
    /// can sign another one that they would take.
    ///
    /// # Errors
    /// If one of the names cannot stand in a certificate.
    pub fn with_own_authority(dns_names: &[String], now: Time) -> Result<Self, CertificateError> {
        let names: Vec<String> = LOCAL_NAMES.map(String::from).iter().chain(dns_names).cloned().collect();
        let (certificate, key, ca_pem) = sign_by_own_authority(names.clone(), now)
            .map_err(|source| CertificateError::SelfMade { names: names.join(", "), source })?;
        let made = Self::new(vec![certificate.into()], key.into(), CertificateError::Unusable)?;
        Ok(Self { ca_pem: Some(ca_pem), ..made })
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        unusable: impl Fn(rustls::Error) -> CertificateError,
    ) -> Result<Self, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let any_client = Arc::new(AnyClient::new(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(&unusable)?
            .with_client_cert_verifier(any_client)
            .with_single_cert(chain.clone(), key)
            .map_err(&unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let own = chain.first().and_then(|own| parse_x509_certificate(own).ok());
        let expires = own.map(|(_, own)| own.validity().not_after.timestamp());
        let expires = expires.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        let expires = expires.ok_or(CertificateError::Unreadable)?;
        Ok(Self { chain, config: Arc::new(config), expires, ca_pem: None, files: None })
    }

    /// The certificates that clients are shown, the server's own first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The files that it was read from; none if it was made.
    pub(super) const fn files(&self) -> Option<Fingerprint> {
        self.files
    }

    /// Until when clients take the server's own certificate.
    pub const fn expires(&self) -> jiff::Timestamp {
        self.expires
    }

    /// The certificate of the authority that was made for this one, as PEM: the `caBundle` of an APIService. None for
    /// other certificates.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// What a server serves with. Clients are asked for a certificate and need none.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

fn sign(names: Vec<String>) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "plimsoll-adapter");
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?, key))
}

fn sign_by_own_authority(
    names: Vec<String>,
    now: Time,
) -> Result<(rcgen::Certificate, KeyPair, String), rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "plimsoll-adapter-ca");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let mut own = CertificateParams::new(names)?;
    own.distinguished_name.push(DnType::CommonName, "plimsoll-adapter");
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.use_authority_key_identifier_extension = true;
    // Whole days, one of them past: clocks differ. On the 28th at the latest, a day that every month has.
    let today = jiff::tz::Offset::UTC
        .to_datetime(jiff::Timestamp::from_nanosecond(now.as_nanos().into()).unwrap_or_default())
        .date();
    let yesterday = today.yesterday().unwrap_or(today);
    let day = |date: jiff::civil::Date, years: i16| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs().min(28));
        rcgen::date_time_ymd((date.year() + years).into(), month, day)
    };
    for params in [&mut authority, &mut own] {
        params.not_before = day(yesterday, 0);
        params.not_after = day(yesterday, YEARS);
    }
    let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let ca_pem = authority.self_signed(&authority_key)?.pem();
    let certificate = own.signed_by(&key, &Issuer::new(authority, authority_key))?;
    Ok((certificate, key, ca_pem))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustls::client::danger::ServerCertVerifier as _;

    use super::*;

    fn write(dir: &Path) {
        let (certificate, key) = sign(vec!["adapter.plimsoll.svc".to_owned()]).unwrap();
        fs::write(dir.join(CHAIN_FILE), certificate.pem()).unwrap();
        fs::write(dir.join(KEY_FILE), key.serialize_pem()).unwrap();
    }

    fn refusal(dir: &Path) -> String {
        let message = Certificate::read(dir).unwrap_err().to_string();
        message.replace(dir.to_str().unwrap(), "DIR")
    }

    #[test]
    fn a_directory_with_a_chain_and_its_key_is_a_certificate() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path());
        assert_eq!(Certificate::read(dir.path()).unwrap().chain().len(), 1);
    }

    #[test]
    fn a_refusal_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refusal(dir.path()).starts_with("DIR/tls.crt must hold"), "{}", refusal(dir.path()));
        write(dir.path());
        fs::write(dir.path().join(KEY_FILE), "").unwrap();
        assert!(refusal(dir.path()).starts_with("DIR/tls.key must hold"), "{}", refusal(dir.path()));
        fs::write(dir.path().join(CHAIN_FILE), "nothing").unwrap();
        assert!(refusal(dir.path()).starts_with("DIR/tls.crt must hold"), "{}", refusal(dir.path()));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(dir.path());
        write(other.path());
        fs::copy(other.path().join(KEY_FILE), dir.path().join(KEY_FILE)).unwrap();
        let message = refusal(dir.path());
        assert!(message.starts_with("tls.crt and tls.key in DIR must"), "{message}");
    }

    #[test]
    fn a_name_that_no_host_can_have_is_refused() {
        let error = Certificate::self_signed(&["é".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("localhost, 127.0.0.1, ::1, é"), "{error}");
    }

    #[test]
    fn its_own_authority_signs_a_certificate_for_ten_years() {
        let now = Time::from_secs(1_772_150_400);
        let names = ["adapter.plimsoll.svc".to_owned()];
        let made = Certificate::with_own_authority(&names, now).unwrap();
        // 2026-02-27 is the day; the day before it, in ten years.
        assert_eq!(made.expires().to_string(), "2036-02-26T00:00:00Z");
        let ca = CertificateDer::from_pem_slice(made.ca_pem().unwrap().as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca).unwrap();
        let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::new(ring::default_provider()),
        );
        let verifier = verifier.build().unwrap();
        let now =
            rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_772_150_400));
        let verify = |name: &str| {
            let name = name.to_owned().try_into().unwrap();
            verifier.verify_server_cert(&made.chain()[0], &[], &name, &[], now)
        };
        assert!(verify("adapter.plimsoll.svc").is_ok());
        assert!(verify("localhost").is_ok());
        assert!(verify("other.plimsoll.svc").is_err());
    }

    #[test]
    fn a_certificate_that_nobody_signed_has_no_authority() {
        assert_eq!(Certificate::self_signed(&[]).unwrap().ca_pem(), None);
    }
}
