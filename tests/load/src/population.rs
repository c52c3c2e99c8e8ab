//! The users of a run: which socket is in which channel, computed from numbers alone, so that node,
//! clients and publisher agree.

use std::time::Duration;

use auth::tickets::SignedTickets;
use auth::{Secret, Secrets};
use messaging::ports::{ChannelStore, MemberStore, Principal, Ticket, Tickets as _};
use model::{
    Channel, ChannelDetails, ChannelId, ChannelType, Contract, Member, Message, MessageId,
    MessageText, NodeId, Timestamp, UserId, Visibility, WorkspaceId, limits,
};
use protocol::publication::Publication;
use serde::{Deserialize, Serialize};

use crate::Failed;

/// Workspaces with equally many users, in channels of consecutive users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub(crate) struct Population {
    /// Workspaces.
    #[arg(long, default_value_t = 1)]
    pub(crate) workspaces: usize,
    /// Users per workspace.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) users: usize,
    /// Members of a channel.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) channel_size: usize,
    /// Sockets per user. They are numbered consecutively.
    #[arg(long, default_value_t = 1)]
    pub(crate) sockets_per_user: usize,
}

impl Population {
    /// One channel with all users.
    pub(crate) const fn one_channel(users: usize) -> Self {
        Self { workspaces: 1, users, channel_size: users, sockets_per_user: 1 }
    }

    /// Sockets of all users of all workspaces.
    pub(crate) const fn sockets(&self) -> usize {
        self.workspaces * self.users * self.sockets_per_user
    }

    /// Channels of all workspaces.
    pub(crate) const fn channels(&self) -> usize {
        self.workspaces * self.channels_each()
    }

    const fn channels_each(&self) -> usize {
        self.users.div_ceil(self.channel_size)
    }

    /// The sockets of a channel's members: the first, and how many.
    pub(crate) fn audience(&self, channel: usize) -> (usize, usize) {
        let workspace = channel / self.channels_each();
        let first = channel % self.channels_each() * self.channel_size;
        let members = self.channel_size.min(self.users - first);
        let user = workspace * self.users + first;
        (user * self.sockets_per_user, members * self.sockets_per_user)
    }

    fn workspace(&self, number: usize) -> Result<WorkspaceId, Failed> {
        Ok(WorkspaceId::parse(&format!("w{number}"))?)
    }

    fn user(number: usize) -> Result<UserId, Failed> {
        Ok(UserId::parse(&format!("user{number}"))?)
    }

    fn channel(number: usize) -> ChannelId {
        ChannelId::mint_group(Timestamp::from_unix_ms(1_700_000_000_000), number as u128)
    }

    /// Writes its channels and members into a store.
    pub(crate) async fn fill(
        &self,
        store: &(impl ChannelStore + MemberStore),
    ) -> Result<(), Failed> {
        let at = Timestamp::from_unix_ms(1_700_000_000_000);
        for number in 0..self.channels() {
            let workspace_id = self.workspace(number / self.channels_each())?;
            let (first, count) = self.audience(number);
            let (first, count) = (first / self.sockets_per_user, count / self.sockets_per_user);
            let member = |user| Ok(Member { user_id: Self::user(user)?, joined_at: at });
            let members: Vec<Member> =
                (first..first + count).map(member).collect::<Result<_, Failed>>()?;
            let id = Self::channel(number);
            store
                .create(&Channel {
                    id: id.clone(),
                    workspace_id: workspace_id.clone(),
                    channel_type: ChannelType::Group,
                    visibility: Visibility::Private,
                    details: ChannelDetails::new(Some(format!("channel {number}"))),
                    contract: Contract::PersistFirst,
                    created_at: at,
                    created_by: Self::user(first)?,
                    members_version: 1,
                    late: None,
                })
                .await?;
            for members in members.chunks(limits::CREATE_MEMBERS_MAX) {
                store.put_members(&workspace_id, &id, members).await?;
            }
        }
        Ok(())
    }

    /// The ticket of a socket.
    pub(crate) fn ticket(&self, socket: usize, node_id: &NodeId) -> Result<String, Failed> {
        let user = socket / self.sockets_per_user;
        let now = now();
        Ok(tickets()?.issue(&Ticket {
            principal: Principal {
                workspace_id: self.workspace(user / self.users)?,
                user_id: Self::user(user)?,
                is_admin: false,
                expires_at: now.plus(Duration::from_secs(24 * 3600)),
            },
            node_id: node_id.clone(),
            is_invisible: false,
            device: None,
            issued_at: now,
            expires_at: now.plus(limits::TICKET_TTL),
            nonce: socket as u128,
        }))
    }

    /// A channel's next message, and its workspace. The text contains the message's number.
    pub(crate) fn message(
        &self,
        channel: usize,
        number: u64,
        bytes: usize,
    ) -> Result<(WorkspaceId, Message), Failed> {
        let (first, _) = self.audience(channel);
        let text = format!("{MARK}{number:0digits$}{}", "x".repeat(bytes), digits = DIGITS);
        let message = Message::new(
            MessageId::mint(now(), runtime_bits()),
            Self::channel(channel),
            Self::user(first / self.sockets_per_user)?,
            MessageText::parse(text)?,
        );
        Ok((self.workspace(channel / self.channels_each())?, message))
    }
}

/// The publication that a send of this message makes.
pub(crate) fn publication(message: &Message) -> Publication {
    Publication::of_message(message, 1)
}

/// Signs tickets, and reads them in the node.
pub(crate) fn tickets() -> Result<SignedTickets, Failed> {
    let secret = Secret::parse(tests::cluster::TICKET_SECRET)?;
    Ok(SignedTickets::new(&Secrets::from(secret)))
}

pub(crate) fn now() -> Timestamp {
    use messaging::ports::Clock as _;
    service::clock::SystemClock.now()
}

fn runtime_bits() -> u128 {
    use messaging::ports::Randomness as _;
    service::clock::SystemRandomness.bits()
}

/// Precedes a message's number in its text.
pub(crate) const MARK: &str = "~n";
/// Digits of the number.
pub(crate) const DIGITS: usize = 10;
