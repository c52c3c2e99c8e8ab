//! What devices show about each other: everybody views everybody, and in the end sees the truth (G16).
//! A user who left for good is offline, even if their node died too. Nobody ever sees an invisible user.

use std::sync::Arc;

use checker::{Event, Viewed};
use model::{LogId, Presence, UserId, limits};

use crate::fleet::REPLACE_AFTER;
use crate::person::Person;
use crate::world::World;
use tokio::time::sleep;

/// Makes every device view the users of its workspace, and one that nobody is.
pub(crate) fn view_everybody(world: &World) {
    for (person, users) in pictures(world) {
        let spaces = world.spaces();
        let of = spaces.iter().find(|space| space.users.iter().any(|user| user.id == person.user));
        let rooms = of.iter().flat_map(|space| &space.channels);
        let logs = rooms.map(|room| LogId::from(&room.id)).take(limits::VIEW_LOGS_MAX);
        let mut logs: Vec<LogId> = if world.plan.types { logs.collect() } else { Vec::new() };
        // Receipts go to who views a channel.
        logs.splice(0..0, of.iter().flat_map(|space| world.rooms.logs(&space.id)));
        logs.truncate(limits::VIEW_LOGS_MAX);
        person.views(logs, users.into_iter());
    }
}

/// Takes the bystanders' devices away for good while all nodes are killed, so that no node withdraws them.
pub(crate) async fn leave_for_good(world: World) {
    let Some(at) = world.plan.bystanders_leave_at else { return };
    sleep(at).await;
    for space in world.spaces() {
        let members = space.users.len() - world.plan.bystanders;
        let leaving = space.users.iter().skip(members).map(|user| user.id.clone());
        world.gone.lock().extend(leaving);
    }
    for person in gone(&world) {
        person.client.go_offline();
        world.recorder.note(Event::Leaves { client: person.id });
    }
    for node in world.fleet.nodes() {
        world.fleet.kill(node, false);
    }
    sleep(REPLACE_AFTER).await;
    for _ in 0..world.plan.nodes {
        world.fleet.start();
    }
}

fn gone(world: &World) -> Vec<Arc<Person>> {
    let gone = world.gone.lock().clone();
    world.people().into_iter().filter(|person| gone.contains(&person.user)).collect()
}

/// What devices show of users, and what is true: everybody has a device that is online, except for nobody
/// and for those who are gone.
pub(crate) fn viewed(world: &World) -> Vec<Viewed> {
    let mut viewed = Vec::new();
    for (person, users) in pictures(world) {
        for user in users {
            let is_gone = user == nobody() || world.gone.lock().contains(&user);
            let is_invisible = world.plan.is_invisible(&user);
            let is = if is_gone || is_invisible { Presence::Offline } else { Presence::Active };
            // Never, not only in the end.
            let shown = if is_invisible && person.has_seen(&user) {
                Some(Presence::Active)
            } else {
                person.presence_of(&user)
            };
            viewed.push(Viewed { client: person.id, user, is, shown });
        }
    }
    viewed
}

fn pictures(world: &World) -> Vec<(Arc<Person>, Vec<UserId>)> {
    let mut pictures = Vec::new();
    for space in world.spaces() {
        let mut users: Vec<UserId> = space.users.iter().map(|user| user.id.clone()).collect();
        let is_here = |person: &Arc<Person>| {
            users.contains(&person.user) && !world.gone.lock().contains(&person.user)
        };
        let people = world.people().into_iter().filter(is_here);
        let people: Vec<_> = people.collect();
        users.push(nobody());
        users.sort_unstable();
        pictures.extend(people.into_iter().map(|person| (person, users.clone())));
    }
    pictures
}

#[expect(clippy::expect_used, reason = "a name of this file is well formed")]
fn nobody() -> UserId {
    UserId::parse("nobody").expect("a name")
}
