//! Calls on one message as a function: reading, editing, deleting.
//!
//! **Main path.** [`handle`] reads the request in the protocol's order of checks (route, method,
//! token, media type, size, JSON, fields), calls [`messaging::amend`], and writes the message.
//!
//! **Invariants.** It returns no error: every refusal is already a response.
//!
//! **Not here.** No rule about messages, no Lambda, no environment.

use bytes::Bytes;
use http::{Request, Response};
use messaging::App;
use messaging::amend::{Target, delete_message, edit_message, read_message};
use model::{EditMessage, ErrorCode};
use protocol::http::{EditedBody, path_channel, path_message, read_json};
use protocol::routes::Route;
use service::http::{Answer, Failure, LogFields, authenticate, origin, respond, route};

/// Answers `GET`, `PATCH` and `DELETE /channels/{channel_id}/messages/{id}`; anything else is
/// `not_found` or `method_not_allowed`.
pub async fn handle(app: App, request: Request<Bytes>) -> Response<Bytes> {
    let result = answer(&app, &request).await;
    respond(&app, &request, result)
}

async fn answer(app: &App, request: &Request<Bytes>) -> Result<Answer, Failure> {
    let route = route(request)?;
    let (Route::ReadMessage { channel_id, id }
    | Route::EditMessage { channel_id, id }
    | Route::DeleteMessage { channel_id, id }) = &route
    else {
        return Err(ErrorCode::NotFound.into());
    };
    let caller = authenticate(app, request)?;
    let target = || {
        Ok::<_, Failure>(Target { channel_id: path_channel(channel_id)?, id: path_message(id)? })
    };
    let notes = LogFields::of(request);
    if matches!(route, Route::EditMessage { .. }) {
        let body = read_json(request.headers(), request.body())?;
        let (target, edit) = (target()?, EditMessage::try_from(body)?);
        notes.channel(&target.channel_id);
        let edited = edit_message(app, &caller, &target, &edit, origin(app, request)).await?;
        notes.message(target.id, edited.duplicate);
        let (duplicate, superseded) = (edited.duplicate, edited.superseded);
        return Ok(Answer::ok(&EditedBody { message: edited.message, duplicate, superseded }));
    }
    let target = target()?;
    notes.channel(&target.channel_id);
    let message = if matches!(route, Route::DeleteMessage { .. }) {
        delete_message(app, &caller, &target, origin(app, request)).await?
    } else {
        read_message(app, &caller, &target).await?
    };
    Ok(Answer::ok(&message))
}
