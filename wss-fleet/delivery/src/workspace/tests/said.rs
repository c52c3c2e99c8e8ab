use model::LogId;
use protocol::client_frame::View;
use protocol::close::CloseCode;
use protocol::signal::Signal;

use super::*;

impl Fixture {
    fn says(&mut self, socket: SocketId, frame: ClientFrame) -> &[Effect] {
        self.input(Input::Said { socket, frame })
    }

    fn views(&mut self, socket: SocketId, logs: &[&ChannelId]) {
        let logs = logs.iter().map(|id| LogId::from(*id)).collect();
        let view = ClientFrame::View(View { logs, users: Vec::new() });
        assert_eq!(self.says(socket, view), []);
    }

    /// Somebody types, here or on another node.
    fn types(
        &mut self,
        name: &str,
        channel: &ChannelId,
        members_version: u64,
    ) -> Vec<(SocketId, String)> {
        let (user_id, log) = (user(name), channel.into());
        self.input(Input::Signal(Signal::Typing { user_id, log, members_version }));
        self.delivered()
    }
}

#[test]
fn a_ping_is_answered_at_once_and_the_next_one_after_two_seconds() {
    let mut fixture = Fixture::linked();
    let socket = fixture.attach("alice", &[]);
    fixture.says(socket, ClientFrame::Ping);
    assert_eq!(fixture.delivered(), [(socket, "pong true".to_owned())]);
    let tail = fixture.entries.last().unwrap().position.to_string();
    assert_eq!(fixture.cursor_of_last(), tail);
    for _ in 0..3 {
        assert_eq!(fixture.says(socket, ClientFrame::Ping), []);
    }
    assert!(fixture.workspace.is_waiting());
    assert_eq!(fixture.after(Duration::from_millis(1_999)), []);
    fixture.after(Duration::from_millis(1));
    assert_eq!(fixture.delivered(), [(socket, "pong true".to_owned())], "one for all three");
    fixture.after(limits::PONG_EVERY);
    assert!(fixture.effects.is_empty() && !fixture.workspace.is_waiting(), "nothing is kept");
    fixture.input(Input::Lost);
    fixture.says(socket, ClientFrame::Ping);
    assert_eq!(fixture.delivered(), [(socket, "pong false".to_owned())], "the path is not alive");
}

#[test]
fn a_frame_before_ready_is_a_bad_one() {
    let mut fixture = Fixture::unlinked();
    let socket = fixture.attach_with("alice", None);
    let close = Effect::Close { socket, code: CloseCode::BadFrame };
    assert_eq!(fixture.says(socket, ClientFrame::Ping), [close]);
}

#[test]
fn g17_who_types_is_told_to_the_members_who_view_the_log_and_to_nobody_else() {
    let (mut fixture, c, other) = (Fixture::linked(), channel(1), channel(2));
    let alice = fixture.attach("alice", &[&c]);
    let bob = fixture.attach("bob", &[&c, &other]);
    let eve = fixture.attach("eve", &[]);
    fixture.refreshed(&c, 3, &["alice", "bob"]);
    let typing = ClientFrame::Typing((&c).into());
    let quiet = ClientFrame::Typing((&other).into());
    let read = [Effect::ReadAhead(other.clone())];
    assert_eq!(fixture.says(bob, quiet), read, "nobody spoke there: the members are not read");
    let signal = Signal::Typing { user_id: user("bob"), log: (&c).into(), members_version: 3 };
    assert_eq!(fixture.says(bob, typing.clone()), [Effect::Signal(signal)]);
    assert_eq!(fixture.says(bob, typing.clone()), [], "once in three seconds");
    assert_eq!(fixture.says(eve, typing), [], "no member");
    assert_eq!(fixture.types("bob", &c, 3), [], "nobody views it");
    fixture.views(alice, &[&c]);
    fixture.views(eve, &[&c]);
    fixture.views(bob, &[&other]);
    assert_eq!(fixture.types("bob", &c, 3), [(alice, "typing bob +0".to_owned())]);
    let is_signal = |effect: &Effect| matches!(effect, Effect::Deliver { class, .. } if *class == DeliveryClass::Signal);
    assert!(fixture.effects.iter().all(is_signal));
    // One that was sent by a newer version than this view's is for nobody.
    assert_eq!(fixture.types("carol", &c, 4), []);
    assert_eq!(fixture.effects, [Effect::ReadAhead(c.clone())], "a newer view is read");
    assert!(fixture.workspace.awaits_members(&c));
    fixture.types("carol", &c, 4);
    assert_eq!(fixture.effects, [], "once");
    fixture.refreshed(&c, 4, &["alice", "bob"]);
    assert!(!fixture.workspace.awaits_members(&c));
    fixture.input(Input::Detach(alice));
    fixture.input(Input::Detach(eve));
    assert_eq!(fixture.types("dave", &c, 3), []);
}

#[test]
fn g17_a_message_ends_its_senders_typing() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    fixture.refreshed(&c, 3, &["alice"]);
    fixture.views(alice, &[&c]);
    fixture.types("sender", &c, 3);
    fixture.push(message(&c, 3, "hi"));
    fixture.after(Duration::from_secs(2));
    assert_eq!(fixture.types("bob", &c, 3), [(alice, "typing bob +0".to_owned())]);
}

#[test]
fn g17_a_socket_that_says_nothing_costs_nothing() {
    let mut fixture = Fixture::linked();
    let socket = fixture.attach("alice", &[&channel(1)]);
    fixture.says(socket, ClientFrame::View(View::default()));
    assert!(fixture.workspace.views.is_empty());
    fixture.views(socket, &[&channel(1)]);
    assert!(!fixture.workspace.views.is_empty());
    fixture.input(Input::Detach(socket));
    assert!(fixture.workspace.views.is_empty());
}
