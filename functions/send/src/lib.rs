//! `POST /messages` as a function.
//!
//! **Main path.** [`handle`] reads the request in the protocol's order of checks (route, method,
//! token, media type, size, JSON, fields), calls [`messaging::send::post_message`], and writes the
//! stored message.
//!
//! **Invariants.** It returns no error: every refusal is already a response.
//!
//! **Not here.** No rule about messages, no Lambda, no environment.

use bytes::Bytes;
use http::{Request, Response};
use messaging::App;
use messaging::send::post_message;
use model::{ErrorCode, NewMessage};
use protocol::http::{PostedBody, read_json};
use protocol::routes::Route;
use service::http::{Answer, Failure, LogFields, authenticate, origin, respond, route};

/// Answers `POST /messages`; anything else is `not_found` or `method_not_allowed`.
pub async fn handle(app: App, request: Request<Bytes>) -> Response<Bytes> {
    let result = post(&app, &request).await;
    respond(&app, &request, result)
}

async fn post(app: &App, request: &Request<Bytes>) -> Result<Answer, Failure> {
    let Route::PostMessage = route(request)? else { return Err(ErrorCode::NotFound.into()) };
    let caller = authenticate(app, request)?;
    let message = NewMessage::try_from(read_json(request.headers(), request.body())?)?;
    let notes = LogFields::of(request);
    notes.channel(&message.log.channel_id);
    let posted = post_message(app, &caller, &message, origin(app, request)).await?;
    notes.message(posted.message.id, posted.duplicate);
    Ok(Answer::ok(&PostedBody {
        message: posted.message,
        duplicate: posted.duplicate,
        server_time: posted.server_time.unix_ms(),
    }))
}
