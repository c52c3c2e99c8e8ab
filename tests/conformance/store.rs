//! The store's ports, in memory and on the tables of the embedded engine.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use aws_sdk_dynamodb::Client;
use dynamo::{Capacity, DynamoStore};
use embedded_stack::engine::{Engine, EngineData};
use messaging::ports::{
    AttachmentStore, ChannelStore, DeviceStore, MemberStore, MentionStore, MessageStore, PinStore,
    ProfileStore, ReadMarkStore, Redirect, RevocationStore, Store, StoredMessage, ThreadStore,
};
use model::{
    Channel, ChannelDetails, ChannelId, ChannelType, Contract, LogId, Member, Message, MessageId,
    MessageText, Timestamp, UserId, Visibility, WorkspaceId,
};
use tests::store::local_client;

/// Runs each test on both adapters.
macro_rules! on_every_store {
    ($($test:ident),* $(,)?) => {
        mod on_memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::store::Stores::on_memory()).await;
            })*
        }

        mod on_dynamo {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::store::Stores::on_dynamo().await).await;
            })*
        }
    };
}

mod attachments;
mod changes;
mod channels;
mod costs;
mod devices;
mod faults;
mod later;
mod log;
mod members;
mod mentions;
mod people;
mod pins;
mod reactions;
mod read_marks;
mod reference;
mod revocations;
mod tables;
mod threads;

/// One store, as its five ports.
/// One store, as its ports.
pub(crate) struct Stores {
    pub(crate) messages: Arc<dyn MessageStore>,
    pub(crate) attachments: Arc<dyn AttachmentStore>,
    pub(crate) channels: Arc<dyn ChannelStore>,
    pub(crate) members: Arc<dyn MemberStore>,
    pub(crate) threads: Arc<dyn ThreadStore>,
    pub(crate) read_marks: Arc<dyn ReadMarkStore>,
    pub(crate) revocations: Arc<dyn RevocationStore>,
    pub(crate) profiles: Arc<dyn ProfileStore>,
    pub(crate) devices: Arc<dyn DeviceStore>,
    pub(crate) pins: Arc<dyn PinStore>,
    pub(crate) mentions: Arc<dyn MentionStore>,
}

impl Stores {
    pub(crate) fn on_memory() -> Self {
        Self::of(memory::MemoryStore::new())
    }

    pub(crate) async fn on_dynamo() -> Self {
        Self::of(EmptyTables::create().await.store)
    }

    fn of<S>(store: S) -> Self
    where
        S: Store + 'static,
    {
        let store = Arc::new(store);
        Self {
            messages: Arc::clone(&store) as _,
            attachments: Arc::clone(&store) as _,
            channels: Arc::clone(&store) as _,
            members: Arc::clone(&store) as _,
            revocations: Arc::clone(&store) as _,
            threads: Arc::clone(&store) as _,
            read_marks: Arc::clone(&store) as _,
            pins: Arc::clone(&store) as _,
            mentions: Arc::clone(&store) as _,
            devices: Arc::clone(&store) as _,
            profiles: store,
        }
    }
}

/// Tables of one test, in an engine that all tests of the process share.
pub(crate) struct EmptyTables {
    pub(crate) client: Client,
    pub(crate) prefix: String,
    pub(crate) capacity: Capacity,
    pub(crate) store: DynamoStore,
}

impl EmptyTables {
    pub(crate) async fn create() -> Self {
        let client = local_client(ENGINE.endpoint()).await;
        let prefix = format!("test{}-", PREFIXES.fetch_add(1, Ordering::Relaxed));
        dynamo::create_tables(&client, &prefix).await.unwrap();
        let capacity = Capacity::default();
        let store = DynamoStore::new(client.clone(), &prefix, capacity.clone());
        Self { client, prefix, capacity, store }
    }
}

pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

pub(crate) fn at(offset_ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(NOW_MS + offset_ms)
}

/// An id with this time. `random` distinguishes and orders ids of the same time.
pub(crate) fn id(offset_ms: u64, random: u128) -> MessageId {
    MessageId::mint(at(offset_ms), random)
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(crate) fn workspace(name: &str) -> WorkspaceId {
    WorkspaceId::parse(name).unwrap()
}

pub(crate) fn channel_id(number: u128) -> ChannelId {
    ChannelId::mint_group(at(0), number)
}

/// The main log of a channel.
pub(crate) fn log_id(number: u128) -> LogId {
    channel_id(number).into()
}

pub(crate) fn channel(number: u128) -> Channel {
    Channel {
        id: channel_id(number),
        workspace_id: workspace("acme"),
        channel_type: ChannelType::Group,
        visibility: Visibility::Private,
        details: ChannelDetails::new(Some(format!("channel {number}"))),
        contract: Contract::PersistFirst,
        created_at: at(0),
        created_by: user("ada"),
        members_version: 1,
        late: None,
    }
}

pub(crate) fn member(name: &str, offset_ms: u64) -> Member {
    Member { user_id: user(name), joined_at: at(offset_ms) }
}

pub(crate) fn message(channel: u128, id: MessageId, sender: &str, text: &str) -> StoredMessage {
    let text = MessageText::parse(text.to_owned()).unwrap();
    StoredMessage::new(Message::new(id, channel_id(channel), user(sender), text), 1)
}

/// A redirect from an id to a message. It expires in the future of any clock that runs this.
pub(crate) fn redirect(from: MessageId, to: &StoredMessage) -> Redirect {
    Redirect {
        log: to.message.log(),
        id: from,
        target: to.message.id,
        sender_id: to.message.sender_id.clone(),
        digest: to.message.text.digest(),
        expires_at: Timestamp::from_unix_ms(4_000_000_000_000),
    }
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::start(EngineData::Memory).unwrap());
static PREFIXES: AtomicU32 = AtomicU32::new(0);
