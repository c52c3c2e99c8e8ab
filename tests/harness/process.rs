//! Programs of the workspace as separate processes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::NodeId;

use crate::authority::Issued;
use crate::cluster::TICKET_SECRET;
use crate::port::free_port;
use crate::{SOON, eventually};

/// A node process; killed when dropped.
#[derive(Debug)]
pub struct NodeProcess {
    process: Child,
    /// The URL that clients connect to.
    pub url: String,
    health: String,
    admin: u16,
    was_asked_to_end: AtomicBool,
}

/// The options of a node process.
#[derive(Debug, Clone)]
pub struct NodeSetup {
    /// The URL of Redis.
    pub redis_url: String,
    /// The endpoint of the store.
    pub store_endpoint: String,
    /// The port that it listens on.
    pub port: u16,
    /// The port that it publishes to clients, if there is a proxy in front of it.
    pub door: Option<u16>,
    /// Its limit of open files; `None` for the limit of this process.
    pub open_files: Option<u32>,
    /// Its TLS certificate, read from files.
    pub certificate: Option<Issued>,
    /// The file of its log; `None` for this process's stderr.
    pub log: Option<PathBuf>,
    /// Environment variables that override or extend the usual ones.
    pub variables: Vec<(&'static str, String)>,
}

impl NodeSetup {
    /// A node on a free port, without TLS.
    #[must_use]
    pub fn plain(redis_url: &str, store_endpoint: &str) -> Self {
        Self {
            redis_url: redis_url.to_owned(),
            store_endpoint: store_endpoint.to_owned(),
            port: free_port(),
            door: None,
            open_files: None,
            certificate: None,
            log: None,
            variables: Vec::new(),
        }
    }

    /// The URL that clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "wss" } else { "ws" };
        format!("{scheme}://127.0.0.1:{}/socket", self.door.unwrap_or(self.port))
    }

