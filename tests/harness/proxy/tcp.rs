//! A TCP proxy whose faults are switched while it runs.

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
    /// They pass, each piece so much later than the one before: a link of little capacity.
    Slow(Duration),
    /// They pass, all so much later: a link that is long, or a server that is slow to answer.
    Late(Duration),
    /// They wait: nothing passes until this ends, then everything does. A partition that heals.
    Hold,
    /// They are gone, and so is everything that follows on this connection, whatever is switched
    /// later. A partition that never heals, and that nobody is told of.
    Swallow,
    /// Pieces that hold this text are gone, and the others pass: one message is lost on a sound
    /// connection, where messages come one at a time.
    Lose(&'static str),
}

/// Which connections a fault concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// All.
    #[default]
    All,
    /// Those on which something is subscribed to, or will be: they begin with HELLO, since pushes
    /// among answers are RESP3, and connections for commands speak RESP2.
    Subscribers,
    /// The other ones.
    Commands,
}

/// What the proxy does to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fault {
    /// From who connected to the server behind.
    pub up: Flow,
    /// From the server to who connected.
    pub down: Flow,
    /// To which connections.
    pub scope: Scope,
    /// New connections are reset at once.
    pub refuse: bool,
    /// Connections that are made from now on end after so many bytes downwards.
    pub cut_after: Option<u64>,
}

impl Fault {
    /// Nothing arrives, in either direction, and nobody is told.
    pub const BLACK_HOLE: Self = Self { up: Flow::Swallow, down: Flow::Swallow, ..Self::NONE };
    /// Connections look open and carry nothing until this ends.
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
    /// Connections that were made under a lower number are reset.
    cuts: u64,
    /// Connections that were made under a lower number carry nothing any more.
    lost: u64,
}

/// A proxy on a port of its own, before a port that may change; everything ends when it is dropped.
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

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, for who wants Redis.
    #[must_use]
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Switches to a fault, or to none.
    pub fn set(&self, fault: Fault) {
        self.state.send_modify(|state| state.fault = fault);
    }

    /// Leads new connections elsewhere; those that are open stay where they are. What a name does.
    pub fn retarget(&self, target: u16) {
        self.state.send_modify(|state| state.target = target);
    }

    /// Resets every connection that is open now.
    pub fn reset_all(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Whatever goes over connections that are open now is gone, for ever; new ones are sound.
    pub fn lose_all(&self) {
        self.state.send_modify(|state| state.lost += 1);
    }

    /// Connections that it took so far.
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

/// Closes with RST as soon as it is dropped.
fn reset(stream: &TcpStream) {
    // Fails only where the peer was faster.
    stream.set_zero_linger().unwrap_or_default();
}

async fn connection(client: TcpStream, made: State, mut states: watch::Receiver<State>) {
    let Ok(server) = connect(made.target).await else {
        return reset(&client);
    };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap_or_default();
        // Whatever ends a connection here ends it with RST: half-closing is none of the faults.
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
        // The proxy itself is gone, or cuts.
        _ = states.wait_for(|state| state.cuts > made.cuts) => {}
    }
}

/// With a small buffer: what is held here is the sender's to keep.
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
            // What was read as the fault began is held, too.
            while self.flow() == Flow::Hold && !swallows {
                if self.states.changed().await.is_err() {
                    return;
                }
            }
            match self.flow() {
                Flow::Swallow => swallows = true,
                Flow::Slow(by) => tokio::time::sleep(by).await,
                Flow::Lose(text) if holds(bytes, text.as_bytes()) => continue,
                // What was read as the fault began passes at once; it is one piece.
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
                    // Let the bytes arrive: a reset would take them back.
                    self.to.shutdown().await.unwrap_or_default();
                    tokio::time::sleep(LAST_BYTES).await;
                    return;
                }
            }
        }
    }

    /// Passes everything so much later, until the fault is another one; what is on its way passes
    /// at once then. `None` if the connection ended.
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

/// Returns then, or never.
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
/// What a late direction keeps on its way; more waits with the sender.
const LATE_BYTES_MAX: usize = 1024 * 1024;
const BUFFER_BYTES: usize = 16 * 1024;
const RECEIVE_BYTES: u32 = 64 * 1024;
const LAST_BYTES: Duration = Duration::from_millis(20);
