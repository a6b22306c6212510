//! The certificate's files, which may be replaced while they are served with.
//!
//! A Secret on a volume is replaced by exchanging a symbolic link, which no file's own time or name tells of. So what
//! the two files hold is read every few seconds and compared with what they held.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use plimsoll::units::Span;
use rustls::ServerConfig;

use super::fingerprint::Fingerprint;
use super::tls::{Certificate, CertificateError, Files};
use crate::clock::Clock;
use crate::ops::Telemetry;
use crate::stop::Stop;

/// Between two looks at the files.
const INTERVAL: Span = Span::from_secs(5);

/// Serves with what the files of a directory hold. What cannot be served with is logged once and changes nothing: the
/// certificate that is served with stays.
#[derive(Debug)]
pub struct Rotation {
    dir: PathBuf,
    seen: Seen,
    tls: Arc<ArcSwap<ServerConfig>>,
    telemetry: Arc<Telemetry>,
    clock: Clock,
}

/// What the last look showed.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// Files with this content, good or not.
    Content(Fingerprint),
    /// No files, for this reason.
    Nothing(String),
}

impl Rotation {
    /// Looks at the files of `dir`, from which `tls` was made when they held what is `seen`.
    pub fn new(
        dir: PathBuf,
        certificate: &Certificate,
        tls: Arc<ArcSwap<ServerConfig>>,
        telemetry: Arc<Telemetry>,
        clock: Clock,
    ) -> Self {
        let seen = certificate.files().map_or(Seen::Nothing(String::new()), Seen::Content);
        Self { dir, seen, tls, telemetry, clock }
    }

    /// Looks every few seconds until it is told to stop.
    pub async fn run(mut self, mut stop: Stop) {
        let mut ticks = self.clock.every(INTERVAL);
        loop {
            tokio::select! {
                () = ticks.next() => {}
                () = stop.told() => return,
            }
            let dir = self.dir.clone();
            // A volume may hang; nothing else is to hang with it.
            match tokio::task::spawn_blocking(move || Files::read(&dir)).await {
                Ok(files) => self.look(files),
                Err(error) => tracing::warn!(%error, "the certificate's files were not read"),
            }
        }
    }

    fn look(&mut self, files: Result<Files, CertificateError>) {
        let seen = match &files {
            Ok(files) => Seen::Content(files.fingerprint()),
            Err(error) => Seen::Nothing(describe(error)),
        };
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        match files.and_then(|files| Certificate::of(&files, &self.dir)) {
            Ok(certificate) => {
                self.tls.store(certificate.config());
                self.telemetry.certificate_expires(certificate.expires());
                tracing::info!(expires = %certificate.expires(), "a new certificate is served with");
            }
            Err(error) => {
                tracing::warn!(
                    error = describe(&error),
                    "the new certificate cannot be used; the old one stays"
                );
            }
        }
    }
}

/// The error and what is behind it.
fn describe(error: &CertificateError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use plimsoll::units::Time;

    use super::*;
    use crate::clock::Clock;

    /// A certificate in a directory of its own below `volume`, and a link to it, as a Secret is mounted.
    fn mount(volume: &Path, version: &str) {
        let made = rcgen::generate_simple_self_signed(vec![format!("{version}.svc")]).unwrap();
        let dir = volume.join(version);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("tls.crt"), made.cert.pem()).unwrap();
        fs::write(dir.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        link(volume, version);
    }

    fn link(volume: &Path, version: &str) {
        symlink(version, volume.join("..new")).unwrap();
        fs::rename(volume.join("..new"), volume.join("..data")).unwrap();
    }

    struct World {
        volume: tempfile::TempDir,
        rotation: Rotation,
        tls: Arc<ArcSwap<ServerConfig>>,
        telemetry: Arc<Telemetry>,
    }

    impl World {
        fn new() -> Self {
            let volume = tempfile::tempdir().unwrap();
            mount(volume.path(), "v1");
            for file in ["tls.crt", "tls.key"] {
                symlink(format!("..data/{file}"), volume.path().join(file)).unwrap();
            }
            let certificate = Certificate::read(volume.path()).unwrap();
            let tls = Arc::new(ArcSwap::new(certificate.config()));
            let clock = Clock::manual(Time::from_secs(0)).0;
            let telemetry = Arc::new(Telemetry::new(Arc::default(), clock.clone()));
            let dir = volume.path().to_owned();
            let rotation = Rotation::new(dir, &certificate, Arc::clone(&tls), Arc::clone(&telemetry), clock);
            Self { volume, rotation, tls, telemetry }
        }

        /// Whether a look at the files changes what is served with.
        fn changes(&mut self) -> bool {
            let before = self.tls.load_full();
            self.rotation.look(Files::read(self.volume.path()));
            !Arc::ptr_eq(&before, &self.tls.load_full())
        }
    }

    #[test]
    fn a_secret_that_is_replaced_is_served_with_once() {
        let mut world = World::new();
        assert!(!world.changes());
        assert!(!world.telemetry.page().contains("plimsoll_certificate_expiry_timestamp_seconds{"));
        mount(world.volume.path(), "v2");
        assert!(world.changes());
        assert!(!world.changes());
        // The year 4096, which is the default of whoever made it.
        let page = world.telemetry.page();
        assert!(page.contains("plimsoll_certificate_expiry_timestamp_seconds{} 67090118400\n"), "{page}");
        link(world.volume.path(), "v1");
        assert!(world.changes());
    }

    #[test]
    fn a_pair_that_cannot_be_used_leaves_the_old_one_until_it_is_mended() {
        let mut world = World::new();
        mount(world.volume.path(), "v2");
        let key = world.volume.path().join("v2/tls.key");
        let good = fs::read(&key).unwrap();
        for bad in [b"".to_vec(), fs::read(world.volume.path().join("v1/tls.key")).unwrap()] {
            fs::write(&key, bad).unwrap();
            assert!(!world.changes());
        }
        fs::remove_file(&key).unwrap();
        assert!(!world.changes());
        fs::write(&key, good).unwrap();
        assert!(world.changes());
    }
}
