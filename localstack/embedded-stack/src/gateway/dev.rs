//! Routes that exist only in the local environment: tokens without a login, killing nodes.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Request, Response};
use messaging::ports::Principal;
use model::{ErrorCode, NodeId, UserId, WorkspaceId};
use protocol::http::read_json;
use protocol::json;
use protocol::problem::Problem;
use serde_json::{Map, Value};
use service::http::{Answer, Failure, respond};

use super::Gateway;

impl Gateway {
    /// Answers a local-only route; `None` for any other.
    pub(super) async fn dev(&self, request: &Request<Bytes>) -> Option<Response<Bytes>> {
        let path = request.uri().path();
        if path == "/healthz" {
            let answer = only(&Method::GET, request, "GET");
            let answer = answer.map(|()| Answer::ok(&serde_json::json!({ "status": "ok" })));
            return Some(respond(&self.app, request, answer));
        }
        let rest = path.strip_prefix("/dev/")?;
        let result = self.dev_call(rest, request).await;
        Some(respond(&self.app, request, result))
    }

    async fn dev_call(&self, rest: &str, request: &Request<Bytes>) -> Result<Answer, Failure> {
        let segments: Vec<&str> = rest.split('/').collect();
        match segments.as_slice() {
            ["token"] => {
                only(&Method::POST, request, "POST")?;
                self.refuse_foreign(request)?;
                self.token(request)
            }
            ["nodes", node, "kill"] => {
                only(&Method::POST, request, "POST")?;
                self.refuse_foreign(request)?;
                let unknown =
                    || Problem::from(ErrorCode::NotFound).because("No such node runs here");
                let node = NodeId::parse(node).or(Err(unknown()))?;
                if !self.fleet.kill(&node).await {
                    return Err(unknown().into());
                }
                // Withdraw the lease, so that the next `/connect` does not assign the dead node.
                if let Err(error) = self.app.nodes.withdraw(&node).await {
                    tracing::warn!(%error, "a killed node's lease stays until it expires");
                }
                Ok(Answer::ok(&serde_json::json!({ "node_id": node.as_str() })))
            }
            _ => Err(ErrorCode::NotFound.into()),
        }
    }

    fn refuse_foreign(&self, request: &Request<Bytes>) -> Result<(), Failure> {
        let is_allowed = self.origins.allowed(request.headers()).is_some();
        refuse_foreign(request, is_allowed)
    }

    fn token(&self, request: &Request<Bytes>) -> Result<Answer, Failure> {
        let now = self.app.clock.now();
        let wanted = Wanted::read(request)?;
        let principal = Principal {
            workspace_id: wanted.workspace_id,
            user_id: wanted.user_id,
            is_admin: wanted.is_admin,
            expires_at: now.plus(wanted.ttl),
        };
        let token = self.signer.issue(&principal, now);
        Ok(Answer::ok(&serde_json::json!({ "token": token })))
    }
}

/// The body of `POST /dev/token`.
struct Wanted {
    workspace_id: WorkspaceId,
    user_id: UserId,
    is_admin: bool,
    ttl: Duration,
}

impl Wanted {
    fn read(request: &Request<Bytes>) -> Result<Self, Problem> {
        read_json(request.headers(), request.body())?;
        let Ok(Value::Object(mut fields)) = json::parse(request.body()) else {
            return Err(ErrorCode::BadJson.into());
        };
        let workspace_id = text(&mut fields, "workspace_id")?;
        let user_id = text(&mut fields, "user_id")?;
        let role = match fields.remove("role") {
            None => None,
            Some(Value::String(role)) => Some(role),
            Some(_) => return Err(Problem::invalid_field("role", "Not a string")),
        };
        let ttl_s = match fields.remove("ttl_s") {
            None => TTL_S_DEFAULT,
            Some(ttl) => ttl
                .as_u64()
                .filter(|ttl| (1..=TTL_S_MAX).contains(ttl))
                .ok_or_else(|| Problem::invalid_field("ttl_s", "Not a number from 1 to 86400"))?,
        };
        if let Some(name) = fields.keys().next() {
            return Err(Problem::invalid_field(named(name), "An unknown field"));
        }
        let workspace_id = WorkspaceId::parse(&workspace_id)
            .or(Err(Problem::invalid_field("workspace_id", "Not a workspace id")))?;
        let user_id =
            UserId::parse(&user_id).or(Err(Problem::invalid_field("user_id", "Not a user id")))?;
        let is_admin = role.as_deref() == Some("admin");
        Ok(Self { workspace_id, user_id, is_admin, ttl: Duration::from_secs(ttl_s) })
    }
}

fn text(fields: &mut Map<String, Value>, name: &'static str) -> Result<String, Problem> {
    match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Problem::invalid_field(name, "Not a string")),
        None => Err(Problem::invalid_field(name, "The field is missing")),
    }
}

/// A field's name is the caller's input, so it is repeated only if it looks like a name.
fn named(name: &str) -> String {
    let is_plain = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain { name.to_owned() } else { "?".to_owned() }
}

