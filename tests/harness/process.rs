//! Programs of the workspace as processes of their own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use model::NodeId;

use crate::cluster::TICKET_SECRET;
use crate::{SOON, eventually};

/// A node process; killed when dropped.
#[derive(Debug)]
pub struct NodeProcess {
    process: Child,
    /// Where clients reach it.
    pub url: String,
    health: String,
    admin: u16,
}

/// How a node process is set up.
#[derive(Debug, Clone)]
pub struct NodeSetup {
    /// Its way to Redis.
    pub redis_url: String,
    /// Its way to the store.
    pub store_endpoint: String,
    /// Where it listens.
    pub port: u16,
    /// The port that it tells clients, if something stands before it.
    pub door: Option<u16>,
    /// How many files it may have open, if not as many as this process.
    pub open_files: Option<u32>,
    /// The region that it signs for.
    pub region: String,
    /// What signs the tickets that it takes.
    pub ticket_secret: String,
}

impl NodeSetup {
    /// A node on a free port, in a system of this harness.
    #[must_use]
    pub fn on(redis_url: &str, store_endpoint: &str) -> Self {
        Self {
            redis_url: redis_url.to_owned(),
            store_endpoint: store_endpoint.to_owned(),
            port: free_port(),
            door: None,
            open_files: None,
            region: "local".to_owned(),
            ticket_secret: TICKET_SECRET.to_owned(),
        }
    }
}

impl NodeProcess {
    /// Starts a node on a free port and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub async fn start(redis_url: &str, store_endpoint: &str) -> Self {
        Self::of(&NodeSetup::on(redis_url, store_endpoint)).await
    }

    /// Starts a node and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub async fn of(setup: &NodeSetup) -> Self {
        let port = setup.port;
        let url = format!("ws://127.0.0.1:{}/socket", setup.door.unwrap_or(port));
        let admin = free_port();
        let program = program("node");
        let mut command = Command::new(&program);
        if let Some(files) = setup.open_files {
            command = Command::new("/bin/sh");
            command.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\"")).arg(&program);
        }
        let process = command
            .env_clear()
            .env("INKWIRE_NODE_LISTEN", format!("127.0.0.1:{port}"))
            .env("INKWIRE_NODE_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .env("INKWIRE_NODE_URL", &url)
            .env("INKWIRE_REDIS_URL", &setup.redis_url)
            .env("INKWIRE_TABLE_PREFIX", embedded_stack::TABLE_PREFIX)
            .env("INKWIRE_TICKET_SECRET", &setup.ticket_secret)
            .env("INKWIRE_LOG", "error")
            .env("AWS_ENDPOINT_URL", &setup.store_endpoint)
            .env("AWS_REGION", &setup.region)
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .stdin(Stdio::null())
            .spawn()
            .expect("the node's program: `tests/run` builds it");
        let health = format!("http://127.0.0.1:{port}/healthz");
        let node = Self { process, url, health, admin };
        eventually("the node answers", SOON, async || node.is_healthy().await).await;
        node
    }

    /// Resident memory in bytes, as the kernel counts it; 0 once it is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }

    /// Files that it has open; 0 once it is gone.
    #[must_use]
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).map_or(0, Iterator::count)
    }

    /// One of its metrics, labels summed up; 0 if it does not tell.
    pub async fn metric(&self, name: &str) -> u64 {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin);
        let request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        let answer = client::exchange(&url, request, std::time::Duration::from_secs(2)).await;
        let text = String::from_utf8(answer.unwrap_or_default()).unwrap_or_default();
        let of_name =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let value = |line: &str| line.rsplit(' ').next()?.trim().parse::<u64>().ok();
        text.lines().filter(of_name).filter_map(value).sum()
    }

    /// SIGSTOP: it stands still, and its connections with it.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT: it goes on as if nothing had been.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Whether it answers 200 on its socket port.
    pub async fn is_healthy(&self) -> bool {
        self.health().await.starts_with("HTTP/1.1 200")
    }

    /// Whether this node goes by that id.
    pub async fn is(&self, node: &NodeId) -> bool {
        self.health().await.contains(&format!("\"node_id\":\"{node}\""))
    }

    async fn health(&self) -> String {
        let request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        let answer = client::exchange(&self.health, request, std::time::Duration::from_secs(1));
        String::from_utf8(answer.await.unwrap_or_default()).unwrap_or_default()
    }

    /// SIGKILL: no goodbye of any kind.
    pub fn kill(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }

    /// SIGTERM: it drains.
    pub fn terminate(&self) {
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

/// A program of the workspace, built beside this test.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    // target/<profile>/deps/<test>
    let profile = test.parent().and_then(|deps| deps.parent()).expect("a target directory");
    let program = profile.join(name);
    assert!(
        program.is_file(),
        "{name} is not built: `tests/run` does it, or `cargo build -p {name}`"
    );
    program
}

/// A port that was free a moment ago.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}
