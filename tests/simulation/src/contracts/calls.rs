//! Calls that the client library does not have.

use std::sync::Arc;

use checker::{Change, Event};
use client::ApiError;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use memory::SeededRng;
use model::{ChannelId, UserId};
use tokio::time::{Instant, sleep};

use crate::world::{CreatedChannel, Space, User, World};

/// What a channel is created with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) contract: &'static str,
    /// The field `keep`; `None`: the contract's default.
    pub(super) keep: Option<&'static str>,
}

impl Terms {
    pub(super) const fn of(contract: &'static str) -> Self {
        Self { contract, keep: None }
    }

    fn put_into(self, body: &mut serde_json::Value) {
        let Some(body) = body.as_object_mut() else { return };
        body.insert("contract".to_owned(), self.contract.into());
        if let Some(keep) = self.keep {
            body.insert("keep".to_owned(), keep.into());
        }
    }
}

/// Creates a group of a contract, of most users of a workspace, and repeats the call until it is answered.
pub(super) async fn create_channel(
    world: &World,
    space: &Arc<Space>,
    terms: Terms,
    rng: &SeededRng,
    until: Instant,
) -> Option<CreatedChannel> {
    let count = space.users.len() - world.plan.bystanders;
    let creator = rng.index(count);
    let others = (0..count).filter(|at| *at != creator && !rng.one_in(5));
    let members: Vec<usize> = std::iter::once(creator).chain(others).collect();
    let named: Vec<UserId> =
        members.iter().filter_map(|at| Some(space.users.get(*at)?.id.clone())).collect();
    let mut body = serde_json::json!({
        "type": "GROUP_CHANNEL", "name": "group",
        "members": named.get(1..)?.iter().map(UserId::as_str).collect::<Vec<_>>(),
    });
    terms.put_into(&mut body);
    let user = space.users.get(creator)?;
    let id = created(user, &body, rng, until).await?;
    note_members(world, &id, &named);
    Some(CreatedChannel { id, members, is_group: true })
}

/// Creates a DM of a contract, of the first two users of a workspace.
pub(super) async fn create_dm(
    world: &World,
    space: &Arc<Space>,
    terms: Terms,
    rng: &SeededRng,
    until: Instant,
) -> Option<CreatedChannel> {
    let (one, other) = (space.users.first()?, space.users.get(1)?);
    let mut body = serde_json::json!({ "type": "DM", "members": [other.id.as_str()] });
    terms.put_into(&mut body);
    let id = created(one, &body, rng, until).await?;
    note_members(world, &id, &[one.id.clone(), other.id.clone()]);
    Some(CreatedChannel { id, members: vec![0, 1], is_group: false })
}

/// Repeats a call until it is answered.
async fn created(
    user: &User,
    body: &serde_json::Value,
    rng: &SeededRng,
    until: Instant,
) -> Option<ChannelId> {
    while Instant::now() < until {
        let made = call(user, Method::POST, "/channels", &body.to_string()).await;
        let made = made.ok().and_then(|body| serde_json::from_slice(&body).ok());
        let made: Option<serde_json::Value> = made;
        if let Some(id) = made.and_then(|made| made.get("channel_id")?.as_str()?.parse().ok()) {
            return Some(id);
        }
        sleep(rng.ms(200..=1_500)).await;
    }
    None
}

fn note_members(world: &World, channel: &ChannelId, users: &[UserId]) {
    for user in users {
        let (channel, user, change) = (channel.clone(), user.clone(), Change::Add);
        let started = Event::ChangeStarted { channel: channel.clone(), user: user.clone(), change };
        world.recorder.note(started);
        world.recorder.note(Event::ChangeReturned { channel, user, change });
    }
}

/// Makes a call that the client library does not have.
pub(super) async fn call(
    user: &User,
    method: Method,
    path: &str,
    body: &str,
) -> Result<Vec<u8>, ApiError> {
    let mut headers = HeaderMap::new();
    let bearer = format!("Bearer {}", user.api.token().await?.as_str());
    if let Ok(bearer) = HeaderValue::from_str(&bearer) {
        headers.insert(AUTHORIZATION, bearer);
    }
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let answer = user.api.raw(method, path, headers, body).await?;
    match answer.status {
        200 | 201 => Ok(answer.body),
        status => {
            if status == 401 {
                user.api.fresh_token().await?;
            }
            Err(ApiError::BadAnswer { status, retry_after: None })
        }
    }
}
