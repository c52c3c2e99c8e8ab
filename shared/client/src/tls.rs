//! TLS roots: which certificate authorities a client trusts.

use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::transport::ByteStream;

/// The certificate authorities that a client trusts: Mozilla's list of public ones, which is
/// compiled into the program, and any that were added. Cheap to clone.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

/// The text is not the PEM certificate of a certificate authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a PEM certificate of an authority")]
pub struct TrustError;

impl Trust {
    /// The public authorities.
    #[must_use]
    pub fn public() -> Self {
        static PUBLIC: LazyLock<Trust> = LazyLock::new(|| Trust::of(public_roots()));
        PUBLIC.clone()
    }

    /// The public authorities plus the given ones, in PEM.
    ///
    /// # Errors
    /// [`TrustError`] if the text holds no certificate, or one that cannot be read.
    pub fn with(authorities: &str) -> Result<Self, TrustError> {
        let mut roots = public_roots();
        let known = roots.len();
        for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            let authority = authority.or(Err(TrustError))?;
            roots.add(authority).or(Err(TrustError))?;
        }
        if roots.len() == known { Err(TrustError) } else { Ok(Self::of(roots)) }
    }

    fn of(roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        #[expect(clippy::expect_used, reason = "the provider has ciphers for its own versions")]
        let builder =
            builder.with_safe_default_protocol_versions().expect("ring serves both versions");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(Arc::new(config))
    }

    /// The TLS configuration of an HTTP client.
    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig::clone(&self.0)
    }

    /// Runs the TLS handshake with a host over a connection.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: Box<dyn ByteStream>,
    ) -> io::Result<Box<dyn ByteStream>> {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let tls = TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await?;
        Ok(Box::new(tls))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

fn public_roots() -> RootCertStore {
    RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_not_an_authority_is_refused() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "hunter2", broken] {
            assert_eq!(Trust::with(text).map(drop), Err(TrustError), "{text}");
        }
    }
}