fn only(method: &Method, request: &Request<Bytes>, allow: &'static str) -> Result<(), Failure> {
    if request.method() == method {
        return Ok(());
    }
    Err(Problem { allow: Some(allow), ..ErrorCode::MethodNotAllowed.into() }.into())
}

/// Refuses calls by foreign web pages: under another host name (DNS rebinding), or across origins, unless
/// theirs is allowed. They must not get tokens.
fn refuse_foreign(request: &Request<Bytes>, is_allowed: bool) -> Result<(), Failure> {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let host = authority.or_else(|| one(request.headers(), HOST.as_str()));
    let origin = one(request.headers(), ORIGIN.as_str());
    let is_own_origin = origin.is_none_or(|origin| {
        // The page's own origins: this port, on either loopback name.
        let port_of = |authority: &str| authority.rsplit_once(':').map(|(_, port)| port.to_owned());
        origin
            .strip_prefix("http://")
            .is_some_and(|origin| is_loopback(origin) && port_of(origin) == host.and_then(port_of))
    });
    let has_origin_header = request.headers().contains_key(ORIGIN);
    let is_readable = origin.is_some() == has_origin_header;
    if host.is_some_and(is_loopback) && (is_allowed || is_own_origin && is_readable) {
        return Ok(());
    }
    Err(Problem::from(ErrorCode::Forbidden)
        .because("Only for pages and programs on this machine")
        .into())
}

/// The value of a header that occurs exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost")
}

const TTL_S_DEFAULT: u64 = 43_200;
const TTL_S_MAX: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn token_request(body: &str) -> Request<Bytes> {
        Request::post("/dev/token")
            .header("content-type", "application/json")
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .unwrap()
    }

    #[test]
    fn token_bodies_are_as_strict_as_any() {
        let good = r#"{"workspace_id":"demo","user_id":"alice","role":"admin","ttl_s":1}"#;
        let wanted = Wanted::read(&token_request(good)).ok().unwrap();
        assert_eq!((wanted.is_admin, wanted.ttl), (true, Duration::from_secs(1)));
        for (body, field) in [
            (r#"{"user_id":"a"}"#, "workspace_id"),
            (r#"{"workspace_id":"demo"}"#, "user_id"),
            (r#"{"workspace_id":"demo","user_id":""}"#, "user_id"),
            (r#"{"workspace_id":"de mo","user_id":"a"}"#, "workspace_id"),
            (r#"{"workspace_id":"demo","user_id":1}"#, "user_id"),
            (r#"{"workspace_id":"demo","user_id":"a","role":null}"#, "role"),
            (r#"{"workspace_id":"demo","user_id":"a","ttl_s":0}"#, "ttl_s"),
            (r#"{"workspace_id":"demo","user_id":"a","ttl_s":86401}"#, "ttl_s"),
            (r#"{"workspace_id":"demo","user_id":"a","ttl_s":1.5}"#, "ttl_s"),
            (r#"{"workspace_id":"demo","user_id":"a","ttl_s":"1"}"#, "ttl_s"),
            (r#"{"workspace_id":"demo","user_id":"a","extra":1}"#, "extra"),
            (r#"{"workspace_id":"demo","user_id":"a","<b>":1}"#, "?"),
            (r#"{"workspace_id":"demo","user_id":"a","":1}"#, "?"),
        ] {
            let problem = Wanted::read(&token_request(body)).err().unwrap();
            assert_eq!(problem.field.as_deref(), Some(field), "{body}");
        }
    }

    #[test]
    fn only_pages_and_programs_of_this_machine_get_in() {
        let is_let_in = |headers: &[(&'static str, &str)]| {
            let mut request = Request::new(Bytes::new());
            for (name, value) in headers {
                request.headers_mut().append(*name, value.parse().unwrap());
            }
            refuse_foreign(&request, false).is_ok()
        };
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "127.0.0.1"] {
            assert!(is_let_in(&[("host", host)]), "{host}");
        }
        for host in ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil", "", ":8080"] {
            assert!(!is_let_in(&[("host", host)]), "{host}");
        }
        let own = ("host", "127.0.0.1:8080");
        assert!(is_let_in(&[own, ("origin", "http://127.0.0.1:8080")]));
        for origin in
            ["http://evil.example", "http://127.0.0.1:9999", "null", "https://127.0.0.1:8080"]
        {
            assert!(!is_let_in(&[own, ("origin", origin)]), "{origin}");
        }
        let mut of_allowed = Request::new(Bytes::new());
        for (host, is_let_in) in [("127.0.0.1:8080", true), ("evil.example:8080", false)] {
            of_allowed.headers_mut().insert("host", host.parse().unwrap());
            assert_eq!(refuse_foreign(&of_allowed, true).is_ok(), is_let_in, "{host}");
        }
        assert!(!is_let_in(&[]));
        assert!(!is_let_in(&[own, own]));
    }
}
