//! `GET /connect`: tickets for sockets.

use model::{DeviceId, NodeId};
use reqwest::Method;

use super::{Api, Assignment};
use crate::error::ApiError;

/// What a client says of its socket when it asks for a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SocketKind {
    /// Whether the user is invisible on it (G16).
    pub is_invisible: bool,
    /// The client's device, if it keeps messages for good.
    pub device: Option<DeviceId>,
}

impl SocketKind {
    fn path(&self, of_node: Option<String>) -> String {
        let invisible = self.is_invisible.then(|| "invisible=true".to_owned());
        let device = self.device.as_ref().map(|device| format!("device={device}"));
        let query: Vec<String> = of_node.into_iter().chain(invisible).chain(device).collect();
        if query.is_empty() {
            "/connect".to_owned()
        } else {
            format!("/connect?{}", query.join("&"))
        }
    }
}

/// Every call fails with [`ApiError`]. PROTOCOL section 2 lists the error codes of each route.
#[expect(clippy::missing_errors_doc, reason = "one sentence above says it for all")]
impl Api {
    /// `GET /connect`. `failed` is the node that could not be reached or was lost.
    pub async fn connect(&self, failed: Option<&NodeId>) -> Result<Assignment, ApiError> {
        self.connect_as(failed, &SocketKind::default()).await
    }

    /// The same, for a socket of this kind.
    pub async fn connect_as(
        &self,
        failed: Option<&NodeId>,
        kind: &SocketKind,
    ) -> Result<Assignment, ApiError> {
        let path = kind.path(failed.map(|node| format!("failed={node}")));
        self.typed(Method::GET, &path, None, Assignment::read).await
    }

    /// `GET /connect?renew=…`: a ticket for the node of a socket that is to outlive its token; for
    /// another node if that one has gone. It also says of which kind the socket is from then on.
    pub async fn renewal(&self, node: &NodeId, kind: &SocketKind) -> Result<Assignment, ApiError> {
        let path = kind.path(Some(format!("renew={node}")));
        self.typed(Method::GET, &path, None, Assignment::read).await
    }
}
