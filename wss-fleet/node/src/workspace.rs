//! The task of one workspace. Inputs from the bus, the sockets and its own reads go into the
//! workspace's state; effects go to the shards and to new reads. It never writes to a socket.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use delivery::{Attach, Effect, Input, PresenceEffect, SocketId, Workspace};
use messaging::ports::{Notice, Subscription};
use model::{WorkspaceId, limits};
use protocol::close::CloseCode;
use protocol::signal::Signal;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use crate::fleet_watch::FleetFollower;
use crate::hub::Hub;
use crate::metrics::Stale;
use crate::read_queue::{Ended, ReadQueue};
use crate::shard::Command;
use crate::signals::Signals;
use crate::workspaces::{Renew, Request};
use crate::{asks, fleet_watch, frames, meetings, presence, reads};

struct Task {
    hub: Arc<Hub>,
    id: WorkspaceId,
    state: Workspace,
    requests: mpsc::Receiver<Request>,
    subscription: Option<Subscription>,
    jobs: JoinSet<Event>,
    fill: Option<AbortHandle>,
    reads: ReadQueue,
    signals: Signals,
    /// The leases of the fleet, while somebody views users.
    fleet: Option<FleetFollower>,
    /// The read of all nodes' users.
    presence_read: Option<AbortHandle>,
    effects: Vec<Effect>,
    repairs: (u64, u64),
    held: usize,
    /// Set while publications may be missing.
    stale: Option<Stale>,
}

/// What woke the task.
enum Event {
    Request(Request),
    Notice(Option<Notice>),
    /// The result of a fill or an audit.
    Answer(Input),
    Read(Ended),
    Subscribed(Subscription),
    Tick,
    Time,
    /// A read that had to wait may start.
    ReadDue,
    /// A job ended without news.
    Nothing,
    Orphaned,
}

/// The queue of a workspace's task, which is started if there is none.
pub(crate) fn queue(hub: &Arc<Hub>, id: &WorkspaceId) -> mpsc::Sender<Request> {
    hub.workspaces.get_or_start(id, |requests| start(Arc::clone(hub), id.clone(), requests))
}

fn start(hub: Arc<Hub>, id: WorkspaceId, requests: mpsc::Receiver<Request>) {
    let task = Task {
        state: Workspace::new(id.clone(), hub.node_id.clone(), frames::text, hub.now()),
        id,
        requests,
        subscription: None,
        jobs: JoinSet::new(),
        fill: None,
        reads: ReadQueue::new(Instant::now()),
        signals: Signals::default(),
        fleet: None,
        presence_read: None,
        effects: Vec::new(),
        repairs: (0, 0),
        held: 0,
        stale: Some(Stale::new(&hub.metrics.repairs, true)),
        hub: Arc::clone(&hub),
    };
    hub.spawn(task.run());
}

