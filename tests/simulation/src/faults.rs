//! The kinds of faults: how each one begins and ends.

use std::time::Duration;

use checker::Event;
use tokio::time::{sleep, sleep_until};

use crate::feed::FeedTrouble;
use crate::fleet::REPLACE_AFTER;
use crate::functions::CallTrouble;
use crate::redis::{Refusal, Trouble};
use crate::store::StoreTrouble;
use crate::time::skew;
use crate::world::{ENVIRONMENTS, FIRST_FUNCTION, FIRST_NODE, OFF_MS_MAX, World};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $family:ident,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* $name,)* }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The part that it concerns. Only one fault of a family is active at a time.
            #[must_use]
            pub const fn family(self) -> Family {
                match self { $(Self::$name => Family::$family,)* }
            }
        }
    };
}

/// The part of the system that a fault concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// The tables.
    Store,
    /// Calls from clients to functions.
    Calls,
    /// The Redis server that the name leads to.
    Server,
    /// Replication between the Redis servers, and failovers.
    Replication,
    /// Connections to Redis.
    Connections,
    /// The table's stream.
    Feed,
    /// The nodes.
    Nodes,
    /// Sockets between clients and nodes.
    Sockets,
    /// Clocks.
    Clocks,
    /// The people.
    People,
}

kinds! {
    /// 30 % of the store's calls are throttled (6).
    StoreThrottles: Store,
    /// A tenth of its calls is refused (6).
    StoreFails: Store,
    /// It is down (6).
    StoreGone: Store,
    /// It stores, but a quarter of its answers is lost (1).
    StoreAnswersLost: Store,
    /// Its answers take seconds (2).
    StoreSlow: Store,
    /// Reads without strong consistency return old data (6).
    StoreStale: Store,
    /// It answers nothing: callers wait until they time out.
    StoreSilent: Store,
    /// The same for nodes only. Functions still store and publish.
    StoreSilentToNodes: Store,
    /// 90 % of its calls are throttled.
    StoreThrottlesMost: Store,
    /// It is silent for three seconds, answers for three, and so on.
    StoreFlaps: Store,
    /// Calls are not sent, or are lost on their way (1).
    CallsLost: Calls,
    /// Answers are lost (1).
    AnswersLost: Calls,
    /// Calls arrive seconds later, some after their caller has given up (2).
    CallsLate: Calls,
    /// Functions are killed at every await point (7, 25).
    FunctionsKilled: Calls,
    /// Functions were frozen: their connections to Redis are dead without any sign of it (8).
    FunctionsThawed: Connections,
    /// Redis accepts everything and answers nothing (9).
    RedisHangs: Server,
    /// It answers no command, but still pushes.
    RedisCommandsSilent: Server,
    /// It answers commands, but pushes nothing.
    RedisPushesSilent: Server,
    /// Redis answers late (9).
    RedisSlow: Server,
    /// Nobody can connect to Redis (9).
    RedisDown: Server,
    /// It refuses writes (18).
    RedisReadOnly: Server,
    /// It is loading (18).
    RedisLoading: Server,
    /// Its memory is full (18).
    RedisFull: Server,
    /// It loses all data (13).
    RedisFlushed: Server,
    /// It restarts, empty (13).
    RedisRestarted: Server,
    /// It loses some pushes (17).
    PushesDropped: Server,
    /// The replica lags (11).
    ReplicaStalled: Replication,
    /// The replica is promoted without the tail (11).
    FailOver: Replication,
    /// The same, but the old primary keeps serving the clients that are connected to it (12).
    FailOverIsolated: Replication,
    /// Redis ends all subscriptions (14).
    Unsubscribed: Connections,
    /// Connections of subscribers break (15).
    SubscribersCut: Connections,
    /// Connections of subscribers are half open (16).
    SubscribersHoled: Connections,
    /// All connections of one node are half open (16, 17).
    NodeHoled: Connections,
    /// The relay gets no records (10).
    RelayStopped: Feed,
    /// It gets some records again (10).
    RelayReplays: Feed,
    /// It gets records that cannot be read (10).
    RelayPoisoned: Feed,
    /// It gets records seconds late (10).
    RelayLags: Feed,
    /// A node is killed (19).
    NodeKilled: Nodes,
    /// A node's host vanishes: its sockets are never closed (19).
    NodeVanished: Nodes,
    /// A node drains (20).
    NodeDrained: Nodes,
    /// All nodes are replaced at once (29).
    NodesReplaced: Nodes,
    /// A node accepts no sockets, but keeps its lease (28).
    NodeUnreachable: Nodes,
    /// Half of all sockets break (23).
    SocketsCut: Sockets,
    /// Sockets carry nothing from the nodes (16).
    SocketsHoledDown: Sockets,
    /// Sockets carry nothing to the nodes (16).
    SocketsHoledUp: Sockets,
    /// Sockets carry nothing either way (28).
    SocketsHoled: Sockets,
    /// Clocks of nodes and functions are set (4).
    ServerClockSet: Clocks,
    /// The clocks of the Redis servers are set back.
    RedisClocksSetBack: Clocks,
    /// Devices' clocks are set, by minutes or a day (3).
    DeviceClocksSet: Clocks,
    /// A third of the people are away.
    PeopleAway: People,
    /// A third of the people stop reading (21).
    PeopleBusy: People,
    /// A new device connects, with a cursor that is good, old, invalid, or none (22, 23).
    DevicesJoin: People,
}

