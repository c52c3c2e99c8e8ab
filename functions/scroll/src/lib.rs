//! `GET /scroll`, `GET /unread` and `GET /mentions` as a function. It only reads.
//!
//! **Main path.** [`handle`] reads the query, calls [`messaging::scroll::scroll`],
//! [`messaging::read_state::list_unread`] or [`messaging::mentions::list_mentions`], and writes the
//! page.
//!
//! **Invariants.** It returns no error: every refusal is already a response.
//!
//! **Not here.** No rule about history or read state, no Lambda, no environment.

use bytes::Bytes;
use http::{Request, Response};
use messaging::App;
use messaging::mentions::list_mentions;
use messaging::ports::{Mention, Principal};
use messaging::read_state::{Unread, list_unread};
use messaging::scroll::{Scroll, scroll};
use model::{ErrorCode, limits};
use protocol::http::{CountBody, PageBody, Query, UnreadBody, UnreadChannelBody};
use protocol::routes::{Route, ScrollRoute};
use service::http::{Answer, Failure, LogFields, authenticate, respond, route};

/// Answers `GET /scroll`, `GET /unread` and `GET /mentions`; anything else is `not_found` or `method_not_allowed`.
pub async fn handle(app: App, request: Request<Bytes>) -> Response<Bytes> {
    let result = read(&app, &request).await;
    respond(&app, &request, result)
}

async fn read(app: &App, request: &Request<Bytes>) -> Result<Answer, Failure> {
    let Route::Scroll(route) = route(request)? else { return Err(ErrorCode::NotFound.into()) };
    let caller = authenticate(app, request)?;
    let query = Query::parse(request.uri().query());
    match route {
        ScrollRoute::Page => page(app, &caller, request, &query).await,
        ScrollRoute::ListUnread => unread(app, &caller, &query).await,
        ScrollRoute::ListMentions => mentions(app, &caller, &query).await,
    }
}

async fn page(
    app: &App,
    caller: &Principal,
    request: &Request<Bytes>,
    query: &Query,
) -> Result<Answer, Failure> {
    let notes = LogFields::of(request);
    let (channel_id, offset) = (query.channel_id()?, query.message_offset()?);
    let limit = query.limit(limits::PAGE_MESSAGES_DEFAULT)?;
    let direction = query.direction()?;
    let known = query.known(direction)?;
    let request = Scroll { channel_id, offset, limit, direction, known };
    notes.channel(&request.channel_id);
    let page = scroll(app, caller, request).await?;
    Ok(Answer::ok(&PageBody {
        messages: page.messages,
        next_offset: page.next_offset.map(|offset| offset.to_string()),
        complete: page.complete,
    }))
}

async fn mentions(app: &App, caller: &Principal, query: &Query) -> Result<Answer, Failure> {
    let (below, limit) = (query.mention_offset()?, query.limit(limits::PAGE_MESSAGES_DEFAULT)?);
    let below = below.map(|(id, channel_id)| Mention { id, channel_id });
    let (messages, next) = list_mentions(app, caller, below.as_ref(), limit).await?;
    let next_offset = next.map(|Mention { id, channel_id }| format!("{id}.{channel_id}"));
    Ok(Answer::ok(&PageBody { messages, next_offset, complete: None }))
}

async fn unread(app: &App, caller: &Principal, query: &Query) -> Result<Answer, Failure> {
    let (after, limit) = (query.channel_offset()?, query.limit(limits::PAGE_ROWS_DEFAULT)?);
    let (channels, next) = list_unread(app, caller, after.as_ref(), limit).await?;
    let channels = channels.into_iter().map(|Unread { of, count, mentions }| UnreadChannelBody {
        channel_id: of.channel_id.to_string(),
        up_to: of.mark.up_to.to_string(),
        epoch: of.mark.epoch.number(),
        unread: CountBody::of(count),
        mentions: CountBody::of(mentions),
    });
    let next_offset = next.map(|next| next.to_string());
    Ok(Answer::ok(&UnreadBody { channels: channels.collect(), next_offset }))
}
