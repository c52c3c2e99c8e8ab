//! Several nodes and their clients on this machine.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use tests::redis::{Flavor, RedisServer};

use crate::Failed;
use crate::crowd::CrowdCommand;
use crate::machine;
use crate::population::Population;
use crate::process::{Process, arguments_of};
use crate::record::{Record, progress, say};

/// Nodes, each with its own clients.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Process>,
    pub(crate) crowds: Vec<Process>,
    population: Population,
    spread: Spread,
    shares: usize,
}

/// How sockets are spread over the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Neighbouring sockets share a node: a workspace is on as few nodes as possible.
    Together,
    /// Round robin: a workspace is on all nodes.
    Apart,
}

impl Fleet {
    /// Starts nodes and crowds. No socket is open yet.
    ///
    /// # Errors
    /// If one of them does not start.
    pub(crate) fn start(
        nodes: usize,
        population: Population,
        spread: Spread,
        redis: &str,
    ) -> Result<Self, Failed> {
        Self::of(nodes, nodes, population, spread, redis)
    }

    /// Starts the first `started` of `nodes` nodes, each with its share of all sockets.
    ///
    /// # Errors
    /// If one of them does not start.
    pub(crate) fn of(
        started: usize,
        nodes: usize,
        population: Population,
        spread: Spread,
        redis: &str,
    ) -> Result<Self, Failed> {
        let mut fleet =
            Self { nodes: Vec::new(), crowds: Vec::new(), population, spread, shares: nodes };
        for n in 0..started {
            let mut serve = vec!["serve".to_owned(), "--redis".to_owned(), redis.to_owned()];
            serve.extend(arguments_of(population));
            let node = Process::start(None, &serve)?;
            let (first, stride, count) = fleet.share(n);
            let mut crowd: Vec<String> =
                ["crowd", "--redis", redis].iter().map(ToString::to_string).collect();
            crowd.extend(["--address".to_owned(), node.text("address")]);
            crowd.extend(["--node-id".to_owned(), node.text("node_id")]);
            for (name, value) in [("--first", first), ("--stride", stride), ("--count", count)] {
                crowd.extend([name.to_owned(), value.to_string()]);
            }
            crowd.extend(arguments_of(population));
            fleet.crowds.push(Process::start(None, &crowd)?);
            fleet.nodes.push(node);
        }
        Ok(fleet)
    }

    /// The sockets of a node: the first one, the distance between two, and how many.
    fn share(&self, node: usize) -> (usize, usize, usize) {
        let (all, nodes) = (self.population.sockets(), self.shares);
        match self.spread {
            Spread::Together => {
                let each = all.div_ceil(nodes);
                (node * each, 1, each.min(all.saturating_sub(node * each)))
            }
            Spread::Apart => (node, nodes, (all - node).div_ceil(nodes)),
        }
    }

    /// How many sockets a crowd has.
    pub(crate) fn sockets(&self, crowd: usize) -> u64 {
        self.share(crowd).2 as u64
    }

    /// How many sockets of a crowd are in a channel.
    pub(crate) fn here(&self, crowd: usize, channel: usize) -> u64 {
        let (first, stride, count) = self.share(crowd);
        let (from, members) = self.population.audience(channel);
        let own = (0..count).map(|n| first + n * stride);
        own.filter(|socket| (from..from + members).contains(socket)).count() as u64
    }

    /// Opens all sockets, with all crowds at once.
    ///
    /// # Errors
    /// If some do not open.
    pub(crate) fn open(&mut self) -> Result<(), Failed> {
        self.crowds.iter_mut().try_for_each(|crowd| {
            crowd.send(&CrowdCommand::Open { until: usize::MAX, in_flight: 64 })
        })?;
        self.crowds.iter_mut().try_for_each(|crowd| crowd.answer().map(drop))
    }

    /// CPU time of the nodes so far, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> f64 {
        self.nodes.iter().map(|node| node.cpu().as_nanos() as f64).sum()
    }

    /// Private memory of the nodes.
    pub(crate) fn bytes(&self) -> u64 {
        self.nodes.iter().map(Process::private_bytes).sum()
    }

    /// Publications that the nodes have received so far: the copies that the bus made.
    ///
    /// # Errors
    /// If a node does not answer.
    pub(crate) fn copies(&self) -> Result<u64, Failed> {
        self.nodes
            .iter()
            .map(|node| metric(&node.text("admin"), "inkwire_publications_total"))
            .sum()
    }
}

