//! Ticks: everybody's, once an interval, at a moment of their own.

use std::collections::BTreeMap;

use super::*;

/// Ticks that each socket gets within so long, looked at whenever the workspace wants to be.
fn ticks_within(rig: &mut Rig, time: Duration) -> BTreeMap<SocketId, Vec<Timestamp>> {
    let mut ticks: BTreeMap<_, Vec<Timestamp>> = BTreeMap::new();
    let end = rig.now.plus(time);
    while rig.workspace.next_tick() <= end {
        rig.now = rig.now.max(rig.workspace.next_tick());
        rig.input(Input::Tick);
        for (socket, _) in rig.delivered() {
            ticks.entry(socket).or_default().push(rig.now);
        }
    }
    rig.now = end;
    ticks
}

#[test]
fn everybody_has_a_tick_an_interval_and_few_have_it_at_once() {
    let mut rig = Rig::linked();
    for n in 0..600 {
        rig.attach(&format!("user{n}"), &[]);
    }
    let begun = rig.now;
    let ticks = ticks_within(&mut rig, 4 * limits::TICK);
    assert_eq!(ticks.len(), 600);
    let mut at_once: BTreeMap<Timestamp, usize> = BTreeMap::new();
    for times in ticks.values() {
        assert_eq!(times.len(), 4);
        let mut before = begun;
        for at in times {
            assert!(at.since(before) <= limits::TICK);
            *at_once.entry(*at).or_default() += 1;
            before = *at;
        }
    }
    assert!(at_once.values().all(|count| *count == 2), "{at_once:?}");
}

#[test]
fn a_workspace_of_one_is_looked_at_once_an_interval() {
    let mut rig = Rig::linked();
    let alice = rig.attach("alice", &[]);
    let mut looks = 0;
    let end = rig.now.plus(10 * limits::TICK);
    while rig.workspace.next_tick() <= end {
        rig.now = rig.workspace.next_tick();
        rig.input(Input::Tick);
        looks += 1;
    }
    // And for audits, every other interval.
    assert!(looks <= 15, "{looks} for {alice:?}");
}

#[test]
fn who_attaches_between_two_looks_has_a_tick_within_an_interval() {
    let mut rig = Rig::linked();
    let far = rig.workspace.next_tick();
    rig.now = far.minus(Duration::from_millis(1));
    let sockets: Vec<SocketId> = (0..60).map(|n| rig.attach(&format!("u{n}"), &[])).collect();
    let ticks = ticks_within(&mut rig, limits::TICK);
    assert!(sockets.iter().all(|socket| ticks.contains_key(socket)), "{ticks:?}");
}

#[test]
fn a_clock_that_is_set_leaves_nobody_without_ticks() {
    let mut rig = Rig::linked();
    let alice = rig.attach("alice", &[]);
    let hour = Duration::from_secs(3_600);
    for set in [rig.now.plus(hour), rig.now.minus(Duration::from_secs(600))] {
        rig.now = set;
        rig.input(Input::Tick);
        assert_eq!(rig.delivered(), [(alice, "tick true".to_owned())], "at once");
        let next = rig.workspace.next_tick();
        assert!(next > rig.now && next.since(rig.now) <= limits::TICK, "and on from there");
    }
}
