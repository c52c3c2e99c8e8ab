//! What the end-to-end suite runs on: a cluster in this process, or a deployment that environment
//! variables name.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::{Api, DevUser, Token, TokenSource};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use jsonwebtoken::{EncodingKey, Header};
use model::{Channel, ChannelId, NodeId, UserId, WorkspaceId};
use serde_json::{Value, json};
use service::config::{Env as _, ProcessEnv};

use crate::cluster::{Cluster, Environment, user};
use crate::person::Person;
use crate::process::{NodeProcess, NodeSetup};
use crate::{SOON, eventually};

/// A cluster with two nodes, wherever its functions run, and its users' workspace.
#[derive(Debug)]
pub enum AnyCluster {
    /// Gateway and functions in this process.
    Local(Box<Cluster>),
    /// Functions outside of this process.
    Deployed(Deployment),
}

/// Functions under a Lambda runtime that `tests/cloud` started, with nodes started by the test.
///
/// Starting it empties its bus, so tests cannot run in parallel: one would lose its nodes.
#[derive(Debug)]
pub struct Deployment {
    target: Arc<Target>,
    nodes: Vec<NodeProcess>,
    workspace: WorkspaceId,
}

/// A deployment, as the variables of `tests/cloud` describe it. No field has a default.
#[derive(Debug)]
struct Target {
    url: String,
    store: String,
    region: String,
    redis_port: u16,
    ticket_secret: String,
    token_secret: String,
    token_issuer: String,
    token_audience: String,
}

impl AnyCluster {
    /// Starts a cluster, or connects to the deployment.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(environment: Environment) -> Self {
        match environment {
            Environment::Deployed => Self::Deployed(Deployment::start().await),
            Environment::Embedded | Environment::Redis => {
                Self::Local(Box::new(Cluster::start(environment).await))
            }
        }
    }

    /// The users' workspace.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        match self {
            Self::Local(cluster) => cluster.workspace(),
            Self::Deployed(deployment) => &deployment.workspace,
        }
    }

    /// An API client for any principal.
    #[must_use]
    pub fn api_of(&self, user: DevUser) -> Api {
        match self {
            Self::Local(cluster) => cluster.api_of(user),
            Self::Deployed(deployment) => deployment.api_of(user),
        }
    }

    /// An API client for a user.
    #[must_use]
    pub fn api(&self, name: &str) -> Api {
        self.api_of(DevUser::new(self.workspace().clone(), user(name)))
    }

    /// A connected user.
    pub async fn person(&self, name: &str) -> Person {
        Person::start(name, self.api(name)).await
    }

    /// Two connected users on different nodes.
    ///
    /// # Panics
    /// If both get the same node. A deployment has several instances of `connect`, which only
    /// share what nodes report, so there it panics only after many attempts.
    pub async fn two_people_apart(&self, one: &str, other: &str) -> (Person, Person) {
        match self {
            Self::Local(cluster) => cluster.two_people_apart(one, other).await,
            Self::Deployed(_) => {
                let one = self.person(one).await;
                for _ in 0..CHOICES_MAX {
                    let other = self.person(other).await;
                    if other.client.node_id() != one.client.node_id() {
                        return (one, other);
                    }
                }
                panic!("{CHOICES_MAX} times the same node of two")
            }
        }
    }

    /// Creates a group channel as a user.
    ///
    /// # Panics
    /// If the call is refused.
    pub async fn group(&self, creator: &str, members: &[&str]) -> Channel {
        let members: Vec<UserId> = members.iter().map(|name| user(name)).collect();
        self.api(creator).create_channel("general", &members).await.expect("a channel")
    }

    /// Creates a group channel with a contract as a user.
    ///
    /// # Panics
    /// If the call is refused.
    pub async fn group_of(&self, contract: &str, creator: &str, members: &[&str]) -> ChannelId {
        let token = match self {
            Self::Local(cluster) => cluster.token(creator, 600).await,
            Self::Deployed(deployment) => {
                let user = DevUser::new(deployment.workspace.clone(), user(creator));
                deployment.target.token_of(&user).as_str().to_owned()
            }
        };
        let bearer = format!("Bearer {token}").parse().expect("a header's value");
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer), (CONTENT_TYPE, json)]);
        let body = json!({
            "type": "GROUP_CHANNEL", "name": "general", "contract": contract, "members": members,
        });
        let api = self.api(creator);
        let answer = api.raw(Method::POST, "/channels", headers, body.to_string()).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        let made: Value = serde_json::from_slice(&answer.body).expect("JSON");
        made.get("channel_id")
            .and_then(Value::as_str)
            .and_then(|id| id.parse().ok())
            .expect("a channel's id")
    }

    /// Kills a node.
    ///
    /// # Panics
    /// If there is no such node.
    pub async fn kill_node(&mut self, node: &NodeId) {
        match self {
            Self::Local(cluster) => {
                cluster.api("anyone").kill_node(node).await.expect("a node of this stack");
            }
            Self::Deployed(deployment) => deployment.kill(node).await,
        }
    }
}

