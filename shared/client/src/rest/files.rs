//! The calls about files, and the upload of one.

use model::{AttachmentId, NewAttachment};
use protocol::http::{AttachmentBody, UploadBody, client};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};

use super::Api;
use crate::error::ApiError;
use crate::transport::CallError;

/// Every call fails with [`ApiError`].
#[expect(clippy::missing_errors_doc, reason = "one sentence above says it for all")]
impl Api {
    /// `POST /attachments`. Not idempotent: a file that no message names lapses.
    pub async fn create_attachment(
        &self,
        new: &NewAttachment,
    ) -> Result<(AttachmentId, UploadBody), ApiError> {
        let body = client::create_attachment(new);
        let read = |AttachmentBody { id, upload }| Some((AttachmentId::parse(&id).ok()?, upload));
        self.typed(Method::POST, "/attachments", Some(&body), read).await
    }

    /// Uploads a file's bytes. May be repeated until the upload's URL expires.
    pub async fn upload(&self, upload: &UploadBody, bytes: Vec<u8>) -> Result<(), ApiError> {
        let bad = || ApiError::BadAnswer { status: 201, retry_after: None };
        let mut headers = HeaderMap::new();
        for (name, value) in &upload.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_form| bad())?;
            headers.insert(name, HeaderValue::from_str(value).map_err(|_form| bad())?);
        }
        let method = Method::from_bytes(upload.method.as_bytes()).map_err(|_form| bad())?;
        match self.0.transport.upload(method, &upload.url, headers, bytes).await {
            Ok(status) if (200..300).contains(&status) => Ok(()),
            Ok(status) | Err(CallError::TooLong { status }) => {
                Err(ApiError::BadAnswer { status, retry_after: None })
            }
            Err(source) => Err(ApiError::Unreachable { base_url: self.0.base_url.clone(), source }),
        }
    }

    /// `GET /attachments/{id}`: the URL of a file, which lives for a minute. It needs no token.
    pub async fn attachment_url(&self, id: &AttachmentId) -> Result<String, ApiError> {
        let path = format!("/attachments/{id}");
        let answer = self.answered(Method::GET, &path, None).await?;
        let location = answer.headers.get(LOCATION).and_then(|url| url.to_str().ok());
        match location.filter(|_| answer.status == 302) {
            Some(url) => Ok(url.to_owned()),
            None => Err(Self::refusal(answer)),
        }
    }
}
