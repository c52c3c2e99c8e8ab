//! One HTTP GET, to an endpoint on the same machine.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Why a request got no useful answer.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
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

/// Sends a request on a stream and returns the body of the answer; both within [`GET_MAX`].
pub(crate) async fn get<S>(
    connected: impl Future<Output = std::io::Result<S>>,
    host: &str,
    path: &str,
) -> Result<Bytes, GetError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let request = Request::get(path).header(HOST, host).header(CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).or(Err(GetError::BadUrl))?;
    let answered = async {
        let stream = TokioIo::new(connected.await.map_err(GetError::Unreachable)?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(GetError::Broken)?;
        let talk = async {
            let answer = sender.send_request(request).await.map_err(GetError::Broken)?;
            let status = answer.status();
            if status != StatusCode::OK {
                return Err(GetError::Refused(status));
            }
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(body.map_err(GetError::TooLong)?.to_bytes())
        };
        let (mut connection, mut talk) = (pin!(connection), pin!(talk));
        tokio::select! {
            answered = &mut talk => answered,
            ended = &mut connection => match ended {
                Ok(()) => talk.await,
                Err(error) => Err(GetError::Broken(error)),
            },
        }
    };
    tokio::time::timeout(GET_MAX, answered).await.unwrap_or(Err(GetError::TimedOut))
}

const GET_MAX: Duration = Duration::from_secs(3);
/// Many times the size of a task's description with its containers.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
