//! `GET /scroll` as a function.
//!
//! **Main path.** [`handle`] reads the query, calls [`messaging::scroll::scroll`], and writes the
//! page.
//!
//! **Invariants.** It returns no error: every refusal is already a response.
//!
//! **Not here.** No rule about history, no Lambda, no environment.

use bytes::Bytes;
use http::{Request, Response};
use messaging::App;
use messaging::scroll::{Scroll, scroll};
use model::{ErrorCode, limits};
use protocol::http::{PageBody, Query};
use protocol::routes::Route;
use service::http::{Answer, Failure, LogFields, authenticate, respond, route};

/// Answers `GET /scroll`; anything else is `not_found` or `method_not_allowed`.
pub async fn handle(app: App, request: Request<Bytes>) -> Response<Bytes> {
    let result = read(&app, &request).await;
    respond(&app, &request, result)
}

async fn read(app: &App, request: &Request<Bytes>) -> Result<Answer, Failure> {
    let Route::Scroll = route(request)? else { return Err(ErrorCode::NotFound.into()) };
    let caller = authenticate(app, request)?;
    let query = Query::parse(request.uri().query());
    let notes = LogFields::of(request);
    let (channel_id, offset) = (query.channel_id()?, query.message_offset()?);
    let limit = query.limit(limits::PAGE_MESSAGES_DEFAULT)?;
    let direction = query.direction()?;
    let known = query.known(direction)?;
    let request = Scroll { channel_id, offset, limit, direction, known };
    notes.channel(&request.channel_id);
    let page = scroll(app, &caller, request).await?;
    Ok(Answer::ok(&PageBody {
        messages: page.messages,
        next_offset: page.next_offset.map(|offset| offset.to_string()),
        complete: page.complete,
    }))
}