/// Injects the plan's faults, one of a family at a time. Skips one whose family is still busy.
pub(crate) async fn run(world: World) {
    let start = tokio::time::Instant::now();
    let mut busy_until = std::collections::BTreeMap::new();
    let mut running = tokio::task::JoinSet::new();
    for (at, lasts, kind) in world.plan.faults.clone() {
        sleep_until(start + at).await;
        let free_at = busy_until.get(&kind.family()).copied().unwrap_or(start);
        if free_at > tokio::time::Instant::now() {
            continue;
        }
        busy_until.insert(kind.family(), tokio::time::Instant::now() + lasts + kind.tail());
        running.spawn(inject(world.clone(), kind, lasts));
    }
    while running.join_next().await.is_some() {}
}

async fn inject(world: World, kind: Kind, lasts: Duration) {
    let name = format!("{kind:?}");
    world.recorder.note(Event::FaultBegan { kind: name.clone() });
    if kind == Kind::StoreFlaps {
        flap(&world, kind, lasts).await;
    } else {
        kind.begin(&world).await;
        sleep(lasts).await;
    }
    kind.end(&world).await;
    world.recorder.note(Event::FaultEnded { kind: name });
}

/// Switches a fault on and off until its time is over.
async fn flap(world: &World, kind: Kind, lasts: Duration) {
    let end = tokio::time::Instant::now() + lasts;
    loop {
        for is_on in [true, false] {
            if is_on {
                kind.begin(world).await;
            } else {
                kind.end(world).await;
            }
            sleep_until(end.min(tokio::time::Instant::now() + FLAP)).await;
            if tokio::time::Instant::now() >= end {
                return;
            }
        }
    }
}

impl Kind {
    /// Whether it explains resyncs: it removes entries from the stream that clients have cursors
    /// of, or withholds a text from a node until the node gives up.
    const fn explains_resyncs(self) -> bool {
        matches!(
            self,
            Self::FailOver
                | Self::FailOverIsolated
                | Self::RedisFlushed
                | Self::RedisRestarted
                | Self::StoreGone
                | Self::StoreSilent
                | Self::StoreSilentToNodes
                | Self::StoreThrottlesMost
        )
    }

    /// [`Self::explains_resyncs`] for the name of a kind in a history.
    pub(crate) fn named_explains_resyncs(name: &str) -> bool {
        Self::ALL.iter().any(|kind| kind.explains_resyncs() && format!("{kind:?}") == name)
    }

    /// Whether it explains that sessions of channels that keep nothing end: another server counts, or
    /// this one has forgotten them.
    const fn ends_sessions(self) -> bool {
        matches!(
            self,
            Self::FailOver | Self::FailOverIsolated | Self::RedisFlushed | Self::RedisRestarted
        )
    }

    /// [`Self::ends_sessions`] for the name of a kind in a history.
    pub(crate) fn named_ends_sessions(name: &str) -> bool {
        Self::ALL.iter().any(|kind| kind.ends_sessions() && format!("{kind:?}") == name)
    }

    /// How long it takes to end the fault.
    const fn tail(self) -> Duration {
        match self.family() {
            Family::Nodes | Family::Replication => Duration::from_secs(8),
            Family::Store
            | Family::Calls
            | Family::Server
            | Family::Connections
            | Family::Feed
            | Family::Sockets
            | Family::Clocks
            | Family::People => Duration::from_millis(100),
        }
    }

