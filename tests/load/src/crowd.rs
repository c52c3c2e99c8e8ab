//! The clients and their publisher, in a process of their own. It opens sockets, publishes, and
//! counts what arrives and how late. It answers each line of input with a line of JSON.

mod brownout;

use std::io::{self, BufRead as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::NodeId;
use rustix::event::{Timespec, epoll};
use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Failed;
use crate::client::{Arrival, Client, Phase};
use crate::population::Population;
use crate::publish::{Publisher, Schedule, Transport};
use crate::record::say;

/// The options of a crowd.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CrowdOptions {
    /// Where the server listens.
    #[arg(long)]
    address: SocketAddr,
    /// The node's id; a floor has none.
    #[arg(long)]
    node_id: Option<String>,
    /// The bus.
    #[arg(long)]
    redis: Option<String>,
    /// The floor's control connection.
    #[arg(long)]
    control: Option<SocketAddr>,
    /// The number of its first socket in the population.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// The distance between two of its sockets.
    #[arg(long, default_value_t = 1)]
    stride: usize,
    /// How many sockets it has; all if absent.
    #[arg(long)]
    count: Option<usize>,
    /// Use TLS: the file of the certificate authority to trust.
    #[arg(long)]
    tls: Option<PathBuf>,
    #[command(flatten)]
    population: Population,
}

/// A command to a crowd.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CrowdCommand {
    /// Open sockets until there are `until`, `in_flight` at a time.
    Open { until: usize, in_flight: usize },
    /// In each round, publish `size` messages at once in a channel, and wait until all its sockets
    /// have them.
    Burst { rounds: u64, size: u64, channel: usize, pause_ms: u64 },
    /// Publish at a fixed rate, in the channels by turns, without waiting for deliveries.
    Steady { per_second: u64, seconds: u64, channel: usize, channels: usize },
    /// Publish at a fixed rate, in the channels by turns, through a brownout that ends `back_s`
    /// after now. Count what arrives until `listen_s`.
    Through {
        per_second: u64,
        publish_s: u64,
        channel: usize,
        channels: usize,
        back_ms: u64,
        listen_s: u64,
    },
    /// Publish a message in a channel without waiting for anything.
    Say { channel: usize },
    /// Count messages until there are this many or the time is over, and answer with the counts.
    Listen { messages: u64, seconds: u64 },
}

/// Runs the commands on standard input until it is closed.
pub(crate) fn run(options: &CrowdOptions) -> Result<(), Failed> {
    let transport = match (&options.redis, options.control) {
        (Some(redis), _) => Transport::Bus(redis.clone()),
        (None, Some(control)) => Transport::Floor(control),
        (None, None) => Transport::None,
    };
    let mut crowd = Crowd::of(options)?;
    let mut publisher = Publisher::start(transport, options.population)?;
    say("{}");
    for line in io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?)? {
            CrowdCommand::Open { until, in_flight } => crowd.open(until, in_flight)?,
            CrowdCommand::Burst { rounds, size, channel, pause_ms } => {
                let pause = Duration::from_millis(pause_ms);
                burst(&mut crowd, &mut publisher, channel, rounds, size, pause)?
            }
            CrowdCommand::Steady { per_second, seconds, channel, channels } => {
                let schedule =
                    Schedule::paced((channel, channels), per_second * seconds, per_second);
                steady(&mut crowd, &mut publisher, schedule)?
            }
            CrowdCommand::Through {
                per_second,
                publish_s,
                channel,
                channels,
                back_ms,
                listen_s,
            } => {
                let schedule =
                    Schedule::paced((channel, channels), per_second * publish_s, per_second);
                let back_s = Duration::from_millis(back_ms).as_secs_f64();
                brownout::through(
                    &mut crowd,
                    &mut publisher,
                    schedule,
                    per_second,
                    back_s,
                    listen_s,
                )?
            }
            CrowdCommand::Say { channel } => {
                let at = unix_ms();
                publisher.publish(Schedule::at_once(channel, 1))?;
                json!({ "unix_ms": at })
            }
            CrowdCommand::Listen { messages, seconds } => crowd.listen(messages, seconds)?,
        };
        say(&answer.to_string());
    }
    Ok(())
}

/// The sockets, and what they received.
struct Crowd {
    address: SocketAddr,
    node_id: Option<NodeId>,
    population: Population,
    first: usize,
    stride: usize,
    count: usize,
    epoll: OwnedFd,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    gone: usize,
    /// TLS sockets are opened one by one, and only kept open.
    tls: Option<Arc<rustls::ClientConfig>>,
    kept: Vec<crate::tls::Socket>,
}

