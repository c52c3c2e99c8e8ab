//! `GET /connect` as a function: the connection balancer.
//!
//! **Main path.** [`handle`] reads `failed`, calls [`messaging::connect::connect`], or
//! [`messaging::connect::renew`] for `renew`, and writes the node, its ticket and the delay.
//!
//! **Invariants.** Every refusal is already a response, so it returns no error. It logs no ticket.
//!
//! **Not here.** No rule about the fleet, no Lambda, no environment.

use bytes::Bytes;
use http::{Request, Response};
use messaging::App;
use messaging::connect::{AssignedNode, Assignment, Client, connect, renew};
use model::ErrorCode;
use protocol::http::{AlternateBody, ConnectBody, Query};
use protocol::routes::Route;
use service::http::{Answer, Failure, authenticate, respond, route};

/// Answers `GET /connect`; anything else is `not_found` or `method_not_allowed`.
pub async fn handle(app: App, request: Request<Bytes>) -> Response<Bytes> {
    let result = assign(&app, &request).await;
    respond(&app, &request, result)
}

async fn assign(app: &App, request: &Request<Bytes>) -> Result<Answer, Failure> {
    let Route::Connect = route(request)? else { return Err(ErrorCode::NotFound.into()) };
    let caller = authenticate(app, request)?;
    let query = Query::parse(request.uri().query());
    let (failed, renewed, device) = (query.failed()?, query.renew()?, query.device()?);
    let is_invisible = query.invisible()?;
    // The node is not at fault, so the client is placed as any other.
    query.left()?;
    let client = Client { caller: &caller, is_invisible, device: device.as_ref() };
    let assignment = match &renewed {
        Some(node) => renew(app, client, node).await?,
        None => connect(app, client, failed.as_ref()).await?,
    };
    Ok(Answer::ok(&body_of(assignment)))
}

fn body_of(assignment: Assignment) -> ConnectBody {
    let AssignedNode { node_id, url, ticket } = assignment.node;
    ConnectBody {
        node_id: node_id.to_string(),
        url,
        ticket,
        expires_at: assignment.expires_at.unix_ms(),
        delay_ms: u64::try_from(assignment.delay.as_millis()).unwrap_or(u64::MAX),
        server_time: assignment.server_time.unix_ms(),
        alternates: assignment.alternates.into_iter().map(alternate_of).collect(),
    }
}

fn alternate_of(node: AssignedNode) -> AlternateBody {
    AlternateBody { node_id: node.node_id.to_string(), url: node.url, ticket: node.ticket }
}
