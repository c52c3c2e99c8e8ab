//! A node's TLS certificate chain and its key (ADR 0017).

use std::fmt;
use std::sync::Arc;

use model::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use x509_cert::der::Decode;

/// A chain and its matching key. `Debug` shows only the dates.
#[derive(Clone)]
pub struct Certificate {
    config: Arc<ServerConfig>,
    leaf: CertificateDer<'static>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Why a chain and a key cannot be used. Contains nothing of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// There is no PEM certificate, or the first one cannot be read.
    #[error("contains no readable PEM certificate")]
    Chain,
    /// There is no PEM private key, or its type is not supported.
    #[error("contains no usable PEM private key")]
    Key,
    /// Both can be read, but the key is another certificate's.
    #[error("does not belong to the certificate")]
    OtherKey,
}

impl Certificate {
    /// Parses a chain, the server's own certificate first, and its key (PKCS #8, PKCS #1 or SEC 1),
    /// all in PEM.
    ///
    /// # Errors
    /// [`CertificateError`]. Does not check the dates.
    pub fn parse(chain: &str, key: &str) -> Result<Self, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let chain = chain.or(Err(CertificateError::Chain))?;
        let leaf = chain.first().ok_or(CertificateError::Chain)?.clone();
        let parsed = x509_cert::Certificate::from_der(&leaf).or(Err(CertificateError::Chain))?;
        let validity = parsed.tbs_certificate.validity;
        let at = |time: x509_cert::time::Time| {
            let since_epoch = time.to_unix_duration().as_millis();
            Timestamp::from_unix_ms(u64::try_from(since_epoch).unwrap_or(u64::MAX))
        };
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).or(Err(CertificateError::Key))?;
        Ok(Self {
            config: Arc::new(server_config(chain, key)?),
            leaf,
            not_before: at(validity.not_before),
            not_after: at(validity.not_after),
        })
    }

    /// The start of its validity.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The end of its validity.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it is valid for this name or address.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (Ok(name), Ok(leaf)) =
            (ServerName::try_from(host), ParsedCertificate::try_from(&self.leaf))
        else {
            return false;
        };
        rustls::client::verify_server_name(&leaf, &name).is_ok()
    }

    /// The certificate itself, in DER.
    #[must_use]
    pub const fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// The configuration for a listener: TLS 1.2 or 1.3, HTTP/1.1 only.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, CertificateError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .or(Err(CertificateError::Key))?
        .with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            CertificateError::OtherKey
        } else {
            CertificateError::Key
        }
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A client that reconnects usually gets another node, so session resumption would cost memory
    // and two more records per socket for little gain.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.leaf == other.leaf
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
