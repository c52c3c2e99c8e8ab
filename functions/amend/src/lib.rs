//! Calls that change what is stored, in place: one message, its reactions and its pin, and the
//! caller's read marks. Reading one message is here too.
//!
//! **Main path.** [`handle`] reads the request in the protocol's order of checks (route, method,
//! token, media type, size, JSON, fields), calls [`messaging::amend`], [`messaging::react`],
//! [`messaging::pins`], [`messaging::threads`] or [`messaging::read_state`], and writes the message or the
//! marks.
//!
//! **Invariants.** It returns no error: every refusal is already a response.
//!
//! **Not here.** No rule about messages or marks, no Lambda, no environment.

use bytes::Bytes;
use http::{Request, Response};
use messaging::App;
use messaging::amend::{Target, delete_message, edit_message, read_message};
use messaging::pins::{PinAct, list_pins, pin};
use messaging::ports::{Principal, ReceiptMarks};
use messaging::react::{Act, list_reactions, react};
use messaging::read_state::{self, MarkOutcome};
use messaging::receipts::read_receipts;
use messaging::threads::follow;
use model::{EditMessage, ErrorCode, LogId, ThreadId, limits};
use protocol::http::{
    EditedBody, FollowedBody, MarkBody, MarkReadBody, MarkUnreadBody, MarksBody, PageBody, Query,
    ReactionBody, ReactionsBody, ReceiptsBody, UnreadMarkBody, path_channel, path_emoji,
    path_message, read_json,
};
use protocol::routes::{AmendRoute, Route};
use service::http::{Answer, Failure, LogFields, authenticate, origin, respond, route};

/// Answers the calls on one message, and on the caller's read marks; anything else is `not_found` or
/// `method_not_allowed`.
pub async fn handle(app: App, request: Request<Bytes>) -> Response<Bytes> {
    let result = answer(&app, &request).await;
    respond(&app, &request, result)
}

async fn answer(app: &App, request: &Request<Bytes>) -> Result<Answer, Failure> {
    let Route::Amend(route) = route(request)? else { return Err(ErrorCode::NotFound.into()) };
    let caller = authenticate(app, request)?;
    let query = Query::parse(request.uri().query());
    let origin = origin(app, request);
    let notes = LogFields::of(request);
    let target = |channel_id: &str, id: &str| {
        let (channel_id, id) = (path_channel(channel_id)?, path_message(id)?);
        notes.channel(&channel_id);
        Ok::<_, Failure>(Target { log: LogId::new(channel_id, query.thread()?), id })
    };
    match &route {
        AmendRoute::ReadMessage { channel_id, id } => {
            Ok(Answer::ok(&read_message(app, &caller, &target(channel_id, id)?).await?))
        }
        AmendRoute::EditMessage { channel_id, id } => {
            let body = read_json(request.headers(), request.body())?;
            let (target, edit) = (target(channel_id, id)?, EditMessage::try_from(body)?);
            let edited = edit_message(app, &caller, &target, &edit, origin).await?;
            notes.message(target.id, edited.duplicate);
            let (duplicate, superseded) = (edited.duplicate, edited.superseded);
            Ok(Answer::ok(&EditedBody { message: edited.message, duplicate, superseded }))
        }
        AmendRoute::DeleteMessage { channel_id, id } => {
            let target = target(channel_id, id)?;
            Ok(Answer::ok(&delete_message(app, &caller, &target, origin).await?))
        }
        AmendRoute::ListReactions { channel_id, id } => {
            list(app, &caller, &target(channel_id, id)?, &query).await
        }
        AmendRoute::React { channel_id, id, emoji }
        | AmendRoute::Unreact { channel_id, id, emoji } => {
            let target = target(channel_id, id)?;
            let is_made = matches!(route, AmendRoute::React { .. });
            let act = Act { emoji: path_emoji(emoji)?, is_made, change_id: query.change_id()? };
            Ok(Answer::ok(&react(app, &caller, &target, &act, origin).await?))
        }
        AmendRoute::ListPins { channel_id } => {
            pinned(app, &caller, channel_id, &query, &notes).await
        }
        AmendRoute::Pin { channel_id, id } | AmendRoute::Unpin { channel_id, id } => {
            let target = target(channel_id, id)?;
            let is_made = matches!(route, AmendRoute::Pin { .. });
            let act = PinAct { is_made, change_id: query.change_id()? };
            Ok(Answer::ok(&pin(app, &caller, &target, act, origin).await?))
        }
        AmendRoute::Follow { channel_id, root } | AmendRoute::Unfollow { channel_id, root } => {
            let thread =
                ThreadId { root: path_message(root)?, channel_id: path_channel(channel_id)? };
            notes.channel(&thread.channel_id);
            let followed = matches!(route, AmendRoute::Follow { .. });
            follow(app, &caller, &thread, followed).await?;
            let (channel_id, thread) = (thread.channel_id.to_string(), thread.root.to_string());
            Ok(Answer::ok(&FollowedBody { channel_id, thread, followed }))
        }
        AmendRoute::ReadReceipts { channel_id } => {
            let channel_id = path_channel(channel_id)?;
            LogFields::of(request).channel(&channel_id);
            let ReceiptMarks { delivered, read } = read_receipts(app, &caller, &channel_id).await?;
            Ok(Answer::ok(&ReceiptsBody::of(&delivered, &read)))
        }
        AmendRoute::MarkRead => mark_read(app, &caller, request).await,
        AmendRoute::MarkUnread { channel_id } => {
            mark_unread(app, &caller, request, channel_id).await
        }
    }
}

