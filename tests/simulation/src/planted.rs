//! Twenty-seven bugs that systems like this one have shipped. The checks must find each of them.
//!
//! None is a switch in the product. Each is a wrapper around a port or a client's connection, a
//! misconfigured client (3, 7), or a switch in the model of Redis (6, 21) or of the store (11 to 15
//! and 17), or a rewriting of a function's answers (16).

mod chain;
mod changes;
mod delivering;
mod meetings;
mod rows;
mod spoil;
mod storm;
mod unread;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use memory::{HookedSpool, SeededRng};
use messaging::ports::{
    ChannelStore, EventBus, MemberStore, NodeDirectory, ReceiptBook, Sessions, Spool,
};
use model::ChannelId;
use parking_lot::Mutex;
use tokio::time::Instant;

use chain::{Rewrite, Rewritten};
pub(crate) use changes::{as_asked, spoil_revision};
pub(crate) use spoil::Spoil;
pub(crate) use unread::{Counted, Counters};

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// 1: one frame in a thousand is lost on its way to a client.
    DroppedFrames,
    /// 2: entries are numbered by a counter instead of being chained. A failover sets it back.
    Counter,
    /// 3: a client's catch-up overlaps by seconds only, while the relay lags.
    ShortOverlap,
    /// 4: a send reads an old version of a channel's membership.
    StaleVersion,
    /// 5: a removed member's rows are deleted after the version is raised, not before.
    RowsAfterVersion,
    /// 6: the relay waits for a replica without a write of its own.
    WaitWithoutMarker,
    /// 7: a client drops every message older than its newest as a duplicate.
    MaxId,
    /// 8: ticks carry no new cursor.
    NoTick,
    /// 9: a position holds the first four characters of the publication's id, not the last four.
    FirstFour,
    /// 10: every slow read of a channel sends every client a resync.
    ResyncStorm,
    /// 11: a change is written before its entry in the change log, so its writer may die in between.
    RowBeforeLog,
    /// 12: the last edit that arrives wins, not the one that was made last.
    LastEditWins,
    /// 13: catching up reads new messages by their ids, and no changes.
    CatchUpById,
    /// 14: a fold replaces a summary that has changed since it read the rows.
    FoldWithoutCompare,
    /// 15: a fold increments counts instead of counting rows.
    Increments,
    /// 16: what is unread is a stored counter.
    UnreadCounter,
    /// 17: a row takes a revision that is older than its own.
    NoRevisionCompare,
    /// 18: who joins a meeting gets what was said before.
    ReplayedSaid,
    /// 19: what is said in a meeting is in the ring, so whoever comes back gets it.
    RingKeepsSaid,
    /// 20: a signal takes a place in the stream.
    SignalInStream,
    /// 21: after a failover, numbers of a meeting repeat in the same session.
    RepeatedNumbers,
    /// 22: who joins a meeting is told of one message too many.
    MissedByOne,
    /// 23: the users of a dead node stay present.
    GhostPresence,
    /// 24: a node accepts what is delivered first before Redis has it.
    AcceptedFirst,
    /// 25: the archive removes a message from the spool before it has stored it.
    RemovedFirst,
    /// 26: a receipt says that somebody has what was not delivered to them yet.
    ReceiptFirst,
    /// 27: a device that keeps a message of a channel is taken to keep the next ones, too.
    AckedAhead,
}

