//! The publisher: a thread of its own, so that receivers do not slow its pace.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use messaging::ports::EventBus as _;
use model::{Message, WorkspaceId};
use protocol::frame::ServerFrame;
use redis_bus::RedisBus;

use crate::Failed;
use crate::population::{self, Population};

/// How publications reach the server.
#[derive(Debug, Clone)]
pub(crate) enum Transport {
    /// Through Redis, with the publish script.
    Bus(String),
    /// As encoded frames, to a floor.
    Floor(SocketAddr),
    /// Not from this crowd.
    None,
}

/// What to publish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// The first channel, and how many.
    channels: (usize, usize),
    pub(crate) messages: u64,
    /// Without a rate, all messages are published at once.
    per_second: Option<u64>,
}

impl Schedule {
    /// Messages in one channel, all at once.
    pub(crate) const fn at_once(channel: usize, messages: u64) -> Self {
        Self { channels: (channel, 1), messages, per_second: None }
    }

    /// Messages at a fixed rate in several channels, by turns: the first channel, and how many.
    pub(crate) const fn paced(channels: (usize, usize), messages: u64, per_second: u64) -> Self {
        Self { channels, messages, per_second: Some(per_second) }
    }

    /// How many tenths of a second it takes; 1 without a rate.
    pub(crate) fn tenths(&self) -> usize {
        let tenths = self.per_second.map_or(1, |per_second| self.messages * 10 / per_second);
        usize::try_from(tenths).unwrap_or(1).max(1)
    }

    /// The channels, in their order.
    pub(crate) fn channels(&self) -> std::ops::Range<usize> {
        self.channels.0..self.channels.0 + self.channels.1
    }
}

/// When each message was due, by its number.
#[derive(Debug)]
pub(crate) struct Times {
    start: Instant,
    nanos: Vec<AtomicU64>,
}

impl Times {
    fn new() -> Self {
        let nanos = (0..TIMES_KEPT).map(|_| AtomicU64::new(0)).collect();
        Self { start: Instant::now(), nanos }
    }

    fn slot(&self, number: u64) -> Option<&AtomicU64> {
        self.nanos.get((number % TIMES_KEPT) as usize)
    }

    fn set(&self, number: u64, at: Instant) {
        let nanos = u64::try_from((at - self.start).as_nanos()).unwrap_or(u64::MAX);
        if let Some(slot) = self.slot(number) {
            slot.store(nanos, Ordering::Release);
        }
    }

    /// When the message of this number was due.
    pub(crate) fn of(&self, number: u64) -> Instant {
        let nanos = self.slot(number).map_or(0, |slot| slot.load(Ordering::Acquire));
        self.start + Duration::from_nanos(nanos)
    }
}

/// A handle to the thread.
#[derive(Debug)]
pub(crate) struct Publisher {
    schedules: mpsc::Sender<Schedule>,
    /// When messages were due.
    pub(crate) times: Arc<Times>,
}

impl Publisher {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub(crate) fn start(transport: Transport, population: Population) -> Result<Self, Failed> {
        let (tx, schedules) = mpsc::channel();
        let times = Arc::new(Times::new());
        let mut thread = Thread {
            transport: Open::of(transport)?,
            population,
            next: 0,
            times: Arc::clone(&times),
        };
        std::thread::spawn(move || {
            for schedule in schedules {
                if let Err(error) = thread.publish(schedule) {
                    eprintln!("load: publishing failed: {error}");
                }
            }
        });
        Ok(Self { schedules: tx, times })
    }

    /// Starts to publish by a schedule.
    ///
    /// # Errors
    /// If the thread has ended.
    pub(crate) fn publish(&self, schedule: Schedule) -> Result<(), Failed> {
        Ok(self.schedules.send(schedule)?)
    }
}

struct Thread {
    transport: Open,
    population: Population,
    next: u64,
    times: Arc<Times>,
}

enum Open {
    Bus(RedisBus, tokio::runtime::Runtime),
    Floor(TcpStream),
    None,
}

