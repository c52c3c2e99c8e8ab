//! Files as a function: it signs uploads and downloads, and no byte of a file passes through it.
//!
//! **Main path.** [`handle`] reads the request in the protocol's order of checks (route, method, token,
//! media type, size, JSON, fields), calls [`messaging::attachments`], and writes the signed upload, or
//! where the download is.
//!
//! **Invariants.** It returns no error: every refusal is already a response.
//!
//! **Not here.** No rule about files, no Lambda, no environment.

use bytes::Bytes;
use http::{Request, Response};
use messaging::App;
use messaging::attachments::{create_attachment, read_attachment};
use model::{ErrorCode, NewAttachment};
use protocol::http::{AttachmentBody, UploadBody, path_attachment, read_json};
use protocol::routes::{FilesRoute, Route};
use service::http::{Answer, Failure, LogFields, authenticate, respond, route};

/// Answers `POST /attachments` and `GET /attachments/{id}`; anything else is `not_found` or
/// `method_not_allowed`.
pub async fn handle(app: App, request: Request<Bytes>) -> Response<Bytes> {
    let result = answer(&app, &request).await;
    respond(&app, &request, result)
}

async fn answer(app: &App, request: &Request<Bytes>) -> Result<Answer, Failure> {
    let Route::Files(route) = route(request)? else { return Err(ErrorCode::NotFound.into()) };
    let caller = authenticate(app, request)?;
    let notes = LogFields::of(request);
    match route {
        FilesRoute::Create => {
            let new = NewAttachment::try_from(read_json(request.headers(), request.body())?)?;
            notes.channel(&new.channel_id);
            let created = create_attachment(app, &caller, new).await?;
            let headers = created.upload.headers.into_iter();
            Ok(Answer::created(&AttachmentBody {
                id: created.id.to_string(),
                upload: UploadBody {
                    method: created.upload.method.to_owned(),
                    url: created.upload.url,
                    headers: headers.map(|(name, value)| (name.to_owned(), value)).collect(),
                    expires_at: created.expires_at.unix_ms(),
                },
            }))
        }
        FilesRoute::Read { id } => {
            let id = path_attachment(&id)?;
            notes.channel(&id.channel_id);
            Answer::found(&read_attachment(app, &caller, &id).await?)
        }
    }
}
