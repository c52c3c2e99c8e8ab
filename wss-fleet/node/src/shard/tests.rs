use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use memory::ManualClock;
use model::{ChannelId, Message, MessageId, MessageText, Timestamp, TraceId, UserId};
use protocol::publication::{Origin, Publication};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::socket::STUCK;
use super::*;
use crate::metrics::Metrics;

fn stats_at(now: Timestamp) -> Arc<DeliveryStats> {
    Metrics::new(false, Arc::new(ManualClock::at(now))).delivery
}

/// A shard whose sockets are pipes of a given size.
struct Fixture {
    commands: mpsc::Sender<Command>,
    stats: Arc<DeliveryStats>,
    serial: u64,
}

impl Fixture {
    fn start() -> Self {
        let (commands, rx) = mpsc::channel(64);
        let stats = stats_at(Timestamp::from_unix_ms(0));
        tokio::spawn(run(rx, Arc::clone(&stats)));
        Self { commands, stats, serial: 0 }
    }

    async fn socket(&mut self, pipe: usize) -> (SocketId, tokio::io::DuplexStream, Arc<Notify>) {
        let (ours, theirs) = tokio::io::duplex(pipe);
        self.serial += 1;
        let (socket, ended) = (SocketId { shard: 0, serial: self.serial }, Arc::new(Notify::new()));
        let open = Command::Open {
            socket,
            writer: Writer::Boxed(Box::new(ours)),
            ended: Arc::clone(&ended),
        };
        self.send(open).await;
        (socket, theirs, ended)
    }

    async fn send(&self, command: Command) {
        assert!(self.commands.send(command).await.is_ok());
    }

