//! What a workspace's task asks the bus about channels that keep nothing (ADR 0043).

use std::collections::HashMap;
use std::sync::Arc;

use delivery::{Answered, Ask, Input, Spoken};
use messaging::ports::{BusError, Sealed};
use model::{
    Channel, ChannelId, Contract, ErrorCode, Message, SessionId, SessionPosition, WorkspaceId,
    limits,
};
use parking_lot::Mutex;
use protocol::client_frame::SendFrame;
use protocol::signal::SaidSignal;
use tokio::time::Instant;

use crate::hub::Hub;

/// What the node read lately of channels that were asked for: whether they keep nothing, and are over.
#[derive(Debug, Default)]
pub(crate) struct KnownMeetings(Mutex<HashMap<ChannelId, (Instant, Channel)>>);

impl KnownMeetings {
    fn get(&self, id: &ChannelId) -> Option<Channel> {
        let known = self.0.lock();
        let fresh = known.get(id).filter(|(at, _)| at.elapsed() < limits::VIEW_LEASE);
        fresh.map(|(_, channel)| channel.clone())
    }

    fn put(&self, channel: Channel) {
        let mut known = self.0.lock();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (at, _)| at.elapsed() < limits::VIEW_LEASE);
        }
        if known.len() < KNOWN_MAX {
            known.insert(channel.id.clone(), (Instant::now(), channel));
        }
    }

    /// Forgets a channel, because it has ended.
    pub(crate) fn forget(&self, id: &ChannelId) {
        self.0.lock().remove(id);
    }
}

/// Answers a client that joins or sends.
pub(crate) async fn ask(hub: Arc<Hub>, workspace: WorkspaceId, ask: Ask) -> Input {
    let (socket, number) = (ask.socket, ask.number);
    let answered = answer(&hub, &workspace, ask).await;
    Input::Answered { socket, number, answered }
}

async fn answer(hub: &Hub, workspace: &WorkspaceId, ask: Ask) -> Answered {
    let channel = meeting(hub, workspace, &ask.channel_id).await.map_err(|code| (code, None))?;
    let new = SessionId::mint(hub.now(), hub.ports.randomness.bits());
    let asked = match &ask.send {
        None => bounded(hub.ports.sessions.session(workspace, &channel.id, new)).await,
        Some(send) => {
            let said = sealed(hub, workspace, &channel, &ask, send)?;
            bounded(hub.ports.sessions.say(workspace, &said, new)).await
        }
    };
    asked.or(Err((ErrorCode::Unavailable, None)))
}

/// The channel, if it keeps nothing and is not over.
async fn meeting(hub: &Hub, workspace: &WorkspaceId, id: &ChannelId) -> Result<Channel, ErrorCode> {
    let channel = match hub.meetings.get(id) {
        Some(known) => known,
        None => {
            let read = hub.ports.channels.channels(std::slice::from_ref(id));
            let permit = hub.store.admit().await;
            let read = tokio::time::timeout(limits::PUBLISH_DEADLINE, read).await;
            drop(permit);
            let Ok(Ok(found)) = read else { return Err(ErrorCode::Unavailable) };
            let is_ours = |found: &Channel| found.workspace_id == *workspace;
            let found = found.into_iter().find(is_ours).ok_or(ErrorCode::ChannelNotFound)?;
            hub.meetings.put(found.clone());
            found
        }
    };
    match channel.contract {
        Contract::Ephemeral if channel.is_over(hub.now()) => Err(ErrorCode::Ended),
        Contract::Ephemeral => Ok(channel),
        Contract::PersistFirst | Contract::DeliverFirst => Err(ErrorCode::WrongContract),
    }
}

fn sealed(
    hub: &Hub,
    workspace: &WorkspaceId,
    channel: &Channel,
    ask: &Ask,
    send: &SendFrame,
) -> Result<Sealed, (ErrorCode, Option<&'static str>)> {
    if send.text.as_str().len() > limits::EPHEMERAL_TEXT_BYTES_MAX {
        return Err((ErrorCode::MessageTooLong, Some("message")));
    }
    let (now, made_at) = (hub.now(), send.id.time());
    if made_at < now.minus(limits::REDIRECT_PAST_MAX) || made_at > now.plus(limits::FUTURE) {
        return Err((ErrorCode::IdOutOfRange, Some("id")));
    }
    let (id, sender) = (send.id, ask.user.clone());
    let mut message = Message::new(id, channel.id.clone(), sender, send.text.clone());
    message.quote = send.quote;
    let message = serde_json::to_string(&message).unwrap_or_default();
    let mut nonce = [0; 24];
    let bits = [hub.ports.randomness.bits(), hub.ports.randomness.bits()];
    for (byte, random) in nonce.iter_mut().zip(bits.iter().flat_map(|bits| bits.to_be_bytes())) {
        *byte = random;
    }
    let text = hub.ports.seal.seal(workspace, &channel.id, &message, nonce);
    // The channel's own version may be newer than the view here.
    let members_version = ask.members_version.max(channel.members_version);
    Ok(Sealed { channel_id: channel.id.clone(), members_version, text })
}

/// Opens what was said; `None` if another fleet sealed it.
pub(crate) fn open(hub: &Hub, workspace: &WorkspaceId, said: SaidSignal) -> Option<Input> {
    let SaidSignal { channel_id, members_version, at, sealed } = said;
    let message = hub.ports.seal.open(workspace, &channel_id, &sealed)?;
    Some(Input::Spoken(Spoken { channel_id, members_version, at, message }))
}

/// Tells the bus that somebody takes part, or finds that the meeting is over.
pub(crate) async fn keep(
    hub: Arc<Hub>,
    workspace: WorkspaceId,
    channel: ChannelId,
) -> Option<Input> {
    match meeting(&hub, &workspace, &channel).await {
        Ok(_) => {
            let new = SessionId::mint(hub.now(), hub.ports.randomness.bits());
            // The next one tells it, too.
            let _told =
                bounded(hub.ports.sessions.session(&workspace, &channel, new)).await.is_ok();
            None
        }
        Err(ErrorCode::Ended) => Some(Input::MeetingOver(channel)),
        Err(_) => None,
    }
}

async fn bounded(
    call: impl Future<Output = Result<SessionPosition, BusError>>,
) -> Result<SessionPosition, BusError> {
    let answered = tokio::time::timeout(limits::PUBLISH_DEADLINE, call).await;
    answered.unwrap_or_else(|late| Err(BusError::Unavailable(late.into())))
}

/// Channels that are known at the same time.
const KNOWN_MAX: usize = 10_000;
