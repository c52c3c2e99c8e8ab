//! `GET /scroll`, `GET /unread`, `GET /mentions` and `GET /threads` as a function. It only reads.
//!
//! **Main path.** [`handle`] reads the query, calls [`messaging::scroll`], [`messaging::read_state`],
//! [`messaging::mentions`] or [`messaging::threads`], and writes the page.
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
use messaging::threads::{FollowedThread, list_threads};
use model::{ErrorCode, LogId, ThreadId, limits};
use protocol::http::{
    CountBody, PageBody, Query, ThreadBody, ThreadsBody, UnreadBody, UnreadChannelBody,
};
use protocol::routes::{Route, ScrollRoute};
use service::http::{Answer, Failure, LogFields, authenticate, respond, route};

/// Answers the calls that read many messages; anything else is `not_found` or `method_not_allowed`.
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
        ScrollRoute::ListThreads => threads(app, &caller, &query).await,
    }
}

async fn page(
    app: &App,
    caller: &Principal,
    request: &Request<Bytes>,
    query: &Query,
) -> Result<Answer, Failure> {
    let notes = LogFields::of(request);
    let log = LogId::new(query.channel_id()?, query.thread()?);
    let offset = query.message_offset()?;
    let limit = query.limit(limits::PAGE_MESSAGES_DEFAULT)?;
    let direction = query.direction()?;
    let known = query.known(direction)?;
    let request = Scroll { log, offset, limit, direction, known };
    notes.channel(&request.log.channel_id);
    let page = scroll(app, caller, request).await?;
    Ok(Answer::ok(&PageBody {
        messages: page.messages,
        next_offset: page.next_offset.map(|offset| offset.to_string()),
        complete: page.complete,
    }))
}

async fn mentions(app: &App, caller: &Principal, query: &Query) -> Result<Answer, Failure> {
    let (below, limit) = (query.mention_offset()?, query.limit(limits::PAGE_MESSAGES_DEFAULT)?);
    let below = below.map(|(id, log)| Mention { id, log });
    let (messages, next) = list_mentions(app, caller, below.as_ref(), limit).await?;
    let next_offset = next.map(|Mention { id, log }| format!("{id}.{log}"));
    Ok(Answer::ok(&PageBody { messages, next_offset, complete: None }))
}

async fn threads(app: &App, caller: &Principal, query: &Query) -> Result<Answer, Failure> {
    let (below, limit) = (query.thread_offset()?, query.limit(limits::PAGE_MESSAGES_DEFAULT)?);
    let (threads, next) = list_threads(app, caller, below.as_ref(), limit).await?;
    let threads = threads.into_iter().map(|FollowedThread { root, up_to, is_unread }| ThreadBody {
        channel_id: root.channel_id.to_string(),
        root,
        up_to: up_to.to_string(),
        unread: is_unread,
    });
    let next_offset = next.map(|ThreadId { root, channel_id }| format!("{root}.{channel_id}"));
    Ok(Answer::ok(&ThreadsBody { threads: threads.collect(), next_offset }))
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