impl Open {
    fn of(transport: Transport) -> Result<Self, Failed> {
        Ok(match transport {
            Transport::Bus(url) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Self::Bus(RedisBus::connect(&url)?, runtime)
            }
            Transport::Floor(control) => {
                let stream = TcpStream::connect(control)?;
                stream.set_nodelay(true)?;
                Self::Floor(stream)
            }
            Transport::None => Self::None,
        })
    }
}

impl Thread {
    fn publish(&mut self, schedule: Schedule) -> Result<(), Failed> {
        let (first, channels) = schedule.channels;
        let begun = Instant::now();
        let Some(per_second) = schedule.per_second else {
            let said = (0..schedule.messages).map(|_| (first, begun)).collect();
            return self.say(said);
        };
        let due = |n: u64| begun + Duration::from_nanos(n * 1_000_000_000 / per_second);
        let mut said = 0;
        while said < schedule.messages {
            std::thread::sleep(due(said).saturating_duration_since(Instant::now()));
            // Publish everything that is due at once: senders do not wait for each other.
            let now = Instant::now();
            let from = said;
            while said < schedule.messages && due(said) <= now {
                said += 1;
            }
            let one = |n| Ok((first + usize::try_from(n)? % channels, due(n)));
            self.say((from..said).map(one).collect::<Result<_, Failed>>()?)?;
        }
        Ok(())
    }

    /// Publishes one message per entry at once, with its due time.
    fn say(&mut self, said: Vec<(usize, Instant)>) -> Result<(), Failed> {
        let mut messages = Vec::with_capacity(said.len());
        for (channel, due) in said {
            self.times.set(self.next, due);
            messages.push((channel, self.population.message(channel, self.next, TEXT_BYTES)?));
            self.next += 1;
        }
        match &mut self.transport {
            Open::Bus(bus, runtime) => {
                let bus = &*bus;
                let publish = |(_, (workspace, message)): (usize, (WorkspaceId, Message))| async move {
                    bus.publish(&workspace, &population::publication(&message)).await
                };
                let done = runtime.block_on(join_all(messages.into_iter().map(publish)));
                done.into_iter().collect::<Result<Vec<_>, _>>()?;
            }
            Open::Floor(control) => {
                let mut commands = Vec::new();
                // Messages of one channel go together in one command.
                for of_one in messages.chunk_by(|(one, _), (other, _)| one == other) {
                    let Some((channel, _)) = of_one.first() else { continue };
                    let (first, count) = self.population.audience(*channel);
                    let frames = of_one.iter().map(|(_, (_, message))| framed(message.clone()));
                    let frames: Vec<Bytes> = frames.collect::<Result<_, _>>()?;
                    commands.extend(floor_command(first, count, &frames)?);
                }
                control.write_all(&commands)?;
            }
            Open::None => {}
        }
        Ok(())
    }
}

/// A message as a node's WebSocket frame (RFC 6455 5.2), with a length in two bytes.
fn framed(message: Message) -> Result<Bytes, Failed> {
    let cursor = "1700000000000-0-0000".to_owned();
    let payload = ServerFrame::Message { cursor, message, lacks_text: false }.encode();
    let mut frame = vec![0x81, 126];
    frame.extend(u16::try_from(payload.len())?.to_be_bytes());
    frame.extend(payload.as_bytes());
    Ok(frame.into())
}

/// A floor's command in bytes: see `floor`.
fn floor_command(first: usize, count: usize, frames: &[Bytes]) -> Result<Vec<u8>, Failed> {
    let mut command = Vec::new();
    for number in [first, count, frames.len()] {
        command.extend(u32::try_from(number)?.to_le_bytes());
    }
    for frame in frames {
        command.extend(u32::try_from(frame.len())?.to_le_bytes());
        command.extend(frame);
    }
    Ok(command)
}

/// Length of a message's text, without its number.
const TEXT_BYTES: usize = 100;
/// Messages whose times are remembered.
const TIMES_KEPT: u64 = 1 << 17;
