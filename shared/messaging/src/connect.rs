//! `GET /connect`: the connection balancer. It answers with a node, a ticket and a delay.

use std::time::Duration;

use model::{DeviceId, ErrorCode, NodeId, Timestamp, limits};

use crate::app::{App, Ports};
use crate::counters::Counter;
use crate::error::{Refusal, StoreError};
use crate::fleet::{candidates, is_healthy, ramp, takes_our_tickets};
use crate::ports::{DirectoryError, FleetNode, Principal, Ticket};

/// Where to connect.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The node.
    pub node: AssignedNode,
    /// When the ticket expires.
    pub expires_at: Timestamp,
    /// How long to wait before connecting.
    pub delay: Duration,
    /// The server's time, to compare `expires_at` with.
    pub server_time: Timestamp,
    /// A second node to try, if there is one.
    pub alternates: Vec<AssignedNode>,
}

/// A node and the ticket for it.
#[derive(Clone)]
pub struct AssignedNode {
    /// The node.
    pub node_id: NodeId,
    /// Where clients reach it.
    pub url: String,
    /// Opens one socket there; a secret.
    pub ticket: String,
}

impl std::fmt::Debug for AssignedNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AssignedNode {{ node_id: {}, url: {}, .. }}", self.node_id, self.url)
    }
}

/// The client that a ticket is made for.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The user.
    pub caller: &'a Principal,
    /// Whether the user is invisible on the client's socket (G16).
    pub is_invisible: bool,
    /// The client's device, if it says one. It is registered (ADR 0046).
    pub device: Option<&'a DeviceId>,
}

impl<'a> Client<'a> {
    /// A client that says nothing of itself.
    #[must_use]
    pub const fn of(caller: &'a Principal) -> Self {
        Self { caller, is_invisible: false, device: None }
    }
}

/// Why a client gets no node.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The caller is revoked.
    #[error("the caller is revoked")]
    Forbidden,
    /// No node is healthy, or the fleet is unknown.
    #[error("no healthy node")]
    NoCapacity,
    /// The store did not answer whether the caller is revoked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ConnectError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Forbidden => ErrorCode::Forbidden,
            Self::NoCapacity => ErrorCode::NoCapacity,
            Self::Store(error) => error.code(),
        }
    }
}

/// Assigns the less loaded of the workspace's two best candidates, and counts the assignment at
/// once. `failed` is reported, decides the delay, and is assigned only if there is no other node.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(
    app: &App,
    client: Client<'_>,
    failed: Option<&NodeId>,
) -> Result<Assignment, ConnectError> {
    refuse_revoked(app, client.caller).await?;
    register(app, client).await?;
    place(app, client, failed).await
}

async fn place(
    app: &App,
    client: Client<'_>,
    failed: Option<&NodeId>,
) -> Result<Assignment, ConnectError> {
    let caller = client.caller;
    if let Some(failed) = failed
        && let Err(error) = app.nodes.report(failed, &caller.workspace_id, &caller.user_id).await
    {
        app.fleet().log_silence(&error, "a report was not noted");
    }
    let now = app.clock.now();
    let fleet = fleet(app, now, failed.is_some()).await?;
    let delay = failed.map_or(Duration::ZERO, |failed| ramp(&fleet, failed));
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let delay = Duration::from_millis(app.randomness.up_to(delay_ms));
    let ttl = delay + limits::TICKET_TTL;
    let ticket_key = app.tickets.key_ids().first().map(String::as_str);
    app.fleet().log_differing(&fleet, ticket_key);
    let two = candidates(&caller.workspace_id, &fleet, failed, ticket_key);
    let two = two.get(..2).unwrap_or(&two);
    // The failed node is ranked last: do not compare with it if there is another.
    let compared = if two.get(1) == failed { two.get(..1).unwrap_or(two) } else { two };
    let taken =
        reserve_or_first(app, caller, compared, ttl).await.ok_or(ConnectError::NoCapacity)?;
    let expires_at = now.plus(ttl);
    let assigned = |id: &NodeId| assigned(app, client, &fleet, id, (now, expires_at));
    let node = assigned(&taken).ok_or(ConnectError::NoCapacity)?;
    app.counters().count(Counter::Connected);
    Ok(Assignment {
        node,
        expires_at,
        delay,
        server_time: now,
        alternates: two
            .iter()
            .filter(|id| **id != taken && Some(*id) != failed)
            .filter_map(assigned)
            .collect(),
    })
}

