//! Uploads and downloads, as the gateway gets them.

use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION,
    CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Body, Frame};
use model::{AttachmentId, FileName};
use protocol::http::content_disposition;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::url::Grant;
use super::{CHECKSUM, LocalFiles, PATH};

/// The body of an answer: a text, or a file that is read while it is sent.
pub(crate) type FileBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, io::Error>>;

/// Why a file is not taken or given.
#[derive(Debug)]
enum Refused {
    /// The client is wrong: a status, and what is wrong.
    Request(StatusCode, &'static str),
    /// The disk is.
    Disk(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

fn forbidden(why: &'static str) -> Refused {
    Refused::Request(StatusCode::FORBIDDEN, why)
}

impl LocalFiles {
    /// Answers a request below [`PATH`].
    pub(crate) async fn serve<B>(&self, request: Request<B>) -> Response<FileBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let answered = match *request.method() {
            Method::PUT => self.upload(request).await,
            Method::GET => self.download(&request).await,
            _ => Err(Refused::Request(StatusCode::METHOD_NOT_ALLOWED, "GET and PUT only")),
        };
        let mut response = answered.unwrap_or_else(refusal);
        // A signed URL is the permission, as with S3, so any origin may read the answer. After a redirect
        // a page's request has the origin `null`.
        let anybody = HeaderValue::from_static("*");
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, anybody);
        response
    }

    /// Changes a redirect to a file to the name under which the client knows this machine: browsers
    /// take `localhost` and `127.0.0.1` for two origins.
    pub(crate) fn name_as_asked(&self, host: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let host = host.and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty());
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let Some((host, location)) = host.zip(location) else { return };
        let Some(path) = location.strip_prefix(&self.0.origin) else { return };
        if let Ok(location) = HeaderValue::from_str(&format!("http://{host}{path}")) {
            headers.insert(LOCATION, location);
        }
    }

    /// The file that a request is about, and what its URL grants.
    fn granted<B>(&self, request: &Request<B>) -> Result<(AttachmentId, Grant), Refused> {
        let name = request.uri().path().strip_prefix(PATH).unwrap_or_default();
        let id = AttachmentId::parse(name).map_err(|_form| forbidden("no such file"))?;
        let query = request.uri().query().unwrap_or_default();
        let grant = Grant::read(&self.0.key, request.method(), &id, query);
        let grant = grant.ok_or_else(|| forbidden("the signature does not match"))?;
        if self.0.clock.now() >= grant.until() {
            return Err(forbidden("the URL has expired"));
        }
        Ok((id, grant))
    }

    async fn upload<B>(&self, request: Request<B>) -> Result<Response<FileBody>, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (id, grant) = self.granted(&request)?;
        let Grant::Upload { media_type, bytes, sha256, .. } = grant else {
            return Err(forbidden("the signature does not match"));
        };
        let headers = request.headers();
        let length = text_of(headers, CONTENT_LENGTH.as_str());
        if length.is_empty() {
            return Err(Refused::Request(StatusCode::LENGTH_REQUIRED, "no content-length"));
        }
        if length != bytes.to_string()
            || text_of(headers, CONTENT_TYPE.as_str()) != media_type
            || text_of(headers, CHECKSUM) != sha256
        {
            return Err(forbidden("content-length, content-type or checksum are not as signed"));
        }
        let partial = self.partial_path();
        let written = write(&partial, request.into_body(), bytes, &sha256).await;
        let stored = match written {
            Ok(()) => tokio::fs::rename(&partial, self.path_of(&id)).await.map_err(Refused::Disk),
            Err(refused) => Err(refused),
        };
        if stored.is_err()
            && let Err(error) = tokio::fs::remove_file(&partial).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "an upload that broke off stays on disk");
        }
        stored.map(|()| Response::new(Either::Left(Full::default())))
    }

    async fn download<B>(&self, request: &Request<B>) -> Result<Response<FileBody>, Refused> {
        let (id, grant) = self.granted(request)?;
        let Grant::Download { media_type, name, .. } = grant else {
            return Err(forbidden("the signature does not match"));
        };
        let file = File::open(self.path_of(&id)).await.map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                Refused::Request(StatusCode::NOT_FOUND, "no such file")
            } else {
                Refused::Disk(error)
            }
        })?;
        let bytes = file.metadata().await?.len();
        let mut response =
            Response::new(Either::Right(StreamBody::new(chunks(file)).boxed_unsync()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, bytes.into());
        let name = FileName::parse(&name).map_err(|_form| forbidden("the name is malformed"))?;
        for (header, value) in
            [(CONTENT_TYPE, media_type), (CONTENT_DISPOSITION, content_disposition(&name))]
        {
            let value = HeaderValue::from_str(&value);
            headers.insert(header, value.map_err(|_form| forbidden("the type is malformed"))?);
        }
        // The gateway adds `nosniff` to every answer. Even a file that is opened runs nothing.
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        Ok(response)
    }
}

/// Writes an upload to a new file, and checks its size and its digest.
async fn write<B>(path: &Path, mut body: B, bytes: u64, sha256: &str) -> Result<(), Refused>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mismatch = |why| Refused::Request(StatusCode::BAD_REQUEST, why);
    let mut file = File::create_new(path).await?;
    let (mut digest, mut left) = (Sha256::new(), bytes);
    loop {
        let frame = tokio::time::timeout(STALL_MAX, body.frame()).await;
        let frame = frame.map_err(|_elapsed| {
            Refused::Request(StatusCode::REQUEST_TIMEOUT, "the upload stalled")
        })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_broken| mismatch("the upload broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        left = left.checked_sub(length).ok_or_else(|| mismatch("the body is too long"))?;
        digest.update(&data);
        file.write_all(&data).await?;
    }
    file.flush().await?;
    if left > 0 {
        return Err(mismatch("the body is too short"));
    }
    if STANDARD.encode(digest.finalize()) != sha256 {
        return Err(mismatch("the body has another digest"));
    }
    Ok(())
}

/// A file's bytes, a chunk at a time.
fn chunks(file: File) -> impl stream::Stream<Item = io::Result<Frame<Bytes>>> {
    stream::try_unfold(file, |mut file| async move {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let read = file.read_buf(&mut chunk).await?;
        Ok((read > 0).then(|| (Frame::data(chunk.freeze()), file)))
    })
}

/// The value of a header that is there once; otherwise empty.
fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().unwrap_or_default(),
        _ => "",
    }
}

/// A refusal in plain text, since no client needs more than the status. The client may still be
/// writing, so its connection ends.
fn refusal(refused: Refused) -> Response<FileBody> {
    let (status, why) = match refused {
        Refused::Request(status, why) => (status, why),
        Refused::Disk(error) => {
            tracing::warn!(%error, "a file cannot be written or read");
            (StatusCode::SERVICE_UNAVAILABLE, "the disk does not take or give the file")
        }
    };
    let mut response = Response::new(Either::Left(Full::from(format!("{why}\n"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, PUT"));
    }
    response
}

/// How long an upload may pause.
const STALL_MAX: Duration = Duration::from_secs(20);
/// Bytes that are read from a file at once.
const CHUNK_BYTES: usize = 64 * 1024;
