//! What a run consists of, and how long each part of it lasts.

use std::ops::RangeInclusive;
use std::time::Duration;

use client::DeliveryWaits;
use memory::SeededRng;
use model::{UserId, limits};

use crate::faults::Kind;
use crate::planted::Planted;
use crate::run::STORED_LATE;

/// What a run consists of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Workspaces.
    pub workspaces: u32,
    /// Users per workspace.
    pub users: RangeInclusive<u64>,
    /// Further users per workspace, who are in no channel.
    pub bystanders: usize,
    /// When the further users leave for good, while all nodes are killed. `None`: they stay.
    pub bystanders_leave_at: Option<Duration>,
    /// Devices per user, at most.
    pub devices: u64,
    /// Groups per workspace.
    pub groups: u32,
    /// DMs per workspace.
    pub dms: usize,
    /// Nodes.
    pub nodes: u32,
    /// Entries that a stream keeps, at most.
    pub entries_max: usize,
    /// Capacity of a socket's pipe, each way.
    pub pipe_bytes: usize,
    /// How long faults may begin, from the start of the work.
    pub faulty: Duration,
    /// Pause between two sends in a channel, in milliseconds.
    pub send_every_ms: RangeInclusive<u64>,
    /// How long every second channel is silent at first. Until then no node has a view of it.
    pub half_silent: Duration,
    /// Pause between two rounds of a group's membership changes, in ms. `None`: no changes.
    pub change_every_ms: Option<RangeInclusive<u64>>,
    /// Pause between two edits or deletions in a channel, in ms. `None`: none.
    pub revise_every_ms: Option<RangeInclusive<u64>>,
    /// Whether some of these are deletions.
    pub deletes: bool,
    /// Whether folds are slow to write what they counted.
    pub slow_folds: bool,
    /// How far clients read back when they catch up.
    pub overlap: Duration,
    /// Pause between two reactions in a channel, in ms. `None`: none.
    pub react_every_ms: Option<RangeInclusive<u64>>,
    /// Pause between two acts of pinning in a channel, in ms. `None`: none.
    pub pin_every_ms: Option<RangeInclusive<u64>>,
    /// Whether a part of the messages are replies.
    pub replies: bool,
    /// Pause between two read marks of a user, in ms. `None`: none, and nobody asks what is unread.
    pub mark_every_ms: Option<RangeInclusive<u64>>,
    /// Pause between two acts of a device in meetings, in ms. `None`: there are none.
    pub meet_every_ms: Option<RangeInclusive<u64>>,
    /// Pause between two messages of a device in channels that deliver first, in ms. `None`: there are
    /// none.
    pub deliver_every_ms: Option<RangeInclusive<u64>>,
    /// Such channels per workspace.
    pub delivering_rooms: u32,
    /// Whether each workspace has one more, in which nobody stores what all devices have.
    pub keeps_acked: bool,
    /// Whether runs of the function `archive` are killed.
    pub archive_dies: bool,
    /// After one of so many messages, the process of the device dies.
    pub dies_one_in: u64,
    /// One of so many of these devices never comes back.
    pub lost_one_in: u64,
    /// Whether those devices also type in other channels.
    pub types: bool,
    /// Whether one user of each workspace is invisible on all devices.
    pub one_is_invisible: bool,
    /// Whether clients come and go by themselves.
    pub restless: bool,
    /// The faults: when each begins, and how long it lasts.
    pub faults: Vec<(Duration, Duration, Kind)>,
    /// How long deliveries may take after the last fault.
    pub settle: Duration,
    /// How many resyncs a client may get besides one for each fault that explains it.
    pub resyncs_besides: u32,
    /// Whether sending continues for a while after the last fault.
    pub sends_on: bool,
    /// A bug that the checks must find.
    pub planted: Option<Planted>,
}

impl Plan {
    /// Whether this user is invisible: the first one of their workspace.
    pub(crate) fn is_invisible(&self, user: &UserId) -> bool {
        self.one_is_invisible && user.as_str().ends_with("-u0")
    }