/// A ticket for a node on which the caller has a socket, to renew it: nobody is placed. A node without
/// a lease, or one that would refuse the ticket, is left: the answer is that of [`connect`], another
/// node.
///
/// # Errors
/// [`ConnectError`].
pub async fn renew(
    app: &App,
    client: Client<'_>,
    node: &NodeId,
) -> Result<Assignment, ConnectError> {
    refuse_revoked(app, client.caller).await?;
    register(app, client).await?;
    let now = app.clock.now();
    let fleet = fleet(app, now, false).await?;
    let ticket_key = app.tickets.key_ids().first().map(String::as_str);
    let stays = |one: &&FleetNode| is_healthy(one) && takes_our_tickets(one, ticket_key);
    let is_there = fleet.iter().filter(stays).any(|one| one.lease.node_id == *node);
    let expires_at = now.plus(limits::TICKET_TTL);
    match assigned(app, client, &fleet, node, (now, expires_at)).filter(|_| is_there) {
        None => place(app, client, None).await,
        Some(node) => Ok(Assignment {
            node,
            expires_at,
            delay: Duration::ZERO,
            server_time: now,
            alternates: Vec::new(),
        }),
    }
}

/// Registers the client's device. If that fails, no ticket is given: nobody would keep messages for it.
async fn register(
    app: &App,
    Client { caller, device, .. }: Client<'_>,
) -> Result<(), ConnectError> {
    if let Some(device) = device {
        let (workspace, user) = (&caller.workspace_id, &caller.user_id);
        let registered = app.devices.register(workspace, user, device, app.clock.now()).await;
        registered.map_err(StoreError::from)?;
    }
    Ok(())
}

async fn refuse_revoked(app: &App, caller: &Principal) -> Result<(), ConnectError> {
    let users = std::slice::from_ref(&caller.user_id);
    let revoked = app.revocations.revoked_among(&caller.workspace_id, users).await;
    if !revoked.map_err(StoreError::from)?.is_empty() {
        return Err(ConnectError::Forbidden);
    }
    Ok(())
}

async fn fleet(app: &App, now: Timestamp, refresh: bool) -> Result<Vec<FleetNode>, ConnectError> {
    let fleet = app.fleet().read(app.nodes.as_ref(), now, refresh).await;
    fleet.map_err(|error| {
        app.fleet().log_silence(&error, "the fleet is not known");
        ConnectError::NoCapacity
    })
}

/// The node that a draining node hands a client over to, with a ticket for it: placed as by
/// [`connect`], and never `leaving` itself. `None` if no other node is healthy and would take the
/// ticket.
///
/// The caller was admitted by the node, so nothing is read from the store: the other node reads
/// whether they are revoked when it attaches them (G8).
pub async fn hand_over(
    ports: &Ports,
    fleet: &[FleetNode],
    leaving: &NodeId,
    client: Client<'_>,
) -> Option<AssignedNode> {
    let ticket_key = ports.tickets.key_ids().first().map(String::as_str);
    let others: Vec<FleetNode> = fleet
        .iter()
        .filter(|node| node.lease.node_id != *leaving && takes_our_tickets(node, ticket_key))
        .cloned()
        .collect();
    let caller = client.caller;
    let candidates = candidates(&caller.workspace_id, &others, None, ticket_key);
    let two = candidates.get(..2).unwrap_or(&candidates);
    let first = two.first()?;
    let reserved = reserve(ports, caller, two, limits::TICKET_TTL).await;
    let taken = reserved.unwrap_or_else(|_silent| Some(first.clone()))?;
    let now = ports.clock.now();
    assigned(ports, client, &others, &taken, (now, now.plus(limits::TICKET_TTL)))
}

/// If the directory does not answer, takes the best candidate of the last view.
async fn reserve_or_first(
    app: &App,
    caller: &Principal,
    candidates: &[NodeId],
    ttl: Duration,
) -> Option<NodeId> {
    match reserve(app, caller, candidates, ttl).await {
        Ok(taken) => {
            app.fleet().log_answer();
            taken
        }
        Err(error) => {
            app.fleet().log_silence(&error, "an assignment was not counted");
            candidates.first().cloned()
        }
    }
}

async fn reserve(
    ports: &Ports,
    caller: &Principal,
    candidates: &[NodeId],
    ttl: Duration,
) -> Result<Option<NodeId>, DirectoryError> {
    ports.nodes.reserve(candidates, ttl, &caller.workspace_id, &caller.user_id).await
}

fn assigned(
    ports: &Ports,
    Client { caller, is_invisible, device }: Client<'_>,
    fleet: &[FleetNode],
    id: &NodeId,
    (issued_at, expires_at): (Timestamp, Timestamp),
) -> Option<AssignedNode> {
    let node = fleet.iter().find(|node| node.lease.node_id == *id)?;
    let nonce = ports.randomness.bits();
    let (principal, node_id) = (caller.clone(), id.clone());
    let device = device.cloned();
    let ticket = Ticket { principal, node_id, is_invisible, device, issued_at, expires_at, nonce };
    Some(AssignedNode {
        node_id: id.clone(),
        url: node.lease.url.clone(),
        ticket: ports.tickets.issue(&ticket),
    })
}
