//! Thousands of sockets with a minimal client that can resume: it keeps only a cursor.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::{Api, Backoff, DevUser, RawSocket, Received, Target, TokenSource};
use model::{Message, MessageId, NodeId};
use parking_lot::Mutex;
use protocol::frame::ServerFrame;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::cluster::{Cluster, user};

/// What happened to one client.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// When each of its sockets was ready, and whether it resumed.
    pub readies: Vec<(Instant, bool)>,
    /// When each of its sockets ended, and the close code.
    pub ends: Vec<(Instant, u16)>,
    /// How many `resync` frames it got.
    pub resyncs: u32,
    /// Messages that were pushed to it, and when.
    pub messages: Vec<(MessageId, Instant)>,
    /// How many pushed messages were duplicates, or changes of messages that it had.
    pub again: u32,
    /// Changes of messages that were pushed to it.
    pub changes: Vec<Message>,
    /// Calls of `/connect` that failed.
    pub unassigned: u32,
    /// How often it could not open a socket to its assigned node.
    pub refused: u32,
}

/// Many clients, which end when it is dropped.
#[derive(Debug)]
pub struct Crowd {
    members: Vec<Arc<Mutex<Member>>>,
    reads: Arc<AtomicBool>,
    cuts: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Crowd {
    /// Starts `each` clients for each of these users, a few at a time, and waits until all are
    /// ready.
    ///
    /// # Panics
    /// If they are not ready in time.
    pub async fn gather(cluster: &Cluster, names: &[&str], each: usize) -> Self {
        let gate = Arc::new(Semaphore::new(AT_ONCE));
        let calls = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        let reads = Arc::new(AtomicBool::new(true));
        let cuts = Arc::default();
        let mut crowd = Self { members: Vec::new(), reads, cuts, tasks: JoinSet::new() };
        let first = cluster.api("crowd");
        for name in names {
            let dev = DevUser::new(cluster.workspace().clone(), user(name));
            let api = first.with_source(TokenSource::Dev(dev));
            for _ in 0..each {
                let member: Arc<Mutex<Member>> = Arc::default();
                crowd.members.push(Arc::clone(&member));
                let one = One {
                    api: api.clone(),
                    member,
                    reads: Arc::clone(&crowd.reads),
                    cuts: Arc::clone(&crowd.cuts),
                    calls: Arc::clone(&calls),
                    seen: BTreeSet::new(),
                    cursor: None,
                };
                crowd.tasks.spawn(one.live(Arc::clone(&gate)));
            }
        }
        let within = Duration::from_secs(180);
        let count = crowd.members.len();
        crate::eventually("all clients are ready", within, async || {
            tokio::time::sleep(Duration::from_millis(100)).await;
            crowd.look(|member| !member.readies.is_empty()).into_iter().filter(|is| *is).count()
                == count
        })
        .await;
        crowd
    }

    /// Applies a function to every client.
    pub fn look<T>(&self, look: impl Fn(&Member) -> T) -> Vec<T> {
        self.members.iter().map(|member| look(&member.lock())).collect()
    }

    /// Cuts all open sockets without a close frame. The clients reconnect.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets whether clients read their sockets. Clients that do not are slow consumers.
    pub fn read(&self, reads: bool) {
        self.reads.store(reads, Ordering::Relaxed);
    }
}

struct One {
    api: Api,
    member: Arc<Mutex<Member>>,
    reads: Arc<AtomicBool>,
    cuts: Arc<AtomicU64>,
    calls: Arc<Semaphore>,
    seen: BTreeSet<MessageId>,
    cursor: Option<String>,
}

impl One {
    async fn live(mut self, gate: Arc<Semaphore>) {
        let mut backoff = Backoff::default();
        let mut failed: Option<NodeId> = None;
        let mut permit = gate.acquire_owned().await.ok();
        loop {
            let mut retry_after = None;
            let call = self.calls.acquire().await.ok();
            let answer = self.api.connect(failed.as_ref()).await;
            drop(call);
            match answer {
                Ok(assignment) => {
                    tokio::time::sleep(assignment.delay).await;
                    failed = Some(assignment.target.node_id.clone());
                    if let Some(socket) = self.open(&assignment.target).await {
                        permit.take();
                        backoff.reset();
                        let code = self.follow(socket).await;
                        self.member.lock().ends.push((Instant::now(), code));
                        continue;
                    }
                    self.member.lock().refused += 1;
                }
                Err(error) => {
                    retry_after = error.retry_after();
                    self.member.lock().unassigned += 1;
                }
            }
            tokio::time::sleep(backoff.next_wait(retry_after)).await;
        }
    }

