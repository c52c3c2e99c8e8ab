//! A server and its crowd. The server is a node with its Redis, or a floor.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum as _;
use serde_json::Value;
use tests::authority::Authority;

use crate::Failed;
use crate::crowd::CrowdCommand;
use crate::floor::Style;
use crate::machine::{CLIENT_CORE, SERVER_CORE};
use crate::population::Population;
use crate::process::{Process, arguments_of};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The node with all its parts.
    Node,
    /// The node of another build of this program, with that build's crowd.
    OtherNode,
    /// A program that only writes.
    Floor(Style),
}

impl Subject {
    /// Its name in the tables.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Node => "node".to_owned(),
            Self::OtherNode => "other node".to_owned(),
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

/// How a node differs from the default: no TLS, a store in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Files of a certificate chain and its key.
    pub(crate) certificate: Option<[PathBuf; 2]>,
    /// The file of the certificate authority.
    pub(crate) authority: Option<PathBuf>,
    /// The endpoint of a store that holds the population's rows.
    pub(crate) store: Option<String>,
    /// The command line of a tool that the node runs under.
    pub(crate) under: Vec<String>,
    /// The other build of this program, for [`Subject::OtherNode`].
    pub(crate) other: Option<PathBuf>,
}

impl Options {
    /// A node with a certificate of this authority.
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
    program: PathBuf,
    /// The crowd's arguments.
    arguments: Vec<String>,
}

impl Pair {
    /// Starts both. No socket is open yet.
    ///
    /// # Errors
    /// If one of them does not start.
    pub(crate) fn start(
        subject: Subject,
        redis: &str,
        population: Population,
        options: &Options,
    ) -> Result<Self, Failed> {
        let certificate = options.certificate.as_ref();
        let text = |text: &str| text.to_owned();
        let mut server = vec![text("floor"), text("--style")];
        let mut crowd = vec![text("crowd")];
        match subject {
            Subject::Node | Subject::OtherNode => {
                server = vec![text("serve"), text("--redis"), text(redis)];
                if let Some([chain, key]) = certificate {
                    let path = |path: &PathBuf| path.display().to_string();
                    server.extend([text("--certificate"), path(chain), path(key)]);
                }
                if let Some(store) = &options.store {
                    server.extend([text("--store"), text(store)]);
                }
                server.extend(arguments_of(population));
                crowd.extend([text("--redis"), text(redis)]);
            }
            Subject::Floor(style) => {
                let style = style.to_possible_value().ok_or("no such style")?;
                server.push(text(style.get_name()));
            }
        }
        let program = match (subject, &options.other) {
            (Subject::OtherNode, Some(other)) => other.clone(),
            _ => std::env::current_exe()?,
        };
        let server = Process::start_program(&program, &options.under, Some(SERVER_CORE), &server)?;
        crowd.extend([text("--address"), server.text("address")]);
        match subject {
            Subject::Node | Subject::OtherNode => {
                crowd.extend([text("--node-id"), server.text("node_id")])
            }
            Subject::Floor(_) => crowd.extend([text("--control"), server.text("control")]),
        }
        if let Some(authority) = &options.authority {
            crowd.extend([text("--tls"), authority.display().to_string()]);
        }
        crowd.extend(arguments_of(population));
        let arguments = crowd;
        let crowd = Process::start_program(&program, &[], Some(CLIENT_CORE), &arguments)?;
        Ok(Self { server, crowd, program, arguments })
    }

    /// Starts another crowd at the server, with `count` sockets from `first` on.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn crowd_of(&self, first: usize, count: usize) -> Result<Process, Failed> {
        let share =
            ["--first".to_owned(), first.to_string(), "--count".to_owned(), count.to_string()];
        let arguments = [&self.arguments[..], &share].concat();
        Process::start_program(&self.program, &[], Some(CLIENT_CORE), &arguments)
    }

    /// Stops both processes (SIGSTOP), so that they take no CPU from those that are measured.
    ///
    /// # Errors
    /// If one of them has ended.
    pub(crate) fn pause(&self) -> Result<(), Failed> {
        self.crowd.pause()?;
        self.server.pause()
    }

    /// Continues both, and waits until they have caught up with what they missed.
    ///
    /// # Errors
    /// If one of them has ended.
    pub(crate) fn resume(&mut self, settle: &CrowdCommand) -> Result<(), Failed> {
        self.server.resume()?;
        self.crowd.resume()?;
        std::thread::sleep(SETTLE);
        self.crowd.ask(settle).map(drop)
    }

    /// Sends the crowd a command, and measures the server's CPU time until its answer.
    ///
    /// # Errors
    /// If one of them has ended.
    pub(crate) fn measure(&mut self, command: CrowdCommand) -> Result<(Value, Duration), Failed> {
        let before = self.server.cpu();
        let answer = self.crowd.ask(&command)?;
        Ok((answer, self.server.cpu().saturating_sub(before)))
    }
}

/// How long a server that was stopped needs to catch up: a node must renew its lease and check that
/// its subscription still receives.
const SETTLE: Duration = Duration::from_millis(1_500);
