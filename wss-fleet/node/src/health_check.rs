//! Whether the node of a configuration, on this machine, says that it serves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};
use service::certificate::Certificate;
use service::config::HealthConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::http_get::{GetError, get};

/// Asks this configuration's node, on this machine, for its health: on its admin port, which never
/// sheds connections, or on its socket port, where it must show the configured certificate.
///
/// # Errors
/// [`GetError`] if it does not answer 200.
pub async fn health(config: &HealthConfig) -> Result<(), GetError> {
    let address = near(config.admin_listen.unwrap_or(config.listen));
    let (host, tcp) = (address.to_string(), TcpStream::connect(address));
    let body = match config.certificate.as_ref().filter(|_| config.admin_listen.is_none()) {
        Some(certificate) => {
            let (tls, name) = (TlsConnector::from(only(certificate)), address.ip().into());
            get(async { tls.connect(name, tcp.await?).await }, &host, "/healthz").await
        }
        None => get(tcp, &host, "/healthz").await,
    };
    body.map(drop)
}

/// The address to reach a listener from its own machine.
fn near(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Trusts this one certificate only. The request goes to an address, so names are not checked.
fn only(certificate: &Certificate) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = Pinned { leaf: certificate.leaf().clone(), provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider);
    #[expect(clippy::expect_used, reason = "the provider has ciphers for its own versions")]
    let builder = builder.with_safe_default_protocol_versions().expect("ring serves both versions");
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned));
    Arc::new(builder.with_no_client_auth())
}

#[derive(Debug)]
struct Pinned {
    leaf: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if *shown == self.leaf {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(TlsError::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
