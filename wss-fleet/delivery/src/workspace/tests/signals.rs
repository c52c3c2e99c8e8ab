use model::{Epoch, NewReadMark, ReadMark};
use protocol::signal::Signal;

use super::*;

fn read(name: &str, channels: &[&ChannelId]) -> (Input, String) {
    let at = Timestamp::from_unix_ms(5);
    let mark = ReadMark { epoch: Epoch::FIRST, up_to: MessageId::first_of(at) };
    let marks = channels.iter().map(|id| NewReadMark { log: (*id).into(), mark }).collect();
    (Input::Signal(Signal::Read { user_id: user(name), marks }), format!("read {mark}"))
}

#[test]
fn g12_a_signal_goes_to_its_users_sockets_and_moves_nothing() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let [phone, desk] = [(); 2].map(|()| fixture.attach("bob", &[&c]));
    let alice = fixture.attach("alice", &[&c]);
    fixture.tick();
    let cursor = fixture.cursor_of_last();
    let (signal, text) = read("bob", &[&c, &channel(2)]);
    fixture.input(signal);
    let heard = fixture.delivered();
    assert_eq!(heard.len(), 4, "{heard:?}");
    assert!(heard.iter().all(|(socket, heard)| *socket != alice && *heard == text), "{heard:?}");
    assert!([phone, desk].iter().all(|own| heard.iter().any(|(socket, _)| socket == own)));
    let is_signal = |effect: &Effect| matches!(effect, Effect::Deliver { class, .. } if *class == DeliveryClass::Signal);
    assert!(fixture.effects.iter().all(is_signal));
    fixture.tick();
    assert_eq!(fixture.cursor_of_last(), cursor);
}

#[test]
fn g12_a_signal_for_nobody_here_or_of_an_unknown_kind_is_ignored() {
    let mut fixture = Fixture::linked();
    fixture.attach("alice", &[]);
    assert_eq!(fixture.input(read("bob", &[&channel(1)]).0), []);
    assert_eq!(fixture.input(Input::Signal(Signal::Unknown)), []);
}
