//! After the last fault, everybody who joins a meeting hears what is said in it.

use std::sync::Arc;
use std::time::Duration;

use memory::SeededRng;
use model::MessageId;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Meeting, say, somebody};
use crate::person::Person;
use crate::world::World;

/// What was said last in each meeting that is not over.
#[derive(Debug)]
pub(crate) struct Settling {
    rng: SeededRng,
    said: Vec<(Arc<Meeting>, Option<MessageId>)>,
}

impl Settling {
    pub(crate) fn new(world: &World, rng: SeededRng) -> Self {
        let mut open = world.meetings.all.lock().clone();
        open.retain(|meeting| !meeting.is_over());
        Self { rng, said: open.into_iter().map(|meeting| (meeting, None)).collect() }
    }

    /// Has everybody join, and somebody speak, wherever somebody did not hear what was said last.
    pub(crate) async fn go_on(&mut self, world: &World) {
        for (meeting, said) in &mut self.said {
            if said.is_some_and(|id| deaf(world, meeting, id).is_empty()) {
                continue;
            }
            let channel = &meeting.channel.id;
            let mut joining = JoinSet::new();
            for person in devices(world, meeting) {
                let channel = channel.clone();
                if !person.has_joined(&channel) {
                    joining.spawn(async move { person.rejoin(&channel).await });
                }
            }
            joining.join_all().await;
            sleep(JOINING).await;
            if let Some(person) = somebody(world, meeting, &self.rng) {
                *said = say(world, &person, channel, &self.rng).await;
            }
        }
    }

    /// Who did not hear what was said last.
    pub(crate) fn wrong(&self, world: &World) -> Vec<String> {
        let wrong = |(meeting, said): &(Arc<Meeting>, Option<MessageId>)| match said {
            Some(id) => deaf(world, meeting, *id),
            None => vec![format!("nothing can be said in {}", meeting.channel.id)],
        };
        self.said.iter().flat_map(wrong).collect()
    }
}

fn devices(world: &World, meeting: &Meeting) -> Vec<Arc<Person>> {
    let mut people = world.people();
    people.retain(|person| meeting.has(&person.user));
    people
}

fn deaf(world: &World, meeting: &Meeting, id: MessageId) -> Vec<String> {
    let mut people = devices(world, meeting);
    people.retain(|person| !person.heard(id));
    let channel = &meeting.channel.id;
    people.iter().map(|person| format!("{:?} is deaf in {channel}", person.id)).collect()
}

/// How long joining takes.
const JOINING: Duration = Duration::from_secs(1);