async fn list(
    app: &App,
    caller: &Principal,
    target: &Target,
    query: &Query,
) -> Result<Answer, Failure> {
    let (after, limit) = (query.reaction_offset()?, query.limit(limits::PAGE_ROWS_DEFAULT)?);
    let after = after.as_ref().map(|(user, emoji)| (user, emoji));
    let page = list_reactions(app, caller, target, after, limit).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next_offset = last.map(|row| format!("{}#{}", row.user_id, row.emoji));
    let standing = page.rows.iter().filter(|row| row.withdrawn.is_none());
    let reactions = standing.map(|row| ReactionBody::of(&row.emoji, &row.user_id)).collect();
    Ok(Answer::ok(&ReactionsBody { reactions, next_offset }))
}

async fn pinned(
    app: &App,
    caller: &Principal,
    channel_id: &str,
    query: &Query,
    notes: &LogFields,
) -> Result<Answer, Failure> {
    let channel_id = path_channel(channel_id)?;
    let (offset, limit) = (query.pin_offset()?, query.limit(limits::PAGE_ROWS_DEFAULT)?);
    notes.channel(&channel_id);
    let page = list_pins(app, caller, &channel_id, offset, limit).await?;
    let next_offset = page.next_offset.map(|offset| offset.to_string());
    Ok(Answer::ok(&PageBody { messages: page.messages, next_offset, complete: None }))
}

async fn mark_read(
    app: &App,
    caller: &Principal,
    request: &Request<Bytes>,
) -> Result<Answer, Failure> {
    let body = MarkReadBody::try_from(read_json(request.headers(), request.body())?)?;
    let marked = read_state::mark_read(app, caller, &body.marks, &body.shared).await?;
    let marks = marked.iter().map(|(log, marked)| match marked {
        MarkOutcome::Moved(mark) => MarkBody::marked(log, *mark, true),
        MarkOutcome::Kept(mark) => MarkBody::marked(log, *mark, false),
        MarkOutcome::Refused(code) => MarkBody::refused(log, *code),
    });
    Ok(Answer::ok(&MarksBody { marks: marks.collect() }))
}

async fn mark_unread(
    app: &App,
    caller: &Principal,
    request: &Request<Bytes>,
    channel_id: &str,
) -> Result<Answer, Failure> {
    let body = read_json(request.headers(), request.body())?;
    let (channel_id, body) = (path_channel(channel_id)?, MarkUnreadBody::try_from(body)?);
    LogFields::of(request).channel(&channel_id);
    let mark = read_state::mark_unread(app, caller, &channel_id, body.from).await?;
    Ok(Answer::ok(&UnreadMarkBody::of(mark)))
}