impl Task {
    async fn run(mut self) {
        self.subscribe();
        // Not restarted in each turn of the loop: in a busy workspace they would never fire.
        let mut tick = pin!(tokio::time::sleep(limits::TICK));
        let mut checks = tokio::time::interval(CHECK_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut idle_since = None;
        loop {
            let reads_at = self.reads.next_at(Instant::now());
            let event = tokio::select! {
                // Timers, then results of jobs, then sockets that come and go, all of them bounded.
                // Publications may arrive without end, so they are last and starve nothing.
                biased;
                // Most workspaces wait for nothing: thousands of them must cost no wake-ups.
                _ = checks.tick(), if self.state.is_waiting() || self.state.is_idle() => Event::Time,
                () = &mut tick => Event::Tick,
                () = until(reads_at), if reads_at.is_some() => Event::ReadDue,
                Some(done) = self.jobs.join_next() => match done {
                    Ok(event) => event,
                    // A superseded fill, or an audit that panicked: the next one asks again.
                    // `reads` turns other panics into failures.
                    Err(error) => {
                        if error.is_panic() {
                            self.hub.metrics.panics.inc();
                        }
                        continue;
                    }
                },
                fleet = fleet_watch::next(&mut self.fleet) => Event::Answer(fleet),
                request = self.requests.recv() => request.map_or(Event::Orphaned, Event::Request),
                notice = next(&mut self.subscription) => Event::Notice(notice),
            };
            let (has_ticked, moves_ticks) =
                (matches!(event, Event::Tick), !matches!(event, Event::Notice(_) | Event::Time));
            if matches!(event, Event::Time) {
                let since = idle_since.filter(|_| self.state.is_deserted());
                idle_since = self.state.is_deserted().then(|| since.unwrap_or_else(Instant::now));
                let is_over = since.is_some_and(|since| since.elapsed() >= limits::WORKSPACE_IDLE);
                if is_over && self.hub.workspaces.retire(&self.id, &self.requests) {
                    return;
                }
            }
            if self.on_event(event).await.is_break() {
                return;
            }
            self.start_reads();
            self.follow_fleet();
            if moves_ticks {
                // At most one interval: the clock may have been set back.
                let now = self.hub.now();
                let wait = self.state.next_tick(now).since(now).min(limits::TICK);
                let next = Instant::now() + wait;
                // Before it fires, only move it earlier: a storm of attaches must not postpone it.
                if has_ticked || next < tick.deadline() {
                    tick.as_mut().reset(next);
                }
            }
        }
    }

    /// Handles an event; breaks if the task is to end.
    async fn on_event(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Request(Request::Attach(attach)) => self.attach(*attach).await,
            Event::Request(Request::Detach(socket)) => self.input(Input::Detach(socket)).await,
            Event::Request(Request::Said(said)) => {
                let (socket, frame) = *said;
                self.input(Input::Said { socket, frame }).await;
            }
            Event::Request(Request::Renew(renew)) => {
                let Renew { socket, reference, ticket, answer } = *renew;
                self.input(Input::Renew { socket, reference, ticket }).await;
                // Fails only if the socket has ended.
                answer.send(self.state.ends_at(socket)).unwrap_or_default();
            }
            Event::Request(Request::Movable(answer)) => {
                // Fails only if the drain waits no more.
                answer.send(self.state.movable()).unwrap_or_default();
            }
            Event::Request(Request::Heard(channel, answer)) => {
                // Fails only if nobody waits any more.
                answer.send(self.state.heard(&channel)).unwrap_or_default();
            }
            Event::Notice(Some(notice)) => self.notice(notice).await,
            Event::Notice(None) => {
                self.subscription = None;
                self.input(Input::Lost).await;
                self.subscribe();
            }
            Event::Answer(input) => {
                // Drop the handle of a finished fill: it keeps the task's memory.
                self.fill = self.fill.take().filter(|fill| !fill.is_finished());
                self.input(input).await;
            }
            Event::Read(ended) => {
                let jitter = self.jitter();
                for input in self.reads.record(ended, jitter, Instant::now()) {
                    self.input(input).await;
                }
            }
            Event::Subscribed(subscription) => {
                self.subscription = Some(subscription);
                self.input(Input::Linked).await;
            }
            Event::Tick => self.input(Input::Tick).await,
            Event::Time if self.state.is_waiting() => self.input(Input::Time).await,
            Event::Time | Event::ReadDue | Event::Nothing => {}
            Event::Orphaned => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Attaches a socket, or refuses it if too many wait already.
    async fn attach(&mut self, attach: Attach) {
        if self.reads.admits(self.state.waiting(), Instant::now()) {
            return self.input(Input::Attach(attach)).await;
        }
        self.refuse(attach.socket).await;
    }

    async fn refuse(&self, socket: SocketId) {
        let now = Instant::now();
        let delay = self.reads.busy_delay(self.state.waiting(), self.jitter(), now);
        self.hub.close(socket, CloseCode::Busy, Some(delay)).await;
    }

    /// Random, from 0 to 1.
    fn jitter(&self) -> f64 {
        const STEPS: u32 = 1 << 20;
        let step = self.hub.ports.randomness.up_to(u64::from(STEPS));
        f64::from(u32::try_from(step).unwrap_or(STEPS)) / f64::from(STEPS)
    }

    fn start_reads(&mut self) {
        while let Some(running) = self.reads.next(&self.state, Instant::now()) {
            let (hub, id) = (Arc::clone(&self.hub), self.id.clone());
            self.jobs.spawn(async move { Event::Read(reads::read(hub, id, running).await) });
        }
    }

    async fn notice(&mut self, notice: Notice) {
        let input = match notice {
            Notice::Entry(entry) => {
                self.hub.metrics.publications.inc();
                Input::Entry(entry)
            }
            Notice::Signal(Signal::Unknown) | Notice::Foreign => {
                return self.hub.metrics.foreign_pushes.inc();
            }
            Notice::Signal(Signal::Said(said)) => {
                // Only what somebody here hears is opened.
                if !self.state.takes_part(&said.channel_id) {
                    return;
                }
                match meetings::open(&self.hub, &self.id, said) {
                    Some(spoken) => spoken,
                    None => return self.hub.metrics.foreign_pushes.inc(),
                }
            }
            Notice::Signal(signal) => {
                if let Signal::Ended { channel_id } = &signal {
                    self.hub.channels.forget(channel_id);
                }
                Input::Signal(signal)
            }
            Notice::Lost => Input::Lost,
            Notice::Restored => Input::Linked,
        };
        self.input(input).await;
    }

    async fn input(&mut self, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        let mut next = Some(input);
        while let Some(input) = next.take() {
            self.state.handle(input, self.hub.now(), &mut effects);
            for effect in effects.drain(..) {
                if let Some(effect) = self.reads.enqueue(effect) {
                    self.perform(effect).await;
                }
            }
            next = self.count_held().map(|bytes| Input::Shed { bytes });
        }
        self.effects = effects;
        let repairs = self.state.repairs();
        self.hub.metrics.repaired(self.repairs, repairs);
        self.repairs = repairs;
        match (self.state.is_fresh(), self.stale.take()) {
            (true, Some(stale)) => stale.repaired(),
            (false, None) => self.stale = Some(Stale::new(&self.hub.metrics.repairs, false)),
            (_, stale) => self.stale = stale,
        }
    }

    async fn perform(&mut self, effect: Effect) {
        let (hub, id) = (Arc::clone(&self.hub), self.id.clone());
        match effect {
            Effect::Deliver { frame, to, class, publication } => {
                hub.shards.offer(&frame, &to, class, publication.as_ref()).await;
            }
            Effect::Ready { socket, frames } => {
                hub.metrics.attaches.inc();
                hub.shards.send(socket.shard, Command::Missed { socket, frames }).await;
            }
            Effect::Replay { frames, to } => {
                for socket in to.sockets() {
                    let frames = frames.clone();
                    hub.shards.send(socket.shard, Command::Missed { socket, frames }).await;
                }
            }
            Effect::Close { socket, code } => hub.close(socket, code, None).await,
            Effect::Signal(signal) => self.signals.offer(&hub, &id, signal),
            Effect::Ask(ask) => {
                self.job(asks::ask(hub, id, *ask));
            }
            Effect::Told { channel, got, kept } => {
                self.jobs.spawn(async move {
                    asks::told(hub, id, channel, got, kept).await;
                    Event::Nothing
                });
            }
            Effect::KeepMeeting(channel) => {
                self.jobs.spawn(async move {
                    let over = meetings::keep(hub, id, channel).await;
                    over.map_or(Event::Nothing, Event::Answer)
                });
            }
            Effect::Refuse { socket } => self.refuse(socket).await,
            Effect::Presence(effect) => self.presence(effect),
            // The queue has accepted these.
            Effect::LoadUser { .. }
            | Effect::Refresh(_)
            | Effect::ReadAhead(_)
            | Effect::ReadStored { .. }
            | Effect::ReadHistory { .. } => {}
            Effect::Audit { tail } => {
                self.job(reads::audit(hub, id, tail));
            }
            Effect::Fill { id: fill, from } => {
                // A running fill may have read before the event that made this one necessary.
                if let Some(superseded) = self.fill.take() {
                    superseded.abort();
                }
                self.fill = Some(self.job(reads::fill(hub, id, fill, from)));
            }
        }
    }

    /// Reports the bytes held by this workspace; returns how many it may keep if they are too many.
    fn count_held(&mut self) -> Option<usize> {
        let now = self.state.held_bytes();
        let share = self.hub.held.change(self.held, now);
        self.held = now;
        share
    }

    fn presence(&mut self, effect: PresenceEffect) {
        let is_of_all = matches!(effect, PresenceEffect::ReadAll(_));
        let done = presence::perform(Arc::clone(&self.hub), self.id.clone(), effect);
        let job = self.job(async move { Input::Presence(done.await) });
        if is_of_all && let Some(superseded) = self.presence_read.replace(job) {
            superseded.abort();
        }
    }

    /// Follows the leases of the fleet while the state wants them.
    fn follow_fleet(&mut self) {
        if self.fleet.is_some() != self.state.follows_presence() {
            self.fleet = self.state.follows_presence().then(|| self.hub.fleet.follow());
        }
    }

    fn job(&mut self, job: impl Future<Output = Input> + Send + 'static) -> AbortHandle {
        self.jobs.spawn(async move { Event::Answer(job.await) })
    }

    fn subscribe(&mut self) {
        let (hub, id) = (Arc::clone(&self.hub), self.id.clone());
        self.jobs.spawn(async move { Event::Subscribed(reads::subscribe(hub, id).await) });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.hub.held.change(self.held, 0);
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn next(subscription: &mut Option<Subscription>) -> Option<Notice> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}

/// How often holds and waiting attaches are checked, if there are any.
const CHECK_EVERY: Duration = Duration::from_millis(250);
