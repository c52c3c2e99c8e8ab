//! Builds one run: servers, tables, functions, nodes, people, channels.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use checker::{Change, ClientId, Event, SendId};
use client::{Api, Delivery, Draft, Outbox};
use memory::{MemoryFiles, SeededRng};
use messaging::derive::{Deriver, DeriverPorts};
use messaging::ports::{
    ChannelStore, EventBus, MemberStore, NodeDirectory, ReceiptBook, Sessions, Spool,
};
use messaging::relay::Relay;
use messaging::{App, Ports};
use model::{ChannelId, UserId, WorkspaceId};
use parking_lot::Mutex;
use redis_bus::{RedisBus, RedisRelayBus};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::contracts::delivering::{Environment, Rooms, archive};
use crate::contracts::ephemeral::{FindableSeal, Meetings};
use crate::contracts::signals::Publications;
use crate::contracts::{Truth, Wire};
use crate::feed::{self, Reader, TableLog};
use crate::fleet::Fleet;
use crate::functions::Functions;
use crate::host::Host;
use crate::identity::UnsignedIdentity;
use crate::person::{IdleDevices, Person, Setup};
use crate::plan::Plan;
use crate::planted::{Plant, Planted, SHORT_OVERLAP};
use crate::record::Recorder;
use crate::redis::Redis;
use crate::store::SimStore;
use crate::time::{SimClock, skew};

/// A run's world. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct World(Arc<State>);

impl std::ops::Deref for World {
    type Target = State;
    fn deref(&self) -> &State {
        &self.0
    }
}

/// The parts of a world.
#[derive(Debug)]
pub(crate) struct State {
    /// The plan of the run.
    pub plan: Plan,
    /// The planted bug, if any.
    plant: Option<Plant>,
    /// Random draws for the world itself.
    pub rng: SeededRng,
    /// The correct clock.
    pub clock: SimClock,
    /// Records the history.
    pub recorder: Recorder,
    /// The servers of Redis.
    pub redis: Redis,
    /// The tables.
    pub store: SimStore,
    /// The stream of the messages table.
    pub log: TableLog,
    /// The functions.
    pub functions: Functions,
    /// The clocks of the functions' environments.
    pub function_clocks: Vec<SimClock>,
    /// The nodes.
    pub fleet: Fleet,
    /// The nodes' clocks, in the order of their start.
    pub node_clocks: Arc<Mutex<Vec<SimClock>>>,
    /// The workspaces.
    pub spaces: Mutex<Vec<Arc<Space>>>,
    /// Every device that is used.
    pub people: Mutex<Vec<Arc<Person>>>,
    /// The devices' clocks.
    pub client_clocks: Mutex<Vec<SimClock>>,
    /// Sends whose outcome is not known yet.
    pub unresolved: Mutex<Vec<(SendId, Outbox, Draft)>>,
    /// Users who have left for good.
    pub gone: Mutex<BTreeSet<UserId>>,
    /// Channels that keep nothing.
    pub meetings: Meetings,
    /// Channels that deliver first.
    pub rooms: Rooms,
    /// Devices that run no process.
    idle_devices: IdleDevices,
    /// What functions and the relay published.
    pub publications: Publications,
    tasks: Mutex<JoinSet<()>>,
    sends: AtomicU64,
    clients: AtomicU32,
}

/// A workspace.
#[derive(Debug)]
pub(crate) struct Space {
    /// Its id.
    pub id: WorkspaceId,
    /// Its users.
    pub users: Vec<User>,
    /// Its channels.
    pub channels: Vec<CreatedChannel>,
}

/// A user, and the REST calls of one of their devices.
#[derive(Debug)]
pub(crate) struct User {
    /// The user's id.
    pub id: UserId,
    /// The user's calls.
    pub api: Api,
}

/// A channel as it was created.
#[derive(Debug)]
pub(crate) struct CreatedChannel {
    /// Its id.
    pub id: ChannelId,
    /// Indices of its first members. The first one created it.
    pub members: Vec<usize>,
    /// Whether members may change.
    pub is_group: bool,
}