    async fn begin(self, world: &World) {
        match self.family() {
            Family::Store => world.store.set_trouble(self.store_trouble()),
            Family::Calls => world.functions.set_trouble(self.call_trouble()),
            Family::Feed => world.log.set_trouble(self.feed_trouble()),
            Family::Server => self.begin_server(world),
            Family::Replication => self.begin_replication(world).await,
            Family::Connections => self.begin_connections(world),
            Family::Nodes => self.begin_nodes(world).await,
            Family::Sockets => self.begin_sockets(world),
            Family::Clocks => self.begin_clocks(world),
            Family::People => self.begin_people(world),
        }
    }

    async fn end(self, world: &World) {
        match self.family() {
            Family::Store => world.store.set_trouble(StoreTrouble::default()),
            Family::Calls => world.functions.set_trouble(CallTrouble::default()),
            Family::Feed => world.log.set_trouble(FeedTrouble::default()),
            Family::Server => {
                world.redis.set_trouble(Trouble::None);
                world.redis.drop_pushes(0);
            }
            Family::Replication => {
                world.redis.stall_replication(false);
                world.redis.demote_others();
            }
            Family::Nodes => end_nodes(world).await,
            Family::Sockets => {
                world.fleet.cables().iter().for_each(|cable| cable.hole(false, false));
            }
            Family::People => {
                for person in world.people() {
                    person.client.go_online();
                    person.client.resume_reading();
                }
            }
            Family::Clocks => world.redis.set_clocks_back(0),
            Family::Connections => {}
        }
    }

    fn store_trouble(self) -> StoreTrouble {
        let none = StoreTrouble::default();
        match self {
            Self::StoreThrottles => StoreTrouble { throttled: 30, ..none },
            Self::StoreFails => StoreTrouble { refused: 10, answers_lost: 2, ..none },
            Self::StoreGone => StoreTrouble { refused: 90, answers_lost: 10, ..none },
            Self::StoreAnswersLost => StoreTrouble { answers_lost: 25, ..none },
            Self::StoreSlow => StoreTrouble { slower_ms: 2_500, ..none },
            Self::StoreSilent | Self::StoreFlaps => StoreTrouble { silent: true, ..none },
            Self::StoreSilentToNodes => StoreTrouble { silent: true, of_nodes: true, ..none },
            Self::StoreThrottlesMost => StoreTrouble { throttled: 90, ..none },
            _ => StoreTrouble { stale_ms: 4_000, ..none },
        }
    }

    fn call_trouble(self) -> CallTrouble {
        let none = CallTrouble::default();
        match self {
            Self::CallsLost => CallTrouble { unsent: 20, lost: 20, ..none },
            Self::AnswersLost => CallTrouble { answers_lost: 40, ..none },
            Self::CallsLate => CallTrouble { later_ms: 14_000, ..none },
            _ => CallTrouble { killed: 50, ..none },
        }
    }

    fn feed_trouble(self) -> FeedTrouble {
        let none = FeedTrouble::default();
        match self {
            Self::RelayStopped => FeedTrouble { stopped: true, ..none },
            Self::RelayReplays => FeedTrouble { replays: true, ..none },
            Self::RelayPoisoned => FeedTrouble { poison: true, ..none },
            _ => FeedTrouble { lag: Duration::from_secs(4), ..none },
        }
    }

    fn begin_server(self, world: &World) {
        let redis = &world.redis;
        match self {
            Self::RedisHangs => redis.set_trouble(Trouble::Hangs),
            Self::RedisCommandsSilent => redis.set_trouble(Trouble::CommandsHang),
            Self::RedisPushesSilent => redis.set_trouble(Trouble::PushesHang),
            Self::RedisSlow => redis.set_trouble(Trouble::Slow(Duration::from_millis(150))),
            Self::RedisDown => {
                redis.set_trouble(Trouble::Down);
                redis.break_connections(false);
            }
            Self::RedisReadOnly => redis.set_trouble(Trouble::Refuses(Refusal::ReadOnly)),
            Self::RedisLoading => redis.set_trouble(Trouble::Refuses(Refusal::Loading)),
            Self::RedisFull => redis.set_trouble(Trouble::Refuses(Refusal::OutOfMemory)),
            Self::PushesDropped => redis.drop_pushes(world.rng.within(1..=12)),
            Self::RedisFlushed => redis.flush(false),
            _ => redis.flush(true),
        }
    }

