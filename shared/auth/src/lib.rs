//! Authentication without I/O: bearer tokens, tickets for one socket, and the keys of both.
//!
//! **Main path.** [`tokens::JwtTokens`] verifies the bearer token of a call.
//! [`tickets::SignedTickets`] signs the ticket that `POST /connect` hands out; the node that it
//! names verifies it. [`seal::SecretSeal`] keeps what is never stored readable for nodes only.
//!
//! **Invariants.** No `Debug` and no error shows a secret, a token or a ticket. A token cannot
//! choose its algorithm: each key has exactly one (RFC 8725, 3.1).
//!
//! **Not here.** The environment (`service::config` reads keys from it), HTTP, and who may do what
//! (`messaging`).

pub mod seal;
pub mod tickets;
pub mod tokens;

mod jws;
mod public_keys;
mod secret;

pub use public_keys::{PublicKeys, PublicKeysError};
pub use secret::{Secret, SecretError, Secrets};