impl Planted {
    /// All of them, with their names.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("dropped_frames", Self::DroppedFrames),
        ("counter", Self::Counter),
        ("short_overlap", Self::ShortOverlap),
        ("stale_version", Self::StaleVersion),
        ("rows_after_version", Self::RowsAfterVersion),
        ("wait_without_marker", Self::WaitWithoutMarker),
        ("max_id", Self::MaxId),
        ("no_tick", Self::NoTick),
        ("first_four", Self::FirstFour),
        ("resync_storm", Self::ResyncStorm),
        ("row_before_log", Self::RowBeforeLog),
        ("last_edit_wins", Self::LastEditWins),
        ("catch_up_by_id", Self::CatchUpById),
        ("fold_without_compare", Self::FoldWithoutCompare),
        ("increments", Self::Increments),
        ("unread_counter", Self::UnreadCounter),
        ("no_revision_compare", Self::NoRevisionCompare),
        ("replayed_said", Self::ReplayedSaid),
        ("ring_keeps_said", Self::RingKeepsSaid),
        ("signal_in_stream", Self::SignalInStream),
        ("repeated_numbers", Self::RepeatedNumbers),
        ("missed_by_one", Self::MissedByOne),
        ("ghost_presence", Self::GhostPresence),
        ("accepted_first", Self::AcceptedFirst),
        ("removed_first", Self::RemovedFirst),
        ("receipt_first", Self::ReceiptFirst),
        ("acked_ahead", Self::AckedAhead),
    ];
}

/// A planted bug, and the state that its wrappers in all processes share.
#[derive(Debug, Clone)]
pub(crate) struct Plant {
    /// The bug.
    pub bug: Planted,
    /// Bug 2: the counter value of each entry.
    numbers: chain::Numbers,
    /// Bug 4: when each version began.
    versions: Versions,
    /// Bug 10: the number of slow reads so far.
    storms: Arc<AtomicU64>,
    /// Bug 18: what was said so far.
    said: spoil::Said,
    /// Bugs 19 and 20: ids of what is published besides.
    ids: meetings::Ids,
    /// Bug 26: what was offered so far.
    newest: delivering::Newest,
}

impl Plant {
    /// Plants a bug.
    #[must_use]
    pub(crate) fn new(bug: Planted) -> Self {
        Self {
            bug,
            numbers: Arc::default(),
            versions: Arc::default(),
            storms: Arc::default(),
            said: Arc::default(),
            ids: meetings::Ids::default(),
            newest: delivering::Newest::default(),
        }
    }

    /// What the bug does to frames on their way to a client.
    #[must_use]
    pub(crate) fn spoil(&self, rng: &SeededRng) -> Option<Spoil> {
        match self.bug {
            Planted::DroppedFrames => Some(Spoil::dropping(rng.fork())),
            Planted::NoTick => Some(Spoil::without_ticks()),
            Planted::ResyncStorm => Some(Spoil::storming(Arc::clone(&self.storms))),
            Planted::ReplayedSaid => Some(Spoil::replaying(Arc::clone(&self.said))),
            Planted::MissedByOne => Some(Spoil::miscounting()),
            Planted::Counter
            | Planted::ShortOverlap
            | Planted::StaleVersion
            | Planted::RowsAfterVersion
            | Planted::WaitWithoutMarker
            | Planted::MaxId
            | Planted::FirstFour
            | Planted::RowBeforeLog
            | Planted::LastEditWins
            | Planted::CatchUpById
            | Planted::FoldWithoutCompare
            | Planted::Increments
            | Planted::UnreadCounter
            | Planted::NoRevisionCompare
            | Planted::RingKeepsSaid
            | Planted::SignalInStream
            | Planted::RepeatedNumbers
            | Planted::GhostPresence
            | Planted::AcceptedFirst
            | Planted::RemovedFirst
            | Planted::ReceiptFirst
            | Planted::AckedAhead => None,
        }
    }

    /// The counters that spoil answers of functions.
    #[must_use]
    pub(crate) fn counters(&self) -> Option<Counters> {
        (self.bug == Planted::UnreadCounter).then(Counters::default)
    }

    /// The bus with the bug.
    #[must_use]
    pub(crate) fn bus(&self, bus: Arc<dyn EventBus>) -> Arc<dyn EventBus> {
        let rewrite = match self.bug {
            Planted::Counter => Rewrite::Counted(Arc::clone(&self.numbers)),
            Planted::FirstFour => Rewrite::FirstFour,
            Planted::SignalInStream => {
                return Arc::new(meetings::InStream { bus, ids: self.ids.clone() });
            }
            _ => return bus,
        };
        Arc::new(Rewritten { bus, rewrite })
    }

