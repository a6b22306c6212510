//! The certificate that the server shows, and how it speaks TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The file of a certificate directory that holds the chain, as in a Secret of type `kubernetes.io/tls`.
const CHAIN_FILE: &str = "tls.crt";
/// The file that holds the private key.
const KEY_FILE: &str = "tls.key";

/// Names by which a self-signed certificate is good on the machine itself.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

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
    /// No certificate could be made.
    #[error("no self-signed certificate for {names}; give names of hosts, or a directory with {CHAIN_FILE}")]
    SelfSigned {
        /// The names that it was to be for.
        names: String,
        /// What went wrong.
        source: rcgen::Error,
    },
    /// The certificate that was made cannot be used.
    #[error("the self-signed certificate cannot be used; please report this")]
    Unusable(#[source] rustls::Error),
}

/// A certificate with its private key, ready to serve with HTTP/2 and HTTP/1.1.
#[derive(Debug, Clone)]
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    config: Arc<ServerConfig>,
}

impl Certificate {
    /// The chain in `tls.crt` and the key in `tls.key` of a directory, both PEM, the server's own certificate first.
    ///
    /// # Errors
    /// If a file cannot be read or holds something else, or the two do not belong together.
    pub fn read(dir: &Path) -> Result<Self, CertificateError> {
        let fault = |file, expected| {
            let path = dir.join(file);
            move |source| CertificateError::File { path, expected, source }
        };
        let chain = CertificateDer::pem_file_iter(dir.join(CHAIN_FILE))
            .and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(fault(CHAIN_FILE, "the server's certificate and those that lead to its CA"))?;
        let key =
            PrivateKeyDer::from_pem_file(dir.join(KEY_FILE)).map_err(fault(KEY_FILE, "the private key"))?;
        Self::new(chain, key).map_err(|source| CertificateError::Pair { dir: dir.to_owned(), source })
    }

    /// A certificate that nobody signed, for this machine and for `dns_names`; another one at each call. A client must
    /// be given it, or be told not to verify.
    ///
    /// # Errors
    /// If one of the names cannot stand in a certificate.
    pub fn self_signed(dns_names: &[String]) -> Result<Self, CertificateError> {
        let names: Vec<String> = LOCAL_NAMES.map(String::from).iter().chain(dns_names).cloned().collect();
        let (certificate, key) = sign(names.clone())
            .map_err(|source| CertificateError::SelfSigned { names: names.join(", "), source })?;
        Self::new(vec![certificate.into()], key.into()).map_err(CertificateError::Unusable)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { chain, config: Arc::new(config) })
    }

    /// The certificates that clients are shown, the server's own first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// What a server serves with.
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

#[cfg(test)]
mod tests {
    use std::fs;

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
}
