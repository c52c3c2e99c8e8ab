//! A node process that may be unhealthy. The start does not wait for it, and tests read its log.

use std::fs::File;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::cluster::TICKET_SECRET;
use crate::port::free_port;
use crate::process::program;
use crate::{SOON, eventually};

/// A node process whose environment the test chooses; killed when dropped.
#[derive(Debug)]
pub struct WatchedNode {
    process: Child,
    port: u16,
    log: NamedTempFile,
}

impl WatchedNode {
    /// Starts it. `environment` overrides the usual variables of a node on `store_endpoint`.
    ///
    /// # Panics
    /// If the program is not there.
    #[must_use]
    pub fn start(store_endpoint: &str, environment: &[(&str, &str)]) -> Self {
        let port = free_port();
        let log = NamedTempFile::new().expect("a temporary file");
        let stderr: File = log.reopen().expect("a file of ours");
        let process = command(port, store_endpoint, environment)
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("the node's program");
        Self { process, port, log }
    }

    /// The status and body of its answer on a path; `None` while it does not listen.
    pub async fn answer(&self, path: &str) -> Option<(u16, Value)> {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = client::exchange(&url, request.as_bytes(), Duration::from_secs(2)).await;
        let answer = String::from_utf8(answer.ok()?).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).ok()?))
    }

    /// Waits until `/healthz` answers with this status, word and problems.
    ///
    /// # Panics
    /// If it does not.
    pub async fn is(&self, status: u16, word: &str, problems: &[&str]) {
        let what = format!("/healthz says {status} {word} {problems:?}; its log: {}", self.log());
        eventually(&what, SOON, async || {
            let Some((found, body)) = self.answer("/healthz").await else { return false };
            found == status
                && body.get("status").and_then(Value::as_str) == Some(word)
                && body.get("problems") == Some(&serde_json::json!(problems))
        })
        .await;
    }

    /// The lines of its log that report this problem.
    #[must_use]
    pub fn reported(&self, issue: &str) -> Vec<String> {
        let is_it = |line: &&str| {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            let says = |name| event.get(name).and_then(Value::as_str);
            says("issue") == Some(issue) && says("level") == Some("ERROR")
        };
        self.log().lines().filter(is_it).map(str::to_owned).collect()
    }

    /// Its whole log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for WatchedNode {
    fn drop(&mut self) {
        // An error means that it has already ended.
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

/// Runs `inkwire-node --check` and waits for it to finish.
///
/// # Panics
/// If the program is not there.
#[must_use]
pub fn check(store_endpoint: &str, environment: &[(&str, &str)]) -> Output {
    let mut command = command(1, store_endpoint, environment);
    command.arg("--check").stdin(Stdio::null()).output().expect("the node's program")
}

fn command(port: u16, store_endpoint: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program("inkwire-node"));
    command
        .env_clear()
        .env("INKWIRE_NODE_LISTEN", format!("127.0.0.1:{port}"))
        .env("INKWIRE_NODE_URL", format!("ws://127.0.0.1:{port}/socket"))
        .env("INKWIRE_TABLE_PREFIX", embedded_stack::TABLE_PREFIX)
        .env("INKWIRE_TICKET_SECRET", TICKET_SECRET)
        .env("AWS_ENDPOINT_URL", store_endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .envs(environment.iter().copied());
    command
}
