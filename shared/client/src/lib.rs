//! The reference client: the shortest correct one. Read it as the client's half of the protocol.
//!
//! **Main path.**
//! 1. [`Client::start`] asks `GET /connect` for a node ([`Api::connect`]) and waits `delay_ms`.
//! 2. It opens the node's socket and says `hello` with the ticket and, to resume, its cursor.
//! 3. `ready` with `resumed:true`: everything after the cursor follows. With `false`, or on
//!    `resync`: gaps are open, of all channels or of those that the frame names
//!    ([`Inbox::open_gap`]). After the node's delay and a random share, `GET /channels` (where all
//!    are concerned) and `GET /scroll` newer read each of them from where it can miss something
//!    ([`Inbox::catch_up_from`]), four at once, while the socket goes on pushing.
//! 4. Each message, pushed or read, is upserted by id into its [`Timeline`] and reported as an
//!    [`Event`]; only then does the cursor move.
//! 5. The socket ends, or is silent for 25 s or one and a half ticks: [`Session::on_lost`] names
//!    the next [`Step`], and it begins again at 1, elsewhere.
//! 6. [`Client::send`] mints the message's id and repeats `POST /messages` with it until it is
//!    stored or refused ([`Outbox`]).
//!
//! **Invariants.**
//! - The cursor is never ahead of what the program was given; so a crash repeats, and loses
//!   nothing.
//! - A channel's gap stays open over any number of sockets, until a reading of it was complete that
//!   began after the gap last opened. Channels without a gap move on.
//! - A reading is not repeated: it goes on over lost sockets, starts where the last complete one of
//!   the channel did, and tells the server what is here already (ADR 0023).
//! - While the server is in trouble, one read asks for all.
//! - Per message, exactly one event is `fresh`.
//! - A retry carries the id of its first attempt.
//! - Every wait ends by itself, every queue has a bound: events that are not taken leave the socket
//!   unread, and its node closes it.
//!
//! **Not here.** No storage: keep [`Client::cursor`] and [`Client::inbox`] if a restart should
//! resume.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::{Api, Client, Config, DevUser, Event, TokenSource};
//!
//! let bob = DevUser::new("demo".parse()?, "bob".parse()?);
//! let api = Api::new("http://127.0.0.1:8080", TokenSource::Dev(bob))?;
//! let channel = api.create_channel("general", &["alice".parse()?]).await?;
//! let (client, mut events) = Client::start(Config::new(api));
//! client.send(&channel.id, "hello").await?;
//! while let Some(event) = events.recv().await {
//!     if let Event::Message { message, fresh: true, .. } = event {
//!         assert_eq!(message.text.as_str(), "hello");
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod inbox;
mod live;
mod session;
mod timeline;

mod catch_up;
mod event;
mod pace;

mod send;

mod rest;
mod token;

mod backoff;
mod clock;
mod error;
mod raw;
mod speech;
mod transport;
mod trust;

#[cfg(test)]
mod fake;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use backoff::Backoff;
pub use error::ApiError;
pub use event::Event;
pub use inbox::{CatchUpFrom, Inbox};
pub use live::{Client, Config};
pub use raw::{OpenError, RawSocket, Received, exchange, exchange_for};
pub use rest::{Api, Assignment, ChannelPage, MemberPage, Page, Posted, Target};
pub use send::{Draft, Outbox, SendError, Sent};
pub use session::{Lost, Session, Step, StopReason};
pub use speech::{Speech, speech};
pub use timeline::{How, Timeline};
pub use token::{DevUser, LoginFuture, Token, TokenSource};
pub use transport::{ByteStream, Call, CallCause, CallError, RawAnswer, Transport};
pub use trust::{Trust, TrustError};

// What raw calls and raw sockets are spelled with.
pub use model::Direction;
pub use reqwest::{Method, header};
pub use tokio_tungstenite::tungstenite::Message as SocketMessage;

/// No holder of these locks can leave a half-made change behind: a poisoned one is as good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
