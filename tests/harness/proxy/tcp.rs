//! A TCP proxy with faults that can be switched while it runs.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// They pass.
    #[default]
    Pass,
    /// They pass with a pause between any two pieces: a link with little bandwidth.
    Slow(Duration),
    /// They all pass with this delay: a link with high latency, or a server that is slow to answer.
    Late(Duration),
    /// They are held until this ends, and then all pass: a partition that heals.
    Hold,
    /// They are dropped, and so is everything later on this connection, whatever is switched
    /// afterwards: a silent partition that never heals.
    Swallow,
    /// Pieces that contain this text are dropped, and others pass. If messages come one at a time,
    /// this loses one of them on a working connection.
    Lose(&'static str),
}

/// Which connections a fault applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// All.
    #[default]
    All,
    /// Those that subscribe. They start with HELLO, because pushes need RESP3, while connections
    /// for commands use RESP2.
    Subscribers,
    /// All others.
    Commands,
}

/// What the proxy does to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fault {
    /// The direction from the client to the server.
    pub up: Flow,
    /// The direction from the server to the client.
    pub down: Flow,
    /// The connections that it applies to.
    pub scope: Scope,
    /// Whether new connections are reset at once.
    pub refuse: bool,
    /// New connections end after this many bytes from the server.
    pub cut_after: Option<u64>,
}

impl Fault {
    /// All bytes are dropped silently, in both directions.
    pub const BLACK_HOLE: Self = Self { up: Flow::Swallow, down: Flow::Swallow, ..Self::NONE };
    /// Connections stay open, and all bytes are held until this ends.
    pub const PARTITION: Self = Self { up: Flow::Hold, down: Flow::Hold, ..Self::NONE };
    /// New connections are reset.
    pub const REFUSE: Self = Self { refuse: true, ..Self::NONE };
    /// Everything passes.
    pub const NONE: Self = Self {
        up: Flow::Pass,
        down: Flow::Pass,
        scope: Scope::All,
        refuse: false,
        cut_after: None,
    };
}

#[derive(Debug, Clone, Copy)]
struct State {
    target: u16,
    fault: Fault,
    /// Connections that were opened at a lower number are reset.
    cuts: u64,
    /// Connections that were opened at a lower number drop all bytes.
    lost: u64,
}

/// A proxy before a port, which may change. It stops when it is dropped.
#[derive(Debug)]
pub struct TcpProxy {
    port: u16,
    state: watch::Sender<State>,
    accepted: Arc<AtomicU64>,
    accept: AbortHandle,
}

impl TcpProxy {
    /// Starts a proxy before a port of this machine.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let (state, states) =
            watch::channel(State { target, fault: Fault::NONE, cuts: 0, lost: 0 });
        let accepted = Arc::new(AtomicU64::new(0));
        let accept = tokio::spawn(accept(listener, states, Arc::clone(&accepted))).abort_handle();
        Self { port, state, accepted, accept }
    }

    /// The port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its URL as a Redis server.
    #[must_use]
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Switches to a fault, or to none.
    pub fn set(&self, fault: Fault) {
        self.state.send_modify(|state| state.fault = fault);
    }

    /// Sends new connections to another port and keeps open ones, as a DNS change does.
    pub fn retarget(&self, target: u16) {
        self.state.send_modify(|state| state.target = target);
    }

    /// Resets all open connections.
    pub fn reset_all(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Drops all further bytes on the connections that are open now. New ones work.
    pub fn lose_all(&self) {
        self.state.send_modify(|state| state.lost += 1);
    }

    /// How many connections it accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn accept(listener: TcpListener, states: watch::Receiver<State>, accepted: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        let state = *states.borrow();
        if state.fault.refuse {
            reset(&client);
            continue;
        }
        tokio::spawn(connection(client, state, states.clone()));
    }
}

/// Makes the stream close with RST when it is dropped.
fn reset(stream: &TcpStream) {
    // Fails only if the peer closed first.
    stream.set_zero_linger().unwrap_or_default();
}

async fn connection(client: TcpStream, made: State, mut states: watch::Receiver<State>) {
    let Ok(server) = connect(made.target).await else {
        return reset(&client);
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap_or_default();
        // Connections always end with RST here, because half-closing is not one of the faults.
        reset(stream);
    }
    let subscribes = Arc::new(AtomicBool::new(false));
    let ((client_read, client_write), (server_read, server_write)) =
        (client.into_split(), server.into_split());
    let up = Pump {
        from: client_read,
        to: server_write,
        states: states.clone(),
        subscribes: Arc::clone(&subscribes),
        lost: made.lost,
        left: None,
        is_up: true,
    };
    let down = Pump {
        from: server_read,
        to: client_write,
        states: states.clone(),
        subscribes,
        lost: made.lost,
        left: made.fault.cut_after,
        is_up: false,
    };
    tokio::select! {
        () = up.run() => {}
        () = down.run() => {}
        // The proxy was dropped, or resets its connections.
        _ = states.wait_for(|state| state.cuts > made.cuts) => {}
    }
}

