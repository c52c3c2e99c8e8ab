//! The bus on the model: one command connection, replaced as soon as it is doubtful, and one link.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use memory::Chance;
use messaging::ports::{BusError, Entry, EventBus, FleetNode, Lease, Published, Subscription};
use model::{EntryId, Timestamp, WorkspaceId, limits};
use protocol::publication::Publication;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::CommandError;
use super::directory::SimDirectory;
use super::keys::What;
use super::link::Subscriber;
use super::server::{Conn, Redis};

/// The bus of one process. Clones share its connections.
#[derive(Debug, Clone)]
pub(crate) struct SimBus {
    commands: Commands,
    subscriber: Arc<Subscriber>,
}

/// The connection for commands.
#[derive(Debug, Clone)]
pub(super) struct Commands {
    pub(super) redis: Redis,
    pub(super) owner: u32,
    slot: Arc<Mutex<Option<Arc<Open>>>>,
}

#[derive(Debug)]
struct Open {
    connection: Conn,
    opened_at: Instant,
    doubtful: AtomicBool,
}

impl SimBus {
    /// The bus of the process `owner`. Connects to nothing yet.
    #[must_use]
    pub(crate) fn new(redis: &Redis, owner: u32, chance: &Chance) -> Self {
        let commands = Commands { redis: redis.clone(), owner, slot: Arc::default() };
        let subscriber = Arc::new(Subscriber::new(commands.clone(), chance.number()));
        Self { commands, subscriber }
    }

    /// The node directory over the same connection.
    #[must_use]
    pub(crate) fn directory(&self) -> SimDirectory {
        SimDirectory::over(self.commands.clone())
    }
}

#[async_trait]
impl EventBus for SimBus {
    async fn publish(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
    ) -> Result<Published, BusError> {
        let what = What::Publish(workspace.clone(), publication.clone());
        let published = self.commands.write(&what).await?;
        published.ok_or_else(|| BusError::Refused("not a position".into()))
    }

    async fn subscribe(&self, workspace: &WorkspaceId) -> Result<Subscription, BusError> {
        self.subscriber.subscribe(workspace.to_string()).await
    }

    async fn entries(
        &self,
        workspace: &WorkspaceId,
        from: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, BusError> {
        let question = Question::Entries(workspace.clone(), from, limit);
        match self.commands.query(&question).await? {
            Reply::Entries(entries) => Ok(entries),
            Reply::Done(_) | Reply::Fleet(_) | Reply::Time(_) => Ok(Vec::new()),
        }
    }
}

/// What is asked of a server.
enum Question {
    Write(What),
    Renew(Lease),
    Entries(WorkspaceId, Option<EntryId>, usize),
    Fleet,
}

enum Reply {
    Done(Option<Published>),
    Entries(Vec<Entry>),
    Fleet(Vec<FleetNode>),
    Time(Timestamp),
}

impl Question {
    async fn ask(&self, connection: &Conn) -> Result<Reply, CommandError> {
        Ok(match self {
            Self::Write(what) => Reply::Done(connection.write(what.clone()).await?),
            Self::Renew(lease) => {
                Reply::Time(connection.timed_write(What::Renew(lease.clone())).await?)
            }
            Self::Entries(workspace, from, limit) => {
                Reply::Entries(connection.entries(workspace, *from, *limit).await?)
            }
            Self::Fleet => Reply::Fleet(connection.fleet().await?),
        })
    }
}

impl Commands {
    pub(super) async fn write(&self, what: &What) -> Result<Option<Published>, CommandError> {
        match self.query(&Question::Write(what.clone())).await? {
            Reply::Done(published) => Ok(published),
            Reply::Entries(_) | Reply::Fleet(_) | Reply::Time(_) => Ok(None),
        }
    }

    pub(super) async fn renew_lease(&self, lease: &Lease) -> Result<Timestamp, CommandError> {
        match self.query(&Question::Renew(lease.clone())).await? {
            Reply::Time(time) => Ok(time),
            Reply::Done(_) | Reply::Entries(_) | Reply::Fleet(_) => Err(CommandError::Broken),
        }
    }

    pub(super) async fn fleet(&self) -> Result<Vec<FleetNode>, CommandError> {
        match self.query(&Question::Fleet).await? {
            Reply::Fleet(fleet) => Ok(fleet),
            Reply::Done(_) | Reply::Entries(_) | Reply::Time(_) => Ok(Vec::new()),
        }
    }

    /// Asks what may be asked twice; asks again at most once, over a new connection.
    async fn query(&self, question: &Question) -> Result<Reply, CommandError> {
        match self.once(question).await {
            Err(error) if error.is_doubtful() => self.once(question).await,
            answer => answer,
        }
    }

    async fn once(&self, question: &Question) -> Result<Reply, CommandError> {
        let open = self.open().await?;
        // Whoever stops waiting makes the connection doubtful, as a dead one would never be found.
        let unanswered = Unanswered(Arc::clone(&open));
        let answer = question.ask(&open.connection).await;
        if !answer.as_ref().is_err_and(|error| error.is_doubtful()) {
            unanswered.answered();
        }
        answer
    }

    /// Lets the next command open a connection through the name.
    pub(super) async fn renew(&self) {
        *self.slot.lock().await = None;
    }

    async fn open(&self) -> Result<Arc<Open>, CommandError> {
        let mut slot = Arc::clone(&self.slot).lock_owned().await;
        if let Some(open) = slot.as_ref().filter(|open| open.is_usable()) {
            return Ok(Arc::clone(open));
        }
        *slot = None;
        let (redis, owner) = (self.redis.clone(), self.owner);
        // A task of its own: a caller with a short deadline must not throw the attempt away.
        let attempt = tokio::spawn(async move {
            let open = Arc::new(Open {
                connection: redis.connect(owner, None, limits::BUS_RESPONSE_MAX).await?,
                opened_at: Instant::now(),
                doubtful: AtomicBool::new(false),
            });
            *slot = Some(Arc::clone(&open));
            Ok(open)
        });
        attempt.await.unwrap_or(Err(CommandError::Broken))
    }
}

impl Open {
    fn is_usable(&self) -> bool {
        !self.doubtful.load(Ordering::Acquire)
            && self.opened_at.elapsed() < limits::BUS_CONNECTION_AGE_MAX
    }
}

struct Unanswered(Arc<Open>);

impl Unanswered {
    fn answered(self) {
        let open = Arc::clone(&self.0);
        let was = open.doubtful.load(Ordering::Acquire);
        drop(self);
        open.doubtful.store(was, Ordering::Release);
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.doubtful.store(true, Ordering::Release);
    }
}
