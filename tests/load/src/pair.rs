//! A server and its crowd: the node with Redis before it, or a floor.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum as _;
use serde_json::Value;
use tests::authority::Authority;

use crate::Failed;
use crate::crowd::Order;
use crate::floor::Style;
use crate::machine::{CLIENT_CORE, SERVER_CORE};
use crate::process::{Process, arguments_of};
use crate::world::World;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The node, all of it.
    Node,
    /// A program that only writes.
    Floor(Style),
}

impl Subject {
    /// Its name in tables.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Node => "node".to_owned(),
            Self::Floor(style) => {
                let style = style.to_possible_value();
                format!(
                    "floor {}",
                    style.map_or_else(String::new, |style| style.get_name().to_owned())
                )
            }
        }
    }
}

/// How a node is set up, if not plain and over a store in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Files of a chain and its key.
    pub(crate) certificate: Option<[PathBuf; 2]>,
    /// The file of who issued it.
    pub(crate) authority: Option<PathBuf>,
    /// The endpoint of a store that has the world's rows.
    pub(crate) store: Option<String>,
    /// The words of a tool that the node runs under.
    pub(crate) under: Vec<String>,
}

impl Options {
    /// A node that shows a certificate of this authority's.
    pub(crate) fn over_tls(authority: &Authority) -> Self {
        let issued = authority.issue();
        Self {
            certificate: Some([issued.chain, issued.key]),
            authority: Some(authority.file()),
            ..Self::default()
        }
    }
}

/// A server on one core, its clients on the other.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) server: Process,
    pub(crate) crowd: Process,
    /// What the crowd was started with.
    arguments: Vec<String>,
}

impl Pair {
    /// Starts both; no socket is open yet.
    ///
    /// # Errors
    /// If one of them does not start.
    pub(crate) fn start(
        subject: Subject,
        redis: &str,
        world: World,
        options: &Options,
    ) -> Result<Self, Failed> {
        let certificate = options.certificate.as_ref();
        let text = |text: &str| text.to_owned();
        let mut server = vec![text("floor"), text("--style")];
        let mut crowd = vec![text("crowd")];
        match subject {
            Subject::Node => {
                server = vec![text("serve"), text("--redis"), text(redis)];
                if let Some([chain, key]) = certificate {
                    let path = |path: &PathBuf| path.display().to_string();
                    server.extend([text("--certificate"), path(chain), path(key)]);
                }
                if let Some(store) = &options.store {
                    server.extend([text("--store"), text(store)]);
                }
                server.extend(arguments_of(world));
                crowd.extend([text("--redis"), text(redis)]);
            }
            Subject::Floor(style) => {
                let style = style.to_possible_value().ok_or("no such style")?;
                server.push(text(style.get_name()));
            }
        }
        let server = Process::start_under(&options.under, Some(SERVER_CORE), &server)?;
        crowd.extend([text("--address"), server.text("address")]);
        match subject {
            Subject::Node => crowd.extend([text("--node-id"), server.text("node_id")]),
            Subject::Floor(_) => crowd.extend([text("--control"), server.text("control")]),
        }
        if let Some(authority) = &options.authority {
            crowd.extend([text("--tls"), authority.display().to_string()]);
        }
        crowd.extend(arguments_of(world));
        let arguments = crowd;
        let crowd = Process::start(Some(CLIENT_CORE), &arguments)?;
        Ok(Self { server, crowd, arguments })
    }

    /// One more crowd of the server, with so many of the world's sockets.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn crowd_of(&self, first: usize, count: usize) -> Result<Process, Failed> {
        let share =
            ["--first".to_owned(), first.to_string(), "--count".to_owned(), count.to_string()];
        Process::start(Some(CLIENT_CORE), &[&self.arguments[..], &share].concat())
    }

    /// Stops both where they are: who is not measured takes no core from who is.
    ///
    /// # Errors
    /// If one of them is gone.
    pub(crate) fn pause(&self) -> Result<(), Failed> {
        self.crowd.pause()?;
        self.server.pause()
    }

    /// Lets both go on, and waits until what they put off is done.
    ///
    /// # Errors
    /// If one of them is gone.
    pub(crate) fn resume(&mut self, settle: &Order) -> Result<(), Failed> {
        self.server.resume()?;
        self.crowd.resume()?;
        std::thread::sleep(SETTLE);
        self.crowd.ask(settle).map(drop)
    }

    /// Does something with the crowd, and tells what the server's cores had to do for it.
    ///
    /// # Errors
    /// If one of them is gone.
    pub(crate) fn measure(&mut self, order: Order) -> Result<(Value, Duration), Failed> {
        let before = self.server.cpu();
        let answer = self.crowd.ask(&order)?;
        Ok((answer, self.server.cpu().saturating_sub(before)))
    }
}

/// How long a server that was stopped needs for its own affairs: a node has a lease to renew, and to
/// look whether its subscription still hears.
const SETTLE: Duration = Duration::from_millis(1_500);
