//! Read state: people mark what they have read, sometimes as unread again, and ask what is unread at
//! the end.

use std::sync::Arc;

use checker::{Event, Unread};
use client::{Api, Marked};
use model::{ChannelId, MessageId, NewReadMark};
use tokio::time::{Instant, sleep};

use crate::person::Person;
use crate::world::World;

/// Marks channels read up to what the person sees, until `until`.
pub(crate) async fn read(world: World, person: Arc<Person>, until: Instant) {
    let Some(every) = world.plan.mark_every_ms.clone() else { return };
    let rng = world.rng.fork();
    let channels: Vec<ChannelId> = world
        .spaces()
        .iter()
        .flat_map(|space| space.channels.iter().map(|room| room.id.clone()))
        .collect();
    while Instant::now() < until {
        sleep(rng.ms(every.clone())).await;
        let Some(channel) = rng.pick(&channels) else { return };
        let ids = person.client.timeline(channel).ids();
        // Not always the newest one, and sometimes an old one: a slow device.
        let seen: Vec<MessageId> = ids.into_iter().rev().take(6).collect();
        let Some(id) = rng.pick(&seen).copied() else { continue };
        let api = person.client.api();
        if rng.one_in(8) {
            if let Ok(mark) = api.mark_unread(channel, id).await {
                marked(&world, &person, channel, mark);
            }
        } else {
            mark_read(&world, &person, api, channel, id).await;
        }
    }
}

/// Marks a channel read, in the epoch that the server says.
async fn mark_read(
    world: &World,
    person: &Person,
    api: &Api,
    channel: &ChannelId,
    up_to: MessageId,
) {
    let mut epoch = model::Epoch::FIRST;
    for _ in 0..2 {
        let new = NewReadMark { log: channel.into(), mark: model::ReadMark { epoch, up_to } };
        let Ok(answers) = api.mark_read(&[new]).await else { return };
        let Some(Marked { mark: Some(mark), moved, .. }) = answers.into_iter().next() else {
            return;
        };
        marked(world, person, channel, mark);
        if moved || mark.epoch == epoch {
            return;
        }
        epoch = mark.epoch;
    }
}

fn marked(world: &World, person: &Person, channel: &ChannelId, mark: model::ReadMark) {
    let (user, channel) = (person.user.clone(), channel.clone());
    world.recorder.note(Event::Marked { user, channel, mark });
}

/// What all users are told to be unread. `None` if somebody got no answer.
pub(crate) async fn unread(world: &World) -> Option<Vec<Unread>> {
    let mut all = Vec::new();
    if world.plan.mark_every_ms.is_none() {
        return Some(all);
    }
    for space in world.spaces() {
        for user in &space.users {
            let told = user.api.unread().await.ok()?;
            all.extend(told.into_iter().map(|one| Unread {
                user: user.id.clone(),
                channel: one.channel_id,
                mark: one.mark,
                count: one.count,
            }));
        }
    }
    Some(all)
}