    /// A quiet world.
    #[must_use]
    pub fn quiet() -> Self {
        Self {
            workspaces: 1,
            users: 4..=4,
            bystanders: 0,
            bystanders_leave_at: None,
            devices: 1,
            groups: 1,
            dms: 0,
            nodes: 2,
            entries_max: 5_000,
            pipe_bytes: 8 * 1024,
            faulty: Duration::from_secs(20),
            send_every_ms: 100..=400,
            half_silent: Duration::ZERO,
            change_every_ms: None,
            revise_every_ms: None,
            react_every_ms: None,
            pin_every_ms: None,
            replies: false,
            mark_every_ms: None,
            meet_every_ms: None,
            deliver_every_ms: None,
            delivering_rooms: 2,
            keeps_acked: false,
            archive_dies: true,
            dies_one_in: 25,
            lost_one_in: 3,
            types: false,
            deletes: true,
            slow_folds: false,
            overlap: limits::OVERLAP,
            one_is_invisible: false,
            restless: false,
            faults: Vec::new(),
            settle: SETTLE,
            resyncs_besides: 0,
            sends_on: true,
            planted: None,
        }
    }

    /// Meetings in which little is said, while each server of Redis takes over from the other in turn: the
    /// first one counts again, and must not go on where the second one was.
    #[must_use]
    pub fn meetings_over_failovers() -> Self {
        let fault =
            |at_s: u64, kind: Kind| (Duration::from_secs(at_s), Duration::from_secs(1), kind);
        Self {
            meet_every_ms: Some(4_000..=30_000),
            faulty: Duration::from_secs(40),
            send_every_ms: 1_000..=3_000,
            faults: vec![
                fault(8, Kind::FailOverIsolated),
                fault(18, Kind::FailOverIsolated),
                fault(28, Kind::FailOverIsolated),
            ],
            ..Self::quiet()
        }
    }

    /// Meetings of members who come and go, and nothing goes wrong.
    #[must_use]
    pub fn meetings() -> Self {
        Self {
            users: 5..=5,
            devices: 2,
            nodes: 3,
            change_every_ms: Some(500..=3_000),
            meet_every_ms: Some(200..=900),
            types: true,
            restless: true,
            ..Self::quiet()
        }
    }

    /// Members who come and go, and send in channels that deliver first. Nothing goes wrong but their
    /// devices, which die and go on with their disk's outbox, or are lost.
    #[must_use]
    pub fn delivering() -> Self {
        Self {
            users: 5..=5,
            devices: 2,
            nodes: 3,
            change_every_ms: Some(1_000..=4_000),
            deliver_every_ms: Some(300..=1_200),
            send_every_ms: 1_000..=3_000,
            restless: true,
            ..Self::quiet()
        }
    }

    /// People in a channel that keeps only what some device lacks. Nothing goes wrong.
    #[must_use]
    pub fn acked() -> Self {
        Self {
            keeps_acked: true,
            change_every_ms: None,
            archive_dies: false,
            dies_one_in: u64::MAX,
            restless: false,
            ..Self::delivering()
        }
    }

    /// How long the outboxes of devices wait. What is sent again by `POST` is stored, so they wait longer
    /// where only what some device lacks is to be stored.
    pub(crate) fn delivery_waits(&self) -> DeliveryWaits {
        let archived = if self.keeps_acked { STORED_LATE } else { Duration::from_secs(5) };
        DeliveryWaits { archived, longest: archived * 2, socket: Duration::from_secs(2) }
    }

    /// [`Self::delivering`] over failovers that lose the newest messages, while most devices that die are
    /// lost: what was not stored before is the hole.
    #[must_use]
    pub fn delivering_over_failovers() -> Self {
        let fault = |at_s: u64| (Duration::from_secs(at_s), Duration::from_secs(2), Kind::FailOver);
        let store_gone =
            |at_s: u64| (Duration::from_secs(at_s), Duration::from_secs(6), Kind::StoreGone);
        Self {
            faulty: Duration::from_secs(40),
            change_every_ms: None,
            dies_one_in: 6,
            lost_one_in: 1,
            faults: vec![store_gone(4), fault(5), store_gone(24), fault(25)],
            ..Self::delivering()
        }
    }

    /// The world of a seed, in which people do little else than send in channels that deliver first, nearly
    /// as fast as a socket may.
    #[must_use]
    pub fn delivering_of_seed(seed: u64) -> Self {
        // Worlds of one seed after the other, without those of a relay that is late.
        let seed = seed + seed / 49;
        let keeps_acked = seed % 4 == 1;
        let mut of_seed = Self::of_seed(seed);
        if keeps_acked {
            // Where something happens all the time, some device always lacks something.
            of_seed.faults = of_seed.faults.into_iter().step_by(6).collect();
            (of_seed.restless, of_seed.entries_max) = (false, 5_000);
        }
        Self {
            send_every_ms: 2_000..=6_000,
            revise_every_ms: None,
            react_every_ms: None,
            pin_every_ms: None,
            replies: false,
            mark_every_ms: None,
            meet_every_ms: None,
            deliver_every_ms: Some(200..=350),
            delivering_rooms: 3,
            // What a dead device lacks is stored.
            dies_one_in: if keeps_acked { 20_000 } else { 120 },
            keeps_acked,
            types: false,
            ..of_seed
        }
    }

