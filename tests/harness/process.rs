//! Programs of the workspace as processes of their own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::cluster::TICKET_SECRET;
use crate::{SOON, eventually};

/// A node process; killed when dropped.
#[derive(Debug)]
pub struct NodeProcess {
    process: Child,
    /// Where clients reach it.
    pub url: String,
    health: String,
}

impl NodeProcess {
    /// Starts a node on a free port and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub async fn start(redis_url: &str, store_endpoint: &str) -> Self {
        let port = free_port();
        let url = format!("ws://127.0.0.1:{port}/socket");
        let process = Command::new(program("node"))
            .env_clear()
            .env("INKWIRE_NODE_LISTEN", format!("127.0.0.1:{port}"))
            .env("INKWIRE_NODE_URL", &url)
            .env("INKWIRE_REDIS_URL", redis_url)
            .env("INKWIRE_TABLE_PREFIX", embedded_stack::TABLE_PREFIX)
            .env("INKWIRE_TICKET_SECRET", TICKET_SECRET)
            .env("INKWIRE_LOG", "warn")
            .env("AWS_ENDPOINT_URL", store_endpoint)
            .env("AWS_REGION", "local")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .stdin(Stdio::null())
            .spawn()
            .expect("the node's program: `tests/run` builds it");
        let health = format!("http://127.0.0.1:{port}/healthz");
        let node = Self { process, url, health };
        eventually("the node answers", SOON, async || node.is_healthy().await).await;
        node
    }

    /// Whether it answers 200 on its socket port.
    pub async fn is_healthy(&self) -> bool {
        let answer = client::exchange(
            &self.health,
            b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
            std::time::Duration::from_secs(1),
        );
        answer.await.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
    }

    /// SIGKILL: no goodbye of any kind.
    pub fn kill(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }

    /// SIGTERM: it drains.
    ///
    /// # Panics
    /// If the signal cannot be sent.
    pub fn terminate(&self) {
        let sent = Command::new("kill").arg(self.process.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()));
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