/// One of a node's metrics.
///
/// # Errors
/// If the node does not answer in time.
pub(crate) fn metric(admin: &str, name: &str) -> Result<u64, Failed> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(METRIC_WAIT))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.ok_or_else(|| format!("{admin} reports no {name}").into())
}

/// What to measure: a channel of all users, on several nodes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Node processes.
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// Users, of ten sockets each.
    #[arg(long, default_value_t = 9_000)]
    users: usize,
    /// Messages, sent one after the other.
    #[arg(long, default_value_t = 5)]
    messages: usize,
}

impl Plan {
    /// The smallest plan that still runs every part.
    pub(crate) const fn smoke() -> Self {
        Self { nodes: 2, users: 20, messages: 1 }
    }
}

/// Runs the scenario.
///
/// # Errors
/// If a process of the run fails.
pub(crate) fn run(plan: &Plan, record: &mut Record) -> Result<(), Failed> {
    let redis = RedisServer::start(Flavor::Redis);
    let population = Population { sockets_per_user: 10, ..Population::one_channel(plan.users) };
    let sockets = population.sockets();
    progress("starting");
    let kernel_before = machine::kernel_bytes();
    let mut fleet = Fleet::start(plan.nodes, population, Spread::Together, &redis.url())?;
    let before = fleet.bytes();
    progress(&format!("opening {sockets} sockets on {} nodes", plan.nodes));
    let begun = std::time::Instant::now();
    fleet.open()?;
    let opened_s = begun.elapsed().as_secs_f64();
    let bytes = fleet.bytes().saturating_sub(before) / sockets as u64;
    let kernel = machine::kernel_bytes().saturating_sub(kernel_before) / (2 * sockets as u64);
    say(&format!(
        "{sockets} sockets of {} users on {} nodes, open in {opened_s:.1} s; a socket: {bytes} bytes \
         of its node, {kernel} of the kernel",
        plan.users, plan.nodes
    ));
    for message in 0..plan.messages {
        progress(&format!("message {} of {}", message + 1, plan.messages));
        let cpu_before = fleet.cpu_ns();
        let wanted: Vec<u64> = (0..plan.nodes).map(|crowd| fleet.here(crowd, 0)).collect();
        for (crowd, messages) in fleet.crowds.iter_mut().zip(&wanted).skip(1) {
            crowd.send(&CrowdCommand::Listen { messages: *messages, seconds: WAIT_S })?;
        }
        let first = fleet.crowds.first_mut().ok_or("no clients")?;
        let said = first.ask(&CrowdCommand::Say { channel: 0 })?;
        let messages = wanted.first().copied().unwrap_or_default();
        first.send(&CrowdCommand::Listen { messages, seconds: WAIT_S })?;
        let heard: Vec<Value> =
            fleet.crowds.iter_mut().map(Process::answer).collect::<Result<_, _>>()?;
        let number = |value: &Value, name| value.get(name).and_then(Value::as_u64).unwrap_or(0);
        let got: u64 = heard.iter().map(|heard| number(heard, "messages")).sum();
        let last = heard.iter().map(|heard| number(heard, "last_unix_ms")).max().unwrap_or(0);
        let last_ms = last.saturating_sub(number(&said, "unix_ms"));
        let cpu_ns = (fleet.cpu_ns() - cpu_before) / got as f64;
        say(&format!(
            "message {message}: {got} of {sockets} have it, the last after {last_ms} ms; {cpu_ns:.0} ns CPU a delivery"
        ));
        record.write(
            "fleet",
            json!({ "nodes": plan.nodes, "users": plan.users, "sockets": sockets,
                    "opened_s": opened_s, "socket_bytes": bytes, "kernel_bytes": kernel,
                    "message": message, "got": got, "last_ms": last_ms, "cpu_ns": cpu_ns }),
        )?;
        if got < sockets as u64 {
            return Err(format!("{} sockets do not have the message", sockets as u64 - got).into());
        }
    }
    Ok(())
}

/// How long a node may take to answer with its metrics.
const METRIC_WAIT: std::time::Duration = std::time::Duration::from_secs(10);
/// How long to wait for a message.
const WAIT_S: u64 = 60;
