//! What a client runs on: its way to the functions and nodes, its clock, its randomness.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use client::{
    Api, ApiError, ByteStream, Call, CallError, RawAnswer, Token, TokenSource, Transport,
};
use memory::SeededRng;
use messaging::ports::Clock;
use model::{Timestamp, UserId, WorkspaceId};

use crate::contracts::Wire;
use crate::fleet::Fleet;
use crate::functions::Functions;
use crate::identity;
use crate::planted::Spoil;
use crate::time::SimClock;

/// A device.
#[derive(Debug)]
pub(crate) struct Host {
    /// Its way to the functions.
    pub functions: Functions,
    /// Its connections to the nodes.
    pub fleet: Fleet,
    /// Its clock, which may be minutes off.
    pub clock: SimClock,
    /// Its randomness.
    pub rng: SeededRng,
    /// What a planted bug does to frames from the nodes.
    pub spoil: Option<Spoil>,
    /// Records what passes between the nodes and a client.
    pub wire: Option<Wire>,
}

impl Host {
    /// The REST side of a user on this device. Tokens last `token_s` seconds of the `right` clock.
    #[must_use]
    pub(crate) fn api(self, right: &SimClock, user: (&WorkspaceId, &UserId), token_s: u64) -> Api {
        let (right, workspace, user) = (right.clone(), user.0.clone(), user.1.clone());
        let login = move || -> client::LoginFuture {
            let expires_at = right.now().plus(std::time::Duration::from_secs(token_s));
            let text = identity::token(&workspace, &user, expires_at);
            Box::pin(async move { Ok::<_, ApiError>(Token::new(text)) })
        };
        Api::over(Arc::new(self), "sim", TokenSource::Login(Arc::new(login)))
    }
}

#[async_trait]
impl Transport for Host {
    async fn call(&self, call: Call) -> Result<RawAnswer, CallError> {
        self.functions.call(call).await
    }

    async fn dial(&self, authority: &str) -> io::Result<Box<dyn ByteStream>> {
        let end = self.fleet.dial(authority).await?;
        let stream: Box<dyn ByteStream> = match &self.spoil {
            Some(spoil) => Box::new(spoil.over(end)),
            None => Box::new(end),
        };
        Ok(match &self.wire {
            Some(wire) => wire.over(stream),
            None => stream,
        })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn random(&self) -> u128 {
        self.rng.bits()
    }
}
