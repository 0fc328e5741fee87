//! TLS by `rustls`: a certificate and its key out of PEM files, read again when they change.

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio_rustls::{TlsAcceptor, rustls};

/// How often the files are looked at.
const CHECK_PERIOD: Duration = Duration::from_secs(10);

/// Why there is no TLS with these files.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("{path}: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path}: {problem}")]
    Unusable { path: PathBuf, problem: String },
    #[error("{certificate} and {key} do not make a server's certificate: {error}")]
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

/// Tells whether the files changed: when they were written, and how long they are.
type Stamps = [Option<(SystemTime, u64)>; 2];

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificate, with those of its issuers after it, and its private key.
    ///
    /// # Errors
    /// When a file cannot be read, or the two do not fit.
    pub fn load(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = Files { certificate: certificate.into(), key: key.into() };
        let loaded = Arc::new(Mutex::new(files.load()?));
        Ok(Self { files, loaded, check_period: CHECK_PERIOD })
    }

    /// The same, with the files looked at so often.
    pub fn checked_every(mut self, period: Duration) -> Self {
        self.check_period = period;
        self
    }

    /// Reads the files again, for connections from now on.
    ///
    /// # Errors
    /// As for [`Tls::load`]; the certificate stays what it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        let loaded = self.files.load()?;
        *self.lock() = loaded;
        Ok(())
    }

    /// Shakes hands with the newest certificate.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.lock().config).into()
    }

    /// Reads the files again whenever they change, for ever.
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
                    tracing::info!(certificate = %self.files.certificate.display(), "certificate read again");
                    failed = None;
                }
                // Somebody may be half-way through replacing the two: it is tried again, and said once.
                Err(error) if failed != Some(stamps) => {
                    tracing::error!(%error, "the certificate changed and is no use; the one before stays");
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
        // Before the files: what is written in between is seen as a change.
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
            let problem = "there is no certificate as PEM (BEGIN CERTIFICATE)".to_owned();
            return Err(unusable(&self.certificate, problem));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|error| {
            let problem = format!("there is no private key as PEM (BEGIN PRIVATE KEY): {error}");
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
        // WebSockets need it, and there is nothing else here.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Loaded { config: Arc::new(config), stamps })
    }
}
