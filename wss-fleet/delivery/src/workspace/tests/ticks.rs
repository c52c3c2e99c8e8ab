//! Ticks: one per socket and interval, each at its own moment.

use std::collections::BTreeMap;

use super::*;

/// Ticks that each socket gets within `time`, and how often the workspace asked to be called.
fn ticks_within(
    fixture: &mut Fixture,
    time: Duration,
) -> (BTreeMap<SocketId, Vec<Timestamp>>, usize) {
    let mut ticks: BTreeMap<_, Vec<Timestamp>> = BTreeMap::new();
    let (end, mut looks) = (fixture.now.plus(time), 0);
    loop {
        let next = fixture.workspace.next_tick(fixture.now);
        if next > end {
            fixture.now = end;
            return (ticks, looks);
        }
        assert!(next > fixture.now, "it would never end");
        fixture.now = next;
        looks += 1;
        fixture.input(Input::Tick);
        for (socket, _) in fixture.delivered() {
            ticks.entry(socket).or_default().push(fixture.now);
        }
    }
}

#[test]
fn everybody_has_a_tick_an_interval_and_few_have_it_at_once() {
    let mut fixture = Fixture::linked();
    for n in 0..600 {
        fixture.attach(&format!("user{n}"), &[]);
    }
    let begun = fixture.now;
    let (ticks, _) = ticks_within(&mut fixture, 4 * limits::TICK);
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
    let mut fixture = Fixture::linked();
    fixture.attach("alice", &[]);
    let (ticks, looks) = ticks_within(&mut fixture, 10 * limits::TICK);
    assert_eq!(ticks.values().map(Vec::len).sum::<usize>(), 10);
    // This includes audits, every other interval, and confirmations of presence, every 20 s.
    assert!(looks <= 23, "{looks}");
}

#[test]
fn who_attaches_has_the_first_tick_an_interval_later() {
    let mut fixture = Fixture::linked();
    fixture.attach("alice", &[]);
    ticks_within(&mut fixture, limits::TICK / 2);
    let (bob, begun) = (fixture.attach("bob", &[]), fixture.now);
    let (ticks, _) = ticks_within(&mut fixture, limits::TICK);
    let first = ticks[&bob][0].since(begun);
    assert!(first > limits::TICK - Duration::from_secs(2), "{first:?}");
    assert_eq!(ticks.len(), 2, "alice has hers in between");
}

#[test]
fn a_clock_that_is_set_leaves_nobody_without_ticks() {
    let mut fixture = Fixture::linked();
    let alice = fixture.attach("alice", &[]);
    let (hour, minutes) = (Duration::from_secs(3_600), Duration::from_secs(600));
    for set in [fixture.now.plus(hour), fixture.now.minus(minutes), fixture.now.plus(minutes)] {
        fixture.now = set;
        fixture.input(Input::Tick);
        assert_eq!(fixture.delivered(), [(alice, "tick true".to_owned())], "at once");
        let next = fixture.workspace.next_tick(fixture.now);
        assert!(next > fixture.now && next.since(fixture.now) <= limits::TICK, "and on from there");
    }
}
