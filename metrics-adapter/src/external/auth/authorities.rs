//! Certificate authorities, and whom they vouch for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use plimsoll::units::Time;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use x509_parser::parse_x509_certificate;

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It is no PEM.
    #[error("it is not PEM: {0}")]
    Pem(#[from] pem::Error),
    /// A certificate in it cannot be read.
    #[error("its certificate number {0} cannot be read")]
    Certificate(usize),
    /// A certificate in it is of a kind that cannot sign for others here.
    #[error("its certificate number {number} cannot be used: {source}")]
    Unusable {
        /// Which, from 1.
        number: usize,
        /// Why.
        source: rustls::Error,
    },
    /// The verifier cannot be made.
    #[error(transparent)]
    Verifier(#[from] VerifierBuilderError),
    /// Nobody in it may sign.
    #[error("no certificate of an authority is in it")]
    Empty,
}

/// A bundle of authorities; one suffices. Old and new are both in it while they are exchanged.
#[derive(Debug)]
pub(super) struct Authorities(Vec<Authority>);

/// One of them. Each has a verifier of its own, for when an authority's time is over it vouches for nobody, which the
/// verifier of a whole bundle would not notice.
struct Authority {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Seconds since 1970.
    valid: std::ops::RangeInclusive<i64>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("valid", &self.valid).finish_non_exhaustive()
    }
}

impl Authorities {
    /// Those in a PEM text. Certificates that are not an authority's are passed over.
    ///
    /// # Errors
    /// When a certificate cannot be read, or none is an authority's: half a bundle is not taken.
    pub(super) fn from_pem(text: &str) -> Result<Self, AuthoritiesError> {
        let provider = Arc::new(ring::default_provider());
        let mut authorities = vec![];
        for (i, certificate) in CertificateDer::pem_slice_iter(text.as_bytes()).enumerate() {
            let (number, certificate) = (i + 1, certificate?);
            let (_, parsed) =
                parse_x509_certificate(&certificate).map_err(|_| AuthoritiesError::Certificate(number))?;
            if !parsed.is_ca() {
                continue;
            }
            let valid = parsed.validity();
            let valid = valid.not_before.timestamp()..=valid.not_after.timestamp();
            let mut root = RootCertStore::empty();
            let unusable = |source| AuthoritiesError::Unusable { number, source };
            root.add(certificate.clone()).map_err(unusable)?;
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(root), Arc::clone(&provider)).build()?;
            authorities.push(Authority { verifier, valid });
        }
        if authorities.is_empty() { Err(AuthoritiesError::Empty) } else { Ok(Self(authorities)) }
    }

    /// Whether one of them says that the first certificate of `chain` is a client's, and all of them are in their time.
    pub(super) fn vouch_for(&self, chain: &[CertificateDer<'_>], now: Time) -> bool {
        let Some((own, others)) = chain.split_first() else { return false };
        let Ok(nanos) = u64::try_from(now.as_nanos()) else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_nanos(nanos));
        self.0.iter().any(|authority| {
            i64::try_from(now.as_secs()).is_ok_and(|now| authority.valid.contains(&now))
                && authority.verifier.verify_client_cert(own, others, now).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Ca, NOW, client};
    use super::*;

    #[test]
    fn an_authority_vouches_for_its_own_clients_only() {
        let (ours, theirs) = (Ca::new("ours"), Ca::new("ours"));
        let authorities = Authorities::from_pem(&ours.pem).unwrap();
        assert!(authorities.vouch_for(&ours.issue(client("a", &[])).0, NOW));
        assert!(!authorities.vouch_for(&theirs.issue(client("a", &[])).0, NOW));
        assert!(!authorities.vouch_for(&[], NOW));
    }

    #[test]
    fn old_and_new_authorities_count_while_they_are_exchanged() {
        let (old, new) = (Ca::new("ca"), Ca::new("ca"));
        let both = Authorities::from_pem(&format!("{}{}", old.pem, new.pem)).unwrap();
        for ca in [&old, &new] {
            assert!(both.vouch_for(&ca.issue(client("a", &[])).0, NOW));
        }
    }

    #[test]
    fn a_servers_certificate_makes_no_client() {
        let ca = Ca::new("ca");
        let mut server = client("a", &[]);
        server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        assert!(!Authorities::from_pem(&ca.pem).unwrap().vouch_for(&ca.issue(server).0, NOW));
    }

    #[test]
    fn time_ends_a_client_and_an_authority() {
        let ca = Ca::new("ca");
        let mut old = client("a", &[]);
        old.not_after = rcgen::date_time_ymd(2026, 1, 1);
        let authorities = Authorities::from_pem(&ca.pem).unwrap();
        assert!(!authorities.vouch_for(&ca.issue(old.clone()).0, NOW));
        let before = Time::from_nanos(1_700_000_000_000_000_000);
        assert!(authorities.vouch_for(&ca.issue(old).0, before));

        let ended = Ca::until("ca", 2026);
        let authorities = Authorities::from_pem(&ended.pem).unwrap();
        let chain = ended.issue(client("a", &[])).0;
        assert!(authorities.vouch_for(&chain, before));
        assert!(!authorities.vouch_for(&chain, NOW));
    }

    #[test]
    fn half_a_bundle_is_no_bundle() {
        let ca = Ca::new("ca");
        let broken = ca.pem.replace("MII", "AAA");
        assert!(Authorities::from_pem(&format!("{}{broken}", ca.pem)).is_err());
        assert!(matches!(Authorities::from_pem("").unwrap_err(), AuthoritiesError::Empty));
        let (leaf, _) = ca.issue(client("a", &[]));
        assert!(!leaf.is_empty());
        let own = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert.pem();
        assert!(matches!(Authorities::from_pem(&own).unwrap_err(), AuthoritiesError::Empty));
    }
}
