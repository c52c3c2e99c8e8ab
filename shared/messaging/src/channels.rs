//! Creating and reading channels. A DM is a channel with exactly two members and a derived id.

use model::{
    Channel, ChannelChange, ChannelDetails, ChannelId, ChannelType, ErrorCode, Member, NewChannel,
    NewChannelKind, PublicationId, UserId, Visibility,
};
use protocol::publication::Publication;

use crate::access::{AccessError, is_revoked, visible_channel};
use crate::app::App;
use crate::contract::{self, ContractNotServed};
use crate::error::{Refusal, StoreError};
use crate::ports::{Creation, NamePage, Principal};

/// Why a channel was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateChannelError {
    /// The caller is revoked.
    #[error("the caller is revoked")]
    Forbidden,
    /// A named member is revoked.
    #[error("a member is revoked")]
    UserNotFound,
    /// A DM with oneself.
    #[error("a DM takes another user")]
    DmWithOneself,
    /// Nothing could be sent under the contract.
    #[error(transparent)]
    Contract(#[from] ContractNotServed),
    /// The store did not acknowledge.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for CreateChannelError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Forbidden => ErrorCode::Forbidden,
            Self::UserNotFound => ErrorCode::UserNotFound,
            Self::DmWithOneself | Self::Contract(ContractNotServed) => ErrorCode::InvalidField,
            Self::Store(error) => error.code(),
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::DmWithOneself => Some("members"),
            Self::Contract(ContractNotServed) => Some("contract"),
            Self::Forbidden | Self::UserNotFound | Self::Store(_) => None,
        }
    }
}

/// Why a channel was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadChannelError {
    /// No such channel for the caller.
    #[error("no such channel for the caller")]
    ChannelNotFound,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ReadChannelError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ChannelNotFound => ErrorCode::ChannelNotFound,
            Self::Store(error) => error.code(),
        }
    }
}

impl From<AccessError> for ReadChannelError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::NotFound => Self::ChannelNotFound,
            AccessError::Store(error) => Self::Store(error),
        }
    }
}

/// Creates a channel, or returns the existing DM. Writes the rows first and the channel's item
/// last, so that a visible channel is complete. Opening a DM is idempotent, creating a group is
/// not.
///
/// # Errors
/// [`CreateChannelError`].
pub async fn create_channel(
    app: &App,
    caller: &Principal,
    new: NewChannel,
) -> Result<(Channel, Creation), CreateChannelError> {
    let now = app.clock.now();
    let me = &caller.user_id;
    let (id, channel_type, visibility, name, mut users) = match new.kind {
        NewChannelKind::Dm { other } if other == *me => {
            return Err(CreateChannelError::DmWithOneself);
        }
        NewChannelKind::Dm { other } => {
            let id = ChannelId::of_dm(&caller.workspace_id, me, &other, new.contract);
            (id, ChannelType::Dm, Visibility::Private, None, vec![other])
        }
        NewChannelKind::Group { visibility, name, members } => {
            let id = ChannelId::mint_group(now, app.randomness.bits());
            (id, ChannelType::Group, visibility, Some(name), members)
        }
    };
    contract::check_new(new.contract, channel_type)?;
    users.retain(|user| user != me);
    users.push(me.clone());
    let channel = Channel {
        id,
        workspace_id: caller.workspace_id.clone(),
        channel_type,
        visibility,
        details: ChannelDetails::new(name),
        contract: new.contract,
        created_at: now,
        created_by: me.clone(),
        members_version: 1,
        late: None,
    };
    refuse_revoked(app, caller, &users).await?;
    if channel_type == ChannelType::Dm
        && let Some(existing) = existing(app, &channel.id).await?
    {
        return Ok((existing, Creation::Existed));
    }
    write(app, caller, &channel, &users).await
}

async fn existing(app: &App, id: &ChannelId) -> Result<Option<Channel>, StoreError> {
    Ok(app.channels.channels(std::slice::from_ref(id)).await?.into_iter().next())
}

