//! Ticks: one per socket and interval, each at its own moment.

use std::collections::BTreeMap;

use super::*;

/// Ticks that each socket gets within `time`, and how often the workspace asked to be called.
fn ticks_within(rig: &mut Rig, time: Duration) -> (BTreeMap<SocketId, Vec<Timestamp>>, usize) {
    let mut ticks: BTreeMap<_, Vec<Timestamp>> = BTreeMap::new();
    let (end, mut looks) = (rig.now.plus(time), 0);
    loop {
        let next = rig.workspace.next_tick(rig.now);
        if next > end {
            rig.now = end;
            return (ticks, looks);
        }
        assert!(next > rig.now, "it would never end");
        rig.now = next;
        looks += 1;
        rig.input(Input::Tick);
        for (socket, _) in rig.delivered() {
            ticks.entry(socket).or_default().push(rig.now);
        }
    }
}

#[test]
fn everybody_has_a_tick_an_interval_and_few_have_it_at_once() {
    let mut rig = Rig::linked();
    for n in 0..600 {
        rig.attach(&format!("user{n}"), &[]);
    }
    let begun = rig.now;
    let (ticks, _) = ticks_within(&mut rig, 4 * limits::TICK);
    assert_eq!(ticks.len(), 600);
    let mut at_once: BTreeMap<Timestamp, usize> = BTreeMap::new();
    for times in ticks.values() {
        assert_eq!(times.len(), 4);
        let first = times[0].since(begun);
        assert!(
            first <= limits::TICK && first > limits::TICK - Duration::from_secs(2),
            "{first:?}"
        );
        assert!(times.windows(2).all(|two| two[1].since(two[0]) == limits::TICK), "{times:?}");
        times.iter().for_each(|at| *at_once.entry(*at).or_default() += 1);
    }
    assert!(at_once.values().all(|count| *count == 15), "{at_once:?}");
}

#[test]
fn a_workspace_of_one_is_looked_at_once_an_interval() {
    let mut rig = Rig::linked();
    rig.attach("alice", &[]);
    let (ticks, looks) = ticks_within(&mut rig, 10 * limits::TICK);
    assert_eq!(ticks.values().map(Vec::len).sum::<usize>(), 10);
    // This includes audits, every other interval.
    assert!(looks <= 15, "{looks}");
}

#[test]
fn who_attaches_has_the_first_tick_an_interval_later() {
    let mut rig = Rig::linked();
    rig.attach("alice", &[]);
    ticks_within(&mut rig, limits::TICK / 2);
    let (bob, begun) = (rig.attach("bob", &[]), rig.now);
    let (ticks, _) = ticks_within(&mut rig, limits::TICK);
    let first = ticks[&bob][0].since(begun);
    assert!(first > limits::TICK - Duration::from_secs(2), "{first:?}");
    assert_eq!(ticks.len(), 2, "alice has hers in between");
}

#[test]
fn a_clock_that_is_set_leaves_nobody_without_ticks() {
    let mut rig = Rig::linked();
    let alice = rig.attach("alice", &[]);
    let (hour, minutes) = (Duration::from_secs(3_600), Duration::from_secs(600));
    for set in [rig.now.plus(hour), rig.now.minus(minutes), rig.now.plus(minutes)] {
        rig.now = set;
        rig.input(Input::Tick);
        assert_eq!(rig.delivered(), [(alice, "tick true".to_owned())], "at once");
        let next = rig.workspace.next_tick(rig.now);
        assert!(next > rig.now && next.since(rig.now) <= limits::TICK, "and on from there");
    }
}