impl World {
    /// Builds the servers and programs of a seed, without users.
    #[must_use]
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let rng = SeededRng::new(seed);
        let started_at = Instant::now();
        let clock = SimClock::new(started_at);
        let lag = rng.ms(1..=40);
        let redis = Redis::new(&clock, rng.fork(), plan.entries_max, lag);
        let log = TableLog::default();
        let store = SimStore::new(log.clone(), rng.fork(), &plan);
        let function_clocks: Vec<SimClock> =
            (0..ENVIRONMENTS).map(|_| clock.off_by(skew(&rng, OFF_MS_MAX))).collect();
        let plant = plan.planted.map(Plant::new);
        let publications = Publications::default();
        let wiring = Wiring {
            redis: redis.clone(),
            store: store.clone(),
            plant: plant.clone(),
            publications: publications.clone(),
        };
        let environments = function_clocks.iter().zip(FIRST_FUNCTION..);
        let environments =
            environments.map(|(clock, owner)| App::new(wiring.ports(owner, clock, &rng.fork())));
        let functions = Functions::new(
            environments.collect(),
            rng.fork(),
            plant.as_ref().and_then(Plant::counters),
        );
        let node_clocks: Arc<Mutex<Vec<SimClock>>> = Arc::default();
        let fleet = {
            let (clock, rng, clocks) = (clock.clone(), rng.fork(), Arc::clone(&node_clocks));
            let wiring = wiring.clone();
            let make = move |serial: u32| {
                let clock = clock.off_by(skew(&rng, OFF_MS_MAX));
                clocks.lock().push(clock.clone());
                wiring.ports(FIRST_NODE + serial, &clock, &rng.fork())
            };
            Fleet::new(Box::new(make), SeededRng::new(seed ^ 1), plan.pipe_bytes)
        };
        let world = Self(Arc::new(State {
            plan,
            plant,
            clock,
            recorder: Recorder::new(started_at),
            redis,
            store,
            log,
            functions,
            function_clocks,
            fleet,
            node_clocks,
            spaces: Mutex::default(),
            people: Mutex::default(),
            client_clocks: Mutex::default(),
            unresolved: Mutex::default(),
            gone: Mutex::default(),
            meetings: Meetings::default(),
            rooms: Rooms::default(),
            idle_devices: IdleDevices::default(),
            publications,
            tasks: Mutex::default(),
            sends: AtomicU64::new(0),
            clients: AtomicU32::new(0),
            rng,
        }));
        world.start_readers(&wiring);
        world
    }

    fn start_readers(&self, wiring: &Wiring) {
        let relay_bus = RedisRelayBus::at(self.redis.endpoint(RELAY), REPLICAS);
        if self.plan.planted == Some(Planted::WaitWithoutMarker) {
            self.redis.ignore_markers();
        }
        if self.plan.planted == Some(Planted::RepeatedNumbers) {
            self.redis.ignore_histories();
        }
        let clock = self.clock.off_by(skew(&self.rng, OFF_MS_MAX));
        let clock = Arc::new(clock);
        let store = Arc::new(wiring.store.for_process(false));
        if self.plan.deliver_every_ms.is_some() {
            self.start_archiver(wiring);
        }
        let relay_bus = wiring.publications.of_relay(relay_bus);
        let relay_clock = Arc::<SimClock>::clone(&clock);
        let relay = Relay::new(Arc::<SimStore>::clone(&store), relay_bus, relay_clock);
        let derive_rng = SeededRng::new(DERIVE_SEED);
        let files = Arc::new(MemoryFiles::new());
        let deriver = Deriver::new(DeriverPorts::of_store(store, files, clock, derive_rng.port()));
        let readers = [(Reader::Relay(relay), &self.rng), (Reader::Derive(deriver), &derive_rng)];
        for (reader, rng) in readers {
            for shard in 0..feed::SHARDS {
                self.spawn(feed::run(self.log.clone(), shard, reader.clone(), rng.fork()));
            }
        }
    }

    fn start_archiver(&self, wiring: &Wiring) {
        let rng = self.rng.fork();
        let environment = Environment {
            redis: wiring.redis.clone(),
            store: Arc::new(wiring.store.for_process(false)),
            clock: self.clock.off_by(skew(&rng, OFF_MS_MAX)),
            plant: wiring.plant.clone(),
        };
        let killed_for = if self.plan.archive_dies { self.plan.faulty } else { Duration::ZERO };
        self.spawn(archive(environment, rng, killed_for));
    }

    /// Runs a task until it ends or the world does.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().spawn(task);
    }

    /// Ends all tasks that were spawned here.
    pub(crate) fn stop(&self) {
        self.tasks.lock().abort_all();
    }

    /// The id of a new send.
    #[must_use]
    pub(crate) fn next_send(&self) -> SendId {
        SendId(self.sends.fetch_add(1, Ordering::Relaxed))
    }

    /// A new device. Half of the devices have a clock that is off by minutes.
    fn host(&self, device: Option<ClientId>) -> Host {
        let off_by = skew(&self.rng, DEVICE_OFF_MS_MAX);
        let clock = self.clock.off_by(if self.rng.one_in(2) { off_by } else { 0 });
        self.client_clocks.lock().push(clock.clone());
        let rng = self.rng.fork();
        let spoil = self.plant.as_ref().and_then(|plant| plant.spoil(&rng));
        let (functions, fleet) = (self.functions.clone(), self.fleet.clone());
        let delivers = self.plan.deliver_every_ms.is_some();
        let is_recorded = delivers || self.plan.meet_every_ms.is_some();
        let truth = || Truth { redis: self.redis.clone(), log: self.log.clone() };
        let wire = device.filter(|_| is_recorded).map(|client| Wire {
            client,
            recorder: self.recorder.clone(),
            sockets: Arc::clone(&self.meetings.sockets),
            truth: delivers.then(truth),
        });
        Host { functions, fleet, clock, rng, spoil, wire }
    }

    /// A user's calls from a new device, which may have a client.
    fn api(&self, workspace: &WorkspaceId, user: &UserId, device: Option<ClientId>) -> Api {
        let token_s = if self.rng.one_in(4) { self.rng.within(20..=50) } else { 3_600 };
        self.host(device).api(&self.clock, (workspace, user), token_s)
    }

    /// Starts a client on another device.
    pub(crate) fn join(&self, workspace: &WorkspaceId, user: &UserId, cursor: Option<String>) {
        self.start(workspace, user, cursor, Vec::new());
    }

    /// Starts a process after another one's death, with what the device's disk kept of its outbox.
    pub(crate) fn succeed(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        deliveries: Vec<Delivery>,
    ) -> Arc<Person> {
        self.start(workspace, user, None, deliveries)
    }

    /// Kills a device's process.
    pub(crate) fn bury(&self, person: &Person) {
        person.kill();
        self.recorder.note(Event::Leaves { client: person.id });
        self.people.lock().retain(|one| one.id != person.id);
        self.idle_devices.put(person);
    }

    fn start(
        &self,
        workspace: &WorkspaceId,
        user: &UserId,
        cursor: Option<String>,
        deliveries: Vec<Delivery>,
    ) -> Arc<Person> {
        let id = ClientId(self.clients.fetch_add(1, Ordering::Relaxed));
        let planted = self.plan.planted;
        let overlap = match planted {
            Some(Planted::ShortOverlap) => SHORT_OVERLAP,
            _ => self.plan.overlap,
        };
        let drops_older = planted == Some(Planted::MaxId);
        let api = self.api(workspace, user, Some(id));
        let (user, invisible) = (user.clone(), self.plan.is_invisible(user));
        let (device, waits) = (self.idle_devices.take(&user, id), self.plan.delivery_waits());
        let setup =
            Setup { id, user, cursor, overlap, drops_older, deliveries, invisible, device, waits };
        let person = Arc::new(Person::start(setup, api, &self.recorder, &self.rng.fork()));
        self.people.lock().push(Arc::clone(&person));
        person
    }

    /// All devices that were started.
    #[must_use]
    pub(crate) fn people(&self) -> Vec<Arc<Person>> {
        self.people.lock().clone()
    }

    /// The workspaces.
    #[must_use]
    pub(crate) fn spaces(&self) -> Vec<Arc<Space>> {
        self.spaces.lock().clone()
    }

    /// Starts the nodes, creates workspaces, users and channels, and connects all devices.
    pub(crate) async fn populate(&self) {
        for _ in 0..self.plan.nodes {
            self.fleet.start();
        }
        sleep(Duration::from_millis(500)).await;
        for number in 0..self.plan.workspaces {
            let space = self.make_space(number).await;
            for user in &space.users {
                for _ in 0..self.rng.within(1..=self.plan.devices) {
                    self.join(&space.id, &user.id, None);
                }
            }
            self.spaces.lock().push(Arc::new(space));
        }
        sleep(Duration::from_secs(3)).await;
    }

    #[expect(clippy::expect_used, reason = "names of this file are well formed")]
    async fn make_space(&self, number: u32) -> Space {
        let id = WorkspaceId::parse(&format!("w{number}")).expect("a name");
        let count = usize::try_from(self.rng.within(self.plan.users.clone())).unwrap_or(2);
        let users: Vec<User> = (0..count + self.plan.bystanders)
            .map(|at| {
                let user = UserId::parse(&format!("w{number}-u{at}")).expect("a name");
                User { api: self.api(&id, &user, None), id: user }
            })
            .collect();
        let mut channels = Vec::new();
        for at in 0..self.plan.groups {
            let creator = usize::try_from(at).unwrap_or(0) % count;
            let others = (0..count).filter(|at| *at != creator);
            let others = others.filter(|_| !self.rng.one_in(4));
            let members = std::iter::once(creator).chain(others).collect();
            channels.extend(self.create_channel(&users, members, true).await);
        }
        for at in 0..self.plan.dms.min(count.saturating_sub(1)) {
            channels.extend(self.create_channel(&users, vec![at, at + 1], false).await);
        }
        Space { id, users, channels }
    }

    /// Creates a channel. This happens before faults begin, so it succeeds.
    async fn create_channel(
        &self,
        users: &[User],
        members: Vec<usize>,
        is_group: bool,
    ) -> Option<CreatedChannel> {
        let named: Vec<UserId> =
            members.iter().filter_map(|at| Some(users.get(*at)?.id.clone())).collect();
        let creator = users.get(*members.first()?)?;
        let others = named.get(1..)?;
        let made = if is_group {
            creator.api.create_channel("channel", others).await
        } else {
            creator.api.create_dm(others.first()?).await
        };
        let channel = made.ok()?.id;
        for user in named {
            let change = Change::Add;
            let (on, of) = (channel.clone(), user.clone());
            self.recorder.note(Event::ChangeStarted { channel: on, user: of, change });
            let (on, of) = (channel.clone(), user);
            self.recorder.note(Event::ChangeReturned { channel: on, user: of, change });
        }
        Some(CreatedChannel { id: channel, members, is_group })
    }
}

