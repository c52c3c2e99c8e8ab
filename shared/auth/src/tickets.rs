//! Tickets: signed, for one socket on one node.

use jsonwebtoken::Header;
use messaging::ports::{Principal, Ticket, TicketError, Tickets};
use model::{DeviceId, NodeId, Timestamp, UserId, WorkspaceId, limits};
use serde::Deserialize;
use serde_json::json;

use crate::jws::{self, Keys, SHARED};
use crate::secret::Secrets;

/// Signs and reads tickets with HS256. The header contains the key's id, so that a secret can be
/// replaced while tickets are in use.
#[derive(Debug, Clone)]
pub struct SignedTickets {
    keys: Keys,
    key_ids: Vec<String>,
}

impl SignedTickets {
    /// Signs with the first secret, and accepts all.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        let keys = Keys::of(secrets);
        let key_ids = keys.iter().map(|key| key.id.clone()).collect();
        Self { keys, key_ids }
    }

    /// Returns the claims of a ticket if its signature is valid.
    fn payload(&self, text: &str) -> Result<Vec<u8>, TicketError> {
        let is_ours = |header: &Header| header.typ.as_deref() == Some(TYPE) && header.alg == SHARED;
        let header = jws::header_of(text).ok().filter(is_ours);
        let key_id = header.and_then(|header| header.kid).ok_or(TicketError::Invalid)?;
        let key = self.keys.iter().find(|key| key.id == key_id).ok_or(TicketError::Foreign)?;
        jws::payload_of(&key.decoding, SHARED, text).ok_or(TicketError::Invalid)
    }
}

impl Tickets for SignedTickets {
    fn issue(&self, ticket: &Ticket) -> String {
        let key = self.keys.first();
        let mut header = Header::new(SHARED);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.id.clone());
        let principal = &ticket.principal;
        let mut claims = json!({
            "aud": AUDIENCE,
            "workspace_id": principal.workspace_id.as_str(),
            "sub": principal.user_id.as_str(),
            "admin": principal.is_admin,
            "token_exp_ms": principal.expires_at.unix_ms(),
            "node_id": ticket.node_id.as_str(),
            "iat_ms": ticket.issued_at.unix_ms(),
            "exp_ms": ticket.expires_at.unix_ms(),
            "jti": format!("{:032x}", ticket.nonce),
        });
        if let Some(claims) = claims.as_object_mut() {
            if ticket.is_invisible {
                claims.insert("invisible".to_owned(), true.into());
            }
            if let Some(device) = &ticket.device {
                claims.insert("device".to_owned(), device.as_str().into());
            }
        }
        jws::sign(key, &header, &claims)
    }

    fn read(&self, text: &str) -> Result<Ticket, TicketError> {
        ticket_of(&self.payload(text)?).ok_or(TicketError::Invalid)
    }

    fn key_ids(&self) -> &[String] {
        &self.key_ids
    }
}

/// Signs and accepts nothing: for functions that issue no tickets and have no ticket secret.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTickets;

impl Tickets for NoTickets {
    /// Returns an empty string, which no node accepts.
    fn issue(&self, _ticket: &Ticket) -> String {
        String::new()
    }

    fn read(&self, _text: &str) -> Result<Ticket, TicketError> {
        Err(TicketError::Invalid)
    }

    fn key_ids(&self) -> &[String] {
        &[]
    }
}

/// The claims that we issue. Any others are ignored.
#[derive(Deserialize)]
struct Claims<'a> {
    aud: &'a str,
    workspace_id: &'a str,
    sub: &'a str,
    admin: bool,
    token_exp_ms: u64,
    node_id: &'a str,
    /// Absent from tickets of the previous version.
    iat_ms: Option<u64>,
    exp_ms: u64,
    jti: &'a str,
    #[serde(default)]
    invisible: bool,
    device: Option<&'a str>,
}

fn ticket_of(payload: &[u8]) -> Option<Ticket> {
    let claims: Claims<'_> = serde_json::from_slice(payload).ok()?;
    if claims.aud != AUDIENCE {
        return None;
    }
    let expires_at = Timestamp::from_unix_ms(claims.exp_ms);
    let issued_at = claims.iat_ms.map(Timestamp::from_unix_ms);
    Some(Ticket {
        principal: Principal {
            workspace_id: WorkspaceId::parse(claims.workspace_id).ok()?,
            user_id: UserId::parse(claims.sub).ok()?,
            is_admin: claims.admin,
            expires_at: Timestamp::from_unix_ms(claims.token_exp_ms),
        },
        node_id: NodeId::parse(claims.node_id).ok()?,
        is_invisible: claims.invisible,
        device: claims.device.map(DeviceId::parse).transpose().ok()?,
        issued_at: issued_at.unwrap_or_else(|| expires_at.minus(limits::TICKET_TTL)),
        expires_at,
        nonce: u128::from_str_radix(claims.jti, 16).ok()?,
    })
}

