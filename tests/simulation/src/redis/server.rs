//! Servers, their replication, the name that leads to one of them, and their connections.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use memory::SeededRng;
use messaging::ports::Clock;
use model::limits;
use parking_lot::{Mutex, MutexGuard};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::command::{Command, Script, error, text};
use super::keys::{By, Keys, Permit, Write};
use super::spool::Spools;
use crate::time::{SimClock, skew};

mod faults;

/// All servers. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Redis(Arc<Mutex<State>>);

/// Why a server refuses a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is a replica.
    ReadOnly,
    /// It has not loaded its data yet.
    Loading,
    /// Its memory is full.
    OutOfMemory,
}

/// How the server that the name leads to misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Trouble {
    /// Not at all.
    #[default]
    None,
    /// It accepts connections and commands, and answers nothing.
    Hangs,
    /// The same, on connections for commands only.
    CommandsHang,
    /// The same, on connections for pushes only. The server keeps the pushes.
    PushesHang,
    /// Everything takes this much longer.
    Slow(Duration),
    /// It refuses commands.
    Refuses(Refusal),
    /// It accepts no connection.
    Down,
}

impl Trouble {
    /// Whether connections of this kind are silent.
    pub(super) const fn hangs(self, is_for_pushes: bool) -> bool {
        match self {
            Self::Hangs => true,
            Self::CommandsHang => !is_for_pushes,
            Self::PushesHang => is_for_pushes,
            Self::None | Self::Slow(_) | Self::Refuses(_) | Self::Down => false,
        }
    }
}

impl Refusal {
    fn reply(self) -> Value {
        error(match self {
            Self::ReadOnly => "READONLY You can't write against a read only replica.",
            Self::Loading => "LOADING Redis is loading the dataset in memory",
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
        })
    }
}

#[derive(Debug)]
pub(super) struct State {
    servers: Vec<Server>,
    /// The server that the name leads to.
    named: usize,
    pub(super) trouble: Trouble,
    connections: BTreeMap<u64, Connection>,
    serial: u64,
    pushes_to_drop: u64,
    pages_read: u64,
    /// Entries that were ever appended: their stream, and the publication.
    appended: BTreeSet<(String, String)>,
    /// Publications whose message was in a spool and is lost.
    lost: BTreeSet<String>,
    ignores_markers: bool,
    /// How many histories have begun.
    histories: u64,
    rng: SeededRng,
}

#[derive(Debug)]
struct Server {
    keys: Keys,
    scripts: BTreeSet<Script>,
    /// `master_replid`: new each time that the server starts or is promoted, and its primary's while it
    /// follows one.
    history: String,
    clock: SimClock,
    is_primary: bool,
    /// The server that it replicates; `lag` is the delay of replication.
    follows: Option<usize>,
    lag: Duration,
    is_stalled: bool,
    /// Writes on their way: time of arrival, number, and the write.
    incoming: VecDeque<(Instant, u64, Write)>,
    written: u64,
    received: u64,
}

#[derive(Debug)]
struct Connection {
    server: usize,
    owner: u32,
    path: Path,
    topics: BTreeSet<String>,
    pushes: Option<mpsc::Sender<(Instant, PushInfo)>>,
    /// Pushes that the server keeps until it is no longer silent.
    held: Vec<PushInfo>,
    /// The number of the connection's last write, which `WAIT` waits for.
    own_write: u64,
    closed_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    Open,
    /// Half open: nothing arrives, and neither side notices.
    Holed,
    Broken,
}