    async fn open(&mut self, target: &Target) -> Option<RawSocket> {
        let mut socket = timeout(DIAL_MAX, dial(&target.url)).await.ok()??;
        socket.hello(&target.ticket, self.cursor.as_deref()).await.ok()?;
        let ready =
            socket.frame_within(READY_MAX, |frame| matches!(frame, ServerFrame::Ready(_))).await?;
        if let ServerFrame::Ready(ready) = ready {
            self.cursor = Some(ready.cursor);
            self.member.lock().readies.push((Instant::now(), ready.resumed));
        }
        Some(socket)
    }

    /// Receives until the socket ends, and returns its close code.
    async fn follow(&mut self, mut socket: RawSocket) -> u16 {
        let cuts = self.cuts.load(Ordering::Relaxed);
        loop {
            if self.cuts.load(Ordering::Relaxed) != cuts {
                return 1006;
            }
            while !self.reads.load(Ordering::Relaxed) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            match socket.receive_within(LOOK_AGAIN).await {
                Some(Received::Frame(frame)) => self.take(frame),
                Some(Received::Closed(code)) => {
                    socket.finish().await;
                    return code;
                }
                Some(Received::Broken) => return 1006,
                Some(Received::Text(_) | Received::Binary(_) | Received::Pong(_)) | None => {}
            }
        }
    }

    fn take(&mut self, frame: ServerFrame) {
        match frame {
            ServerFrame::Message { cursor, message, .. } => {
                self.cursor = Some(cursor);
                let mut member = self.member.lock();
                if self.seen.insert(message.id) {
                    member.messages.push((message.id, Instant::now()));
                } else {
                    member.again += 1;
                }
                if message.is_changed() {
                    member.changes.push(message);
                }
            }
            ServerFrame::Channel { cursor, .. } | ServerFrame::Tick { cursor, .. } => {
                self.cursor = Some(cursor);
            }
            ServerFrame::Resync { .. } => self.member.lock().resyncs += 1,
            ServerFrame::Ready(_)
            | ServerFrame::Pong { .. }
            | ServerFrame::Read { .. }
            | ServerFrame::Typing { .. }
            | ServerFrame::Accepted { .. }
            | ServerFrame::Refused(_)
            | ServerFrame::Joined { .. }
            | ServerFrame::Said { .. }
            | ServerFrame::Ended { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Receipts { .. }
            | ServerFrame::Going(_)
            | ServerFrame::Renewed { .. }
            | ServerFrame::Unknown { .. } => {}
        }
    }
}

/// Connects with TCP segments as small as a network's. With those of the loopback interface the
/// kernel buffers megabytes for an unread socket, and the node's queue would never fill.
async fn dial(url: &str) -> Option<RawSocket> {
    let address: SocketAddr = url.strip_prefix("ws://")?.split('/').next()?.parse().ok()?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.set_tcp_mss(SEGMENT_BYTES).ok()?;
    socket.set_recv_buffer_size(RECEIVE_BYTES).ok()?;
    socket.set_nonblocking(true).ok()?;
    let tcp = TcpSocket::from_std_stream(socket.into()).connect(address).await.ok()?;
    tcp.set_nodelay(true).ok()?;
    RawSocket::over(tcp, url, &[]).await.ok()
}

const SEGMENT_BYTES: u32 = 1_448;
const RECEIVE_BYTES: usize = 64 * 1024;
/// How many clients connect at the same time at the start.
const AT_ONCE: usize = 48;
/// Calls of `/connect` in flight. Each uses two of this process's 20,000 files, beside its socket.
const CALLS_AT_ONCE: usize = 4_000;
const DIAL_MAX: Duration = Duration::from_secs(5);
const READY_MAX: Duration = Duration::from_secs(20);
/// How often a client checks whether it should read.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