async fn write(
    app: &App,
    caller: &Principal,
    channel: &Channel,
    users: &[UserId],
) -> Result<(Channel, Creation), CreateChannelError> {
    let joined_at = channel.created_at;
    let rows: Vec<Member> =
        users.iter().map(|user_id| Member { user_id: user_id.clone(), joined_at }).collect();
    let workspace = &caller.workspace_id;
    app.members.put_members(workspace, &channel.id, &rows).await.map_err(StoreError::from)?;
    // A revocation between the first check and this write missed these rows: check again.
    let second_look = refuse_revoked(app, caller, users).await;
    if let Err(CreateChannelError::Forbidden | CreateChannelError::UserNotFound) = &second_look {
        for user in users {
            let deleted = app.members.delete_member(workspace, &channel.id, user).await;
            deleted.map_err(StoreError::from)?;
        }
    }
    // If the store did not answer, the rows stay: those of a DM may belong to another call as well.
    second_look?;
    if channel.visibility == Visibility::Public {
        // Before the channel's item, like the members: whoever sees a public channel finds it in the
        // list. A row without a channel, from a call that broke off, is passed over.
        app.members.list_publicly(workspace, &channel.id).await.map_err(StoreError::from)?;
    }
    match app.channels.create(channel).await.map_err(StoreError::from)? {
        Creation::Created => {
            let creator = std::slice::from_ref(&caller.user_id);
            publish(app, channel, ChannelChange::Created, 1, creator, users).await;
            Ok((channel.clone(), Creation::Created))
        }
        Creation::Existed => {
            let found = existing(app, &channel.id).await?;
            Ok((found.unwrap_or_else(|| channel.clone()), Creation::Existed))
        }
    }
}

async fn refuse_revoked(
    app: &App,
    caller: &Principal,
    users: &[UserId],
) -> Result<(), CreateChannelError> {
    let revoked = app.revocations.revoked_among(&caller.workspace_id, users).await;
    let revoked = revoked.map_err(StoreError::from)?;
    if revoked.contains(&caller.user_id) {
        return Err(CreateChannelError::Forbidden);
    }
    if revoked.is_empty() { Ok(()) } else { Err(CreateChannelError::UserNotFound) }
}

/// Offers a change to the bus: a hint for clients, a delta for nodes (G6). `about` names the users
/// who get it in any case; `changed` names those who were added or removed.
pub(crate) async fn publish(
    app: &App,
    channel: &Channel,
    change: ChannelChange,
    members_version: u64,
    about: &[UserId],
    changed: &[UserId],
) {
    let id = PublicationId::mint(app.clock.now(), app.randomness.bits());
    let publication =
        Publication::of_change(id, &channel.id, change, members_version, about, changed);
    app.publisher().publish(&channel.workspace_id, &publication).await;
}

/// Reads one channel that the caller is a member of, or a public one.
///
/// # Errors
/// [`ReadChannelError`].
pub async fn read_channel(
    app: &App,
    caller: &Principal,
    id: &ChannelId,
) -> Result<Channel, ReadChannelError> {
    Ok(visible_channel(app, caller, id).await?)
}

/// Reads the caller's channels in order of id, strongly. Clients read them again after a resync.
///
/// # Errors
/// [`StoreError`].
pub async fn list_channels(
    app: &App,
    caller: &Principal,
    after: Option<&ChannelId>,
    limit: u32,
) -> Result<(Vec<Channel>, Option<ChannelId>), StoreError> {
    let (workspace, me) = (&caller.workspace_id, &caller.user_id);
    let page = app.members.channels_of(workspace, me, after, limit).await?;
    channels_on(app, caller, page).await
}

/// Reads the workspace's public channels in order of id. The list may lack a channel that was
/// created within the last second. It is empty for a revoked user.
///
/// # Errors
/// [`StoreError`].
pub async fn list_public_channels(
    app: &App,
    caller: &Principal,
    after: Option<&ChannelId>,
    limit: u32,
) -> Result<(Vec<Channel>, Option<ChannelId>), StoreError> {
    if is_revoked(app, caller).await? {
        return Ok((Vec::new(), None));
    }
    let page = app.members.public_channels(&caller.workspace_id, after, limit).await?;
    let (mut channels, next) = channels_on(app, caller, page).await?;
    channels.retain(|channel| channel.visibility == Visibility::Public);
    Ok((channels, next))
}

async fn channels_on(
    app: &App,
    caller: &Principal,
    NamePage { rows: ids, more }: NamePage<ChannelId>,
) -> Result<(Vec<Channel>, Option<ChannelId>), StoreError> {
    let next = ids.last().filter(|_| more).cloned();
    let mut channels =
        if ids.is_empty() { Vec::new() } else { app.channels.channels(&ids).await? };
    // A row without a channel belongs to a creation that has not finished.
    let now = app.clock.now();
    channels.retain(|channel| channel.workspace_id == caller.workspace_id && !channel.is_over(now));
    channels.sort_by(|one, other| one.id.cmp(&other.id));
    Ok((channels, next))
}
