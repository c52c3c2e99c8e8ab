//! The gateway, reached with raw bytes: requests, expected refusals, and the stack that answers.

use std::fmt::Write as _;
use std::time::Duration;

use client::exchange;
use futures_util::{StreamExt, stream};
use model::{ChannelId, Timestamp};
use serde_json::Value;
use tests::cluster::{Cluster, options, secrets, user};

use crate::tokens;

/// Cases that run at once.
const AT_ONCE: usize = 16;
/// How long an answer may take on a busy machine.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Runs every case. Panics with all failures.
pub(crate) async fn all<C, F>(cases: Vec<C>, check: impl Fn(C) -> F)
where
    F: Future<Output = Result<(), String>>,
{
    let count = cases.len();
    let checks = cases.into_iter().map(check);
    let failed: Vec<String> = stream::iter(checks)
        .buffer_unordered(AT_ONCE)
        .filter_map(|result| async { result.err() })
        .collect()
        .await;
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
}

/// What exists on the stack: one workspace with a few channels, and a second workspace.
pub(crate) struct Cast {
    /// A group of `alice` and `bob`.
    pub(crate) channel: String,
    /// A DM of the same two.
    pub(crate) dm: String,
    /// A channel of `bob` alone.
    pub(crate) bobs: String,
    /// A channel of `alice` in another workspace.
    pub(crate) foreign: String,
    /// A message from `alice` in `channel`.
    pub(crate) posted: String,
}

/// The text of that message.
pub(crate) const POSTED: &str = "the one message";

impl Cast {
    /// Placeholders that nothing on a stack corresponds to, for counting cases.
    pub(crate) fn on_paper() -> Self {
        let absent = absent();
        Self {
            channel: absent.clone(),
            dm: absent.clone(),
            bobs: absent.clone(),
            foreign: absent,
            posted: "01KDVSQNC0ZZZZZZZZZZZZZZZZ".to_owned(),
        }
    }

    /// Creates everything on a stack.
    pub(crate) async fn on(cluster: &Cluster) -> Self {
        let channel = cluster.group("alice", &["bob"]).await.id;
        let alice = cluster.api("alice");
        let posted = alice.post_message(&channel, POSTED, None, None).await.unwrap();
        let elsewhere = client::DevUser::new("elsewhere".parse().unwrap(), user("alice"));
        let foreign = cluster.api_of(elsewhere).create_channel("x", &[]).await.unwrap();
        let gone = cluster.api_with(&tokens::admin());
        gone.revoke_user(&user("gone")).await.unwrap();
        Self {
            dm: alice.create_dm(&user("bob")).await.unwrap().id.to_string(),
            bobs: cluster.group("bob", &[]).await.id.to_string(),
            foreign: foreign.id.to_string(),
            posted: posted.message.id.to_string(),
            channel: channel.to_string(),
        }
    }
}

/// A well-formed channel id that does not exist.
pub(crate) fn absent() -> String {
    ChannelId::mint_group(Timestamp::from_unix_ms(1), 1).to_string()
}

/// A stack with secrets that the tests know.
pub(crate) async fn stack(nodes: usize) -> Cluster {
    let token_secrets = Some(secrets(tokens::SECRET));
    let options = embedded_stack::StackOptions { nodes, token_secrets, ..options() };
    Cluster::of(options, None).await
}

/// A request and its expected refusal.
pub(crate) struct Rest {
    pub(crate) name: String,
    method: String,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    field: Option<String>,
    reason: Option<&'static str>,
    allow: Option<&'static str>,
}

impl Rest {
    /// A call of `alice` with a JSON body.
    pub(crate) fn of(name: impl Into<String>, method: &str, path: impl Into<String>) -> Self {
        let token = format!("Bearer {}", tokens::good("alice"));
        let media = "application/json".to_owned();
        Self {
            name: name.into(),
            method: method.to_owned(),
            path: path.into(),
            headers: vec![("Authorization", token.into()), ("Content-Type", media.into())],
            body: Vec::new(),
            status: 0,
            code: "",
            field: None,
            reason: None,
            allow: None,
        }
    }

    pub(crate) fn by(self, token: &str) -> Self {
        self.without("Authorization").with("Authorization", format!("Bearer {token}"))
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| *header != name);
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn renamed(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn refused(mut self, status: u16, code: &'static str) -> Self {
        (self.status, self.code) = (status, code);
        self
    }

    pub(crate) fn field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Why its token is refused.
    pub(crate) fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    pub(crate) fn allow(mut self, allow: &'static str) -> Self {
        self.allow = Some(allow);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut request =
            format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            request.extend(name.as_bytes());
            request.extend(b": ");
            request.extend(value);
            request.extend(b"\r\n");
        }
        let tail = format!("Connection: close\r\nContent-Length: {}\r\n\r\n", self.body.len());
        request.extend(tail.as_bytes());
        request.extend(&self.body);
        request
    }

    /// Sends the request, and compares everything that the protocol defines for the refusal.
    pub(crate) async fn check(self, url: &str) -> Result<(), String> {
        let bytes = exchange(url, &self.bytes(), ANSWER_MAX).await.map_err(|e| e.to_string())?;
        let answer = Answer::parse(&bytes).ok_or_else(|| format!("{}: no answer", self.name))?;
        let mut wrong = String::new();
        let mut challenge = if self.status == 401 { "Bearer" } else { "absent" }.to_owned();
        let mut compare = |what: &str, found: String, wanted: String| {
            if found != wanted {
                writeln!(wrong, "  {}: {what} is {found}, not {wanted}", self.name).unwrap();
            }
        };
        compare("status", answer.status.to_string(), self.status.to_string());
        if self.method != "HEAD" {
            let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let text = |name: &str| problem[name].as_str().unwrap_or("absent").to_owned();
            compare("code", text("code"), self.code.to_owned());
            compare("type", text("type"), format!("urn:inkwire:error:{}", self.code));
            compare("reason", text("reason"), self.reason.unwrap_or("absent").to_owned());
            if self.reason.is_some() {
                let (error, why) = (r#"error="invalid_token""#, text("detail"));
                challenge = format!(r#"Bearer {error}, error_description="{why}""#);
            }
            compare("field", text("field"), self.field.clone().unwrap_or("absent".to_owned()));
            compare("its status", problem["status"].to_string(), self.status.to_string());
            compare("retryable", problem["retryable"].to_string(), "false".to_owned());
            for name in ["title", "detail", "request_id"] {
                compare(name, (text(name).len() > 3).to_string(), "true".to_owned());
            }
        }
        for (name, wanted) in [
            ("content-type", "application/problem+json"),
            ("cache-control", "no-store"),
            ("allow", self.allow.unwrap_or("absent")),
            ("www-authenticate", challenge.as_str()),
            ("retry-after", "absent"),
        ] {
            let found = answer.header(name).unwrap_or("absent");
            compare(name, found.to_owned(), wanted.to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// A parsed HTTP answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, head, body: bytes[end + 4..].to_owned() })
    }

    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case(wanted).then_some(value)
        })
    }
}
