//! TLS by rustls: certificate and key from files, read again when they change.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;
use crate::error::Error;

/// How often the files are looked at: certificates are renewed while the service runs.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A certificate in force, for any port of the process.
pub struct Certificate {
    files: Tls,
    config: RustlsConfig,
}

impl Certificate {
    /// Reads certificate and key.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] with the file that cannot be used.
    pub fn open(files: &Tls) -> Result<Self, Error> {
        let config = RustlsConfig::from_config(load(files)?);
        Ok(Self { files: files.clone(), config })
    }

    /// What ends TLS under it, on top of what takes connections.
    #[must_use]
    pub fn acceptor<A>(&self, inner: A) -> RustlsAcceptor<A> {
        RustlsAcceptor::new(self.config.clone()).acceptor(inner)
    }

    /// Looks at the files for ever; new ones that cannot be used leave the old ones in force.
    pub async fn watch(self) {
        watch(self.files, self.config).await;
    }
}

/// Reads certificate and key.
fn load(files: &Tls) -> Result<Arc<ServerConfig>, Error> {
    let fail = |path: &Path, why: &dyn std::fmt::Display| Error::Tls {
        path: path.to_owned(),
        why: why.to_string(),
    };
    let certificate = |error| fail(&files.certificate, &error);
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(certificate)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| fail(&files.key, &error))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(&files.certificate, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| fail(&files.certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn watch(files: Tls, config: RustlsConfig) {
    let mut seen = stamp(&files);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = stamp(&files);
        if now == seen {
            continue;
        }
        seen = now;
        match load(&files) {
            Ok(loaded) => {
                config.reload_from_config(loaded);
                tracing::info!("the TLS certificate was read again");
            }
            Err(error) => tracing::error!("the changed TLS certificate is not used: {error}"),
        }
    }
}

fn stamp(files: &Tls) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key]
        .map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}
