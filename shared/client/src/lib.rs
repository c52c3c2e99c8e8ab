//! The reference client: the shortest correct implementation of the client's half of the protocol.
//!
//! **Main path.**
//! 1. [`Client::start`] asks `GET /connect` for a node ([`Api::connect`]) and waits `delay_ms`.
//! 2. It opens the node's socket and sends `hello` with the ticket and, to resume, its cursor.
//! 3. After `ready` with `resumed:true` the node pushes everything after the cursor.
//!    `resumed:false` opens a gap in every channel, `resync` in the channels that it names, or in
//!    all ([`Inbox::open_gap`]). After the node's delay plus jitter, the client lists the channels
//!    (`GET /channels`) if all have a gap, and reads each with `GET /scroll` newer from where it
//!    can miss something ([`Inbox::catch_up_from`]), four at once; the socket keeps pushing.
//! 4. Each message, pushed or read, is upserted by id into its [`Timeline`] and reported as an
//!    [`Event`]; only then does the cursor move.
//! 5. If the socket ends, or is silent for 25 s or 1.5 ticks, whichever is longer,
//!    [`Session::on_disconnect`] returns the next [`Step`]: usually step 1 again, with another node.
//! 6. [`Client::send`] mints the message's id and repeats `POST /messages` with it until it is
//!    stored or refused ([`Outbox`]).
//! 7. [`Client::deliver`], for channels that deliver first, puts a message into an outbox of its own.
//!    It goes by `send` on the socket, and stays until a `receipts` frame says that it is stored. After
//!    60 s without that it is sent again, then by `POST /messages` ([`Event::Delivery`]).
//! 8. Of such channels the client says `got`, twice a second at most: the newest message whose event
//!    the program has, once nothing before it is missing.
//!
//! **Invariants.**
//! - The cursor is never ahead of the events that the program received. A crash can repeat events,
//!   but loses none.
//! - A channel's gap survives reconnects. It closes only when a catch-up that started after the
//!   gap last opened has finished. Channels without a gap are not affected.
//! - No work is repeated: a catch-up continues when its socket is lost, starts where the channel's
//!   last complete one started, and tells the server which messages it already has (ADR 0023).
//! - While the server is down or throttles, only one read at a time is tried.
//! - An event is `fresh` only if it brings a new message or a newer revision.
//! - A retry carries the id of its first attempt.
//! - Every wait ends by itself and every queue has a bound. If the program does not receive its
//!   events, the client stops reading the socket, and the node closes it as a slow consumer.
//!
//! **After a restart.** With a [`Store`] ([`Config::with_store`]) the messages, the outbox and the
//! cursor are in a file. What an event says is in the file before the program receives the event: a
//! program that was killed finds its messages in the timelines ([`Client::timeline`]), and none of
//! them is fresh again. Without a store nothing is on disk; keep [`Client::cursor`] and
//! [`Client::inbox`] of the same moment.
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

mod client;
mod inbox;
mod session;
mod timeline;

mod catch_up;
mod deliveries;
mod event;
mod gots;
mod keeping;
mod retry;

mod send;

mod rest;
mod token;

mod backoff;
mod clock;
mod error;
mod scheme;
mod socket;
mod store;
mod tls;
mod transport;

#[cfg(test)]
mod fake_server;

pub use backoff::Backoff;
pub use client::{Accepted, Client, Config, SayError};
pub use deliveries::{Delivery, DeliveryState, DeliveryWaits, OutboxFull};
pub use error::ApiError;
pub use event::{Event, Source};
pub use inbox::Inbox;
pub use rest::{
    Api, Assignment, FollowedThread, Marked, MemberPage, Page, ProfilePage, SocketKind, Target,
    Unread,
};
pub use scheme::wrong_scheme;
pub use send::{Draft, Outbox, SendError, Sent};
pub use session::{Disconnect, Session, Step, StopReason};
pub use socket::{OpenError, RawSocket, Received, exchange, exchange_for};
pub use store::{Store, StoreError};
pub use timeline::Timeline;
pub use tls::{Trust, TrustError};
pub use token::{DevUser, LoginFuture, Token, TokenSource};
pub use transport::{ByteStream, Call, CallCause, CallError, RawAnswer, Transport};

// Types in the signatures of calls and raw sockets.
pub use model::Direction;
pub use protocol::client_frame::View;
pub use protocol::http::PostedBody;
pub use reqwest::{Method, header};
pub use tokio_tungstenite::tungstenite::Message as SocketMessage;
