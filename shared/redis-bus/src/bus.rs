//! The bus: publishing and reading. Subscribing is in `subscriber`.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use messaging::ports::{BusError, Entry, EventBus, Published, Subscription};
use model::{ChannelId, EntryId, Position, WorkspaceId, limits};
use protocol::publication::Publication;
use protocol::signal::Signal;
use redis::{Cmd, ErrorKind, RedisError, Script, Value};
use tracing::warn;

use crate::codec;
use crate::command::{Commands, Request, script_by_hash};
use crate::diagnosis::cause;
use crate::endpoint::{Endpoint, EndpointError, Unreachable};
use crate::leases::RedisDirectory;
use crate::spool::Deliveries;
use crate::subscriber::Subscriber;

/// The bus on Redis or Valkey. Clones share two connections: one for commands, one for all
/// subscriptions. Both are opened when first needed and closed when the last clone is dropped; then
/// [`Subscription::next`] gives `None`. A third one is for what is delivered before it is stored.
#[derive(Debug, Clone)]
pub struct RedisBus {
    commands: Commands,
    subscriber: Arc<Subscriber>,
    deliveries: Arc<Deliveries>,
}

impl RedisBus {
    /// Makes a bus for a URL, as [`Endpoint::parse`] reads it. Connects to nothing yet.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn connect(url: &str) -> Result<Self, EndpointError> {
        Ok(Self::at(Endpoint::parse(url)?))
    }

    /// Makes a bus for an endpoint. Connects to nothing yet.
    #[must_use]
    pub fn at(endpoint: Endpoint) -> Self {
        let commands = Commands::new(endpoint.clone());
        let subscriber = Arc::new(Subscriber::new(commands.clone()));
        Self { commands, subscriber, deliveries: Arc::new(Deliveries::new(endpoint)) }
    }

    pub(crate) const fn commands(&self) -> &Commands {
        &self.commands
    }

    pub(crate) const fn deliveries(&self) -> &Arc<Deliveries> {
        &self.deliveries
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        self.commands.endpoint()
    }

    /// The node directory on the same server, over the same connection.
    #[must_use]
    pub fn directory(&self) -> RedisDirectory {
        RedisDirectory::over(self.commands.clone())
    }

    /// Checks at start-up that the server answers.
    ///
    /// # Errors
    /// [`Unreachable`], whose text names the server and the cause in one line.
    pub async fn ping(&self) -> Result<(), Unreachable> {
        let pong = self.commands.query::<Value>(&Request::of(redis::cmd("PING"))).await;
        pong.map(drop).map_err(|err| self.commands.endpoint().unreachable(&err))
    }
}

#[async_trait]
impl EventBus for RedisBus {
    async fn publish(
        &self,
        workspace: &WorkspaceId,
        publication: &Publication,
    ) -> Result<Published, BusError> {
        let request = publish_request(workspace, publication);
        let answer: String = self.commands.query(&request).await.map_err(bus_error)?;
        if answer == ALREADY {
            return Ok(Published::AlreadyPublished);
        }
        let position = Position::parse(&answer);
        position.map(Published::Appended).ok_or_else(|| BusError::Refused("not a position".into()))
    }

    async fn signal(&self, workspace: &WorkspaceId, signal: &Signal) -> Result<(), BusError> {
        let mut cmd = redis::cmd("PUBLISH");
        cmd.arg(codec::signal_topic(workspace)).arg(signal.encode());
        self.commands.query::<Value>(&Request::of(cmd)).await.map(drop).map_err(bus_error)
    }

    async fn subscribe(&self, workspace: &WorkspaceId) -> Result<Subscription, BusError> {
        let topics = [codec::topic(workspace), codec::signal_topic(workspace)];
        self.subscriber.subscribe(topics).await
    }