    /// The program, ready to start, with its metrics on this port.
    ///
    /// # Panics
    /// If its log cannot be written.
    #[must_use]
    pub fn command(&self, admin: u16) -> Command {
        let program = program("inkwire-node");
        let mut command = Command::new(&program);
        if let Some(files) = self.open_files {
            command = Command::new("/bin/sh");
            command.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\"")).arg(&program);
        }
        command
            .env_clear()
            .env("INKWIRE_NODE_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("INKWIRE_NODE_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .env("INKWIRE_NODE_URL", self.url())
            .env("INKWIRE_REDIS_URL", &self.redis_url)
            .env("INKWIRE_TABLE_PREFIX", embedded_stack::TABLE_PREFIX)
            .env("INKWIRE_TICKET_SECRET", TICKET_SECRET)
            .env("INKWIRE_LOG", "error")
            .env("AWS_ENDPOINT_URL", &self.store_endpoint)
            .env("AWS_REGION", "local")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .stdin(Stdio::null());
        if let Some(Issued { chain, key, .. }) = &self.certificate {
            command.env("INKWIRE_NODE_TLS_CERTIFICATE", chain).env("INKWIRE_NODE_TLS_KEY", key);
        }
        if let Some(log) = &self.log {
            command.stderr(File::create(log).expect("a file for the log"));
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl NodeProcess {
    /// Starts a node on a free port and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub async fn start(redis_url: &str, store_endpoint: &str) -> Self {
        Self::of(&NodeSetup::plain(redis_url, store_endpoint)).await
    }

    /// Starts a node and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub async fn of(setup: &NodeSetup) -> Self {
        let node = Self::started(setup);
        eventually("the node answers", SOON, async || node.is_healthy().await).await;
        node
    }

    /// Starts a node.
    ///
    /// # Panics
    /// If its program is not there.
    #[must_use]
    pub fn started(setup: &NodeSetup) -> Self {
        let (url, admin) = (setup.url(), free_port());
        let mut command = setup.command(admin);
        let process = command.spawn().expect("the node's program: `tests/run` builds it");
        // With TLS, check its health on the admin port, which answers the same in plain HTTP.
        let is_plain = setup.certificate.is_none();
        let health = format!("http://127.0.0.1:{}", if is_plain { setup.port } else { admin });
        Self { process, url, health, admin, was_asked_to_end: AtomicBool::new(false) }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The port of its metrics.
    #[must_use]
    pub const fn admin_port(&self) -> u16 {
        self.admin
    }

    /// Resident memory in bytes, by the kernel; 0 after it has ended.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// Everything in its memory that it may write: heap, stacks, and what is mapped.
    ///
    /// # Panics
    /// If the kernel does not show it.
    #[must_use]
    pub fn memory(&self) -> Vec<u8> {
        let of = |file: &str| format!("/proc/{}/{file}", self.process.id());
        let maps = std::fs::read_to_string(of("maps")).expect("its regions");
        let memory = File::open(of("mem")).expect("the right to read a child's memory");
        let mut bytes = Vec::new();
        for region in maps.lines() {
            let mut fields = region.split(' ');
            let Some((from, to)) = fields.next().and_then(|range| range.split_once('-')) else {
                continue;
            };
            if !fields.next().is_some_and(|rights| rights.starts_with("rw")) {
                continue;
            }
            let address = |hex| u64::from_str_radix(hex, 16).expect("an address");
            let length = usize::try_from(address(to) - address(from)).expect("a length");
            let mut part = vec![0; length];
            // A region may have ended meanwhile.
            if memory.read_exact_at(&mut part, address(from)).is_ok() {
                bytes.extend_from_slice(&part);
            }
        }
        bytes
    }

    /// Number of threads; 0 after it has ended.
    #[must_use]
    pub fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    /// A number from its `/proc/…/status`.
    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        number.unwrap_or_default()
    }

    /// Whether its process is running. A zombie is not.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let state = |line: &str| line.strip_prefix("State:").map(|state| state.trim().to_owned());
        let state = status.ok().and_then(|status| status.lines().find_map(state));
        state.is_some_and(|state| !state.starts_with(['Z', 'X']))
    }

    /// Whether the test killed or terminated it. Otherwise it must not end.
    #[must_use]
    pub fn was_asked_to_end(&self) -> bool {
        self.was_asked_to_end.load(Ordering::Relaxed)
    }

    /// Number of open files; 0 after it has ended.
    #[must_use]
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).map_or(0, Iterator::count)
    }

    /// One of its metrics, summed over labels; 0 if it does not answer.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.admin_answer("/metrics").await;
        let of_name =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let value = |line: &str| line.rsplit(' ').next()?.trim().parse::<u64>().ok();
        text.lines().filter(of_name).filter_map(value).sum()
    }

    /// The answer of its admin port on a path, including the head; empty if there is none.
    pub async fn admin_answer(&self, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}", self.admin);
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        let answer = client::exchange(&url, request.as_bytes(), Duration::from_secs(2)).await;
        String::from_utf8(answer.unwrap_or_default()).unwrap_or_default()
    }

    /// Sends SIGSTOP: the process stops, and its connections stay open.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Sends SIGCONT: a paused process continues.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Whether its health check answers 200: on its socket port, or with TLS on its admin port.
    pub async fn is_healthy(&self) -> bool {
        self.health().await.starts_with("HTTP/1.1 200")
    }

    /// Whether this node has this id.
    pub async fn is(&self, node: &NodeId) -> bool {
        self.health().await.contains(&format!("\"node_id\":\"{node}\""))
    }

    async fn health(&self) -> String {
        let request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        let answer = client::exchange(&self.health, request, Duration::from_secs(1));
        String::from_utf8(answer.await.unwrap_or_default()).unwrap_or_default()
    }

    /// Sends SIGKILL: the node ends without closing sockets or withdrawing its lease.
    pub fn kill(&mut self) {
        self.was_asked_to_end.store(true, Ordering::Relaxed);
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }

    /// Sends SIGTERM: the node drains.
    pub fn terminate(&self) {
        self.was_asked_to_end.store(true, Ordering::Relaxed);
        self.signal("-TERM");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(signal).arg(self.process.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal} failed");
    }

    /// Whether it ended by itself with this exit code.
    pub fn has_exited_with(&mut self, code: i32) -> bool {
        self.process.try_wait().ok().flatten().is_some_and(|status| status.code() == Some(code))
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The path of a workspace program that was built beside this one.
///
/// # Panics
/// If it is not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let mut folders = own.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    folders.find(|program| program.is_file()).unwrap_or_else(|| {
        panic!("{name} is not built: `tests/run` does it, or `cargo build --workspace --bins`")
    })
}
