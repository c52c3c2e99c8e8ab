//! Feeds arbitrary requests to the functions: any method, path, query, token, media type and body,
//! through routing, strict JSON, the handlers and the use cases, on ports in memory.
//!
//! For every input: no panic, no 5xx, and each refusal is a problem of the protocol's form with a
//! code that the protocol defines.

use std::sync::Arc;
use std::time::Duration;

use auth::Secrets;
use auth::tickets::SignedTickets;
use auth::tokens::TokenConfig;
use auth::tokens::{JwtTokens, TokenSigner};
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, Uri};
use memory::{ManualClock, MemoryBus, MemoryDirectory, MemoryStore, SeededRandomness};
use messaging::App;
use messaging::ports::{Clock, Lease, NodeDirectory, Principal};
use model::{ErrorCode, NodeId, Timestamp, UserId, WorkspaceId};
use protocol::routes::{self, Function};
use serde_json::Value;
use service::http::{respond, serve};
use tokio::runtime::{Builder, Runtime};

/// A workspace in memory that answers one request after another.
pub struct Workspace {
    runtime: Runtime,
    state: State,
    /// Requests until the state is built again. What a few requests leave in it is part of the
    /// test, but thousands would only make it slow.
    left: u32,
}

struct State {
    app: App,
    clock: Arc<ManualClock>,
    tokens: [String; 5],
    channel: String,
    dm: String,
}

impl Default for Workspace {
    fn default() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let state = runtime.block_on(State::new());
        Self { runtime, state, left: REQUESTS_MAX }
    }
}

impl Workspace {
    /// Answers one input. Returns the status, or `None` if HTTP cannot carry the request.
    ///
    /// # Panics
    /// If the answer breaks one of the rules above.
    pub fn run(&mut self, input: &[u8]) -> Option<u16> {
        if self.left == 0 {
            self.state = self.runtime.block_on(State::new());
            self.left = REQUESTS_MAX;
        }
        self.left -= 1;
        let request = self.state.request(input)?;
        let response = self.runtime.block_on(answer(&self.state.app, request));
        self.state.clock.advance(Duration::from_millis(7));
        check(&response);
        Some(response.status().as_u16())
    }

    /// A channel with `alice` and `bob`.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.state.channel
    }
}

impl State {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_767_225_600_000)));
        let secrets = || Secrets::parse(SECRET).expect("a secret");
        let signer = TokenSigner::new(&secrets());
        let directory = Arc::new(MemoryDirectory::new(Arc::<ManualClock>::clone(&clock)));
        for node in ["N1", "N2"] {
            let lease = Lease {
                node_id: NodeId::parse(node).expect("a node id"),
                url: "ws://127.0.0.1:1/socket".to_owned(),
                connections: 0,
                handshakes_per_second: 1_000,
                draining: false,
                clock: None,
                ticket_keys: Vec::new(),
            };
            directory.renew(&lease).await.expect("a directory in memory");
        }
        let store = Arc::new(MemoryStore::new());
        let bus = Arc::new(MemoryBus::new(Arc::<ManualClock>::clone(&clock)));
        let ports = memory::ports(
            store,
            bus,
            directory,
            (
                Arc::new(JwtTokens::new(&TokenConfig::shared(secrets()))),
                Arc::new(SignedTickets::new(&secrets())),
            ),
            Arc::<ManualClock>::clone(&clock),
            SeededRandomness::new(1),
        );
        let now = clock.now();
        let token = |user: &str, workspace: &str, is_admin: bool, ttl_s: u64| {
            let principal = Principal {
                workspace_id: WorkspaceId::parse(workspace).expect("a workspace id"),
                user_id: UserId::parse(user).expect("a user id"),
                is_admin,
                expires_at: now.plus(Duration::from_secs(ttl_s)),
            };
            signer.issue(&principal, now)
        };
        let tokens = [
            token("alice", "w", false, 9_000),
            token("root", "w", true, 9_000),
            token("eve", "w", false, 9_000),
            token("alice", "elsewhere", false, 9_000),
            token("alice", "w", false, 0),
        ];
        let app = App::new(ports);
        let group = r#"{"type":"GROUP_CHANNEL","name":"general","members":["bob"]}"#;
        let channel = made(&app, &tokens[0], "/channels", group).await;
        let dm = made(&app, &tokens[0], "/channels", r#"{"type":"DM","members":["bob"]}"#).await;
        for text in ["one", "two"] {
            let body = format!(r#"{{"channel_id":"{channel}","message":"{text}"}}"#);
            made(&app, &tokens[0], "/messages", &body).await;
        }
        Self { app, clock, tokens, channel, dm }
    }

    /// Six bytes choose the method, path, token, media type, and how much of the rest belongs to
    /// the path and to the query. What remains is the body.
    fn request(&self, input: &[u8]) -> Option<Request<Bytes>> {
        let (choices, rest) = input.split_first_chunk::<6>()?;
        let [method, path, token, media, path_bytes, query_bytes] = choices.map(usize::from);
        let (own_path, rest) = rest.split_at(path_bytes.min(rest.len()));
        let (query, body) = rest.split_at(query_bytes.min(rest.len()));
        let method = Method::from_bytes(METHODS[method % METHODS.len()].as_bytes()).ok()?;
        let own_path = self.filled(own_path);
        let mut target = PATHS[path % PATHS.len()].replace("{own}", &own_path);
        if !target.starts_with('/') {
            target.insert(0, '/');
        }
        if !query.is_empty() {
            target.push('?');
            target.push_str(&self.filled(query));
        }
        let mut request = Request::new(Bytes::from(self.filled_bytes(body)));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::try_from(target.replace("{c}", &self.channel)).ok()?;
        let headers = request.headers_mut();
        match self.tokens.get(token % 9) {
            Some(token) => {
                headers
                    .insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).ok()?);
            }
            None if token % 9 == 5 => {
                headers.insert(AUTHORIZATION, HeaderValue::from_bytes(query).ok()?);
            }
            None if token % 9 == 6 => {
                let text = [b"Bearer ".as_slice(), body].concat();
                headers.insert(AUTHORIZATION, HeaderValue::from_bytes(&text).ok()?);
            }
            None if token % 9 == 7 => {
                for token in &self.tokens[..2] {
                    let text = format!("Bearer {token}");
                    headers.append(AUTHORIZATION, HeaderValue::try_from(text).ok()?);
                }
            }
            None => {}
        }
        match MEDIA.get(media % (MEDIA.len() + 2)) {
            Some(media) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
            }
            None if media.is_multiple_of(2) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_bytes(query).ok()?);
            }
            None => {}
        }
        Some(request)
    }

    /// The text with ids of existing channels for `$C` and `$D`, which no fuzzer would guess.
    fn filled(&self, text: &[u8]) -> String {
        let text = String::from_utf8_lossy(text);
        if !text.contains('$') {
            return text.into_owned();
        }
        text.replace("$C", &self.channel).replace("$D", &self.dm)
    }

    fn filled_bytes(&self, text: &[u8]) -> Vec<u8> {
        match std::str::from_utf8(text) {
            Ok(_) => self.filled(text).into_bytes(),
            Err(_) => text.to_owned(),
        }
    }
}

