//! TLS with `rustls`: a certificate and its key from PEM files, reloaded when they change.

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio_rustls::{TlsAcceptor, rustls};

/// Interval of checks for changed files.
const CHECK_PERIOD: Duration = Duration::from_secs(10);

/// Why these files cannot be used for TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("{path}: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path}: {problem}")]
    Unusable { path: PathBuf, problem: String },
    #[error("{certificate} and {key} are not a valid server certificate and key: {error}")]
    Mismatch { certificate: PathBuf, key: PathBuf, error: rustls::Error },
}

/// A certificate and its key; clones share them.
#[derive(Clone)]
pub struct Tls {
    files: Files,
    loaded: Arc<Mutex<Loaded>>,
    check_period: Duration,
}

#[derive(Clone, Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

struct Loaded {
    config: Arc<ServerConfig>,
    stamps: Stamps,
}

/// Detects changes of the files: their modification times and lengths.
type Stamps = [Option<(SystemTime, u64)>; 2];

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificate chain, leaf first, and its private key.
    ///
    /// # Errors
    /// A file cannot be read, or certificate and key do not match.
    pub fn load(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.into(), key: key.into() };
        let loaded = Arc::new(Mutex::new(files.load()?));
        Ok(Self { files, loaded, check_period: CHECK_PERIOD })
    }

    /// Like [`Tls::load`], with this interval of checks.
    pub fn checked_every(mut self, period: Duration) -> Self {
        self.check_period = period;
        self
    }

    /// Reloads the files for new connections.
    ///
    /// # Errors
    /// As for [`Tls::load`]; the certificate is unchanged.
    pub fn reload(&self) -> Result<(), TlsError> {
        let loaded = self.files.load()?;
        *self.lock() = loaded;
        Ok(())
    }

    /// Performs a handshake with the current certificate.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.lock().config).into()
    }

    /// Reloads the files whenever they change.
    pub(crate) async fn keep_fresh(&self) {
        let mut failed: Option<Stamps> = None;
        let mut looks = tokio::time::interval(self.check_period);
        loop {
            looks.tick().await;
            let stamps = self.files.stamps();
            if stamps == self.lock().stamps {
                continue;
            }
            match self.reload() {
                Ok(()) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "certificate reloaded");
                    failed = None;
                }
                // The files may be in the middle of a replacement: retries, and logs once.
                Err(error) if failed != Some(stamps) => {
                    tracing::error!(%error, "the changed certificate is not usable; the previous one stays in use");
                    failed = Some(stamps);
                }
                Err(_) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn stamps(&self) -> Stamps {
        [&self.certificate, &self.key].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        })
    }

    fn load(&self) -> Result<Loaded, TlsError> {
        // Taken before reading the files, so that a concurrent write is detected as a change.
        let stamps = self.stamps();
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| TlsError::Unreadable { path: path.to_owned(), error })
        };
        let unusable = |path: &Path, problem| TlsError::Unusable { path: path.to_owned(), problem };
        let certificates: Result<Vec<_>, pem::Error> =
            CertificateDer::pem_slice_iter(&read(&self.certificate)?).collect();
        let certificates =
            certificates.map_err(|error| unusable(&self.certificate, error.to_string()))?;
        if certificates.is_empty() {
            let problem = "the file has no PEM certificate (BEGIN CERTIFICATE)".to_owned();
            return Err(unusable(&self.certificate, problem));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| {
            let problem = format!("the file has no PEM private key (BEGIN PRIVATE KEY): {error}");
            unusable(&self.key, problem)
        })?;
        let mismatch = |error| TlsError::Mismatch {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            error,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(mismatch)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(mismatch)?;
        // HTTP/1.1 only: WebSockets need it.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Loaded { config: Arc::new(config), stamps })
    }
}
