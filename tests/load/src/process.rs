//! Servers and crowds as processes: this program, or another build of it, with other arguments.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde_json::Value;

use crate::population::Population;
use crate::{Failed, machine};

/// A process that answers lines. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// What it printed when it was ready.
    pub(crate) about: Value,
}

impl Process {
    /// Starts this program, on one core or on any, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn start(core: Option<usize>, arguments: &[String]) -> Result<Self, Failed> {
        Self::start_program(&std::env::current_exe()?, &[], core, arguments)
    }

    /// Starts a build of this program like [`Self::start`], under a tool if `tool` has words.
    ///
    /// # Errors
    /// If one of them does not start.
    pub(crate) fn start_program(
        program: &Path,
        tool: &[String],
        core: Option<usize>,
        arguments: &[String],
    ) -> Result<Self, Failed> {
        let mut command = match tool.split_first() {
            Some((tool, words)) => {
                let mut command = Command::new(tool);
                command.args(words).arg(program);
                command
            }
            None => Command::new(program),
        };
        if let Some(core) = core {
            command.args(["--core", &core.to_string()]);
        }
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let spawned = command.spawn();
        let mut child =
            spawned.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let commands = child.stdin.take().ok_or("no stdin")?;
        let out = child.stdout.take().ok_or("no stdout")?;
        let answers = BufReader::new(out).lines();
        let mut process = Self { child, commands, answers, about: Value::Null };
        process.about = process.answer()?;
        Ok(process)
    }

    /// Sends a command and waits for the answer.
    ///
    /// # Errors
    /// If the process has ended.
    pub(crate) fn ask(&mut self, command: &impl Serialize) -> Result<Value, Failed> {
        self.send(command)?;
        self.answer()
    }

    /// Sends a command. [`Self::answer`] must be called next.
    ///
    /// # Errors
    /// If the process has ended.
    pub(crate) fn send(&mut self, command: &impl Serialize) -> Result<(), Failed> {
        writeln!(self.commands, "{}", serde_json::to_string(command)?)?;
        Ok(self.commands.flush()?)
    }

    /// The next answer.
    ///
    /// # Errors
    /// If the process has ended.
    pub(crate) fn answer(&mut self) -> Result<Value, Failed> {
        let line = self.answers.next().ok_or("a process of the run ended")??;
        Ok(serde_json::from_str(&line)?)
    }

    /// Stops the process (SIGSTOP) until [`Self::resume`].
    ///
    /// # Errors
    /// If the process has ended.
    pub(crate) fn pause(&self) -> Result<(), Failed> {
        self.signal(Signal::STOP)
    }

    /// Continues a stopped process.
    ///
    /// # Errors
    /// If the process has ended.
    pub(crate) fn resume(&self) -> Result<(), Failed> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Ends the process and waits for that, so that a tool it ran under has written everything.
    ///
    /// # Errors
    /// If the process has ended already, or does not end.
    pub(crate) fn end(mut self) -> Result<(), Failed> {
        self.signal(Signal::TERM)?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > END_MAX {
                return Err("a process of the run does not end".into());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        machine::cpu(self.child.id())
    }

    /// Private memory.
    pub(crate) fn private_bytes(&self) -> u64 {
        machine::private_bytes(self.child.id())
    }

    /// The most resident memory so far.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        machine::peak_resident_bytes(self.child.id())
    }

    /// A text from what it printed when it was ready.
    pub(crate) fn text(&self, name: &str) -> String {
        self.about.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// The arguments that describe a population.
pub(crate) fn arguments_of(population: Population) -> Vec<String> {
    [
        ("--workspaces", population.workspaces),
        ("--users", population.users),
        ("--channel-size", population.channel_size),
        ("--sockets-per-user", population.sockets_per_user),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value.to_string()])
    .collect()
}

/// How long a process may take to end. A tool may write megabytes in this time.
const END_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
