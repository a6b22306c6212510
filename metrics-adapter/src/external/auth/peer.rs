//! Who is at the other end of a connection.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use plimsoll::units::{Span, Time};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{self, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::trust::{Standing, Trust};

/// So long a certificate that was verified is not verified again: an end of its time is noticed within it.
const VERIFIED_FOR: Span = Span::from_secs(10);

/// The peer of a connection, and the certificates that it showed. It holds the key of the first; whether anybody vouches
/// for that one depends on whom is trusted, which may change while the connection lasts.
#[derive(Debug, Default)]
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    judged: ArcSwapOption<Judged>,
}

/// What was found about the certificates.
#[derive(Debug)]
struct Judged {
    by: Arc<Trust>,
    at: Time,
    standing: Arc<Standing>,
}

impl Peer {
    /// One that showed these certificates, its own first; none if it showed none.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain, judged: ArcSwapOption::empty() }
    }

    /// What the certificates are worth, at `wall`'s time. It is found out once, and again when another trust rules, and
    /// every 10 s of `now`.
    pub(super) fn standing(&self, trust: &Arc<Trust>, now: Time, wall: Time) -> Arc<Standing> {
        if self.chain.is_empty() {
            return Arc::default();
        }
        if let Some(judged) = &*self.judged.load()
            && Arc::ptr_eq(&judged.by, trust)
            && now - judged.at < VERIFIED_FOR
        {
            return Arc::clone(&judged.standing);
        }
        let standing = Arc::new(trust.standing(&self.chain, wall));
        let judged = Judged { by: Arc::clone(trust), at: now, standing: Arc::clone(&standing) };
        self.judged.store(Some(Arc::new(judged)));
        standing
    }
}

/// Lets every client in that proves to hold the key of its certificate, and those without one. Two bundles of
/// authorities count, each for something else, and probes come with none: so who vouches is asked request by request.
#[derive(Debug)]
pub(in crate::external) struct AnyClient(WebPkiSupportedAlgorithms);

impl AnyClient {
    /// Verifies signatures by the provider's algorithms.
    pub(in crate::external) fn new(provider: &crypto::CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: a client shows what it has.
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
