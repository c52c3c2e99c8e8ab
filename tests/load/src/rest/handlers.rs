//! The functions' handlers over given ports, and a request for each.

use std::sync::Arc;

use auth::tokens::TokenConfig;
use auth::tokens::{JwtTokens, TokenSigner};
use auth::{Secret, Secrets};
use bytes::Bytes;
use clap::ValueEnum;
use dynamo::Capacity;
use http::{Request, Response, header};
use memory::{ManualClock, MemoryBus, MemoryDirectory, MemoryStore, SeededRandomness};
use messaging::App;
use messaging::channels::create_channel;
use messaging::ports::{Clock, Lease, NodeDirectory as _, Principal};
use model::{
    ChannelId, Contract, NewChannel, NewChannelKind, NodeId, Timestamp, UserId, Visibility,
    WorkspaceId,
};
use serde_json::json;
use service::clock::SystemClock;
use service::compose::{BusParts, ports};
use service::config::RedisUrl;

use super::Outcome;
use crate::population::tickets;
use crate::serve::store;

/// A call that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Call {
    /// `POST /messages` with a text of [`TEXT_BYTES`].
    Send,
    /// `GET /scroll`, the newest 20.
    Scroll,
    /// `GET /connect`.
    Connect,
}

impl Call {
    pub(crate) const ALL: [Self; 3] = [Self::Send, Self::Scroll, Self::Connect];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Scroll => "scroll",
            Self::Connect => "connect",
        }
    }

    /// Its method, path, query and body.
    pub(crate) fn parts(self, channel: &str) -> (&'static str, &'static str, String, String) {
        let none = String::new;
        match self {
            Self::Send => {
                let body = json!({ "channel_id": channel, "message": text() }).to_string();
                ("POST", "/messages", none(), body)
            }
            Self::Scroll => ("GET", "/scroll", format!("channel_id={channel}&limit=20"), none()),
            Self::Connect => ("GET", "/connect", none(), none()),
        }
    }

    /// The request of the user with this token.
    pub(crate) fn request(self, channel: &str, token: &str) -> Outcome<Request<Bytes>> {
        let (method, path, query, body) = self.parts(channel);
        let builder = Request::builder()
            .method(method)
            .uri(format!("{path}?{query}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        Ok(builder.body(Bytes::from(body))?)
    }

    /// Runs the handler with everything that surrounds it in a function and in the gateway.
    pub(crate) async fn serve(self, app: App, request: Request<Bytes>) -> Response<Bytes> {
        match self {
            Self::Send => service::http::serve(app, request, send::handle).await,
            Self::Scroll => service::http::serve(app, request, scroll::handle).await,
            Self::Connect => service::http::serve(app, request, connect::handle).await,
        }
    }
}

/// The text of every message. Its row takes one write unit.
pub(crate) fn text() -> String {
    "x".repeat(TEXT_BYTES)
}

/// The secret that signs tokens here.
pub(crate) fn token_secrets() -> Outcome<Secrets> {
    Ok(Secrets::from(Secret::parse(TOKEN_SECRET)?))
}

/// A token of the caller.
pub(crate) fn token() -> Outcome<String> {
    Ok(TokenSigner::new(&token_secrets()?).issue(&caller()?, SystemClock.now()))
}

/// The user who makes the calls.
pub(crate) fn caller() -> Outcome<Principal> {
    Ok(Principal {
        workspace_id: WorkspaceId::parse(WORKSPACE)?,
        user_id: UserId::parse(USER)?,
        is_admin: false,
        expires_at: Timestamp::from_unix_ms(EXPIRES_MS),
    })
}

/// Creates a group with the caller and another user.
pub(crate) async fn group(app: &App) -> Outcome<ChannelId> {
    let members = vec![UserId::parse("bob")?];
    let kind = NewChannelKind::Group {
        visibility: Visibility::Private,
        name: "general".to_owned(),
        members,
    };
    let new = NewChannel { kind, contract: Contract::PersistFirst };
    Ok(create_channel(app, &caller()?, new).await?.0.id)
}

/// All ports in memory, with a stopped clock and seeded randomness: the same instructions in every
/// run.
pub(crate) async fn in_memory() -> Outcome<App> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_unix_ms(NOW_MS)));
    let store = Arc::new(MemoryStore::new());
    let nodes = Arc::new(MemoryDirectory::new(Arc::clone(&clock)));
    for host in 1..=3_u8 {
        let lease = Lease {
            node_id: NodeId::mint(clock.now(), u128::from(host)),
            url: format!("wss://n{host}.example/socket"),
            connections: 0,
            handshakes_per_second: 100,
            draining: false,
            clock: None,
            ticket_keys: Vec::new(),
        };
        nodes.renew(&lease).await?;
    }
    let bus = Arc::new(MemoryBus::new(Arc::clone(&clock)));
    let tokens = Arc::new(JwtTokens::new(&TokenConfig::shared(token_secrets()?)));
    Ok(App::new(memory::ports(
        store,
        bus,
        nodes,
        (tokens, Arc::new(tickets()?)),
        clock,
        SeededRandomness::new(7),
    )))
}

/// The DynamoDB adapter on an engine, with a given bus. `capacity` counts what it costs.
pub(crate) async fn on_engine(endpoint: &str, bus: BusParts, capacity: Capacity) -> Outcome<App> {
    let store = store(endpoint, capacity).await;
    let tokens = Arc::new(JwtTokens::new(&TokenConfig::shared(token_secrets()?)));
    Ok(App::new(ports(store, bus, tokens, Arc::new(tickets()?))))
}

/// The real bus.
pub(crate) fn redis(url: &str) -> Outcome<BusParts> {
    Ok(service::compose::redis(&RedisUrl::parse(url)?)?)
}

/// A bus in this process.
pub(crate) fn memory_bus() -> BusParts {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bus = MemoryBus::new(Arc::clone(&clock));
    BusParts::of(bus, Arc::new(MemoryDirectory::new(clock)))
}

/// With names, ids and version, the row stays below 1 KiB: one write unit.
pub(crate) const TEXT_BYTES: usize = 800;
pub(crate) const TOKEN_SECRET: &str = "tokens-of-a-measurement-0123456789-0123456789";
const WORKSPACE: &str = "w";
pub(crate) const USER: &str = "alice";
/// 2027-01-15.
const NOW_MS: u64 = 1_800_000_000_000;
/// 2030-03-17: a token may not be valid for more than ten years.
const EXPIRES_MS: u64 = 1_900_000_000_000;
