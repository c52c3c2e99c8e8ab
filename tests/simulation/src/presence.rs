//! What devices show about each other: everybody views everybody, and in the end sees the truth (G16).

use std::sync::Arc;

use model::{Presence, UserId};

use crate::person::Person;
use crate::world::World;

/// Makes every device view the users of its workspace, and one that nobody is.
pub(crate) fn view_everybody(world: &World) {
    for (person, users) in pictures(world) {
        person.views(users.into_iter());
    }
}

/// Whom devices do not show as they are: everybody has a device that is online, except for nobody.
pub(crate) fn wrong(world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for (person, users) in pictures(world) {
        for user in users {
            let is = if user == nobody() { Presence::Offline } else { Presence::Active };
            let shown = person.presence_of(&user);
            if shown != Some(is) {
                wrong.push(format!("{:?} sees {user} as {shown:?}", person.id));
            }
        }
    }
    wrong
}

fn pictures(world: &World) -> Vec<(Arc<Person>, Vec<UserId>)> {
    let mut pictures = Vec::new();
    for space in world.spaces() {
        let mut users: Vec<UserId> = space.users.iter().map(|user| user.id.clone()).collect();
        let people = world.people().into_iter().filter(|person| users.contains(&person.user));
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
