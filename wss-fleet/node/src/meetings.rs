//! What a workspace's task asks the bus about channels that keep nothing (ADR 0043).

use std::sync::Arc;

use delivery::{Answered, Ask, Input, Spoken, Taken};
use messaging::ports::{BusError, Sealed};
use model::{
    Channel, ChannelId, ErrorCode, Message, SessionId, SessionPosition, WorkspaceId, limits,
};
use protocol::client_frame::SendFrame;
use protocol::signal::SaidSignal;

use crate::hub::Hub;
use crate::known_channels;

/// Answers a client that joins a channel which keeps nothing, or says something there.
pub(crate) async fn answer(
    hub: &Hub,
    workspace: &WorkspaceId,
    channel: &Channel,
    ask: &Ask,
) -> Answered {
    if channel.is_over(hub.now()) {
        return Err((ErrorCode::Ended, None));
    }
    let new = SessionId::mint(hub.now(), hub.ports.randomness.bits());
    let asked = match &ask.send {
        None => bounded(hub.ports.sessions.session(workspace, &channel.id, new)).await,
        Some(send) => {
            let said = sealed(hub, workspace, channel, ask, send)?;
            bounded(hub.ports.sessions.say(workspace, &said, new)).await
        }
    };
    asked.map(Taken::At).or(Err((ErrorCode::Unavailable, None)))
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
    let members_version = ask.members_version.unwrap_or_default().max(channel.members_version);
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
    match known_channels::channel(&hub, &workspace, &channel).await {
        Ok(found) if found.is_over(hub.now()) => Some(Input::MeetingOver(channel)),
        Ok(_) => {
            let new = SessionId::mint(hub.now(), hub.ports.randomness.bits());
            // The next one tells it, too.
            let _told =
                bounded(hub.ports.sessions.session(&workspace, &channel, new)).await.is_ok();
            None
        }
        Err(_) => None,
    }
}

async fn bounded(
    call: impl Future<Output = Result<SessionPosition, BusError>>,
) -> Result<SessionPosition, BusError> {
    let answered = tokio::time::timeout(limits::PUBLISH_DEADLINE, call).await;
    answered.unwrap_or_else(|late| Err(BusError::Unavailable(late.into())))
}
