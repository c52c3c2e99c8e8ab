//! For each planted bug, a small world in which the bug must show, and in which a correct system
//! breaks no rule.

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
        Planted::RowBeforeLog
        | Planted::LastEditWins
        | Planted::CatchUpById
        | Planted::NoRevisionCompare => Check::K8Converged,
        Planted::FoldWithoutCompare | Planted::Increments => Check::K9Counted,
        Planted::UnreadCounter => Check::K10Unread,
        Planted::ReplayedSaid => Check::K11Apart,
        Planted::RepeatedNumbers | Planted::MissedByOne => Check::K12Numbers,
        Planted::RingKeepsSaid | Planted::SignalInStream => Check::K13Lasting,
        Planted::GhostPresence => Check::K14Present,
        Planted::RemovedFirst | Planted::AckedAhead => Check::K15Archived,
        Planted::AcceptedFirst | Planted::ReceiptFirst => Check::K16Accepted,
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
        Planted::RowBeforeLog | Planted::CatchUpById => changed_while_away(),
        Planted::LastEditWins => edits_tried_again(),
        Planted::FoldWithoutCompare | Planted::Increments => many_react(),
        Planted::UnreadCounter => sends_tried_again(),
        Planted::NoRevisionCompare => edits_among_reactions(),
        Planted::ReplayedSaid | Planted::RingKeepsSaid | Planted::MissedByOne => meetings(),
        Planted::SignalInStream => meetings(),
        Planted::RepeatedNumbers => meetings_over_failovers(),
        Planted::GhostPresence => gone_with_their_nodes(),
        Planted::AcceptedFirst => sent_to_a_full_redis(),
        Planted::RemovedFirst => archived_while_the_store_fails(),
        Planted::ReceiptFirst => Plan::delivering(),
        Planted::AckedAhead => acked_while_away(),
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

/// The same while the servers' clocks are set back, so that entry ids repeat.
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

/// Messages that were stored early are published while a client that saw later ones is away. When
/// it comes back, it cannot resume.
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
        // The client that was away gets one resync, and no other.
        ..Plan::quiet()
    }
}

/// Members are removed while the bus refuses to publish: nodes learn of it only by versions.
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

/// A tail is lost while the clients that must receive it later are away.
fn tail_lost_while_away() -> Plan {
    Plan {
        users: 6..=6,
        devices: 2,
        send_every_ms: 40..=160,
        faults: vec![fault(4_000, 9_000, Kind::PeopleAway), fault(6_000, 1_000, Kind::FailOver)],
        ..Plan::quiet()
    }
}

/// The bus refuses for a while: what is stored meanwhile is published after newer messages.
fn published_late() -> Plan {
    Plan {
        send_every_ms: 80..=240,
        faults: vec![fault(3_000, 4_000, Kind::RedisFull)],
        ..Plan::quiet()
    }
}

/// People in no channel, in a workspace with much traffic, and all nodes are replaced. Ticks keep
/// every client resumable: none gets a resync.
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

/// Messages that are older than what a client reads back change while clients that have them are
/// away, and the stream is lost.
fn changed_while_away() -> Plan {
    Plan {
        users: 6..=6,
        faulty: Duration::from_secs(50),
        send_every_ms: 1_000..=2_000,
        revise_every_ms: Some(100..=300),
        deletes: false,
        overlap: Duration::from_secs(5),
        faults: vec![
            fault(30_000, 15_000, Kind::PeopleAway),
            fault(40_000, 500, Kind::RedisFlushed),
            fault(41_000, 1_000, Kind::NodesReplaced),
        ],
        ..Plan::quiet()
    }
}

/// Answers of the store are lost: edits are tried again after others have been made.
fn edits_tried_again() -> Plan {
    Plan {
        users: 3..=3,
        devices: 2,
        send_every_ms: 1_000..=2_000,
        revise_every_ms: Some(40..=120),
        deletes: false,
        faults: vec![fault(2_000, 12_000, Kind::StoreAnswersLost)],
        ..Plan::quiet()
    }
}

/// Several react to a message at once, and some of the functions that count are slow.
fn many_react() -> Plan {
    Plan {
        users: 6..=6,
        faulty: Duration::from_secs(30),
        send_every_ms: 600..=1_200,
        react_every_ms: Some(100..=400),
        slow_folds: true,
        ..Plan::quiet()
    }
}

/// The store is slow, so that a message changes between the log entry of an edit and its row.
fn edits_among_reactions() -> Plan {
    Plan {
        revise_every_ms: Some(40..=120),
        deletes: false,
        faults: vec![fault(2_000, 12_000, Kind::StoreSlow)],
        ..many_react()
    }
}

/// Answers of functions are lost, so messages are sent again, while people mark what they have read.
fn sends_tried_again() -> Plan {
    Plan {
        users: 4..=4,
        send_every_ms: 300..=900,
        mark_every_ms: Some(400..=1_200),
        faults: vec![fault(2_000, 12_000, Kind::StoreAnswersLost)],
        ..Plan::quiet()
    }
}

/// People in meetings, who come and go. Nothing is lost.
fn meetings() -> Plan {
    Plan {
        users: 4..=4,
        devices: 2,
        meet_every_ms: Some(300..=1_200),
        types: true,
        restless: true,
        ..Plan::quiet()
    }
}

/// The same over failovers that lose the last numbers.
fn meetings_over_failovers() -> Plan {
    Plan {
        faulty: Duration::from_secs(40),
        faults: vec![
            fault(8_000, 3_000, Kind::FailOverIsolated),
            fault(24_000, 3_000, Kind::FailOverIsolated),
        ],
        restless: false,
        ..meetings()
    }
}

/// Users who leave while the nodes that had them are killed, so that nobody withdraws them.
fn gone_with_their_nodes() -> Plan {
    Plan {
        bystanders: 2,
        bystanders_leave_at: Some(Duration::from_secs(5)),
        faulty: Duration::from_secs(12),
        ..Plan::quiet()
    }
}

/// People in channels that deliver first, while Redis takes nothing: `POST` stores what is sent.
fn sent_to_a_full_redis() -> Plan {
    Plan { faults: vec![fault(4_000, 3_000, Kind::RedisFull)], ..Plan::delivering() }
}

/// The same while the archive cannot store, and devices are lost.
fn archived_while_the_store_fails() -> Plan {
    Plan {
        dies_one_in: 6,
        lost_one_in: 1,
        faults: vec![fault(4_000, 6_000, Kind::StoreGone)],
        ..Plan::delivering()
    }
}

/// People in a channel that keeps only what some device lacks. Some are away for so long that they cannot
/// resume, and come back before what they missed is stored.
fn acked_while_away() -> Plan {
    Plan {
        entries_max: 60,
        resyncs_besides: 1,
        faults: vec![fault(8_000, 25_000, Kind::PeopleAway)],
        faulty: Duration::from_secs(40),
        ..Plan::acked()
    }
}
