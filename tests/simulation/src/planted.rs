//! Ten bugs that this field has shipped, planted at ports and clients: the checks must find each.
//!
//! None is a switch in the product: each is a wrapper around a port or around what a client receives,
//! a client that was set up wrongly (3, 7), or a switch in the model of Redis (6).

mod chain;
mod rows;
mod spoil;
mod storm;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use memory::Chance;
use messaging::ports::{ChannelStore, EventBus, MemberStore};
use model::ChannelId;
use tokio::time::Instant;

use chain::{Rewrite, Rewritten};
pub(crate) use spoil::Spoil;

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Planted {
    /// 1: one frame in a thousand is lost on its way to a client.
    DroppedFrames,
    /// 2: entries are numbered by a counter instead of chained; a failover sets it back.
    Counter,
    /// 3: a client reads back seconds, while the relay lags.
    ShortOverlap,
    /// 4: a send reads an old version of the channel's members.
    StaleVersion,
    /// 5: a member's rows go after the version, not before it.
    RowsAfterVersion,
    /// 6: the relay waits for a replica without a write of its own.
    WaitWithoutMarker,
    /// 7: a client takes what is not newer than its newest for known.
    MaxId,
    /// 8: ticks bring no cursor.
    NoTick,
    /// 9: a position holds the first four characters of the publication's id, not the last.
    FirstFour,
    /// 10: every read of a channel's members that takes long tells every client to read again.
    ResyncStorm,
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
    ];
}

/// A planted bug and what its wrappers in all processes share.
#[derive(Debug, Clone)]
pub(crate) struct Plant {
    /// Which.
    pub bug: Planted,
    /// Bug 2: the counter's value of each entry.
    numbers: chain::Numbers,
    /// Bug 4: when each version began.
    versions: Versions,
    /// Bug 10: how often everybody is to be told.
    storms: Arc<AtomicU64>,
}

impl Plant {
    /// Plants a bug.
    #[must_use]
    pub(crate) fn new(bug: Planted) -> Self {
        Self { bug, numbers: Arc::default(), versions: Arc::default(), storms: Arc::default() }
    }

    /// What it does to what a client receives.
    #[must_use]
    pub(crate) fn spoil(&self, chance: &Chance) -> Option<Spoil> {
        match self.bug {
            Planted::DroppedFrames => Some(Spoil::dropping(chance.fork())),
            Planted::NoTick => Some(Spoil::without_ticks()),
            Planted::ResyncStorm => Some(Spoil::storming(Arc::clone(&self.storms))),
            Planted::Counter
            | Planted::ShortOverlap
            | Planted::StaleVersion
            | Planted::RowsAfterVersion
            | Planted::WaitWithoutMarker
            | Planted::MaxId
            | Planted::FirstFour => None,
        }
    }

    /// The bus with the bug.
    #[must_use]
    pub(crate) fn bus(&self, bus: Arc<dyn EventBus>) -> Arc<dyn EventBus> {
        let rewrite = match self.bug {
            Planted::Counter => Rewrite::Counted(Arc::clone(&self.numbers)),
            Planted::FirstFour => Rewrite::FirstFour,
            _ => return bus,
        };
        Arc::new(Rewritten { bus, rewrite })
    }

    /// The tables of channels with the bug.
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

    /// The tables of members with the bug.
    #[must_use]
    pub(crate) fn members(&self, members: Arc<dyn MemberStore>) -> Arc<dyn MemberStore> {
        match self.bug {
            Planted::RowsAfterVersion => Arc::new(rows::RowsAfterVersion { members }),
            _ => members,
        }
    }
}

/// When each version of a channel's members began.
type Versions = Arc<Mutex<BTreeMap<ChannelId, Vec<(Instant, u64)>>>>;

/// Bug 3: how far a client reads back.
pub(crate) const SHORT_OVERLAP: Duration = Duration::from_secs(5);