impl Deployment {
    async fn start() -> Self {
        let target = Arc::new(Target::named());
        crate::redis::execute(target.redis_port, &["FLUSHALL"]);
        let workspace = WorkspaceId::parse(&format!("w{:x}", rand::random::<u64>()));
        let mut deployment =
            Self { target, nodes: Vec::new(), workspace: workspace.expect("an id") };
        for _ in 0..NODES {
            let node = deployment.node().await;
            deployment.nodes.push(node);
        }
        let ours: BTreeSet<String> = deployment.nodes.iter().map(|node| node.url.clone()).collect();
        let api = deployment.api_of(DevUser::new(deployment.workspace.clone(), user("prober")));
        eventually("clients are sent to the new nodes", SOON, async || {
            let Ok(assignment) = api.connect(None).await else { return false };
            let given = std::iter::once(&assignment.target).chain(&assignment.alternates);
            given.map(|target| target.url.clone()).collect::<BTreeSet<_>>() == ours
        })
        .await;
        deployment
    }

    async fn node(&self) -> NodeProcess {
        let redis = format!("redis://127.0.0.1:{}", self.target.redis_port);
        NodeProcess::of(&NodeSetup {
            variables: vec![
                ("AWS_REGION", self.target.region.clone()),
                ("INKWIRE_TICKET_SECRET", self.target.ticket_secret.clone()),
            ],
            ..NodeSetup::plain(&redis, &self.target.store)
        })
        .await
    }

    fn api_of(&self, user: DevUser) -> Api {
        let target = Arc::clone(&self.target);
        let login = move || -> client::LoginFuture {
            let token = target.token_of(&user);
            Box::pin(async move { Ok(token) })
        };
        Api::new(&self.target.url, TokenSource::Login(Arc::new(login))).expect("an http:// URL")
    }

    async fn kill(&mut self, id: &NodeId) {
        for node in &mut self.nodes {
            if node.is(id).await {
                return node.kill();
            }
        }
        panic!("no node {id}")
    }
}

impl Target {
    /// Reads the variables that `tests/cloud` sets.
    ///
    /// # Panics
    /// If a variable is missing.
    fn named() -> Self {
        let named = |name: &str| {
            let value = ProcessEnv.value(name).and_then(|value| value.into_string().ok());
            value.unwrap_or_else(|| panic!("{name} is missing: `tests/cloud` runs these tests"))
        };
        Self {
            url: named("INKWIRE_TEST_URL"),
            store: named("INKWIRE_TEST_STORE"),
            region: named("INKWIRE_TEST_REGION"),
            redis_port: named("INKWIRE_TEST_REDIS_PORT").parse().expect("a port"),
            ticket_secret: named("INKWIRE_TEST_TICKET_SECRET"),
            token_secret: named("INKWIRE_TEST_TOKEN_SECRET"),
            token_issuer: named("INKWIRE_TEST_TOKEN_ISSUER"),
            token_audience: named("INKWIRE_TEST_TOKEN_AUDIENCE"),
        }
    }

    /// Signs a token, as the application's login would.
    fn token_of(&self, user: &DevUser) -> Token {
        let now = jsonwebtoken::get_current_timestamp();
        let mut claims = json!({
            "sub": user.user_id.as_str(),
            "workspace_id": user.workspace_id.as_str(),
            "iss": self.token_issuer,
            "aud": self.token_audience,
            "iat": now,
            "exp": now + user.ttl_s.unwrap_or(TOKEN_TTL.as_secs()),
        });
        if let (Some(role), Some(claims)) = (&user.role, claims.as_object_mut()) {
            claims.insert("role".to_owned(), json!(role));
        }
        let key = EncodingKey::from_secret(self.token_secret.as_bytes());
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key);
        Token::new(token.expect("claims that can be signed"))
    }
}

const NODES: usize = 2;
/// How often a user connects at most to get the other one of two nodes.
const CHOICES_MAX: usize = 40;
const TOKEN_TTL: Duration = Duration::from_secs(3_600);