impl Redis {
    /// A primary, and a replica that lags by `lag`. Streams keep at most `entries_max` entries.
    #[must_use]
    pub(crate) fn new(clock: &SimClock, rng: SeededRng, entries_max: usize, lag: Duration) -> Self {
        let server = |is_primary: bool| Server {
            keys: Keys::new(entries_max),
            scripts: BTreeSet::new(),
            history: "history0".to_owned(),
            clock: clock.off_by(skew(&rng, OFF_MS_MAX)),
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
            appended: BTreeSet::new(),
            lost: BTreeSet::new(),
            ignores_markers: false,
            histories: 1,
            rng: rng.clone(),
        })))
    }

    /// How many pages of streams nodes have read to fill a gap or to start. An audit's read of the
    /// tail does not count.
    #[must_use]
    pub(crate) fn pages_read(&self) -> u64 {
        self.lock().pages_read
    }

    /// Entries that were ever appended: their stream, and the publication.
    #[must_use]
    pub(crate) fn appended(&self) -> Vec<(String, String)> {
        self.lock().appended.iter().cloned().collect()
    }

    /// Whether a message waits in a spool of any server.
    #[must_use]
    pub(crate) fn has_spooled(&self, publication: &str) -> bool {
        let state = self.lock();
        let mut waiting = state.servers.iter().flat_map(|server| server.keys.waiting());
        waiting.any(|it| it == publication)
    }

    /// Publications whose message was in a spool of a server that lost its data.
    #[must_use]
    pub(crate) fn lost(&self) -> BTreeSet<String> {
        self.lock().lost.clone()
    }

    /// The keys of any server that have one of these texts in their values.
    #[must_use]
    pub(crate) fn find(&self, texts: &[&str]) -> Vec<String> {
        self.lock().servers.iter().flat_map(|server| server.keys.find(texts)).collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl State {
    /// Opens a connection to the server that the name leads to.
    pub(super) fn open(
        &mut self,
        owner: u32,
        pushes: Option<mpsc::Sender<(Instant, PushInfo)>>,
    ) -> u64 {
        let is_recent = |at: Instant| at.elapsed() < CLOSED_KEPT;
        self.connections.retain(|_, connection| connection.closed_at.is_none_or(is_recent));
        self.serial += 1;
        let connection = Connection {
            server: self.named,
            owner,
            path: Path::Open,
            topics: BTreeSet::new(),
            pushes,
            held: Vec::new(),
            own_write: 0,
            closed_at: None,
        };
        self.connections.insert(self.serial, connection);
        self.serial
    }

    /// Closes a connection from the client's side. What was sent before still arrives.
    pub(super) fn close(&mut self, id: u64) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.closed_at = Some(Instant::now());
            connection.topics.clear();
            connection.pushes = None;
        }
    }

    pub(super) fn path_of(&self, id: u64) -> Path {
        self.connections.get(&id).map_or(Path::Broken, |connection| connection.path)
    }

    /// The trouble that a connection sees. Only the server that the name leads to has any.
    pub(super) fn trouble_of(&self, id: u64) -> Trouble {
        let is_named = |connection: &Connection| connection.server == self.named;
        let named = self.connections.get(&id).is_some_and(is_named);
        if named { self.trouble } else { Trouble::None }
    }

    pub(super) fn subscribe(&mut self, id: u64, topics: Vec<String>) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.topics.extend(topics);
        }
    }

    pub(super) fn unsubscribe(&mut self, id: u64, topics: &[String]) {
        let due = Instant::now() + LATENCY;
        if let Some(connection) = self.connections.get_mut(&id) {
            for topic in topics {
                connection.topics.remove(topic);
                connection.push(due, unsubscribed(topic));
            }
        }
    }

    /// How many replicas have a connection's last write. `None` if its server is a replica.
    pub(super) fn acknowledged(&mut self, id: u64) -> Option<i64> {
        self.settle();
        let connection = self.connections.get(&id)?;
        self.servers.get(connection.server).filter(|server| server.is_primary)?;
        let followers =
            self.servers.iter().filter(|server| server.follows == Some(connection.server));
        let count = followers.filter(|server| server.received >= connection.own_write).count();
        i64::try_from(count).ok()
    }

    /// Runs a command that arrived on a connection.
    pub(super) fn run(&mut self, id: u64, command: &Command) -> Value {
        self.settle();
        let Some(index) = self.connections.get(&id).map(|connection| connection.server) else {
            return error("ERR unknown connection");
        };
        let refusal = self.refusal_of(index);
        if refusal == Some(Refusal::Loading) && !command.runs_while_loading() {
            return Refusal::Loading.reply();
        }
        let Some(server) = self.servers.get_mut(index) else { return error("ERR no server") };
        match command {
            Command::Ping => Value::SimpleString("PONG".to_owned()),
            Command::Info => text(self.info(index)),
            Command::LoadScript(script) => {
                server.scripts.insert(*script);
                script.hash()
            }
            Command::Run { script, is_by_hash: true, .. } if !server.scripts.contains(script) => {
                error("NOSCRIPT No matching script.")
            }
            Command::Set if self.ignores_markers => Value::Okay,
            _ => {
                if let Command::Run { script, .. } = command {
                    server.scripts.insert(*script);
                }
                if matches!(command, Command::ReadStream { key, count, .. } if *count == PAGE && !Spools::is_key(key))
                {
                    self.pages_read += 1;
                }
                let (answer, number) = self.run_on_keys(index, command, refusal);
                if let (Some(number), Some(connection)) = (number, self.connections.get_mut(&id)) {
                    connection.own_write = number;
                }
                answer
            }
        }
    }

    fn info(&self, index: usize) -> String {
        let role = if self.servers.get(index).is_some_and(|server| server.is_primary) {
            "master"
        } else {
            "slave"
        };
        let attached = self.servers.iter().filter(|server| server.follows == Some(index)).count();
        format!("# Replication\r\nrole:{role}\r\nconnected_slaves:{attached}\r\n")
    }

    fn refusal_of(&self, index: usize) -> Option<Refusal> {
        match self.trouble {
            Trouble::Refuses(refusal) if index == self.named => Some(refusal),
            _ if self.servers.get(index).is_some_and(|server| !server.is_primary) => {
                Some(Refusal::ReadOnly)
            }
            _ => None,
        }
    }

    /// Runs a command, replicates it and pushes. Returns the answer, and its number if it wrote.
    fn run_on_keys(
        &mut self,
        index: usize,
        command: &Command,
        refusal: Option<Refusal>,
    ) -> (Value, Option<u64>) {
        let Some(server) = self.servers.get_mut(index) else { return (Value::Nil, None) };
        let by = By { at: server.clock.now(), history: server.history.clone() };
        let done = match server.keys.run(command, &by, Permit(refusal)) {
            Ok(done) => done,
            Err(refusal) => return (refusal.reply(), None),
        };
        let mut number = None;
        if done.wrote {
            server.written += 1;
            number = Some(server.written);
            self.replicate(index, Write { by, command: command.clone() });
            if let Command::Run { script: Script::Publish, keys, args, .. } = command
                && let (Some(stream), Some(publication)) = (keys.first(), args.first())
            {
                self.appended.insert((stream.clone(), publication.clone()));
            }
        }
        if let Some((topic, payload)) = done.push {
            let is_entry = matches!(command, Command::Run { .. });
            if is_entry && self.pushes_to_drop > 0 {
                self.pushes_to_drop -= 1;
            } else {
                self.push(index, &topic, &payload);
            }
        }
        (done.answer, number)
    }

    fn replicate(&mut self, index: usize, write: Write) {
        let number = self.servers.get(index).map_or(0, |server| server.written);
        let now = Instant::now();
        for replica in self.servers.iter_mut().filter(|replica| replica.follows == Some(index)) {
            replica.incoming.push_back((now + replica.lag, number, write.clone()));
        }
    }

    /// Runs the replicated writes that have arrived.
    fn settle(&mut self) {
        let now = Instant::now();
        for index in 0..self.servers.len() {
            while let Some(server) = self.servers.get_mut(index) {
                let is_due = server.incoming.front().is_some_and(|(at, ..)| *at <= now);
                if server.is_stalled || !is_due {
                    break;
                }
                let Some((_, number, write)) = server.incoming.pop_front() else { break };
                server.received = number;
                let done = server.keys.run(&write.command, &write.by, Permit(None));
                if let Some((topic, payload)) = done.ok().and_then(|done| done.push) {
                    self.push(index, &topic, &payload);
                }
            }
        }
    }

    fn push(&mut self, server: usize, topic: &str, payload: &str) {
        let due = Instant::now() + LATENCY + self.rng.ms(0..=3);
        let is_silent = self.trouble == Trouble::PushesHang && server == self.named;
        for connection in self.connections.values_mut() {
            if connection.server == server && connection.topics.contains(topic) {
                let push =
                    PushInfo { kind: PushKind::Message, data: vec![text(topic), text(payload)] };
                if is_silent && connection.held.len() < HELD_MAX {
                    connection.held.push(push);
                } else {
                    connection.push(due, push);
                }
            }
        }
    }

    fn break_all(&mut self, concerned: impl Fn(&Connection) -> bool) {
        for connection in self.connections.values_mut().filter(|connection| concerned(connection)) {
            connection.path = Path::Broken;
            // The connection's reader sees the end.
            connection.pushes = None;
        }
    }
}

impl Connection {
    fn push(&mut self, due: Instant, push: PushInfo) {
        if self.path != Path::Open {
            return;
        }
        // A server disconnects a subscriber whose output buffer is full.
        if self.pushes.as_ref().is_some_and(|pushes| pushes.try_send((due, push)).is_err()) {
            self.path = Path::Broken;
            self.pushes = None;
        }
    }
}

fn unsubscribed(topic: &str) -> PushInfo {
    PushInfo { kind: PushKind::Unsubscribe, data: vec![text(topic), Value::Int(0)] }
}

/// Entries in a page of a stream.
const PAGE: usize = limits::STREAM_READ_ENTRIES_MAX;
/// Pushes kept for one connection. A probe ends a silent link, so no more can wait.
const HELD_MAX: usize = 4_096;
/// How far servers' clocks may be off, each way.
const OFF_MS_MAX: u64 = 900;
/// One way between a process and a server.
pub(super) const LATENCY: Duration = Duration::from_millis(1);
/// How long a closed connection is remembered: longer than any server hangs.
const CLOSED_KEPT: Duration = Duration::from_secs(30);