impl Crowd {
    fn of(options: &CrowdOptions) -> Result<Self, Failed> {
        Ok(Self {
            address: options.address,
            node_id: options.node_id.as_deref().map(NodeId::parse).transpose()?,
            population: options.population,
            first: options.first,
            stride: options.stride,
            count: options.count.unwrap_or(options.population.sockets()),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            clients: Vec::new(),
            buffer: vec![0; 256 * 1024],
            gone: 0,
            tls: options.tls.as_deref().map(crate::tls::config).transpose()?,
            kept: Vec::new(),
        })
    }

    /// Opens sockets. Returns how long that took, in all and for each.
    fn open(&mut self, until: usize, in_flight: usize) -> Result<serde_json::Value, Failed> {
        let until = until.min(self.count);
        let first = self.clients.len() + self.kept.len();
        let begun = Instant::now();
        let took = match &self.tls {
            Some(config) => {
                for n in first..until {
                    let ticket = self.ticket(n)?;
                    self.kept.push(crate::tls::open(config, self.address, n, &ticket)?);
                }
                Vec::new()
            }
            None => {
                // Sign ahead, as many as stay valid: signing must not count as the node's work.
                let mut took = Vec::with_capacity(until - first);
                while first + took.len() < until {
                    let from = first + took.len();
                    let to = until.min(from + SIGNED);
                    let tickets: Vec<String> =
                        (from..to).map(|n| self.ticket(n)).collect::<Result<_, _>>()?;
                    took.extend(self.open_plain(from, to, in_flight, &tickets)?);
                }
                took
            }
        };
        let at = |percent| crate::stats::percentile(&took, percent);
        Ok(json!({ "open": until - first, "seconds": begun.elapsed().as_secs_f64(),
                   "p50_ms": at(50.0), "p99_ms": at(99.0) }))
    }

    /// The ticket of its `number`-th socket; empty for a floor.
    fn ticket(&self, number: usize) -> Result<String, Failed> {
        let socket = self.first + number * self.stride;
        self.node_id
            .as_ref()
            .map_or(Ok(String::new()), |node_id| self.population.ticket(socket, node_id))
    }

    /// How many of its sockets are in a channel.
    fn here(&self, channel: usize) -> u64 {
        let (first, count) = self.population.audience(channel);
        let own = (0..self.count).map(|n| self.first + n * self.stride);
        own.filter(|socket| (first..first + count).contains(socket)).count() as u64
    }

    fn open_plain(
        &mut self,
        first: usize,
        until: usize,
        in_flight: usize,
        tickets: &[String],
    ) -> Result<Vec<f64>, Failed> {
        let mut took = Vec::with_capacity(until - first);
        let mut failed = 0;
        while first + took.len() + failed < until {
            while self.clients.len() < until
                && self.clients.len() - first - took.len() - failed < in_flight
            {
                self.connect()?;
                if self.node_id.is_none() {
                    took.push(0.0);
                }
            }
            if self.node_id.is_none() {
                continue;
            }
            let clients = &mut self.clients;
            let is_quiet =
                pump(&self.epoll, clients, &mut self.buffer, STALL, |n, client, arrival| {
                    match arrival {
                        Arrival::Upgraded => {
                            let ticket = n.checked_sub(first).and_then(|n| tickets.get(n));
                            let hello = ticket.map(|ticket| client.hello(ticket));
                            failed += usize::from(!matches!(hello, Some(Ok(()))));
                        }
                        Arrival::Ready => took.push(client.begun.elapsed().as_secs_f64() * 1e3),
                        Arrival::End => failed += 1,
                        Arrival::Message(_) | Arrival::Resync => {}
                    }
                })?;
            if is_quiet || failed > 0 {
                return Err(format!("{} open, {failed} failed, of {until}", took.len()).into());
            }
        }
        Ok(took)
    }