async fn answer(app: &App, request: Request<Bytes>) -> Response<Bytes> {
    let function = match routes::resolve(request.method(), request.uri().path()) {
        Ok(route) => route.function(),
        Err(problem) => return respond(app, &request, Err(problem.into())),
    };
    match function {
        Function::Send => serve(app.clone(), request, send::handle).await,
        Function::Scroll => serve(app.clone(), request, scroll::handle).await,
        Function::Membership => serve(app.clone(), request, membership::handle).await,
        Function::Connect => serve(app.clone(), request, connect::handle).await,
        Function::Amend => serve(app.clone(), request, amend::handle).await,
        Function::Files => serve(app.clone(), request, files::handle).await,
    }
}

async fn made(app: &App, token: &str, path: &str, body: &str) -> String {
    let request = Request::post(path)
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, MEDIA[0])
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .expect("a request");
    let response = answer(app, request).await;
    assert!(response.status().is_success(), "{:?}", response.body());
    let body: Value = serde_json::from_slice(response.body()).expect("JSON");
    body["channel_id"].as_str().expect("an id").to_owned()
}

fn check(response: &Response<Bytes>) {
    let (status, headers) = (response.status().as_u16(), response.headers());
    assert!(status < 500, "{status}: {:?}", response.body());
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    let body: Value = serde_json::from_slice(response.body()).expect("an answer is JSON");
    if status < 400 {
        assert!(matches!(status, 200 | 201), "{status}");
        assert_eq!(headers[CONTENT_TYPE], "application/json");
        return;
    }
    let code = body["code"].as_str().expect("a code");
    let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code).expect("a known code");
    assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
    assert_eq!((known.status(), body["status"].as_u64()), (status, Some(u64::from(status))));
    assert_eq!(body["type"], format!("urn:inkwire:error:{code}"));
    assert_eq!(body["title"], known.title());
    assert_eq!(body["retryable"], status == 429);
    assert_eq!(body["request_id"], headers["x-request-id"].to_str().expect("ASCII"));
    assert_eq!(headers.contains_key(ALLOW), status == 405);
    assert_eq!(headers.contains_key(WWW_AUTHENTICATE), status == 401);
    for name in body.as_object().expect("an object").keys() {
        assert!(MEMBERS.contains(&name.as_str()), "{name} is no member of a problem");
    }
}

const REQUESTS_MAX: u32 = 256;
const SECRET: &str = "secret-of-a-test-0123456789-0123456789";
const METHODS: [&str; 8] = ["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"];
/// The paths. `{own}` is replaced by a part of the input.
pub const PATHS: [&str; 12] = [
    "/messages",
    "/scroll",
    "/channels",
    "/channels/{own}",
    "/channels/{own}/members",
    "/channels/{c}/members/{own}",
    "/channels/{own}/members/bob",
    "/users/{own}",
    "/connect",
    "/{own}",
    "{own}",
    "/channels/{c}/members",
];
const MEDIA: [&str; 4] =
    ["application/json", "application/json; charset=utf-8", "text/plain", "APPLICATION/JSON"];
const MEMBERS: [&str; 11] = [
    "type",
    "title",
    "status",
    "detail",
    "code",
    "reason",
    "request_id",
    "retryable",
    "retry_after_ms",
    "field",
    "server_time",
];