    /// The sessions of meetings, with the bug.
    #[must_use]
    pub(crate) fn sessions(
        &self,
        sessions: Arc<dyn Sessions>,
        bus: &Arc<dyn EventBus>,
    ) -> Arc<dyn Sessions> {
        match self.bug {
            Planted::RingKeepsSaid => {
                let (bus, ids) = (Arc::clone(bus), self.ids.clone());
                Arc::new(meetings::Kept { sessions, bus, ids })
            }
            _ => sessions,
        }
    }

    /// The spool as nodes and functions have it, with the bug.
    #[must_use]
    pub(crate) fn spool(&self, spool: Arc<dyn Spool>) -> Arc<dyn Spool> {
        let wrong = match self.bug {
            Planted::AcceptedFirst => delivering::Wrong::AnswersFirst,
            Planted::ReceiptFirst => delivering::Wrong::Notes(Arc::clone(&self.newest)),
            _ => return spool,
        };
        Arc::new(HookedSpool::new(spool, wrong))
    }

    /// The spool as the archive has it, with the bug.
    #[must_use]
    pub(crate) fn archive(&self, spool: Arc<dyn Spool>) -> Arc<dyn Spool> {
        match self.bug {
            Planted::RemovedFirst => {
                Arc::new(HookedSpool::new(spool, delivering::Wrong::RemovesFirst))
            }
            _ => spool,
        }
    }

    /// The receipts, with the bug.
    #[must_use]
    pub(crate) fn receipts(&self, receipts: Arc<dyn ReceiptBook>) -> Arc<dyn ReceiptBook> {
        match self.bug {
            Planted::ReceiptFirst => {
                let says = delivering::TooMuch::Offered(Arc::clone(&self.newest));
                Arc::new(delivering::Hasty { receipts, says })
            }
            _ => receipts,
        }
    }

    /// The receipts as the archive has them, with the bug.
    #[must_use]
    pub(crate) fn acked(&self, receipts: Arc<dyn ReceiptBook>) -> Arc<dyn ReceiptBook> {
        match self.bug {
            Planted::AckedAhead => {
                let says = delivering::TooMuch::Next(Mutex::default());
                Arc::new(delivering::Hasty { receipts, says })
            }
            _ => receipts,
        }
    }

    /// The directory of nodes, with the bug.
    #[must_use]
    pub(crate) fn nodes(&self, nodes: Arc<dyn NodeDirectory>) -> Arc<dyn NodeDirectory> {
        match self.bug {
            Planted::GhostPresence => Arc::new(meetings::Ghosts { nodes }),
            _ => nodes,
        }
    }

    /// The channel store, with the bug.
    #[must_use]
    pub(crate) fn channels(&self, channels: Arc<dyn ChannelStore>) -> Arc<dyn ChannelStore> {
        match self.bug {
            Planted::StaleVersion => {
                let versions = Arc::clone(&self.versions);
                Arc::new(rows::StaleVersion { channels, versions })
            }
            Planted::ResyncStorm => {
                Arc::new(storm::Stormy { channels, storms: Arc::clone(&self.storms) })
            }
            _ => channels,
        }
    }

    /// The member store, with the bug.
    #[must_use]
    pub(crate) fn members(&self, members: Arc<dyn MemberStore>) -> Arc<dyn MemberStore> {
        match self.bug {
            Planted::RowsAfterVersion => Arc::new(rows::RowsAfterVersion { members }),
            _ => members,
        }
    }
}

/// When each version of a channel's membership began.
type Versions = Arc<Mutex<BTreeMap<ChannelId, Vec<(Instant, u64)>>>>;

/// Bug 3: the overlap of a client's catch-up.
pub(crate) const SHORT_OVERLAP: Duration = Duration::from_secs(5);
