//! Announces members again whose addition the bus did not take (G13).

use model::{Channel, ChannelChange, Member, PublicationId, Timestamp, UserId, limits};
use protocol::publication::Publication;

use crate::app::Ports;
use crate::error::StoreError;

/// Publishes who became a member after `since`, by the clock of the calls that added them, and returns how
/// many. Clients that heard of it before hear it again. Nodes read the members, also if nobody became one, as
/// when a removal was lost, or an addition whose rows are older.
///
/// # Errors
/// [`StoreError`]. Repeating it is safe.
///
/// # Cancel safety
/// A dropped call may or may not have published.
pub async fn announce(
    ports: &Ports,
    channel: &Channel,
    since: Timestamp,
) -> Result<usize, StoreError> {
    let mut added: Vec<UserId> = Vec::new();
    let mut last: Option<UserId> = None;
    loop {
        let limit = limits::MEMBERS_READ_MAX;
        let page = ports.members.members(&channel.id, last.as_ref(), limit).await?;
        last = page.rows.last().map(|member| member.user_id.clone());
        let is_new = |member: &Member| member.joined_at > since;
        added.extend(page.rows.into_iter().filter(is_new).map(|member| member.user_id));
        if !page.more {
            break;
        }
    }
    let nobody: &[UserId] = &[];
    let batches = added.chunks(limits::ADD_MEMBERS_MAX);
    let batches = batches.chain(added.is_empty().then_some(nobody));
    for users in batches {
        let id = PublicationId::mint(ports.clock.now(), ports.randomness.bits());
        let (change, version) = (ChannelChange::MembersAdded, channel.members_version);
        // Without the changes that nodes could apply: there may have been others.
        let publication = Publication::of_change(id, &channel.id, change, version, users, &[]);
        ports.bus.publish(&channel.workspace_id, &publication).await?;
    }
    Ok(added.len())
}
