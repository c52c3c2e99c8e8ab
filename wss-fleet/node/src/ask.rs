//! One HTTP request: to a task's metadata endpoint, or to this node itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};
use service::certificate::Certificate;
use service::config::HealthConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why a request got no useful answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Not a URL with a host.
    #[error("not a URL")]
    BadUrl,
    /// No connection, or the TLS handshake failed.
    #[error("no connection")]
    Unreachable(#[source] std::io::Error),
    /// The connection broke, or the answer is not HTTP.
    #[error("no answer")]
    Broken(#[source] hyper::Error),
    /// The answer is incomplete or too long.
    #[error("the response is incomplete or too long")]
    TooLong(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There was no answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The answer was not 200.
    #[error("answered with {0}")]
    Refused(StatusCode),
    /// The answer does not name the task.
    #[error("the response does not name the task")]
    NoTask,
}

/// Reads the id of this program's ECS task, the last part of its ARN, from the metadata endpoint.
/// Retries a few times: the endpoint may come up a moment after the task.
///
/// # Errors
/// [`AskError`] of the last attempt.
pub async fn task_id(metadata_url: &str) -> Result<String, AskError> {
    let mut tries = 1;
    loop {
        match ask_task(metadata_url).await {
            Ok(id) => return Ok(id),
            Err(error) if tries == TASK_TRIES => return Err(error),
            Err(_) => tokio::time::sleep(ASK_AGAIN).await,
        }
        tries += 1;
    }
}

async fn ask_task(metadata_url: &str) -> Result<String, AskError> {
    let uri: Uri = metadata_url.parse().or(Err(AskError::BadUrl))?;
    let host = uri.host().ok_or(AskError::BadUrl)?;
    let path = format!("{}/task", uri.path().trim_end_matches('/'));
    let port = uri.port_u16().unwrap_or(80);
    let asked = async {
        let tcp = TcpStream::connect((host, port)).await.map_err(AskError::Unreachable)?;
        get(tcp, host, &path).await
    };
    let body = tokio::time::timeout(ASK_MAX, asked).await.unwrap_or(Err(AskError::TimedOut))?;
    let task: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let arn = task.get("TaskARN").and_then(serde_json::Value::as_str);
    let id = arn.filter(|arn| arn.starts_with("arn:")).and_then(|arn| arn.rsplit('/').next());
    // The id becomes a DNS label.
    let is_label = |id: &&str| {
        matches!(id.len(), 1..=63)
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    id.filter(is_label).map(str::to_owned).ok_or(AskError::NoTask)
}

/// Asks this configuration's node, on this machine, for its health: on its admin port, which never
/// sheds connections, or on its socket port, where it must show the configured certificate.
///
/// # Errors
/// [`AskError`] if it does not answer 200.
pub async fn health(config: &HealthConfig) -> Result<(), AskError> {
    let address = near(config.admin_listen.unwrap_or(config.listen));
    let host = address.to_string();
    let asked = async {
        let tcp = TcpStream::connect(address).await.map_err(AskError::Unreachable)?;
        match &config.certificate {
            Some(certificate) if config.admin_listen.is_none() => {
                let tls = TlsConnector::from(only(certificate));
                let name = ServerName::from(address.ip());
                let tls = tls.connect(name, tcp).await.map_err(AskError::Unreachable)?;
                get(tls, &host, "/healthz").await
            }
            Some(_) | None => get(tcp, &host, "/healthz").await,
        }
    };
    tokio::time::timeout(ASK_MAX, asked).await.unwrap_or(Err(AskError::TimedOut)).map(drop)
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

async fn get<S>(stream: S, host: &str, path: &str) -> Result<Bytes, AskError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let request = Request::get(path).header(HOST, host).header(CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).or(Err(AskError::BadUrl))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(AskError::Broken)?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(AskError::Broken)?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(AskError::Refused(status));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(body.map_err(AskError::TooLong)?.to_bytes())
    };
    let mut connection = std::pin::pin!(connection);
    let mut talk = std::pin::pin!(talk);
    tokio::select! {
        answered = &mut talk => answered,
        ended = &mut connection => match ended {
            Ok(()) => talk.await,
            Err(error) => Err(AskError::Broken(error)),
        },
    }
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

/// Both endpoints are on the same machine.
const ASK_MAX: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(500);
const TASK_TRIES: u32 = 5;
/// Many times the size of a task's description with its containers.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
