//! The embedded stack as a newcomer uses it: its program, output, errors and data.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use client::{Api, DevUser, TokenSource};
use model::Direction;
use tests::cluster::user;
use tests::port::free_port;
use tests::process::program;
use tests::redis::{Flavor, RedisServer};
use tests::{SOON, eventually};

/// The running program; killed when dropped.
struct Program {
    process: Child,
    url: String,
    /// Its output up to when it was ready.
    output: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

impl Program {
    async fn start(data: &Path) -> Self {
        let port = free_port();
        let mut process = Command::new(program("embedded-stack"))
            .args(["--port", &port.to_string(), "--data-dir"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let api = Api::new(&url, TokenSource::Dev(alice())).unwrap();
        eventually("the stack answers", SOON, async || api.channels().await.is_ok()).await;
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut output = String::new();
        for line in stdout.lines().map_while(Result::ok) {
            output.push_str(&line);
            output.push('\n');
            if line.contains("Ctrl-C") {
                break;
            }
        }
        Self { process, url, output }
    }

    fn api(&self) -> Api {
        Api::new(&self.url, TokenSource::Dev(alice())).unwrap()
    }

    async fn stop(mut self) {
        let sent = Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(sent.success());
        let mut code = None;
        eventually("it ends in order", SOON, async || {
            code = self.process.try_wait().unwrap().map(|status| status.code());
            code.is_some()
        })
        .await;
        assert_eq!(code, Some(Some(0)));
    }
}

fn alice() -> DevUser {
    DevUser::new("demo".parse().unwrap(), user("alice"))
}

#[tokio::test(flavor = "multi_thread")]
async fn history_survives_a_restart_and_the_demo_is_seeded_once() {
    let data = tempfile::tempdir().unwrap();
    let stack = Program::start(data.path()).await;
    let api = stack.api();
    let channels = api.channels().await.unwrap();
    let general =
        channels.iter().find(|channel| channel.details.name.as_deref() == Some("general")).unwrap();
    let first = api.scroll(&general.id, None, 100, Direction::Older).await.unwrap();
    assert!(first.messages.len() > 20, "history to scroll through");
    api.post_message(&general.id, "before the restart", None, None).await.unwrap();
    stack.stop().await;

    let stack = Program::start(data.path()).await;
    let api = stack.api();
    assert_eq!(api.channels().await.unwrap().len(), channels.len());
    let again = api.scroll(&general.id, None, 100, Direction::Older).await.unwrap();
    assert_eq!(again.messages[0].text.as_str(), "before the restart");
    assert_eq!(again.messages[1..], first.messages[..again.messages.len() - 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn g1_what_was_acknowledged_survives_kill_9() {
    let data = tempfile::tempdir().unwrap();
    let mut stack = Program::start(data.path()).await;
    let api = stack.api();
    let channel = api.create_channel("durable", &[]).await.unwrap().id;
    let mut acknowledged = Vec::new();
    for n in 0..100 {
        acknowledged
            .push(api.post_message(&channel, &n.to_string(), None, None).await.unwrap().message.id);
    }
    stack.process.kill().unwrap();
    stack.process.wait().unwrap();
    let stack = Program::start(data.path()).await;
    let page = stack.api().scroll(&channel, None, 100, Direction::Newer).await.unwrap();
    let ids: Vec<_> = page.messages.iter().map(|message| message.id).collect();
    assert_eq!(ids, acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_run() {
    let data = tempfile::tempdir().unwrap();
    let stack = Program::start(data.path()).await;
    for person in ["/?as=alice", "/?as=bob"] {
        assert!(stack.output.contains(&format!("{}{person}", stack.url)), "{}", stack.output);
    }
    assert!(stack.output.contains(&data.path().display().to_string()), "{}", stack.output);
    let curl = stack.output.lines().map(str::trim).find(|line| line.starts_with("curl")).unwrap();
    let sent = Command::new("sh").args(["-c", curl]).output().unwrap();
    let answer = String::from_utf8_lossy(&sent.stdout);
    assert!(sent.status.success() && answer.contains(r#""duplicate":false"#), "{curl}\n{answer}");
    let listen = stack
        .output
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("cargo run -p inkwire "))
        .unwrap();
    let arguments: Vec<&str> = listen.split(" -- ").nth(1).unwrap().split_whitespace().collect();
    let mut listener = Command::new(program("inkwire"))
        .args(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let heard = BufReader::new(listener.stdout.take().unwrap());
    let (tx, mut rx) = tokio::sync::mpsc::channel(64);
    std::thread::spawn(move || {
        for line in heard.lines().map_while(Result::ok) {
            if tx.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut heard_it = false;
    let mut attempts = 0;
    while !heard_it && attempts < 20 {
        // The listener may not be connected yet, so send again, each time with another text.
        attempts += 1;
        let again = curl.replacen("hello", &format!("hello {attempts}"), 1);
        assert!(Command::new("sh").args(["-c", &again]).output().unwrap().status.success());
        let until = tokio::time::Instant::now() + Duration::from_secs(2);
        while let Ok(Some(line)) = tokio::time::timeout_at(until, rx.recv()).await {
            heard_it |= line.contains("alice");
        }
    }
    listener.kill().unwrap();
    listener.wait().unwrap();
    assert!(heard_it, "bob's listener prints what alice sent");
    stack.stop().await;
}

fn fails(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = Command::new(program("embedded-stack"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(!status.success(), "{arguments:?}: {stderr}");
    assert_eq!(stderr.trim().lines().count(), 1, "one line: {stderr}");
    stderr
}

#[test]
fn start_up_problems_are_one_line_that_names_the_cause() {
    let data = tempfile::tempdir().unwrap();
    let data_dir = data.path().to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let line = fails(&["--port", &port, "--data-dir", data_dir]);
    assert!(line.contains(&port) && line.contains("--port"), "{line}");

    let file = data.path().join("a-file");
    std::fs::write(&file, "not a directory").unwrap();
    let line = fails(&["--port", "0", "--data-dir", file.to_str().unwrap()]);
    assert!(line.contains("a-file"), "{line}");

    let nobody = format!("redis://127.0.0.1:{}", free_port());
    let line = fails(&["--port", "0", "--data-dir", data_dir, "--redis-url", &nobody]);
    assert!(line.contains("Redis") && line.contains(&nobody[8..]), "{line}");

    assert_eq!(line.matches("Connection refused").count(), 1, "{line}");
    assert!(line.trim_end().ends_with("; start it, or correct --redis-url"), "{line}");

    let redis = RedisServer::start(Flavor::Redis);
    let wrong = redis.url().replace("redis://", "redis://:hunter2@");
    let line = fails(&["--port", "0", "--data-dir", data_dir, "--redis-url", &wrong]);
    assert!(line.trim_end().ends_with("; correct the password in --redis-url"), "{line}");
    assert!(!line.contains("hunter2") && !line.contains("INKWIRE_"), "{line}");

    let nobody = format!("http://127.0.0.1:{}", free_port());
    let line = fails(&["--port", "0", "--data-dir", data_dir, "--dynamodb-endpoint", &nobody]);
    assert!(line.contains(&nobody), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_belongs_to_one_stack_at_a_time() {
    let data = tempfile::tempdir().unwrap();
    let _stack = Program::start(data.path()).await;
    let line = fails(&["--port", "0", "--data-dir", data.path().to_str().unwrap()]);
    assert!(line.contains(data.path().to_str().unwrap()), "{line}");
}
