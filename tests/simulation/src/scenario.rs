//! For each planted bug a small world in which it must show, and in which a sound system shows
//! nothing.

use std::ops::Range;
use std::time::Duration;

use checker::Check;

use crate::faults::Kind;
use crate::plan::Plan;
use crate::planted::Planted;

/// Seeds that each scenario is run with.
pub const SEEDS: Range<u64> = 0..4;

/// The rule that a bug breaks.
#[must_use]
pub const fn broken_by(bug: Planted) -> Check {
    match bug {
        Planted::DroppedFrames
        | Planted::Counter
        | Planted::ShortOverlap
        | Planted::WaitWithoutMarker
        | Planted::MaxId
        | Planted::FirstFour => Check::K2Delivered,
        Planted::StaleVersion | Planted::RowsAfterVersion => Check::K4Leak,
        Planted::NoTick | Planted::ResyncStorm => Check::K7Alive,
    }
}

/// The scenario of a bug, without the bug.
#[must_use]
pub fn of(bug: Planted) -> Plan {
    match bug {
        Planted::DroppedFrames => many_frames(),
        Planted::Counter => forked_while_subscribed(),
        Planted::ShortOverlap => published_while_away(),
        Planted::StaleVersion | Planted::RowsAfterVersion => changes_that_no_node_hears_of(),
        Planted::WaitWithoutMarker => tail_lost_while_away(),
        Planted::MaxId => published_late(),
        Planted::NoTick => quiet_clients_and_a_busy_channel(),
        Planted::FirstFour => forked_with_repeated_ids(),
        Planted::ResyncStorm => Plan::brownout(Kind::StoreSilentToNodes),
    }
}

fn fault(at_ms: u64, lasts_ms: u64, kind: Kind) -> (Duration, Duration, Kind) {
    (Duration::from_millis(at_ms), Duration::from_millis(lasts_ms), kind)
}

/// Thousands of frames, and nothing goes wrong.
fn many_frames() -> Plan {
    Plan {
        users: 5..=5,
        devices: 2,
        faulty: Duration::from_secs(30),
        send_every_ms: 20..=60,
        ..Plan::quiet()
    }
}

/// A failover loses a tail that nodes have seen, and their subscriptions outlive it.
fn forked_while_subscribed() -> Plan {
    Plan {
        send_every_ms: 40..=160,
        faults: vec![fault(6_000, 3_000, Kind::FailOverIsolated)],
        ..Plan::quiet()
    }
}

/// The same while the servers' clocks stand behind: ids of entries repeat.
fn forked_with_repeated_ids() -> Plan {
    Plan {
        send_every_ms: 40..=160,
        faults: vec![
            fault(5_000, 14_000, Kind::RedisClocksSetBack),
            fault(6_000, 3_000, Kind::FailOverIsolated),
        ],
        ..Plan::quiet()
    }
}

/// Messages that were stored early are published when a client is away that saw later ones; when it
/// is back, nothing can be resumed.
fn published_while_away() -> Plan {
    Plan {
        users: 6..=6,
        faulty: Duration::from_secs(24),
        send_every_ms: 150..=400,
        faults: vec![
            fault(1_000, 21_000, Kind::RelayStopped),
            fault(2_000, 4_000, Kind::RedisFull),
            fault(14_000, 22_000, Kind::PeopleAway),
            fault(26_000, 500, Kind::RedisFlushed),
            fault(27_000, 1_000, Kind::NodesReplaced),
        ],
        // The client that was away is told once, and that is all.
        ..Plan::quiet()
    }
}

/// Members are removed while the bus refuses every publication: versions are all that nodes get.
fn changes_that_no_node_hears_of() -> Plan {
    let full = |turn: u64| fault(3_000 + turn * 2_000, 800, Kind::RedisFull);
    Plan {
        users: 6..=6,
        faulty: Duration::from_secs(36),
        send_every_ms: 80..=240,
        change_every_ms: Some(200..=900),
        faults: (0..16).map(full).collect(),
        ..Plan::quiet()
    }
}

/// A tail is lost while clients are away that have to get it later.
fn tail_lost_while_away() -> Plan {
    Plan {
        users: 6..=6,
        devices: 2,
        send_every_ms: 40..=160,
        faults: vec![fault(4_000, 9_000, Kind::PeopleAway), fault(6_000, 1_000, Kind::FailOver)],
        ..Plan::quiet()
    }
}

/// The bus refuses for a while, and what was stored then comes after what was stored later.
fn published_late() -> Plan {
    Plan {
        send_every_ms: 80..=240,
        faults: vec![fault(3_000, 4_000, Kind::RedisFull)],
        ..Plan::quiet()
    }
}

/// People to whom nothing is said, in a workspace where much is, and all nodes are replaced. Ticks
/// keep everybody resumable: nobody has to read again.
fn quiet_clients_and_a_busy_channel() -> Plan {
    Plan {
        bystanders: 3,
        entries_max: 60,
        faulty: Duration::from_secs(100),
        send_every_ms: 700..=1_300,
        faults: vec![fault(95_000, 1_000, Kind::NodesReplaced)],
        ..Plan::quiet()
    }
}