    fn connect(&mut self) -> Result<(), Failed> {
        let number = self.clients.len();
        let mut client = Client::connect(self.address, self.first + number * self.stride)?;
        if self.node_id.is_some() {
            client.upgrade(self.address)?;
        } else {
            client.phase = Phase::Live;
        }
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, &client.stream, data, epoll::EventFlags::IN)?;
        self.clients.push(client);
        Ok(())
    }

    /// Waits for `count` messages, and passes each one's number and time of arrival to `each`.
    /// Returns false if nothing arrived for a while.
    fn gather(&mut self, count: u64, mut each: impl FnMut(u64, Instant)) -> Result<bool, Failed> {
        let mut left = count;
        while left > 0 {
            let (clients, gone) = (&mut self.clients, &mut self.gone);
            let is_quiet =
                pump(
                    &self.epoll,
                    clients,
                    &mut self.buffer,
                    STALL,
                    |_, _, arrival| match arrival {
                        Arrival::Message(number) => {
                            left = left.saturating_sub(1);
                            each(number, Instant::now());
                        }
                        Arrival::End => *gone += 1,
                        Arrival::Upgraded | Arrival::Ready | Arrival::Resync => {}
                    },
                )?;
            if is_quiet {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn listen(&mut self, messages: u64, seconds: u64) -> Result<serde_json::Value, Failed> {
        let begun = Instant::now();
        let (mut count, mut last) = (0, 0);
        while count < messages && begun.elapsed().as_secs() < seconds {
            let clients = &mut self.clients;
            let wait = Duration::from_millis(100);
            pump(&self.epoll, clients, &mut self.buffer, wait, |_, _, arrival| {
                if let Arrival::Message(_) = arrival {
                    (count, last) = (count + 1, unix_ms());
                }
            })?;
        }
        Ok(json!({ "messages": count, "last_unix_ms": last }))
    }
}

/// Waits once for input and reads it. Returns true if nothing arrived.
fn pump(
    epoll: &OwnedFd,
    clients: &mut [Client],
    buffer: &mut [u8],
    wait: Duration,
    mut arrived: impl FnMut(usize, &mut Client, Arrival),
) -> Result<bool, Failed> {
    let mut events = Vec::with_capacity(256);
    let wait = Timespec::try_from(wait)?;
    retry_on_intr(|| epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)))?;
    for event in &events {
        let number = usize::try_from(event.data.u64())?;
        let Some(client) = clients.get_mut(number) else { continue };
        let mut happened = Vec::new();
        client.read(buffer, |one| happened.push(one));
        if client.phase == Phase::Gone {
            epoll::delete(epoll, &client.stream)?;
        }
        for one in happened {
            arrived(number, client, one);
        }
    }
    Ok(events.is_empty())
}

/// Publishes, waits for all deliveries, and repeats: one publication at a time, or several at once.
fn burst(
    crowd: &mut Crowd,
    publisher: &mut Publisher,
    channel: usize,
    rounds: u64,
    size: u64,
    pause: Duration,
) -> Result<serde_json::Value, Failed> {
    let here = crowd.here(channel);
    let mut last_ms = Vec::new();
    let mut lost = 0;
    let mut busy = Duration::ZERO;
    for _ in 0..rounds {
        std::thread::sleep(pause);
        let begun = Instant::now();
        publisher.publish(Schedule::at_once(channel, size))?;
        let mut missing = here * size;
        let is_complete = crowd.gather(here * size, |_, _| missing -= 1)?;
        busy += begun.elapsed();
        last_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        if !is_complete {
            lost += missing;
        }
    }
    Ok(json!({ "deliveries": rounds * size * here - lost, "lost": lost, "gone": crowd.gone,
               "seconds": busy.as_secs_f64(),
               "last_p50_ms": crate::stats::percentile(&last_ms, 50.0),
               "last_max_ms": crate::stats::percentile(&last_ms, 100.0) }))
}

/// An open loop: a slow server makes the latency longer, but not the load smaller.
fn steady(
    crowd: &mut Crowd,
    publisher: &mut Publisher,
    schedule: Schedule,
) -> Result<serde_json::Value, Failed> {
    let each: Vec<u64> = schedule.channels().map(|channel| crowd.here(channel)).collect();
    let expected: u64 = (0..schedule.messages).zip(each.iter().cycle()).map(|(_, here)| here).sum();
    let mut late_ms = Vec::with_capacity(usize::try_from(expected)?);
    publisher.publish(schedule)?;
    let times = Arc::clone(&publisher.times);
    let mut missing = expected;
    crowd.gather(expected, |number, at| {
        missing -= 1;
        late_ms.push((at - times.of(number)).as_secs_f64() * 1e3);
    })?;
    // If the machine was busy elsewhere for a moment, that spoils only a few tenths of a second.
    let tenth = late_ms.len().div_ceil(schedule.tenths()).max(1);
    let tenths: Vec<f64> =
        late_ms.chunks(tenth).map(|tenth| crate::stats::percentile(tenth, 99.0)).collect();
    let at = |percent| crate::stats::percentile(&late_ms, percent);
    let tenths = crate::stats::percentile(&tenths, 50.0);
    Ok(json!({ "deliveries": expected - missing, "lost": missing, "gone": crowd.gone,
               "p50_ms": at(50.0), "p90_ms": at(90.0), "p99_ms": at(99.0), "p99_tenth_ms": tenths,
               "p999_ms": at(99.9), "max_ms": at(100.0) }))
}

fn unix_ms() -> u64 {
    crate::population::now().unix_ms()
}

/// Tickets to sign ahead: they are valid for half a minute.
const SIGNED: usize = 2_000;
/// After this long without input, missing messages count as lost.
const STALL: Duration = Duration::from_secs(5);
