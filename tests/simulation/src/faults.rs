//! What can go wrong, kind by kind: how it begins, and how it ends.

use std::time::Duration;

use checker::Event;
use tokio::time::{sleep, sleep_until};

use crate::feed::FeedTrouble;
use crate::fleet::REPLACE_AFTER;
use crate::functions::CallTrouble;
use crate::record::lock;
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

            /// What it is about: one fault of a family at a time.
            #[must_use]
            pub const fn family(self) -> Family {
                match self { $(Self::$name => Family::$family,)* }
            }
        }
    };
}

/// What a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// The tables.
    Store,
    /// The way to the functions.
    Calls,
    /// The server behind the name.
    Server,
    /// Who that is.
    Replication,
    /// Connections to it.
    Connections,
    /// The table's stream.
    Feed,
    /// The nodes.
    Nodes,
    /// Their sockets.
    Sockets,
    /// Clocks.
    Clocks,
    /// The people.
    People,
}

kinds! {
    /// A third of the store's calls is throttled (6).
    StoreThrottles: Store,
    /// A tenth of its calls fails (6).
    StoreFails: Store,
    /// It is gone (6).
    StoreGone: Store,
    /// It writes, and its answer is lost (1).
    StoreAnswersLost: Store,
    /// It takes seconds (2).
    StoreSlow: Store,
    /// What is read without strong consistency is old (6).
    StoreStale: Store,
    /// It answers nothing: callers wait as long as they do.
    StoreSilent: Store,
    /// The same to nodes only, while functions store and publish.
    StoreSilentToNodes: Store,
    /// Nine tenths of its calls are throttled.
    StoreThrottlesMost: Store,
    /// It is silent for three seconds, answers for three, and so on.
    StoreFlaps: Store,
    /// Calls never leave, or are lost on their way (1).
    CallsLost: Calls,
    /// Answers are lost (1).
    AnswersLost: Calls,
    /// Calls arrive seconds later, some when their caller has given up (2).
    CallsLate: Calls,
    /// Functions are killed at every await point (7, 25).
    FunctionsKilled: Calls,
    /// Functions were frozen: their connections to Redis are dead, and do not say so (8).
    FunctionsThawed: Connections,
    /// Redis takes everything and answers nothing (9).
    RedisHangs: Server,
    /// It answers no command, and pushes what it has.
    RedisCommandsSilent: Server,
    /// It answers commands, and nothing comes on connections for pushes.
    RedisPushesSilent: Server,
    /// Redis answers late (9).
    RedisSlow: Server,
    /// Nobody gets a connection (9).
    RedisDown: Server,
    /// It writes no more (18).
    RedisReadOnly: Server,
    /// It is loading (18).
    RedisLoading: Server,
    /// It has no memory left (18).
    RedisFull: Server,
    /// It forgets everything (13).
    RedisFlushed: Server,
    /// It starts again, empty (13).
    RedisRestarted: Server,
    /// It pushes to nobody (17).
    PushesDropped: Server,
    /// The replica falls behind (11).
    ReplicaStalled: Replication,
    /// The replica takes over without the tail (11).
    FailOver: Replication,
    /// The same, and the old primary lives on for who is connected (12).
    FailOverIsolated: Replication,
    /// Subscriptions are taken away (14).
    Unsubscribed: Connections,
    /// Subscribers are cut off (15).
    SubscribersCut: Connections,
    /// Subscriptions are half open (16).
    SubscribersHoled: Connections,
    /// All connections of one node are half open (16, 17).
    NodeHoled: Connections,
    /// The relay gets nothing (10).
    RelayStopped: Feed,
    /// It gets batches again (10).
    RelayReplays: Feed,
    /// It gets records that nobody can read (10).
    RelayPoisoned: Feed,
    /// It is seconds behind (10).
    RelayLags: Feed,
    /// A node is killed (19).
    NodeKilled: Nodes,
    /// A node's host is gone without a word (19).
    NodeVanished: Nodes,
    /// A node leaves in order (20).
    NodeDrained: Nodes,
    /// All nodes are replaced at once (29).
    NodesReplaced: Nodes,
    /// A node takes no sockets, and says that it lives (28).
    NodeUnreachable: Nodes,
    /// Half of all sockets break (23).
    SocketsCut: Sockets,
    /// Nothing comes from the nodes (16).
    SocketsHoledDown: Sockets,
    /// Nothing goes to the nodes (16).
    SocketsHoledUp: Sockets,
    /// Neither (28).
    SocketsHoled: Sockets,
    /// A server's clock is set (4).
    ServerClockSet: Clocks,
    /// The servers' clocks of Redis are set back.
    RedisClocksSetBack: Clocks,
    /// Devices' clocks are set, by minutes or a day (3).
    DeviceClocksSet: Clocks,
    /// A third of the people are away.
    PeopleAway: People,
    /// A third of them stop reading (21).
    PeopleBusy: People,
    /// New devices come, with cursors that are good, old, or none (22, 23).
    DevicesJoin: People,
}