/// Connects with a small receive buffer, so that held bytes stay in the sender's buffer.
async fn connect(port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await
}

struct Pump {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    states: watch::Receiver<State>,
    subscribes: Arc<AtomicBool>,
    lost: u64,
    left: Option<u64>,
    is_up: bool,
}

impl Pump {
    async fn run(mut self) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut swallows = false;
        loop {
            if let Flow::Late(by) = self.flow()
                && !swallows
                && self.late(by, &mut buffer).await.is_none()
            {
                return;
            }
            if self.flow() == Flow::Hold && !swallows {
                if self.states.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let read = tokio::select! {
                read = self.from.read(&mut buffer) => read,
                changed = self.states.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            let Some(bytes) = read.ok().and_then(|count| buffer.get(..count)) else { return };
            if bytes.is_empty() {
                return;
            }
            if self.is_up && (holds(bytes, SUBSCRIBE) || holds(bytes, HELLO)) {
                self.subscribes.store(true, Ordering::Relaxed);
            }
            // Bytes that were just read when the fault began are held, too.
            while self.flow() == Flow::Hold && !swallows {
                if self.states.changed().await.is_err() {
                    return;
                }
            }
            match self.flow() {
                Flow::Swallow => swallows = true,
                Flow::Slow(by) => tokio::time::sleep(by).await,
                Flow::Lose(text) if holds(bytes, text.as_bytes()) => continue,
                // A piece that was just read when the fault began passes at once.
                Flow::Pass | Flow::Hold | Flow::Late(_) | Flow::Lose(_) => {}
            }
            if swallows {
                continue;
            }
            let bytes = match self.left {
                Some(left) => {
                    bytes.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(bytes)
                }
                None => bytes,
            };
            if self.to.write_all(bytes).await.is_err() {
                return;
            }
            if let Some(left) = &mut self.left {
                *left -= u64::try_from(bytes.len()).unwrap_or(*left).min(*left);
                if *left == 0 {
                    // Wait until the bytes have arrived, because a reset would discard them.
                    self.to.shutdown().await.unwrap_or_default();
                    tokio::time::sleep(LAST_BYTES).await;
                    return;
                }
            }
        }
    }

    /// Passes everything with a delay, until the fault changes. Then delayed bytes pass at once.
    /// `None` if the connection ended.
    async fn late(&mut self, by: Duration, buffer: &mut [u8]) -> Option<()> {
        let mut on_its_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        let mut kept = 0;
        while self.flow() == Flow::Late(by) {
            let due = on_its_way.front().map(|(due, _)| *due);
            tokio::select! {
                read = self.from.read(buffer), if kept < LATE_BYTES_MAX => {
                    let bytes = buffer.get(..read.ok()?).filter(|bytes| !bytes.is_empty())?;
                    if self.is_up && (holds(bytes, SUBSCRIBE) || holds(bytes, HELLO)) {
                        self.subscribes.store(true, Ordering::Relaxed);
                    }
                    kept += bytes.len();
                    on_its_way.push_back((Instant::now() + by, bytes.to_vec()));
                }
                () = at(due) => {
                    let (_, bytes) = on_its_way.pop_front()?;
                    kept -= bytes.len();
                    self.to.write_all(&bytes).await.ok()?;
                }
                changed = self.states.changed() => changed.ok()?,
            }
        }
        for (_, bytes) in on_its_way {
            self.to.write_all(&bytes).await.ok()?;
        }
        Some(())
    }

    fn flow(&mut self) -> Flow {
        let state = *self.states.borrow_and_update();
        if state.lost > self.lost {
            return Flow::Swallow;
        }
        let subscribes = self.subscribes.load(Ordering::Relaxed);
        let concerned = match state.fault.scope {
            Scope::All => true,
            Scope::Subscribers => subscribes,
            Scope::Commands => !subscribes,
        };
        match (concerned, self.is_up) {
            (false, _) => Flow::Pass,
            (true, true) => state.fault.up,
            (true, false) => state.fault.down,
        }
    }
}

/// Waits until a time, or without end for `None`.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|part| part == text)
}

const SUBSCRIBE: &[u8] = b"SUBSCRIBE";
const HELLO: &[u8] = b"HELLO\r\n";
/// How many bytes a delayed direction buffers. More of them wait at the sender.
const LATE_BYTES_MAX: usize = 1024 * 1024;
const BUFFER_BYTES: usize = 16 * 1024;
const RECEIVE_BYTES: u32 = 64 * 1024;
const LAST_BYTES: Duration = Duration::from_millis(20);
