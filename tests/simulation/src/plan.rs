//! What a run is made of, and for how long what goes on.

use std::ops::RangeInclusive;
use std::time::Duration;

use memory::Chance;
use model::limits;

use crate::faults::Kind;
use crate::planted::Planted;

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Tenants.
    pub workspaces: u32,
    /// Users of each.
    pub users: RangeInclusive<u64>,
    /// Users of each beside these who are in no channel.
    pub bystanders: usize,
    /// Devices of a user, at most.
    pub devices: u64,
    /// Groups of a tenant.
    pub groups: u32,
    /// DMs of a tenant.
    pub dms: usize,
    /// Nodes.
    pub nodes: u32,
    /// Entries that a stream keeps.
    pub entries_max: usize,
    /// What a socket's pipe holds each way.
    pub pipe_bytes: usize,
    /// How long faults may begin.
    pub faulty: Duration,
    /// Between two sends of a channel, in milliseconds.
    pub send_every_ms: RangeInclusive<u64>,
    /// When somebody first speaks in every other group: until then no node has a view of it.
    pub half_silent: Duration,
    /// Between two rounds of membership changes of a group, in milliseconds; none if absent.
    pub change_every_ms: Option<RangeInclusive<u64>>,
    /// Whether clients come and go by themselves.
    pub restless: bool,
    /// What goes wrong when, and for how long.
    pub faults: Vec<(Duration, Duration, Kind)>,
    /// How long everything may take to arrive in the end.
    pub settle: Duration,
    /// How often a client may be told to read again, besides once for each fault that explains it.
    pub resyncs_besides: u32,
    /// Whether sending goes on for a while after the last fault.
    pub sends_on: bool,
    /// A bug that the checks must find.
    pub planted: Option<Planted>,
}

impl Plan {
    /// A quiet world.
    #[must_use]
    pub fn quiet() -> Self {
        Self {
            workspaces: 1,
            users: 4..=4,
            bystanders: 0,
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
            restless: false,
            faults: Vec::new(),
            settle: SETTLE,
            resyncs_besides: 0,
            sends_on: true,
            planted: None,
        }
    }

    /// A relay that is an hour behind, while clients that saw newer messages are away; when they are
    /// back, nothing can be resumed (10). Only the channels' late marks tell them.
    #[must_use]
    pub fn hour_behind() -> Self {
        let fault = |at_s: u64, lasts_s: u64, kind: Kind| {
            (Duration::from_secs(at_s), Duration::from_secs(lasts_s), kind)
        };
        Self {
            users: 6..=6,
            faulty: Duration::from_secs(3_670),
            send_every_ms: 15_000..=40_000,
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

    /// One trouble of a store or of Redis, in a world of many channels that is quiet without it. Half
    /// of the channels are spoken in for the first time while it lasts.
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

    /// A seed's world, with everything that can go wrong going wrong.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        if seed % 50 == 49 {
            return Self::hour_behind();
        }
        let chance = Chance::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51);
        let faulty = Duration::from_secs(45);
        let short = chance.one_in(3);
        let mut plan = Self {
            workspaces: if chance.one_in(4) { 2 } else { 1 },
            users: 4..=7,
            devices: 2,
            groups: u32::try_from(chance.within(1..=3)).unwrap_or(1),
            dms: 1,
            nodes: u32::try_from(chance.within(2..=3)).unwrap_or(2),
            entries_max: if short {
                usize::try_from(chance.within(10..=120)).unwrap_or(50)
            } else {
                5_000
            },
            pipe_bytes: if chance.one_in(3) { 1_024 } else { 16 * 1024 },
            faulty,
            send_every_ms: 250..=900,
            change_every_ms: Some(1_000..=6_000),
            restless: true,
            resyncs_besides: if short { RESYNCS_SHORT } else { RESYNCS_LONG },
            ..Self::quiet()
        };
        let mut at = chance.s(0..=3);
        while at < faulty {
            if let Some(kind) = chance.pick(Kind::ALL) {
                plan.faults.push((at, chance.ms(200..=9_000), *kind));
            }
            at += chance.ms(100..=2_400);
        }
        plan
    }
}

/// When a brownout begins, and how long it lasts.
const BROWNOUT_AT: Duration = Duration::from_secs(8);
const BROWNOUT: Duration = Duration::from_secs(12);
/// A client that hears nothing any more waits, in this order, for its own deadline, for its turn
/// after attempts that failed, and for an answer.
const SETTLE: Duration = limits::SILENCE_MAX
    .saturating_add(limits::CLIENT_BACKOFF.1)
    .saturating_add(Duration::from_secs(5));
/// A device may come with a cursor of nobody; a store that is gone may keep back a second text.
const RESYNCS_LONG: u32 = 2;
/// Of tens of entries a stream has soon lost those that a client was away for.
const RESYNCS_SHORT: u32 = 7;
