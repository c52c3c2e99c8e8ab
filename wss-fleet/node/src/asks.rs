//! What a workspace's task asks for its clients: sends, and joins of channels that keep nothing.

use std::sync::Arc;

use delivery::{Answered, Ask, Input, Taken};
use messaging::Refusal;
use messaging::deliver::{Delivered, Sending, deliver};
use messaging::ports::ReceiptMarks;
use model::{Channel, ChannelId, Contract, ErrorCode, MessageId, UserId, WorkspaceId, limits};
use protocol::client_frame::SendFrame;
use protocol::receipts::UserDevice;

use crate::hub::Hub;
use crate::known_channels::{channel, read};
use crate::meetings;

/// Answers a client that joins or sends.
pub(crate) async fn ask(hub: Arc<Hub>, workspace: WorkspaceId, ask: Ask) -> Input {
    let (socket, number) = (ask.socket, ask.number);
    let answered = answer(&hub, &workspace, ask).await;
    Input::Answered { socket, number, answered }
}

async fn answer(hub: &Hub, workspace: &WorkspaceId, mut ask: Ask) -> Answered {
    let channel = channel(hub, workspace, &ask.channel_id).await.map_err(|code| (code, None))?;
    if channel.contract.delivers_first()
        && let Some(send) = ask.send.take()
    {
        return delivered(hub, channel, ask, send).await;
    }
    if ask.members_version.is_none() {
        let standing = read(hub, hub.ports.channels.standing(&channel.id, &ask.user)).await;
        let standing = standing.map_err(|code| (code, None))?;
        let member_of = standing.channel.filter(|_| standing.is_member);
        let found = member_of.ok_or((ErrorCode::ChannelNotFound, None))?;
        ask.members_version = Some(found.members_version);
    }
    match channel.contract {
        Contract::Ephemeral => meetings::answer(hub, workspace, &channel, &ask).await,
        Contract::PersistFirst | Contract::DeliverFirst | Contract::DeliverUntilAcked => {
            Err((ErrorCode::WrongContract, None))
        }
    }
}

/// Delivers a message that is stored later.
async fn delivered(hub: &Hub, channel: Channel, ask: Ask, send: SendFrame) -> Answered {
    let SendFrame { id, text, after, quote, .. } = send;
    let (sender, members_version) = (ask.user, ask.members_version);
    let (channel_id, row_version) = (channel.id.clone(), channel.members_version);
    let sending = Sending { channel, sender, members_version, id, text, after, quote };
    let delivered = deliver(&hub.ports, &sending);
    let (outcome, answered) = match tokio::time::timeout(limits::DELIVER_DEADLINE, delivered).await
    {
        Ok(Ok(Delivered { replicated })) => ("accepted", Ok(Taken::Delivered { replicated })),
        Ok(Err(refused)) => {
            let code = refused.code();
            let is_ours = code == ErrorCode::Unavailable || code == ErrorCode::ChannelBusy;
            (if is_ours { "unavailable" } else { "refused" }, Err((code, refused.field())))
        }
        Err(_late) => ("unavailable", Err((ErrorCode::Unavailable, None))),
    };
    if outcome != "refused" {
        // Neither is newer than the version by which it was delivered, if it was.
        hub.channels.delivered(&channel_id, row_version.max(members_version.unwrap_or(0)));
    }
    hub.metrics.sends.with_label_values(&[outcome]).inc();
    answered
}

/// Notes up to where users have a channel's messages, and which ones their devices keep. If the bus does not
/// take it, the former is said again, and the messages of the latter are stored.
pub(crate) async fn told(
    hub: Arc<Hub>,
    workspace: WorkspaceId,
    id: ChannelId,
    delivered: Vec<(UserId, MessageId)>,
    kept: Vec<(MessageId, UserDevice)>,
) {
    if !kept.is_empty() {
        let noted = hub.ports.receipts.note_keepers(&workspace, &id, &kept);
        let noted = tokio::time::timeout(limits::PUBLISH_DEADLINE, noted).await;
        if !matches!(noted, Ok(Ok(()))) {
            tracing::debug!(channel = %id, "what devices keep was not noted");
        }
    }
    if delivered.is_empty() {
        return;
    }
    let channel = channel(&hub, &workspace, &id).await;
    if !channel.is_ok_and(|channel| channel.contract.delivers_first()) {
        return;
    }
    let marks = ReceiptMarks { delivered, read: Vec::new() };
    let raise = hub.ports.receipts.raise(&workspace, &id, &marks);
    let raised = tokio::time::timeout(limits::PUBLISH_DEADLINE, raise).await;
    let outcome = if matches!(raised, Ok(Ok(()))) { "pushed" } else { "failed" };
    hub.metrics.signals.with_label_values(&[outcome]).inc();
}