const AUDIENCE: &str = "inkwire-node";
/// An explicit type keeps tickets and tokens apart even if they share a secret (RFC 8725, 3.11).
const TYPE: &str = "inkwire-ticket+jwt";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{JwtTokens, TokenConfig, TokenSigner};
    use messaging::ports::{TokenError, TokenVerifier};

    #[test]
    fn g16_a_ticket_says_whether_the_user_is_invisible() {
        for (is_invisible, device) in [(false, None), (true, Some("phone".parse().unwrap()))] {
            let ticket = Ticket { is_invisible, device, ..ticket() };
            assert_eq!(tickets(NEW).read(&tickets(NEW).issue(&ticket)), Ok(ticket));
        }
    }

    const OLD: &str = "old-secret-old-secret-old-secret";
    const NEW: &str = "new-secret-new-secret-new-secret";

    fn tickets(secrets: &str) -> SignedTickets {
        SignedTickets::new(&Secrets::parse(secrets).unwrap())
    }

    fn ticket() -> Ticket {
        Ticket {
            principal: Principal {
                workspace_id: WorkspaceId::parse("demo").unwrap(),
                user_id: UserId::parse("alice").unwrap(),
                is_admin: true,
                expires_at: Timestamp::from_unix_ms(1_700_000_000_123),
            },
            node_id: NodeId::parse("N1").unwrap(),
            is_invisible: false,
            device: None,
            issued_at: Timestamp::from_unix_ms(1_599_999_970_456),
            expires_at: Timestamp::from_unix_ms(1_600_000_000_456),
            nonce: u128::MAX - 7,
        }
    }

    #[test]
    fn what_is_issued_is_read_whole() {
        let text = tickets(OLD).issue(&ticket());
        assert_eq!(tickets(OLD).read(&text), Ok(ticket()));
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
    }

    #[test]
    fn a_secret_can_be_replaced() {
        let old = tickets(OLD).issue(&ticket());
        let both = tickets(&format!("{NEW},{OLD}"));
        assert_eq!(both.read(&old), Ok(ticket()));
        let new = both.issue(&ticket());
        assert_eq!(tickets(NEW).read(&new), Ok(ticket()));
        assert_eq!(tickets(OLD).read(&new), Err(TicketError::Foreign));
        assert_eq!(both.key_ids().len(), 2);
        assert_eq!(both.key_ids().first(), tickets(NEW).key_ids().first());
        assert!(both.key_ids().iter().all(|id| !NEW.contains(id) && !OLD.contains(id)));
    }

    #[test]
    fn a_changed_ticket_is_refused() {
        let text = tickets(OLD).issue(&ticket());
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(tickets(OLD).read(&changed).is_err(), "{at}");
        }
        // A changed signature: the secret is still known, but the signature is wrong.
        let (message, signature) = text.rsplit_once('.').unwrap();
        let swapped: String = signature.chars().rev().collect();
        let changed = format!("{message}.{swapped}");
        assert_eq!(tickets(OLD).read(&changed), Err(TicketError::Invalid));
        for garbage in ["", ".", "..", "a.b.c", "a.b.", &format!("{text}A")] {
            assert_eq!(tickets(OLD).read(garbage), Err(TicketError::Invalid), "{garbage}");
        }
    }

    #[test]
    fn a_token_is_no_ticket_and_a_ticket_no_token() {
        let secrets = Secrets::parse(OLD).unwrap();
        let signer = TokenSigner::new(&secrets);
        let tokens = JwtTokens::new(&TokenConfig::shared(secrets));
        let now = Timestamp::from_unix_ms(1);
        let token = signer.issue(&ticket().principal, now);
        assert_eq!(tickets(OLD).read(&token), Err(TicketError::Invalid));
        let text = tickets(OLD).issue(&ticket());
        assert_eq!(tokens.verify(&text, now), Err(TokenError::Malformed));
    }
}