    async fn begin_replication(self, world: &World) {
        let redis = &world.redis;
        redis.stall_replication(true);
        if self != Self::ReplicaStalled {
            sleep(world.rng.ms(50..=2_500)).await;
            redis.fail_over(self == Self::FailOverIsolated);
        }
    }

    fn begin_connections(self, world: &World) {
        let redis = &world.redis;
        match self {
            Self::FunctionsThawed => {
                for owner in FIRST_FUNCTION..FIRST_FUNCTION + ENVIRONMENTS {
                    redis.hole_connections(Some(owner), false);
                }
            }
            Self::Unsubscribed => redis.unsubscribe_all(),
            Self::SubscribersCut => redis.break_connections(true),
            Self::SubscribersHoled => redis.hole_connections(None, true),
            _ => {
                let node = world.rng.pick(&world.fleet.nodes()).copied();
                redis.hole_connections(node.map(|node| FIRST_NODE + node), false);
            }
        }
    }

    async fn begin_nodes(self, world: &World) {
        let fleet = &world.fleet;
        let nodes = fleet.nodes();
        let Some(node) = world.rng.pick(&nodes).copied() else { return };
        match self {
            Self::NodeKilled => fleet.kill(node, false),
            Self::NodeVanished => fleet.kill(node, true),
            Self::NodeDrained => fleet.drain(node),
            Self::NodesReplaced => nodes.iter().for_each(|node| fleet.drain(*node)),
            _ => fleet.set_unreachable(node, true),
        }
    }

    fn begin_sockets(self, world: &World) {
        for cable in world.fleet.cables() {
            if world.rng.one_in(2) {
                match self {
                    Self::SocketsCut => cable.reset(),
                    Self::SocketsHoledDown => cable.hole(false, true),
                    Self::SocketsHoledUp => cable.hole(true, false),
                    _ => cable.hole(true, true),
                }
            }
        }
    }

    fn begin_clocks(self, world: &World) {
        if self == Self::ServerClockSet {
            let nodes = world.node_clocks.lock().clone();
            for clock in world.function_clocks.iter().chain(&nodes) {
                if world.rng.one_in(3) {
                    clock.set_off_by(skew(&world.rng, OFF_MS_MAX));
                }
            }
            return;
        }
        if self == Self::RedisClocksSetBack {
            return world.redis.set_clocks_back(REDIS_BACK_MS);
        }
        for clock in world.client_clocks.lock().iter() {
            let minutes = skew(&world.rng, DEVICE_OFF_MS_MAX);
            let day = if world.rng.one_in(10) { 86_400_000 } else { 0 };
            if world.rng.one_in(3) {
                clock.set_off_by(minutes + day);
            }
        }
    }

    fn begin_people(self, world: &World) {
        let people = world.people();
        if self == Self::DevicesJoin {
            let (spaces, cursor) = (world.spaces(), some_cursor(world));
            if let Some(space) = world.rng.pick(&spaces)
                && let Some(user) = world.rng.pick(&space.users)
            {
                world.join(&space.id, &user.id, cursor);
            }
            return;
        }
        for person in people {
            if world.rng.one_in(3) {
                match self {
                    Self::PeopleAway => person.client.go_offline(),
                    _ => person.client.pause_reading(),
                }
            }
        }
    }
}

/// A cursor: none, a malformed one, one that was never issued, or another client's.
fn some_cursor(world: &World) -> Option<String> {
    let of_other = || world.rng.pick(&world.people()).and_then(|person| person.client.cursor());
    match world.rng.index(4) {
        0 => None,
        1 => Some("not a cursor".to_owned()),
        2 => Some("1800000000000-0-0000aaaa".to_owned()),
        _ => of_other(),
    }
}

/// How far devices' clocks are set off, each way.
const DEVICE_OFF_MS_MAX: u64 = 300_000;
/// How far the clocks of Redis are set back.
const REDIS_BACK_MS: i64 = 20_000;

async fn end_nodes(world: &World) {
    for node in world.fleet.nodes() {
        world.fleet.set_unreachable(node, false);
    }
    sleep(REPLACE_AFTER).await;
    world.fleet.reap();
    let missing = usize::try_from(world.plan.nodes).unwrap_or(0);
    for _ in world.fleet.nodes().len()..missing {
        world.fleet.start();
    }
}
/// How long a flapping fault is on, and then off.
const FLAP: Duration = Duration::from_secs(3);
