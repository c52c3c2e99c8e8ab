//! Servers, replication, the name that leads to one of them, and what goes wrong with all three.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use memory::Chance;
use messaging::ports::{Clock, Entry, FleetNode, Published};
use model::{EntryId, Timestamp, WorkspaceId, limits};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::CommandError;
use super::keys::{Keys, Push, What, Write};
use crate::record::lock;
use crate::time::{SimClock, skew};

mod faults;

/// All servers. Clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Redis(Arc<Mutex<State>>);

/// What a server answers instead of doing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not the one that writes.
    ReadOnly,
    /// Not ready yet.
    Loading,
    /// No memory left.
    OutOfMemory,
}

/// How the server behind the name misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Trouble {
    /// It does not.
    #[default]
    None,
    /// It takes connections and commands, and says nothing.
    Hangs,
    /// The same on connections for commands only.
    CommandsHang,
    /// The same on connections for pushes only: what is pushed waits with the server.
    PushesHang,
    /// It says everything so much later.
    Slow(Duration),
    /// It refuses writes.
    Refuses(Refusal),
    /// Nobody gets a connection.
    Down,
}

impl Trouble {
    /// Whether nothing comes on a connection of one kind.
    const fn hangs(self, is_for_pushes: bool) -> bool {
        match self {
            Self::Hangs => true,
            Self::CommandsHang => !is_for_pushes,
            Self::PushesHang => is_for_pushes,
            Self::None | Self::Slow(_) | Self::Refuses(_) | Self::Down => false,
        }
    }
}

#[derive(Debug)]
struct State {
    servers: Vec<Server>,
    /// The server that the name leads to.
    named: usize,
    trouble: Trouble,
    connections: BTreeMap<u64, Connection>,
    serial: u64,
    pushes_to_drop: u64,
    pages_read: u64,
    chance: Chance,
}

#[derive(Debug)]
struct Server {
    keys: Keys,
    clock: SimClock,
    is_primary: bool,
    /// Where it gets its writes from, and how far behind it is.
    follows: Option<usize>,
    lag: Duration,
    is_stalled: bool,
    /// Writes on their way, with when they arrive.
    incoming: VecDeque<(Instant, u64, Write)>,
    written: u64,
    received: u64,
}

#[derive(Debug)]
struct Connection {
    server: usize,
    owner: u32,
    way: Path,
    topics: BTreeSet<String>,
    pushes: Option<mpsc::Sender<(Instant, Pushed)>>,
    /// Pushes that wait until the server is no longer silent.
    held: Vec<Pushed>,
}

/// What a subscribed connection brings.
#[derive(Debug, Clone)]
pub(super) enum Pushed {
    Entry(String, Entry),
    Probe,
    Unsubscribed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Open,
    /// Half open: what is sent never arrives, and neither side is told.
    Holed,
    Broken,
}

/// An open connection: to the server that the name led to then.
#[derive(Debug)]
pub(super) struct Conn {
    redis: Redis,
    id: u64,
    is_for_pushes: bool,
    response_max: Duration,
}

impl Redis {
    /// A primary and a replica that is `lag` behind. Streams keep `entries_max` entries.
    #[must_use]
    pub(crate) fn new(clock: &SimClock, chance: Chance, entries_max: usize, lag: Duration) -> Self {
        let server = |is_primary: bool| Server {
            keys: Keys::new(entries_max),
            clock: clock.off_by(skew(&chance, OFF_MS_MAX)),
            is_primary,
            follows: (!is_primary).then_some(0),
            lag,
            is_stalled: false,
            incoming: VecDeque::new(),
            written: 0,
            received: 0,
        };
        Self(Arc::new(Mutex::new(State {
            servers: vec![server(true), server(false)],
            named: 0,
            trouble: Trouble::None,
            connections: BTreeMap::new(),
            serial: 0,
            pushes_to_drop: 0,
            pages_read: 0,
            chance: chance.clone(),
        })))
    }

    /// Pages of streams that were asked for so far, to fill a gap or to begin; an audit's look at the
    /// tail is none.
    #[must_use]
    pub(crate) fn pages_read(&self) -> u64 {
        self.lock().pages_read
    }

