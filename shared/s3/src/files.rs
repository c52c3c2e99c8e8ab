//! The bucket, and the calls that are made on it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use messaging::ports::{Cause, Clock, FileStore, FileStoreError, SignedUpload, StoredAttachment};
use model::{Attachment, AttachmentId, ChannelId, FileId, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::http::content_disposition;

use crate::sign::{Signable, signed};

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Where S3 listens, if it is not the region's own.
    pub endpoint: Option<String>,
}

impl Bucket {
    fn url(&self) -> String {
        let Self { name, region, endpoint } = self;
        match endpoint {
            Some(endpoint) => format!("{}/{name}", endpoint.trim_end_matches('/')),
            None => format!("https://{name}.s3.{region}.amazonaws.com"),
        }
    }
}

/// The file store in a bucket. Clones share its connections.
#[derive(Debug, Clone)]
pub struct S3Files {
    bucket_url: String,
    region: String,
    credentials: Option<SharedCredentialsProvider>,
    /// Made for the first call: it reads certificates, and most sends have no files.
    connector: Arc<OnceLock<Connector>>,
    clock: Arc<dyn Clock>,
}

/// Why S3 did not do what it was asked. Shows no URL.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("there are no credentials")]
    NoCredentials,
    #[error("S3 answered {status} to {method}")]
    Status { method: &'static str, status: u16 },
    #[error("S3 did not answer {method} in time")]
    TimedOut { method: &'static str },
}

fn refused(cause: impl Into<Cause>) -> FileStoreError {
    FileStoreError(cause.into())
}

impl S3Files {
    /// Makes it with the credentials of an SDK's configuration. Connects to nothing yet.
    #[must_use]
    pub fn new(bucket: &Bucket, sdk: &SdkConfig, clock: Arc<dyn Clock>) -> Self {
        let credentials = sdk.credentials_provider();
        let (bucket_url, region) = (bucket.url(), bucket.region.clone());
        Self { bucket_url, region, credentials, connector: Arc::default(), clock }
    }

    fn connector(&self) -> &Connector {
        self.connector.get_or_init(|| {
            let builder = Connector::builder();
            if self.bucket_url.starts_with("http://") {
                builder.build_http()
            } else {
                builder.tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build()
            }
        })
    }

    fn url_of(&self, channel: &ChannelId, file: FileId) -> String {
        format!("{}/{channel}/{file}", self.bucket_url)
    }

    async fn sign(&self, signable: &Signable<'_>) -> Result<String, FileStoreError> {
        let credentials = self.credentials.as_ref();
        let credentials = credentials.ok_or_else(|| refused(CallError::NoCredentials))?;
        let credentials = credentials.provide_credentials().await.map_err(refused)?;
        signed(signable, &self.region, &credentials).map_err(refused)
    }

    /// Makes a call without a body, and returns its status. A failure that may pass is tried once more.
    async fn call(&self, method: &'static str, id: &AttachmentId) -> Result<u16, FileStoreError> {
        match self.call_once(method, id).await {
            Ok(status) if status != 429 && status < 500 => Ok(status),
            Ok(_) | Err(_) => {
                tokio::time::sleep(RETRY_WAIT).await;
                self.call_once(method, id).await
            }
        }
    }

    async fn call_once(
        &self,
        method: &'static str,
        id: &AttachmentId,
    ) -> Result<u16, FileStoreError> {
        let url = self.url_of(&id.channel_id, id.file);
        let now = self.clock.now();
        let signable = Signable { method, url: &url, headers: &[], now, lives: CALL_URL_TTL };
        let mut request = HttpRequest::new(SdkBody::empty());
        request.set_uri(self.sign(&signable).await?).map_err(refused)?;
        request.set_method(method).map_err(refused)?;
        let call = tokio::time::timeout(ATTEMPT_MAX, self.connector().call(request));
        let answer = call.await.map_err(|_elapsed| refused(CallError::TimedOut { method }))?;
        Ok(answer.map_err(refused)?.status().as_u16())
    }
}

#[async_trait]
impl FileStore for S3Files {
    async fn sign_upload(
        &self,
        channel: &ChannelId,
        stored: &StoredAttachment,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<SignedUpload, FileStoreError> {
        let Attachment { file, media_type, bytes, .. } = &stored.attachment;
        let headers = vec![
            ("content-type", media_type.as_str().to_owned()),
            ("x-amz-checksum-sha256", STANDARD.encode(stored.digest.0)),
        ];
        // Every client sets the length itself, and browsers let nobody else set it.
        let mut with_length = headers.clone();
        with_length.push(("content-length", bytes.to_string()));
        let url = self.url_of(channel, *file);
        let (method, lives) = ("PUT", until.since(now));
        let signable = Signable { method, url: &url, headers: &with_length, now, lives };
        Ok(SignedUpload { method, url: self.sign(&signable).await?, headers })
    }

    async fn sign_download(
        &self,
        channel: &ChannelId,
        attachment: &Attachment,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<String, FileStoreError> {
        let disposition = content_disposition(&attachment.name);
        let disposition = utf8_percent_encode(&disposition, QUERY);
        let url = self.url_of(channel, attachment.file);
        let url = format!("{url}?response-content-disposition={disposition}");
        let signable =
            Signable { method: "GET", url: &url, headers: &[], now, lives: until.since(now) };
        self.sign(&signable).await
    }

    async fn is_uploaded(&self, id: &AttachmentId) -> Result<bool, FileStoreError> {
        match self.call("HEAD", id).await? {
            200 => Ok(true),
            404 => Ok(false),
            status => Err(refused(CallError::Status { method: "HEAD", status })),
        }
    }

    async fn delete(&self, id: &AttachmentId) -> Result<(), FileStoreError> {
        match self.call("DELETE", id).await? {
            200 | 204 | 404 => Ok(()),
            status => Err(refused(CallError::Status { method: "DELETE", status })),
        }
    }
}

/// Characters of a query that SigV4 leaves as they are.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// One attempt: within a region, a second means an outage.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);
/// The pause before the second attempt.
const RETRY_WAIT: Duration = Duration::from_millis(50);
/// How long the URL of a call of our own is good.
const CALL_URL_TTL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