    /// A relay that is an hour late, while clients that saw newer messages are away. When they come
    /// back, they cannot resume (10): only the channels' late marks say what they must read again.
    #[must_use]
    pub fn hour_behind() -> Self {
        let fault = |at_s: u64, lasts_s: u64, kind: Kind| {
            (Duration::from_secs(at_s), Duration::from_secs(lasts_s), kind)
        };
        Self {
            users: 6..=6,
            faulty: Duration::from_secs(3_670),
            send_every_ms: 15_000..=40_000,
            revise_every_ms: Some(20_000..=60_000),
            react_every_ms: Some(20_000..=60_000),
            pin_every_ms: Some(20_000..=60_000),
            replies: true,
            mark_every_ms: Some(20_000..=60_000),
            faults: vec![
                fault(1, 3_600, Kind::RelayStopped),
                fault(2, 120, Kind::RedisFull),
                fault(3_540, 150, Kind::PeopleAway),
                fault(3_640, 1, Kind::RedisFlushed),
                fault(3_642, 1, Kind::NodesReplaced),
            ],
            ..Self::quiet()
        }
    }

    /// One brownout of the store or of Redis, in a world of many channels that is quiet otherwise.
    /// Half of the channels are first used during the brownout.
    #[must_use]
    pub fn brownout(kind: Kind) -> Self {
        Self {
            users: 5..=5,
            groups: 24,
            faulty: Duration::from_secs(34),
            send_every_ms: 1_500..=3_500,
            half_silent: BROWNOUT_AT,
            faults: vec![(BROWNOUT_AT, BROWNOUT, kind)],
            ..Self::quiet()
        }
    }

    /// The world of a seed, in which every kind of fault can happen.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        if seed % 50 == 49 {
            return Self::hour_behind();
        }
        let rng = SeededRng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51);
        let faulty = Duration::from_secs(45);
        let short = rng.one_in(3);
        let mut plan = Self {
            workspaces: if rng.one_in(4) { 2 } else { 1 },
            users: 4..=7,
            devices: 2,
            groups: u32::try_from(rng.within(1..=3)).unwrap_or(1),
            dms: 1,
            nodes: u32::try_from(rng.within(2..=3)).unwrap_or(2),
            entries_max: if short {
                usize::try_from(rng.within(10..=120)).unwrap_or(50)
            } else {
                5_000
            },
            pipe_bytes: if rng.one_in(3) { 1_024 } else { 16 * 1024 },
            faulty,
            send_every_ms: 250..=900,
            change_every_ms: Some(1_000..=6_000),
            revise_every_ms: Some(500..=2_000),
            react_every_ms: Some(600..=2_000),
            pin_every_ms: Some(1_500..=5_000),
            replies: true,
            mark_every_ms: Some(1_500..=5_000),
            // One contract a world, which leaves the machine's time to the others.
            meet_every_ms: seed.is_multiple_of(2).then_some(2_500..=8_000),
            deliver_every_ms: (!seed.is_multiple_of(2)).then_some(1_500..=5_000),
            types: true,
            keeps_acked: seed % 4 == 1,
            one_is_invisible: seed.is_multiple_of(3),
            restless: true,
            resyncs_besides: if short { RESYNCS_SHORT } else { RESYNCS_LONG },
            ..Self::quiet()
        };
        let mut at = rng.s(0..=3);
        while at < faulty {
            if let Some(kind) = rng.pick(Kind::ALL) {
                plan.faults.push((at, rng.ms(200..=9_000), *kind));
            }
            at += rng.ms(100..=2_400);
        }
        plan
    }
}

/// When a brownout begins, and how long it lasts.
const BROWNOUT_AT: Duration = Duration::from_secs(8);
const BROWNOUT: Duration = Duration::from_secs(12);
/// A client that no longer hears anything waits, in this order, for its own deadline, its longest
/// backoff, and an answer.
const SETTLE: Duration = limits::SILENCE_MAX
    .saturating_add(limits::CLIENT_BACKOFF.1)
    .saturating_add(Duration::from_secs(5));
/// A device may start with an invalid cursor, and one outage of the store may withhold two texts.
const RESYNCS_LONG: u32 = 2;
/// A stream of tens of entries soon loses those that an absent client has not seen.
const RESYNCS_SHORT: u32 = 7;
