use protocol::client_frame::View;
use protocol::presence::{Announcement, NodePresence};
use protocol::signal::Signal;

use super::*;
use crate::presence::Fleet;

const A_MOMENT: Duration = limits::PRESENCE_BATCH;

impl Fixture {
    fn views_users(&mut self, socket: SocketId, users: &[&str]) -> Vec<(SocketId, String)> {
        let users = users.iter().map(|name| user(name)).collect();
        let frame = ClientFrame::View(View { logs: Vec::new(), users });
        self.input(Input::Said { socket, frame });
        self.delivered()
    }

    /// The effects about presence since the last call.
    fn presence_effects(&mut self) -> Vec<PresenceEffect> {
        std::mem::take(&mut self.of_presence)
    }

    /// What this node announced since the last call, without the numbers.
    fn announced(&mut self) -> Vec<(bool, Vec<(UserId, Presence)>)> {
        let of = |effect| match effect {
            PresenceEffect::Announce(news) => Some((news.is_whole, news.users)),
            _ => None,
        };
        self.presence_effects().into_iter().filter_map(of).collect()
    }

    /// Answers the last read of all nodes.
    fn all_nodes_are(&mut self, nodes: &[(&str, u64, Named<'_>)]) {
        let id = self.presence_effects().into_iter().rev().find_map(|effect| match effect {
            PresenceEffect::ReadAll(id) => Some(id),
            _ => None,
        });
        let nodes = nodes
            .iter()
            .map(|(node, number, users)| (node.parse().unwrap(), part(*number, users)))
            .collect();
        let id = id.expect("a read of all nodes");
        self.input(Input::Presence(PresenceInput::ReadAll { id, nodes, fleet: Fleet::new() }));
    }

    fn node_is(&mut self, node: &str, found: Option<NodePresence>) -> Vec<String> {
        let node = node.parse().unwrap();
        self.input(Input::Presence(PresenceInput::ReadNode { node, found }));
        self.delivered().into_iter().map(|(_, text)| text).collect()
    }

    fn announces(&mut self, node: &str, number: u64, users: Named<'_>) {
        let news = Announcement { number, is_whole: false, users: named(users) };
        let node = node.parse().unwrap();
        self.input(Input::Signal(Signal::Presence { node, news }));
    }

    fn fleet_is(&mut self, nodes: &[(&str, Option<Duration>)]) {
        let fleet: Fleet = nodes.iter().map(|(node, end)| (node.parse().unwrap(), *end)).collect();
        self.input(Input::Presence(PresenceInput::Fleet(Arc::new(fleet))));
    }

    /// What sockets are told in this time, in steps of the node's timer.
    fn told_within(&mut self, time: Duration) -> Vec<(Duration, String)> {
        let (begun, mut told) = (self.now, Vec::new());
        while self.now.since(begun) < time {
            self.after(A_MOMENT);
            let at = self.now.since(begun);
            told.extend(self.delivered().into_iter().map(|(_, text)| (at, text)));
        }
        told
    }

    fn reads_node(&mut self, node: &str) -> bool {
        let read = PresenceEffect::ReadNode(node.parse().unwrap());
        self.presence_effects().contains(&read)
    }

    /// A workspace where alice views bob, carl and eve; carl and eve are on the node N2, at number 5.
    fn viewing() -> (Self, SocketId) {
        let mut fixture = Self::linked();
        let alice = fixture.attach("alice", &[]);
        assert_eq!(fixture.views_users(alice, &["bob", "carl", "eve"]), [], "nothing is read yet");
        fixture.all_nodes_are(&[("N2", 5, &[("carl", Active), ("eve", Idle)])]);
        let answer = "presence bob:offline carl:active eve:idle".to_owned();
        assert_eq!(fixture.delivered(), [(alice, answer)]);
        fixture.told_within(Duration::from_secs(2));
        fixture.presence_effects();
        (fixture, alice)
    }
}

use Presence::{Active, Idle, Offline};

type Named<'a> = &'a [(&'a str, Presence)];

fn named(users: Named<'_>) -> Vec<(UserId, Presence)> {
    users.iter().map(|(name, presence)| (user(name), *presence)).collect()
}

fn part(number: u64, users: Named<'_>) -> NodePresence {
    NodePresence { number, users: named(users) }
}

#[test]
fn g16_users_are_announced_in_batches_and_only_if_they_change() {
    let mut fixture = Fixture::linked();
    let (one, two) = (fixture.attach("alice", &[]), fixture.attach("bob", &[]));
    assert!(fixture.workspace.is_waiting());
    fixture.after(A_MOMENT);
    let both = named(&[("alice", Active), ("bob", Active)]);
    assert_eq!(fixture.announced(), [(true, both)], "the first one is whole");
    // A second socket changes nothing; idle is who is idle at all sockets.
    let other = fixture.attach("alice", &[]);
    for (socket, is_idle) in [(one, true), (two, true), (two, false), (two, true)] {
        fixture.input(Input::Said { socket, frame: ClientFrame::Idle(is_idle) });
    }
    fixture.after(A_MOMENT);
    assert_eq!(fixture.announced(), [(false, named(&[("bob", Idle)]))]);
    fixture.input(Input::Detach(other));
    fixture.after(A_MOMENT / 2);
    assert_eq!(fixture.announced(), [], "not so soon after the last one");
    fixture.after(A_MOMENT / 2);
    assert_eq!(fixture.announced(), [(false, named(&[("alice", Idle)]))]);
    assert!(!fixture.workspace.is_waiting(), "a quiet workspace costs no wake-ups");
}

#[test]
fn g16_who_is_invisible_is_never_announced_and_nothing_tells_on_them() {
    let mut fixture = Fixture::linked();
    let c = channel(1);
    let alice = fixture.attach_as("alice", None, true);
    fixture.load("alice", &[&c]);
    fixture.refreshed(&c, 1, &["alice"]);
    let workspace = fixture.workspace.id.clone();
    let renew = |is_invisible| {
        let (workspace, user) = (workspace.clone(), user("alice"));
        let ticket = Some(Renewal { workspace, user, ends_at: ends_at(1), is_invisible });
        Input::Renew { socket: alice, reference: None, ticket }
    };
    fixture.after(A_MOMENT);
    assert_eq!(fixture.announced(), []);
    let tells = [
        ClientFrame::Typing(model::LogId::from(&c)),
        ClientFrame::Got { channel_id: c.clone(), up_to: MessageId::first_of(fixture.now) },
    ];
    // Whether others hear that she types, and what she has.
    let says = |fixture: &mut Fixture| -> (bool, bool) {
        let mut effects = Vec::new();
        for frame in &tells {
            fixture.input(Input::Said { socket: alice, frame: frame.clone() });
            effects.append(&mut fixture.effects);
        }
        fixture.after(limits::RECEIPTS_EVERY);
        effects.append(&mut fixture.effects);
        let types = effects.iter().any(|one| matches!(one, Effect::Signal(_)));
        (types, effects.iter().any(|one| matches!(one, Effect::Told { .. })))
    };
    assert_eq!(says(&mut fixture), (false, false));
    assert!(fixture.workspace.movable()[0].is_invisible, "on the next node, too");
    // Another socket shows them: it is for the client to be invisible on each.
    let other = fixture.attach("alice", &[&c]);
    fixture.after(A_MOMENT);
    assert_eq!(fixture.announced(), [(true, named(&[("alice", Active)]))]);
    fixture.input(Input::Detach(other));
    fixture.after(limits::OFFLINE_GRACE);
    assert_eq!(fixture.announced(), [(false, named(&[("alice", Offline)]))]);

    fixture.input(renew(false));
    fixture.after(A_MOMENT);
    assert_eq!(fixture.announced(), [(true, named(&[("alice", Active)]))]);
    assert_eq!(says(&mut fixture), (true, true));
    fixture.input(renew(true));
    fixture.after(limits::OFFLINE_GRACE);
    assert_eq!(fixture.announced(), [(false, named(&[("alice", Offline)]))], "as if they had left");
}

/// While nothing changes, a view's answer is not repeated.
#[test]
fn g16_the_answer_to_a_view_is_not_dropped_as_changes_may_be() {
    let mut fixture = Fixture::linked();
    let alice = fixture.attach("alice", &[]);
    let class_of = |fixture: &Fixture| {
        fixture.effects.iter().find_map(|effect| match effect {
            Effect::Deliver { class, .. } => Some(*class),
            _ => None,
        })
    };
    fixture.views_users(alice, &["bob"]);
    fixture.all_nodes_are(&[]);
    assert_eq!(class_of(&fixture), Some(DeliveryClass::Live));
    fixture.told_within(Duration::from_secs(2));
    fixture.attach("bob", &[]);
    fixture.after(A_MOMENT);
    assert_eq!(class_of(&fixture), Some(DeliveryClass::Signal));
}

#[test]
fn g16_who_reconnects_within_the_grace_costs_and_shows_nothing() {
    let (mut fixture, alice) = Fixture::viewing();
    let bob = fixture.attach("bob", &[]);
    let came = [(A_MOMENT, "presence bob:active".to_owned())];
    assert_eq!(fixture.told_within(Duration::from_secs(1)), came, "at once");
    assert_eq!(fixture.announced().len(), 1);
    fixture.input(Input::Detach(bob));
    assert_eq!(fixture.told_within(limits::OFFLINE_GRACE - A_MOMENT), []);
    let bob = fixture.attach("bob", &[]);
    assert_eq!(fixture.told_within(2 * limits::OFFLINE_GRACE), []);
    assert_eq!(fixture.announced(), [], "nobody hears of it");
    fixture.input(Input::Detach(bob));
    let gone = [(limits::OFFLINE_GRACE, "presence bob:offline".to_owned())];
    assert_eq!(fixture.told_within(2 * limits::OFFLINE_GRACE), gone);
    assert_eq!(fixture.announced(), [(false, named(&[("bob", Offline)]))]);
    // Whoever comes back on another node first is seen there.
    fixture.announces("N2", 6, &[("bob", Active)]);
    let bob = fixture.attach("bob", &[]);
    fixture.told_within(Duration::from_secs(2));
    fixture.input(Input::Detach(bob));
    assert_eq!(fixture.told_within(2 * limits::OFFLINE_GRACE), []);
    fixture.input(Input::Detach(alice));
    fixture.told_within(2 * limits::OFFLINE_GRACE);
    assert!(fixture.workspace.is_deserted(), "the book has nothing of this node");
}

#[test]
fn g16_changes_of_other_nodes_are_told_once_a_second_to_who_views_the_user() {
    let (mut fixture, alice) = Fixture::viewing();
    let dave = fixture.attach("dave", &[]);
    assert_eq!(fixture.views_users(dave, &["alice"]), [(dave, "presence alice:active".to_owned())]);
    fixture.announces("N2", 6, &[("bob", Active), ("frank", Active)]);
    fixture.after(A_MOMENT);
    assert_eq!(fixture.delivered(), [(alice, "presence bob:active".to_owned())]);
    fixture.announces("N2", 7, &[("carl", Idle)]);
    fixture.announces("N2", 8, &[("carl", Offline), ("bob", Idle)]);
    fixture.announces("N2", 9, &[("bob", Active)]);
    let told = fixture.told_within(Duration::from_secs(3));
    assert_eq!(told, [(Duration::from_secs(1), "presence carl:offline".to_owned())]);
    // A view is answered whole, twice a second at most.
    let whole = "presence bob:active frank:active".to_owned();
    assert_eq!(fixture.views_users(alice, &["bob", "frank"]), [(alice, whole.clone())]);
    assert_eq!(fixture.views_users(alice, &["bob", "frank"]), []);
    assert_eq!(fixture.told_within(Duration::from_secs(1)), [(2 * A_MOMENT, whole)]);
    let is_signal = |effect: &Effect| matches!(effect, Effect::Deliver { class, .. } if *class == DeliveryClass::Signal);
    assert!(fixture.effects.iter().all(is_signal));
}

#[test]
fn g16_what_a_full_queue_dropped_is_told_again() {
    let (mut fixture, _) = Fixture::viewing();
    let ticks_tell = |fixture: &mut Fixture| {
        let told = (0..=4).flat_map(|_| {
            fixture.tick();
            fixture.delivered()
        });
        told.filter(|(_, text)| text.starts_with("presence")).count()
    };
    assert_eq!(ticks_tell(&mut fixture), 0, "nothing changed");
    fixture.announces("N2", 6, &[("bob", Active)]);
    fixture.after(A_MOMENT);
    assert_eq!(ticks_tell(&mut fixture), 1);
    assert_eq!(ticks_tell(&mut fixture), 0);
}

#[test]
fn g16_a_hole_in_a_nodes_numbers_makes_it_read_again() {
    let (mut fixture, _) = Fixture::viewing();
    fixture.announces("N2", 7, &[("bob", Active)]);
    assert_eq!(fixture.told_within(A_MOMENT), [], "what came between is not known");
    assert!(fixture.reads_node("N2"));
    // What is announced while it is read comes later than the answer, or is in it.
    fixture.announces("N2", 8, &[("eve", Active)]);
    let told = fixture.node_is("N2", Some(part(7, &[("bob", Active), ("carl", Idle)])));
    assert_eq!(told, ["presence bob:active carl:idle eve:offline"]);
    fixture.told_within(limits::PRESENCE_READ_EVERY);
    assert!(fixture.reads_node("N2"), "8 was heard of");
    fixture.node_is("N2", Some(part(8, &[("bob", Active), ("carl", Idle), ("eve", Active)])));
    fixture.told_within(Duration::from_secs(2));
    assert!(!fixture.reads_node("N2"));
    // A confirmation shows that the last announcement was lost.
    fixture.announces("N2", 8, &[]);
    fixture.told_within(Duration::from_secs(2));
    assert!(!fixture.reads_node("N2"));
    fixture.announces("N2", 9, &[]);
    fixture.told_within(A_MOMENT);
    assert!(!fixture.reads_node("N2"), "an empty change is one, too");
    fixture.announces("N2", 11, &[]);
    fixture.told_within(A_MOMENT);
    assert!(fixture.reads_node("N2"));
    // So is a node that nobody knew.
    fixture.announces("N3", 4, &[("bob", Active)]);
    fixture.told_within(A_MOMENT);
    assert!(fixture.reads_node("N3"));
}

#[test]
fn g16_the_users_of_a_dead_node_vanish_together_after_the_grace() {
    let (mut fixture, _) = Fixture::viewing();
    let expired = |ms| Some(Duration::from_millis(ms));
    fixture.fleet_is(&[("N1", None), ("N2", None)]);
    assert_eq!(fixture.told_within(limits::OFFLINE_GRACE), []);
    fixture.fleet_is(&[("N1", None), ("N2", expired(500))]);
    assert!(fixture.workspace.is_waiting());
    // Eve comes back on another node; carl does not.
    fixture.announces("N3", 1, &[("eve", Active)]);
    fixture.told_within(A_MOMENT);
    let told = fixture.node_is("N3", Some(part(1, &[("eve", Active)])));
    assert_eq!(told, ["presence eve:active"]);
    let gone = (Duration::from_millis(9_250), "presence carl:offline".to_owned());
    assert_eq!(fixture.told_within(Duration::from_secs(12)), [gone]);
}

#[test]
fn g16_a_node_that_withdrew_keeps_its_users_until_it_has_drained() {
    let (mut fixture, _) = Fixture::viewing();
    // Its certificate expired, it drains, or the directory was flushed.
    fixture.fleet_is(&[("N1", None)]);
    assert_eq!(fixture.told_within(2 * limits::OFFLINE_GRACE), []);
    // The last thing it does.
    fixture.announces("N2", 1_000, &[]);
    fixture.told_within(A_MOMENT);
    assert!(fixture.reads_node("N2"));
    fixture.node_is("N2", None);
    let gone = "presence carl:offline eve:offline".to_owned();
    assert_eq!(fixture.told_within(2 * limits::OFFLINE_GRACE), [(limits::OFFLINE_GRACE, gone)]);
}

#[test]
fn g16_without_pushes_nobody_is_gone_and_everything_is_read_again() {
    let (mut fixture, _) = Fixture::viewing();
    let bob = fixture.attach("bob", &[]);
    fixture.told_within(Duration::from_secs(2));
    fixture.presence_effects();
    fixture.input(Input::Lost);
    fixture.input(Input::Detach(bob));
    fixture.fleet_is(&[("N1", None), ("N2", Some(Duration::from_secs(60)))]);
    assert_eq!(fixture.told_within(Duration::from_secs(60)), []);
    fixture.input(Input::Linked);
    fixture.answer_fill();
    assert_eq!(fixture.told_within(A_MOMENT), [], "bob may be on another node");
    let effects = fixture.presence_effects();
    assert!(effects.iter().any(|effect| matches!(effect, PresenceEffect::Renew(_))), "{effects:?}");
    fixture.of_presence = effects;
    // The book was lost, and the other node has not written again yet.
    fixture.all_nodes_are(&[]);
    assert_eq!(fixture.told_within(A_MOMENT), [(A_MOMENT, "presence bob:offline".to_owned())]);
    assert_eq!(fixture.told_within(limits::OFFLINE_GRACE / 2), []);
    fixture.announces("N2", 9, &[]);
    fixture.told_within(A_MOMENT);
    assert!(fixture.reads_node("N2"));
    fixture.node_is("N2", Some(part(9, &[("carl", Active), ("eve", Idle)])));
    assert_eq!(fixture.told_within(2 * limits::OFFLINE_GRACE), []);
}

#[test]
fn g16_a_book_that_lost_what_was_written_gets_everybody_again() {
    let mut fixture = Fixture::linked();
    fixture.attach("alice", &[]);
    fixture.after(A_MOMENT);
    let PresenceEffect::Announce(first) = fixture.presence_effects().remove(0) else { panic!() };
    assert!(fixture.workspace.next_tick(fixture.now) <= fixture.now.plus(limits::TICK));
    fixture.now = fixture.now.plus(limits::PRESENCE_RENEW);
    assert_eq!(fixture.workspace.next_tick(fixture.now), fixture.now);
    fixture.book = Announced::Lacking;
    fixture.input(Input::Tick);
    assert_eq!(fixture.presence_effects(), [PresenceEffect::Renew(first.number)]);
    fixture.book = Announced::Failed;
    fixture.attach("bob", &[]);
    fixture.after(A_MOMENT);
    let both = named(&[("alice", Active), ("bob", Active)]);
    let again = fixture.presence_effects();
    let news = Announcement { number: first.number + 2, is_whole: true, users: both.clone() };
    assert_eq!(again, [PresenceEffect::Announce(news)], "a hole for whoever follows it");
    // While the book does not answer, the pauses grow.
    fixture.told_within(Duration::from_secs(60));
    let attempts = fixture.announced();
    assert!((3..8).contains(&attempts.len()), "{}", attempts.len());
    fixture.book = Announced::Written;
    fixture.told_within(limits::PRESENCE_RETRY.1);
    assert_eq!(fixture.announced(), [(true, both)]);
    assert!(!fixture.workspace.is_waiting());
}

#[test]
fn g16_other_nodes_are_followed_only_while_somebody_views_users() {
    let mut fixture = Fixture::linked();
    let alice = fixture.attach("alice", &[]);
    fixture.told_within(Duration::from_secs(1));
    fixture.presence_effects();
    fixture.announces("N2", 5, &[("bob", Active)]);
    fixture.told_within(Duration::from_secs(1));
    assert!(fixture.presence_effects().is_empty() && !fixture.workspace.follows_presence());
    fixture.views_users(alice, &["bob"]);
    assert!(fixture.workspace.follows_presence());
    fixture.all_nodes_are(&[("N2", 5, &[("bob", Active)])]);
    assert_eq!(fixture.delivered(), [(alice, "presence bob:active".to_owned())]);
    fixture.views_users(alice, &[]);
    assert!(!fixture.workspace.follows_presence());
    fixture.announces("N2", 7, &[("bob", Offline)]);
    fixture.told_within(Duration::from_secs(1));
    assert!(fixture.presence_effects().is_empty());
    fixture.views_users(alice, &["bob"]);
    assert_eq!(fixture.delivered(), [], "what was known is old");
    fixture.all_nodes_are(&[]);
    assert_eq!(fixture.delivered(), [(alice, "presence bob:offline".to_owned())]);
    fixture.input(Input::Detach(alice));
    assert!(!fixture.workspace.follows_presence());
}

#[test]
fn g16_a_node_that_falls_silent_is_read_again() {
    let (mut fixture, _) = Fixture::viewing();
    for _ in 0..4 {
        fixture.tick();
    }
    assert!(fixture.reads_node("N2"), "its last announcement may be lost, with what confirms it");
    fixture.node_is("N2", None);
    let gone = "presence carl:offline eve:offline".to_owned();
    assert_eq!(fixture.told_within(Duration::from_secs(12)), [(limits::OFFLINE_GRACE, gone)]);
}