    async fn frame(&self, bytes: &'static [u8], to: &[SocketId]) {
        let (frame, to) = (Bytes::from_static(bytes), to.into());
        self.send(Command::Frame { frame, to, class: DeliveryClass::Live, publication: None })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn g5_frames_come_in_the_order_of_the_mailbox() {
    let mut fixture = Fixture::start();
    let (socket, mut peer, _) = fixture.socket(3).await;
    let frames = vec![Bytes::from_static(b"ready "), Bytes::from_static(b"missed ")];
    fixture.send(Command::Missed { socket, frames }).await;
    fixture.frame(b"live ", &[socket]).await;
    fixture.frame(b"tick ", &[socket]).await;
    let mut read = [0; 23];
    peer.read_exact(&mut read).await.unwrap();
    assert_eq!(&read[..], b"ready missed live tick ");
}

#[tokio::test(start_paused = true)]
async fn g5_a_full_queue_closes_the_socket_as_slow_consumer_and_no_other() {
    let mut fixture = Fixture::start();
    let (slow, mut slow_peer, ended) = fixture.socket(1).await;
    let (quick, mut quick_peer, _) = fixture.socket(1 << 20).await;
    for _ in 0..limits::OUTBOUND_FRAMES_MAX + 2 {
        fixture.frame(b"frame", &[slow, quick]).await;
    }
    ended.notified().await;
    let mut quick_read = vec![0; (limits::OUTBOUND_FRAMES_MAX + 2) * 5];
    quick_peer.read_exact(&mut quick_read).await.unwrap();
    let mut slow_read = Vec::new();
    slow_peer.read_to_end(&mut slow_read).await.unwrap();
    assert!(slow_read.starts_with(b"frame"), "the frame that was being written is whole");
    assert!(slow_read.ends_with(b"slow_consumer"), "and why follows");
    assert!(slow_read.len() < 64, "nothing of what was queued");
    assert_eq!(fixture.stats.slow_consumers.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn g5_what_was_missed_comes_in_its_place_and_is_no_slow_consumers_fault() {
    let mut fixture = Fixture::start();
    let (socket, mut peer, _) = fixture.socket(3).await;
    // The kernel has a part of the frame when the missed frames are queued.
    fixture.frame(b"live and long ", &[socket]).await;
    let mut begun = [0; 2];
    peer.read_exact(&mut begun).await.unwrap();
    let missed = Bytes::from_static(b"missed ");
    let count = limits::OUTBOUND_FRAMES_MAX + 2;
    let frames = vec![missed.clone(); count];
    fixture.send(Command::Missed { socket, frames }).await;
    for _ in 0..count {
        let to = [socket].into();
        fixture
            .send(Command::Frame {
                frame: missed.clone(),
                to,
                class: DeliveryClass::Repair,
                publication: None,
            })
            .await;
    }
    fixture.frame(b"tick", &[socket]).await;
    let expected = format!("live and long {}tick", "missed ".repeat(count * 2));
    let mut read = vec![0; expected.len() - begun.len()];
    peer.read_exact(&mut read).await.unwrap();
    assert_eq!([&begun[..], &read].concat(), expected.as_bytes());
    assert_eq!(fixture.stats.slow_consumers.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn g5_what_was_missed_has_a_bound_of_its_own() {
    let mut fixture = Fixture::start();
    let (socket, _peer, ended) = fixture.socket(1).await;
    for _ in 0..5 {
        let frames = vec![Bytes::from_static(b"missed "); limits::STREAM_ENTRIES_MAX];
        fixture.send(Command::Missed { socket, frames }).await;
    }
    ended.notified().await;
    assert_eq!(fixture.stats.slow_consumers.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn g5_what_was_missed_counts_for_a_client_that_takes_nothing() {
    let mut fixture = Fixture::start();
    let (socket, mut peer, ended) = fixture.socket(1).await;
    fixture.frame(b"never read", &[socket]).await;
    tokio::time::sleep(STUCK).await;
    for _ in 0..limits::OUTBOUND_FRAMES_MAX + 1 {
        let (frame, to) = (Bytes::from_static(b"missed"), [socket].into());
        fixture
            .send(Command::Frame { frame, to, class: DeliveryClass::Repair, publication: None })
            .await;
    }
    let ended = tokio::time::timeout(STUCK, ended.notified()).await;
    assert!(ended.is_ok(), "long before ten seconds");
    let mut read = Vec::new();
    peer.read_to_end(&mut read).await.unwrap();
    assert!(read.ends_with(b"slow_consumer"));
}

#[tokio::test(start_paused = true)]
async fn g12_signals_take_half_of_a_queue_and_end_no_socket() {
    let mut fixture = Fixture::start();
    let (socket, mut peer, _) = fixture.socket(1).await;
    fixture.frame(b"s", &[socket]).await;
    for _ in 0..2 * limits::OUTBOUND_FRAMES_MAX {
        let (frame, to) = (Bytes::from_static(b"s"), [socket].into());
        let class = DeliveryClass::Signal;
        fixture.send(Command::Frame { frame, to, class, publication: None }).await;
    }
    // The rest of the queue is left to frames that must not be lost.
    for _ in 0..limits::OUTBOUND_FRAMES_MAX / 2 {
        fixture.frame(b"m", &[socket]).await;
    }
    // The first one is in the kernel's buffer already.
    let mut read = vec![0; 1 + limits::OUTBOUND_FRAMES_MAX];
    peer.read_exact(&mut read).await.unwrap();
    assert_eq!(read.iter().filter(|byte| **byte == b'm').count(), limits::OUTBOUND_FRAMES_MAX / 2);
    assert_eq!(fixture.stats.slow_consumers.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn g5_one_frame_of_any_size_may_queue() {
    let mut fixture = Fixture::start();
    let (socket, mut peer, _) = fixture.socket(16).await;
    let huge = Bytes::from(vec![b'x'; limits::OUTBOUND_BYTES_MAX * 2]);
    let (frame, to) = (huge.clone(), [socket].into());
    fixture.send(Command::Frame { frame, to, class: DeliveryClass::Live, publication: None }).await;
    let mut read = vec![0; huge.len()];
    peer.read_exact(&mut read).await.unwrap();
    assert_eq!(fixture.stats.slow_consumers.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn g5_a_socket_that_swallows_nothing_is_a_slow_consumer() {
    let mut fixture = Fixture::start();
    let (socket, peer, ended) = fixture.socket(1).await;
    fixture.frame(b"never read", &[socket]).await;
    // Paused time advances by itself: ten seconds for the stall, one for the close frame.
    ended.notified().await;
    assert_eq!(fixture.stats.slow_consumers.get(), 1);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_close_says_why_and_ends_the_stream() {
    let mut fixture = Fixture::start();
    let (socket, mut peer, ended) = fixture.socket(1_024).await;
    fixture.send(Command::Close { socket, code: CloseCode::Revoked, delay: None }).await;
    ended.notified().await;
    let mut read = Vec::new();
    peer.read_to_end(&mut read).await.unwrap();
    assert_eq!(&read[..4], [0x88, 9, 0x11, 0x33], "4403");
    fixture.frame(b"late", &[socket]).await;
}

/// A writer that counts its calls.
struct Counting(Arc<AtomicUsize>);

impl AsyncWrite for Counting {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn everything_queued_for_a_socket_goes_out_in_one_call() {
    let calls = Arc::new(AtomicUsize::new(0));
    let mut shard = shard_at(Timestamp::from_unix_ms(0));
    let socket = SocketId { shard: 0, serial: 1 };
    let writer = Writer::Boxed(Box::new(Counting(Arc::clone(&calls))));
    let mut batch = vec![Command::Open { socket, writer, ended: Arc::default() }];
    for _ in 0..50 {
        batch.push(Command::Frame {
            frame: Bytes::from_static(b"frame"),
            to: [socket].into(),
            class: DeliveryClass::Live,
            publication: None,
        });
    }
    serve_all(&mut shard, batch);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(shard.stats.delivered.get(), 50);
}

/// A writer that accepts everything and passes it on only when flushed, as TLS may.
struct Holding {
    inner: tokio::io::DuplexStream,
    held: Vec<u8>,
}

impl AsyncWrite for Holding {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.held.is_empty() {
            match Pin::new(&mut this.inner).poll_write(context, &this.held) {
                Poll::Ready(Ok(count)) => drop(this.held.drain(..count)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn g5_what_a_writer_holds_back_is_flushed_and_its_stall_noticed() {
    let fixture = Fixture::start();
    let (inner, mut peer) = tokio::io::duplex(4);
    let (socket, ended) = (SocketId { shard: 0, serial: 1 }, Arc::new(Notify::new()));
    let writer = Writer::Boxed(Box::new(Holding { inner, held: Vec::new() }));
    fixture.send(Command::Open { socket, writer, ended: Arc::clone(&ended) }).await;
    fixture.frame(b"one two three", &[socket]).await;
    let mut read = [0; 13];
    let whole = tokio::time::timeout(limits::WRITE_STALL_MAX, peer.read_exact(&mut read)).await;
    assert!(whole.is_ok(), "only {:?}", String::from_utf8_lossy(&read));
    assert_eq!(&read[..], b"one two three");
    // A peer that reads nothing more is a slow consumer, although its writer accepted everything.
    fixture.frame(b"four five", &[socket]).await;
    let begun = Instant::now();
    ended.notified().await;
    assert!(begun.elapsed() >= limits::WRITE_STALL_MAX);
    assert_eq!(fixture.stats.slow_consumers.get(), 1);
}

fn shard_at(now: Timestamp) -> Shard {
    Shard::new(stats_at(now))
}

/// Executes commands until no work is left.
fn serve_all(shard: &mut Shard, commands: impl IntoIterator<Item = Command>) {
    shard.inbox.extend(commands);
    while shard.has_backlog() {
        shard.accept();
        shard.write_some();
    }
}

#[test]
fn how_late_a_message_is_written_is_observed_once_a_shard() {
    let sent = Timestamp::from_unix_ms(1_800_000_000_000);
    let message = |received_at: Timestamp| {
        let stored = Message::new(
            MessageId::mint(sent, 1),
            ChannelId::mint_group(sent, 1),
            UserId::parse("a").unwrap(),
            MessageText::from_stored("hi".to_owned()),
        );
        let origin = Origin { received_at, trace: TraceId::of_bits(1) };
        Publication::of_message(&stored, 1).with_origin(origin)
    };
    let mut shard = shard_at(sent.plus(Duration::from_millis(40)));
    let to: Arc<[SocketId]> = (0..9).map(|serial| SocketId { shard: 0, serial }).collect();
    let mut batch = Vec::new();
    for publication in [message(sent), message(sent.plus(Duration::from_secs(1)))] {
        let (frame, publication) = (Bytes::from_static(b"frame"), Some(Arc::new(publication)));
        batch.push(Command::Frame {
            frame,
            to: Arc::clone(&to),
            class: DeliveryClass::Live,
            publication,
        });
    }
    batch.push(Command::Frame {
        frame: Bytes::from_static(b"tick"),
        to,
        class: DeliveryClass::Live,
        publication: None,
    });
    serve_all(&mut shard, batch);
    let latency = &shard.stats.latency;
    assert_eq!((latency.get_sample_count(), latency.get_sample_sum()), (2, 0.04));
    assert_eq!(shard.stats.skewed.get(), 1, "the other clock is ahead");
}

fn open(shard: &mut Shard, serials: std::ops::Range<u64>) -> (Arc<[SocketId]>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let ids: Arc<[SocketId]> = serials.map(|serial| SocketId { shard: 0, serial }).collect();
    let open = |socket: &SocketId| Command::Open {
        socket: *socket,
        writer: Writer::Boxed(Box::new(Counting(Arc::clone(&calls)))),
        ended: Arc::default(),
    };
    serve_all(shard, ids.iter().map(open));
    (ids, calls)
}

fn frame_to(to: &Arc<[SocketId]>, bytes: usize) -> Command {
    let (frame, to) = (Bytes::from(vec![b'x'; bytes]), Arc::clone(to));
    Command::Frame { frame, to, class: DeliveryClass::Live, publication: None }
}

#[test]
fn g5_a_burst_that_a_late_shard_finds_makes_nobody_a_slow_consumer() {
    let mut shard = shard_at(Timestamp::from_unix_ms(0));
    let (to, _) = open(&mut shard, 0..100);
    // More than a socket's queue may hold, before any write was attempted.
    let frames = 4 * limits::OUTBOUND_BYTES_MAX / 4_000;
    serve_all(&mut shard, (0..frames).map(|_| frame_to(&to, 4_000)));
    assert_eq!(shard.stats.slow_consumers.get(), 0);
    assert_eq!(shard.stats.delivered.get(), 100 * frames as u64);
}

#[test]
fn a_small_audience_does_not_wait_for_a_huge_one() {
    let mut shard = shard_at(Timestamp::from_unix_ms(0));
    let (huge, huge_calls) = open(&mut shard, 0..50_000);
    let (small, small_calls) = open(&mut shard, 50_000..50_010);
    shard.inbox.extend([frame_to(&huge, 100), frame_to(&small, 100)]);
    while small_calls.load(Ordering::Relaxed) < 10 {
        shard.accept();
        shard.write_some();
    }
    let before = huge_calls.load(Ordering::Relaxed);
    assert!(before <= 50, "{before} of the huge one's sockets came first");
    // Frames of one audience still stay in order.
    shard.inbox.push_back(frame_to(&huge, 100));
    serve_all(&mut shard, []);
    assert_eq!(shard.stats.delivered.get(), 100_010);
}

#[test]
fn a_turn_ends_where_nothing_can_be_written() {
    let mut shard = shard_at(Timestamp::from_unix_ms(0));
    let ids: Arc<[SocketId]> = (0..20_000).map(|serial| SocketId { shard: 0, serial }).collect();
    // Frames for sockets that are gone cause no calls, however many there are.
    for _ in 0..8 {
        let copy: Arc<[SocketId]> = ids.iter().copied().collect();
        shard.inbox.push_back(frame_to(&copy, 100));
    }
    let mut turns = 0;
    while shard.has_backlog() {
        shard.accept();
        assert!(turns > 0 || shard.inbox.len() == 7, "one frame for so many is enough for a turn");
        shard.write_some();
        turns += 1;
    }
    assert!(turns >= 30, "{turns} turns for 160,000 sockets");
}
