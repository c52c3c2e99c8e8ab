//! A cluster: the embedded stack, on its own bus or on a real Redis, with nodes in this process
//! or as separate processes.

use std::time::Duration;

use auth::{Secret, Secrets};
use client::{Api, DevUser, RawAnswer, Token, TokenSource, Trust};
use embedded_stack::{Bus, Data, NodeHandle, Stack, StackOptions};
use http::{HeaderName, HeaderValue, Method};
use model::{Channel, UserId, WorkspaceId};

use crate::person::Person;
use crate::process::NodeProcess;
use crate::redis::{Flavor, RedisServer};

/// The environments of the end-to-end suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Everything in one process.
    Embedded,
    /// The embedded engine, a real redis-server.
    Redis,
    /// Functions under a Lambda runtime: [`crate::deployment::Deployment`].
    Deployed,
}

/// A running stack and its users' workspace.
#[derive(Debug)]
pub struct Cluster {
    /// The stack: gateway, functions, engine, and the nodes in this process.
    pub stack: Stack,
    /// The real bus, if there is one.
    pub redis: Option<RedisServer>,
    workspace: WorkspaceId,
}

impl Cluster {
    /// Starts a cluster with two nodes.
    pub async fn start(environment: Environment) -> Self {
        Self::with_nodes(environment, 2).await
    }

    /// Starts a cluster with this many nodes in this process.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn with_nodes(environment: Environment, nodes: usize) -> Self {
        assert_ne!(environment, Environment::Deployed, "start an `AnyCluster` for that");
        let redis = (environment == Environment::Redis).then(|| RedisServer::start(Flavor::Redis));
        let bus = redis.as_ref().map_or(Bus::InProcess, |redis| {
            Bus::Redis(service::config::RedisUrl::parse(&redis.url()).expect("a URL of ours"))
        });
        Self::of(StackOptions { nodes, bus, ..options() }, redis).await
    }

    /// Starts a cluster with these options.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn of(options: StackOptions, redis: Option<RedisServer>) -> Self {
        let stack = Stack::start(options).await.unwrap_or_else(|error| panic!("{error:?}"));
        Self { stack, redis, workspace: WorkspaceId::parse("w").expect("a name") }
    }

    /// The gateway's URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.stack.url()
    }

    /// The users' workspace.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// An API client for a user.
    ///
    /// # Panics
    /// If the name is not a user id.
    #[must_use]
    pub fn api(&self, name: &str) -> Api {
        self.api_of(DevUser::new(self.workspace.clone(), user(name)))
    }

    /// An API client for any principal that `/dev/token` mints a token for.
    ///
    /// # Panics
    /// If the stack's URL is invalid.
    #[must_use]
    pub fn api_of(&self, user: DevUser) -> Api {
        Api::new(&self.url(), TokenSource::Dev(user)).expect("a URL of ours")
    }

    /// An API client for a user that trusts the authority of the nodes' certificates.
    ///
    /// # Panics
    /// If the stack's URL is invalid.
    #[must_use]
    pub fn api_trusting(&self, name: &str, trust: Trust) -> Api {
        let source = TokenSource::Dev(DevUser::new(self.workspace.clone(), user(name)));
        Api::trusting(&self.url(), source, trust).expect("a URL of ours")
    }

    /// An API client with a fixed token, which may be any text.
    ///
    /// # Panics
    /// If the stack's URL is invalid.
    #[must_use]
    pub fn api_with(&self, token: &str) -> Api {
        Api::new(&self.url(), TokenSource::Fixed(Token::new(token))).expect("a URL of ours")
    }

    /// Makes a call with exactly these headers. A refusal is an answer, too.
    ///
    /// # Panics
    /// If there is no answer, or a header is malformed.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> RawAnswer {
        let header = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
            (name, HeaderValue::from_str(value).expect("a header's value"))
        };
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let headers = headers.iter().map(header).collect();
        self.api("nobody").raw(method, path, headers, body).await.expect("an answer")
    }

    /// A user's bearer token with this lifetime.
    ///
    /// # Panics
    /// If `/dev/token` refuses.
    pub async fn token(&self, name: &str, ttl_s: u64) -> String {
        let dev =
            DevUser { ttl_s: Some(ttl_s), ..DevUser::new(self.workspace.clone(), user(name)) };
        let token = self.api(name).dev_token(&dev).await.expect("a token");
        token.as_str().to_owned()
    }

    /// A connected user.
    pub async fn person(&self, name: &str) -> Person {
        Person::start(name, self.api(name)).await
    }

    /// Two connected users on different nodes.
    ///
    /// # Panics
    /// If both get the same node.
    pub async fn two_people_apart(&self, one: &str, other: &str) -> (Person, Person) {
        let (one, other) = (self.person(one).await, self.person(other).await);
        assert_ne!(one.client.node_id(), other.client.node_id(), "two nodes, two people");
        (one, other)
    }

    /// Creates a group channel as a user.
    ///
    /// # Panics
    /// If the call is refused.
    pub async fn group(&self, creator: &str, members: &[&str]) -> Channel {
        let members: Vec<UserId> = members.iter().map(|name| user(name)).collect();
        self.api(creator).create_channel("general", &members).await.expect("a channel")
    }

    /// Starts a node as a separate process, on the cluster's Redis and engine.
    ///
    /// # Panics
    /// If the cluster has no real Redis, or the node does not start.
    pub async fn node_process(&self) -> NodeProcess {
        let redis = self.redis.as_ref().expect("node processes need a real Redis");
        NodeProcess::start(&redis.url(), self.stack.store_endpoint()).await
    }

    /// The nodes in this process.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeHandle> {
        self.stack.nodes()
    }
}

/// Options: two nodes in this process, everything in memory, and secrets that node processes share.
#[must_use]
pub fn options() -> StackOptions {
    StackOptions {
        data: Data::Memory,
        ticket_secrets: Some(secrets(TICKET_SECRET)),
        ..StackOptions::default()
    }
}

/// A secret for tests.
///
/// # Panics
/// If it is too short to be one.
#[must_use]
pub fn secrets(text: &str) -> Secrets {
    Secrets::from(Secret::parse(text).expect("a secret that is long enough"))
}

/// A user id.
///
/// # Panics
/// If the name is not a user id.
#[must_use]
pub fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a user id")
}

/// The secret that signs tickets in tests.
pub const TICKET_SECRET: &str = "tickets-of-a-test-0123456789-0123456789";
/// A little more than the time that a lease outlives its node.
pub const LEASE_END: Duration = Duration::from_secs(6);