/// Lets the plan's faults happen, one of a family at a time; the number of each kind.
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

/// A fault that comes and goes until its time is over.
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
    /// Whether it explains that clients are told to read again: it takes entries that they have
    /// cursors of out of the stream, or keeps a text so long from a node that it gives up.
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

    /// The same of a kind by its name in a history.
    pub(crate) fn named_explains_resyncs(name: &str) -> bool {
        Self::ALL.iter().any(|kind| kind.explains_resyncs() && format!("{kind:?}") == name)
    }

    /// What ending it takes.
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
            Self::PushesDropped => redis.drop_pushes(world.chance.within(1..=12)),
            Self::RedisFlushed => redis.flush(false),
            _ => redis.flush(true),
        }
    }

    async fn begin_replication(self, world: &World) {
        let redis = &world.redis;
        redis.stall_replication(true);
        if self != Self::ReplicaStalled {
            sleep(world.chance.ms(50..=2_500)).await;
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
                let node = world.chance.pick(&world.fleet.nodes()).copied();
                redis.hole_connections(node.map(|node| FIRST_NODE + node), false);
            }
        }
    }

    async fn begin_nodes(self, world: &World) {
        let fleet = &world.fleet;
        let nodes = fleet.nodes();
        let Some(node) = world.chance.pick(&nodes).copied() else { return };
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
            if world.chance.one_in(2) {
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
            let nodes = lock(&world.node_clocks).clone();
            for clock in world.function_clocks.iter().chain(&nodes) {
                if world.chance.one_in(3) {
                    clock.set_off_by(skew(&world.chance, OFF_MS_MAX));
                }
            }
            return;
        }
        if self == Self::RedisClocksSetBack {
            return world.redis.set_clocks_back(REDIS_BACK_MS);
        }
        for clock in lock(&world.client_clocks).iter() {
            let minutes = skew(&world.chance, DEVICE_OFF_MS_MAX);
            let day = if world.chance.one_in(10) { 86_400_000 } else { 0 };
            if world.chance.one_in(3) {
                clock.set_off_by(minutes + day);
            }
        }
    }

    fn begin_people(self, world: &World) {
        let people = world.people();
        if self == Self::DevicesJoin {
            let (spaces, cursor) = (world.spaces(), some_cursor(world));
            if let Some(space) = world.chance.pick(&spaces)
                && let Some(user) = world.chance.pick(&space.users)
            {
                world.join(&space.id, &user.id, cursor);
            }
            return;
        }
        for person in people {
            if world.chance.one_in(3) {
                match self {
                    Self::PeopleAway => person.client.go_offline(),
                    _ => person.client.pause_reading(),
                }
            }
        }
    }
}

/// A cursor that is somebody's, or nobody's, or none.
fn some_cursor(world: &World) -> Option<String> {
    let of_other = || world.chance.pick(&world.people()).and_then(|person| person.client.cursor());
    match world.chance.index(4) {
        0 => None,
        1 => Some("not a cursor".to_owned()),
        2 => Some("1800000000000-0-0000aaaa".to_owned()),
        _ => of_other(),
    }
}

/// How far devices' clocks are set, each way.
const DEVICE_OFF_MS_MAX: u64 = 300_000;
/// How far a server's clock is set back.
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
/// How long a store that flaps is silent, and how long it answers.
const FLAP: Duration = Duration::from_secs(3);
