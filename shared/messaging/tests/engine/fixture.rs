//! An engine on in-process ports, with shorthands for its users.

use std::sync::Arc;

use memory::{ManualClock, MemoryBus, MemoryDirectory, MemoryFiles, MemoryStore, SeededRandomness};
use messaging::channels::create_channel;
use messaging::ports::{
    ChannelStore, Entry, EventBus, Lease, NodeDirectory, Principal, ProfileStore, Ticket,
    TicketError, Tickets, TokenError, TokenVerifier,
};
use messaging::send::{PostMessageError, Posted, post_message};
use messaging::{App, Ports};
use model::{
    Channel, Contract, LogId, Mentions, MessageId, MessageText, NewChannel, NewChannelKind,
    NewMessage, Timestamp, TraceId, UserId, Visibility, WorkspaceId,
};
use protocol::publication::Origin;

pub(crate) struct Fixture {
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) files: MemoryFiles,
    pub(crate) bus: Arc<MemoryBus>,
    pub(crate) directory: Arc<MemoryDirectory>,
}

/// The origin of every send of a fixture.
pub(crate) fn origin() -> Origin {
    let received_at = Timestamp::from_unix_ms(1_800_000_000_000);
    Origin { received_at, trace: TraceId::of_bits(0xfeed) }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_, _| {})
    }

    /// A fixture with a wrapper around the store of profiles.
    pub(crate) fn with_profiles<P: ProfileStore + 'static>(
        profiles: impl FnOnce(Arc<MemoryStore>) -> Arc<P>,
    ) -> Self {
        Self::with(|ports, store| ports.profiles = profiles(store))
    }

    /// A fixture with a wrapper around the store's channels table.
    pub(crate) fn with_channels<C: ChannelStore + 'static>(
        channels: impl FnOnce(Arc<MemoryStore>) -> Arc<C>,
    ) -> Self {
        Self::with(|ports, store| ports.channels = channels(store))
    }

    fn with(wrap: impl FnOnce(&mut Ports, Arc<MemoryStore>)) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_800_000_000_000)));
        let store = Arc::new(MemoryStore::new());
        let files = MemoryFiles::new();
        let bus = Arc::new(MemoryBus::new(clock.clone()));
        let directory = Arc::new(MemoryDirectory::new(clock.clone()));
        let mut ports = memory::ports(
            store.clone(),
            bus.clone(),
            directory.clone(),
            (Arc::new(NoTokens), Arc::new(NamedTickets(vec!["our-key".to_owned()]))),
            clock.clone(),
            SeededRandomness::new(7),
        );
        ports.files = Arc::new(files.clone());
        wrap(&mut ports, store.clone());
        let app = App::new(ports);
        Self { app, clock, store, files, bus, directory }
    }

    pub(crate) async fn group(&self, creator: &str, members: &[&str]) -> Channel {
        self.group_that_is(Visibility::Private, creator, members).await
    }

    pub(crate) async fn public_group(&self, creator: &str, members: &[&str]) -> Channel {
        self.group_that_is(Visibility::Public, creator, members).await
    }

    async fn group_that_is(
        &self,
        visibility: Visibility,
        creator: &str,
        members: &[&str],
    ) -> Channel {
        let members = members.iter().map(|name| user(name)).collect();
        let kind = NewChannelKind::Group { visibility, name: "general".to_owned(), members };
        let new = NewChannel { kind, contract: Contract::PersistFirst };
        create_channel(&self.app, &caller(creator), new).await.unwrap().0
    }

    pub(crate) async fn dm(&self, one: &str, other: &str) -> Channel {
        let kind = NewChannelKind::Dm { other: user(other) };
        let new = NewChannel { kind, contract: Contract::PersistFirst };
        create_channel(&self.app, &caller(one), new).await.unwrap().0
    }

    pub(crate) async fn post(&self, sender: &str, log: impl Into<LogId>, text: &str) -> Posted {
        self.send(sender, log, text, None, None).await.unwrap()
    }

    pub(crate) async fn send(
        &self,
        sender: &str,
        log: impl Into<LogId>,
        text: &str,
        id: Option<MessageId>,
        after: Option<MessageId>,
    ) -> Result<Posted, PostMessageError> {
        let text = MessageText::parse(text.to_owned()).unwrap();
        let mentions = Mentions::of(text.as_str()).unwrap();
        let (log, attachments) = (log.into(), Vec::new());
        let new = NewMessage { log, text, mentions, attachments, id, after, quote: None };
        post_message(&self.app, &caller(sender), &new, origin()).await
    }

    /// An id as minted by a client whose clock is `offset_ms` ahead of the server's.
    pub(crate) fn id_at(&self, offset_ms: i64, n: u128) -> MessageId {
        use messaging::ports::Clock;
        let at = self.clock.now().unix_ms().saturating_add_signed(offset_ms);
        MessageId::mint(Timestamp::from_unix_ms(at), n)
    }

    pub(crate) async fn published(&self) -> Vec<Entry> {
        self.bus.entries(&workspace(), None, 10_000).await.unwrap()
    }

    pub(crate) async fn node(&self, name: &str, connections: u32) {
        let lease = Lease {
            node_id: name.parse().unwrap(),
            url: format!("ws://{name}/socket"),
            connections,
            handshakes_per_second: 1_000,
            draining: false,
            clock: None,
            ticket_keys: Vec::new(),
        };
        self.directory.renew(&lease).await.unwrap();
    }

    /// A node that reports its clock, `ahead_ms` off, and the secrets that it knows.
    pub(crate) async fn node_that_reports(&self, name: &str, ahead_ms: i64, keys: &[&str]) {
        use messaging::ports::Clock;
        let now = self.clock.now().unix_ms().saturating_add_signed(ahead_ms);
        let lease = Lease {
            node_id: name.parse().unwrap(),
            url: format!("ws://{name}/socket"),
            connections: 0,
            handshakes_per_second: 1_000,
            draining: false,
            clock: Some(Timestamp::from_unix_ms(now)),
            ticket_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        self.directory.renew(&lease).await.unwrap();
    }
}

pub(crate) fn workspace() -> WorkspaceId {
    WorkspaceId::parse("w").unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(crate) fn caller_in(workspace: &str, name: &str) -> Principal {
    Principal { workspace_id: WorkspaceId::parse(workspace).unwrap(), ..caller(name) }
}

pub(crate) fn caller(name: &str) -> Principal {
    Principal {
        workspace_id: workspace(),
        user_id: user(name),
        is_admin: name.starts_with("admin"),
        expires_at: Timestamp::MAX,
    }
}

pub(crate) fn stranger(name: &str) -> Principal {
    Principal { workspace_id: WorkspaceId::parse("other").unwrap(), ..caller(name) }
}

/// Verifies nothing: the engine itself verifies no token and reads no ticket.
#[derive(Debug)]
struct NoTokens;

impl TokenVerifier for NoTokens {
    fn verify(&self, _: &str, _: Timestamp) -> Result<Principal, TokenError> {
        Err(TokenError::Malformed)
    }
}

/// Readable tickets that name their node, signed with secrets of these ids.
#[derive(Debug)]
struct NamedTickets(Vec<String>);

impl Tickets for NamedTickets {
    fn issue(&self, ticket: &Ticket) -> String {
        format!("{}/{}/{:032x}", ticket.principal.user_id, ticket.node_id, ticket.nonce)
    }
    fn read(&self, _: &str) -> Result<Ticket, TicketError> {
        Err(TicketError::Invalid)
    }

    fn key_ids(&self) -> &[String] {
        &self.0
    }
}