    async fn entries(
        &self,
        workspace: &WorkspaceId,
        from: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, BusError> {
        let mut from = from.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let mut entries = Vec::new();
        let mut foreign = 0;
        // The caller takes a short answer for the end of the stream, so foreign entries must not
        // make the answer shorter.
        while entries.len() < limit {
            // After the first foreign entry read large pages, or many would cost many calls.
            let count = if foreign == 0 { limit } else { limits::STREAM_READ_ENTRIES_MAX };
            let mut cmd = redis::cmd("XRANGE");
            cmd.arg(codec::stream_key(workspace)).arg(from).arg("+").arg("COUNT").arg(count);
            let elements: Vec<Value> =
                self.commands.query(&Request::of(cmd)).await.map_err(bus_error)?;
            let (found, before) = (elements.len(), entries.len());
            let last = elements.last().and_then(codec::id_of_stream);
            entries.extend(elements.iter().filter_map(codec::entry_of_stream));
            foreign += found - (entries.len() - before);
            from = match last {
                Some(last) if found == count => format!("({last}"),
                Some(_) | None => break,
            };
        }
        entries.truncate(limit);
        if foreign > 0 {
            // Foreign entries are no part of the chain: no `prev` names one.
            warn!(%workspace, foreign, "skipping entries of the stream that this program did not write");
        }
        Ok(entries)
    }
}

fn publish_request(workspace: &WorkspaceId, publication: &Publication) -> Request {
    with_script(workspace, publication, |keys, args| {
        Request::of_script(&PUBLISH, PUBLISH_TEXT, keys, args)
    })
}

/// The same for a server that has loaded the script.
pub(crate) fn publish_cmd(workspace: &WorkspaceId, publication: &Publication) -> Cmd {
    with_script(workspace, publication, |keys, args| script_by_hash(&PUBLISH, keys, args))
}

/// The same, with a spool, for a message of this channel that is not stored yet.
pub(crate) fn spool_cmd(
    workspace: &WorkspaceId,
    channel: &ChannelId,
    publication: &Publication,
    digest: &str,
) -> Cmd {
    with_script(workspace, publication, |keys, args| {
        let (spool, waiting) =
            (codec::spool_key(workspace), codec::waiting_key(workspace, channel));
        let bytes_max = limits::SPOOL_BYTES_MAX.to_string();
        let mut keys = keys.to_vec();
        keys.extend([spool.as_str(), &waiting]);
        let mut args = args.to_vec();
        args.extend([bytes_max.as_bytes(), digest.as_bytes()]);
        script_by_hash(&PUBLISH, &keys, &args)
    })
}

fn with_script<T>(
    workspace: &WorkspaceId,
    publication: &Publication,
    make: impl FnOnce(&[&str], &[&[u8]]) -> T,
) -> T {
    let id = publication.id;
    let keys = [
        codec::stream_key(workspace),
        codec::guard_key(workspace, &publication.guard()),
        codec::topic(workspace),
    ];
    let args = [
        id.to_string(),
        publication.encode(),
        limits::GUARD_TTL.as_millis().to_string(),
        limits::STREAM_TTL.as_millis().to_string(),
        limits::STREAM_ENTRIES_MAX.to_string(),
        limits::STREAM_BYTES_MAX.to_string(),
    ];
    make(&keys.each_ref().map(String::as_str), &args.each_ref().map(String::as_bytes))
}

/// `Refused` if the server answered with an error, `Unavailable` if there was no answer.
pub(crate) fn bus_error(err: RedisError) -> BusError {
    let answered = matches!(
        err.kind(),
        ErrorKind::Server(_)
            | ErrorKind::Extension
            | ErrorKind::AuthenticationFailed
            | ErrorKind::UnexpectedReturnType
    );
    let cause = cause(err);
    if answered { BusError::Refused(cause) } else { BusError::Unavailable(cause) }
}

static PUBLISH: LazyLock<Script> = LazyLock::new(|| Script::new(PUBLISH_TEXT));
pub(crate) const PUBLISH_TEXT: &str = include_str!("publish.lua");
/// The script's answer for a publication whose guard exists.
pub(crate) const ALREADY: &str = "already";