/// Builds the ports of processes.
#[derive(Debug, Clone)]
struct Wiring {
    redis: Redis,
    store: SimStore,
    plant: Option<Plant>,
    publications: Publications,
}

impl Wiring {
    /// The ports of one process.
    fn ports(&self, owner: u32, clock: &SimClock, rng: &SeededRng) -> Ports {
        let bus = RedisBus::at(self.redis.endpoint(owner));
        let mut nodes: Arc<dyn NodeDirectory> = Arc::new(bus.directory());
        let presence = Arc::new(bus.clone());
        let store = Arc::new(self.store.for_process(owner >= FIRST_NODE));
        let mut channels: Arc<dyn ChannelStore> = Arc::<SimStore>::clone(&store);
        let mut members: Arc<dyn MemberStore> = Arc::<SimStore>::clone(&store);
        let mut spool: Arc<dyn Spool> = Arc::new(bus.clone());
        let mut receipts: Arc<dyn ReceiptBook> = Arc::new(bus.clone());
        let mut sessions: Arc<dyn Sessions> = Arc::new(bus.clone());
        let mut bus: Arc<dyn EventBus> = Arc::new(bus);
        if let Some(plant) = &self.plant {
            bus = plant.bus(bus);
            sessions = plant.sessions(sessions, &bus);
            spool = plant.spool(spool);
            receipts = plant.receipts(receipts);
            nodes = plant.nodes(nodes);
            channels = plant.channels(channels);
            members = plant.members(members);
        }
        bus = if owner < FIRST_NODE {
            self.publications.of_function(bus)
        } else {
            self.publications.of_node(bus)
        };
        spool = self.publications.of_spool(spool);
        Ports {
            messages: Arc::<SimStore>::clone(&store),
            attachments: Arc::<SimStore>::clone(&store),
            files: Arc::new(MemoryFiles::new()),
            channels,
            members,
            mentions: Arc::<SimStore>::clone(&store),
            pins: Arc::<SimStore>::clone(&store),
            threads: Arc::<SimStore>::clone(&store),
            read_marks: Arc::<SimStore>::clone(&store),
            revocations: Arc::<SimStore>::clone(&store),
            devices: Arc::<SimStore>::clone(&store),
            profiles: store,
            bus,
            sessions,
            spool,
            receipts,
            seal: Arc::new(FindableSeal),
            nodes,
            presence,
            tokens: Arc::new(UnsignedIdentity),
            tickets: Arc::new(UnsignedIdentity),
            clock: Arc::new(clock.clone()),
            randomness: rng.port(),
            health_checks: Vec::new(),
        }
    }
}

/// Randomness of its own, so that worlds without reactions are what they were.
const DERIVE_SEED: u64 = 0xde;
/// How far clocks of nodes and functions may be off, each way.
pub(crate) const OFF_MS_MAX: u64 = 450;
/// How far devices' clocks may be off, each way.
const DEVICE_OFF_MS_MAX: u64 = 200_000;
/// Replicas that Redis has.
const REPLICAS: u32 = 1;
/// How many environments the functions have.
pub(crate) const ENVIRONMENTS: u32 = 4;
/// The relay's process number.
pub(crate) const RELAY: u32 = 1;
/// The process number of the function `archive`.
pub(crate) const ARCHIVER: u32 = 2;
/// The first process number of the functions.
pub(crate) const FIRST_FUNCTION: u32 = 10;
/// Process numbers of nodes start after this one, in the order of their start.
pub(crate) const FIRST_NODE: u32 = 100;