    /// Opens a connection through the name.
    pub(super) async fn connect(
        &self,
        owner: u32,
        pushes: Option<mpsc::Sender<(Instant, Pushed)>>,
        response_max: Duration,
    ) -> Result<Conn, CommandError> {
        let connecting = async {
            sleep(LATENCY).await;
            let trouble = self.lock().trouble;
            match trouble {
                _ if trouble.hangs(pushes.is_some()) => std::future::pending().await,
                Trouble::Down => return Err(CommandError::Broken),
                Trouble::Slow(wait) => sleep(wait).await,
                _ => {}
            }
            let mut state = self.lock();
            state.serial += 1;
            let (id, server) = (state.serial, state.named);
            let (way, topics, held) = (Path::Open, BTreeSet::new(), Vec::new());
            let is_for_pushes = pushes.is_some();
            let connection = Connection { server, owner, way, topics, pushes, held };
            state.connections.insert(id, connection);
            Ok(Conn { redis: self.clone(), id, is_for_pushes, response_max })
        };
        timeout(limits::BUS_CONNECT_MAX, connecting).await.unwrap_or(Err(CommandError::TimedOut))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl Conn {
    pub(super) async fn write(&self, what: What) -> Result<Option<Published>, CommandError> {
        self.ask(true, |state, server| state.write(server, what)).await
    }

    /// A write, and the server's time then.
    pub(super) async fn timed_write(&self, what: What) -> Result<Timestamp, CommandError> {
        let write = |state: &mut State, server: usize| {
            state.write(server, what);
            state.servers.get(server).map_or_else(Timestamp::default, |server| server.clock.now())
        };
        self.ask(true, write).await
    }

    pub(super) async fn entries(
        &self,
        workspace: &WorkspaceId,
        from: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<Entry>, CommandError> {
        if limit == limits::STREAM_READ_ENTRIES_MAX {
            self.redis.lock().pages_read += 1;
        }
        self.read(|keys, now| keys.entries(workspace, from, limit, now)).await
    }

    pub(super) async fn fleet(&self) -> Result<Vec<FleetNode>, CommandError> {
        self.read(Keys::fleet).await
    }

    pub(super) async fn ping(&self) -> Result<(), CommandError> {
        self.read(|_, _| ()).await
    }

    pub(super) async fn subscribe(&self, topics: &[String]) -> Result<(), CommandError> {
        let id = self.id;
        let add = |state: &mut State, _| {
            if let Some(connection) = state.connections.get_mut(&id) {
                connection.topics.extend(topics.iter().cloned());
            }
        };
        self.ask(false, add).await
    }

    pub(super) async fn unsubscribe(&self, topics: &[String]) -> Result<(), CommandError> {
        let id = self.id;
        let remove = |state: &mut State, _| {
            if let Some(connection) = state.connections.get_mut(&id) {
                connection.topics.retain(|topic| !topics.contains(topic));
            }
        };
        self.ask(false, remove).await
    }

    /// Replicas that the server has, and the number of its last write.
    pub(super) async fn replication(&self) -> Result<(usize, u64), CommandError> {
        let look = |state: &mut State, server: usize| {
            let attached = state.servers.iter().filter(|other| other.follows == Some(server));
            (attached.count(), state.servers.get(server).map_or(0, |server| server.written))
        };
        self.ask(false, look).await
    }

    /// Whether a replica of the server has its writes up to `number`.
    pub(super) fn is_replicated(&self, number: u64) -> Result<bool, CommandError> {
        let mut state = self.redis.lock();
        state.settle();
        let connection = state.connections.get(&self.id).filter(|one| one.way == Path::Open);
        let server = connection.ok_or(CommandError::Broken)?.server;
        let mut replicas = state.servers.iter().filter(|other| other.follows == Some(server));
        Ok(replicas.any(|replica| replica.received >= number))
    }

    pub(super) fn is_broken(&self) -> bool {
        let state = self.redis.lock();
        state.connections.get(&self.id).is_none_or(|connection| connection.way == Path::Broken)
    }

    async fn read<T>(&self, read: impl FnOnce(&mut Keys, Timestamp) -> T) -> Result<T, CommandError>
    where
        T: Default,
    {
        let look = |state: &mut State, server: usize| {
            state.settle();
            let server = state.servers.get_mut(server);
            server.map_or_else(T::default, |server| read(&mut server.keys, server.clock.now()))
        };
        self.ask(false, look).await
    }

    /// One command: there, done, and back, each of which may not happen.
    async fn ask<T>(
        &self,
        writes: bool,
        command: impl FnOnce(&mut State, usize) -> T,
    ) -> Result<T, CommandError> {
        let asking = async {
            sleep(LATENCY).await;
            let (server, trouble) = self.arrive().await?;
            match trouble {
                _ if trouble.hangs(self.is_for_pushes) => std::future::pending().await,
                Trouble::Slow(wait) => sleep(wait).await,
                Trouble::Down => return Err(CommandError::Broken),
                Trouble::Refuses(refusal) if writes => return Err(refusal.into()),
                _ => {}
            }
            let answer = {
                let mut state = self.redis.lock();
                let is_primary = state.servers.get(server).is_some_and(|server| server.is_primary);
                if writes && !is_primary {
                    return Err(CommandError::ReadOnly);
                }
                command(&mut state, server)
            };
            sleep(LATENCY).await;
            self.arrive().await?;
            Ok(answer)
        };
        timeout(self.response_max, asking).await.unwrap_or(Err(CommandError::TimedOut))
    }

    async fn arrive(&self) -> Result<(usize, Trouble), CommandError> {
        let (path, server, trouble) = {
            let state = self.redis.lock();
            let connection = state.connections.get(&self.id).ok_or(CommandError::Broken)?;
            // Only the server behind the name is in trouble.
            let is_named = connection.server == state.named;
            let trouble = if is_named { state.trouble } else { Trouble::None };
            (connection.way, connection.server, trouble)
        };
        match path {
            Path::Open => Ok((server, trouble)),
            Path::Holed => std::future::pending().await,
            Path::Broken => Err(CommandError::Broken),
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.redis.lock().connections.remove(&self.id);
    }
}

impl State {
    /// Lets replicas do what has arrived.
    fn settle(&mut self) {
        let now = Instant::now();
        for index in 0..self.servers.len() {
            while let Some(server) = self.servers.get_mut(index) {
                let due = server.incoming.front().is_some_and(|(at, ..)| *at <= now);
                if server.is_stalled || !due {
                    break;
                }
                let Some((_, number, write)) = server.incoming.pop_front() else { break };
                server.received = number;
                let (push, _) = server.keys.apply(write);
                if let Some(push) = push {
                    self.push(index, push);
                }
            }
        }
    }

    fn write(&mut self, index: usize, what: What) -> Option<Published> {
        self.settle();
        let now = Instant::now();
        let server = self.servers.get_mut(index)?;
        let write = Write { at: server.clock.now(), what };
        server.written += 1;
        let number = server.written;
        let (push, published) = server.keys.apply(write.clone());
        for replica in self.servers.iter_mut().filter(|replica| replica.follows == Some(index)) {
            replica.incoming.push_back((now + replica.lag, number, write.clone()));
        }
        if let Some(push) = push {
            let is_entry = matches!(push, Push::Entry(..));
            if is_entry && self.pushes_to_drop > 0 {
                self.pushes_to_drop -= 1;
            } else {
                self.push(index, push);
            }
        }
        published
    }

    fn push(&mut self, server: usize, push: Push) {
        let due = Instant::now() + LATENCY + self.chance.ms(0..=3);
        let (topic, pushed) = match push {
            Push::Entry(workspace, entry) => {
                let topic = workspace.to_string();
                (topic.clone(), Pushed::Entry(topic, entry))
            }
            Push::Probe(probe) => (probe_topic(probe), Pushed::Probe),
        };
        let is_silent = self.trouble == Trouble::PushesHang && server == self.named;
        for connection in self.connections.values_mut() {
            if connection.server == server && connection.topics.contains(&topic) {
                if is_silent && connection.held.len() < HELD_MAX {
                    connection.held.push(pushed.clone());
                } else {
                    connection.push(due, pushed.clone());
                }
            }
        }
    }

    fn break_all(&mut self, concerned: impl Fn(&Connection) -> bool) {
        for connection in self.connections.values_mut().filter(|connection| concerned(connection)) {
            connection.way = Path::Broken;
            // Its reader sees the end.
            connection.pushes = None;
        }
    }
}

impl Connection {
    fn push(&mut self, due: Instant, pushed: Pushed) {
        if self.way != Path::Open {
            return;
        }
        // A subscriber whose output grows over the limit is cut off.
        if self.pushes.as_ref().is_some_and(|pushes| pushes.try_send((due, pushed)).is_err()) {
            self.way = Path::Broken;
            self.pushes = None;
        }
    }
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ReadOnly => Self::ReadOnly,
            Refusal::Loading => Self::Loading,
            Refusal::OutOfMemory => Self::OutOfMemory,
        }
    }
}

pub(super) fn probe_topic(probe: u64) -> String {
    format!("probe:{probe:016x}")
}

/// Pushes that wait for one connection: no link waits longer than its probe.
const HELD_MAX: usize = 4_096;
/// What servers' clocks may be off by, each way.
const OFF_MS_MAX: u64 = 900;
/// One way between a process and a server.
const LATENCY: Duration = Duration::from_millis(1);
