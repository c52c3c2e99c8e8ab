//! A client comes back after weeks (G11): it reads what it missed, however long the history is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Config, Event, Inbox, Source};
use dynamo::Cost;
use embedded_stack::engine::{Engine, EngineData};
use embedded_stack::{Data, StackOptions};
use futures_util::stream::{self, StreamExt as _};
use memory::ManualClock;
use messaging::amend::{Target, delete_message, edit_message};
use messaging::channels::create_channel;
use messaging::ports::{LogEntry, PageQuery, Principal, StoredMessage};
use messaging::react::{Act, react};
use messaging::{App, Ports};
use model::{
    ChangeId, ChannelId, Contract, EditMessage, Emoji, Mentions, Message, MessageId, MessageText,
    NewChannel, NewChannelKind, Timestamp, TraceId, Visibility, limits,
};
use protocol::publication::Origin;
use tests::cluster::{Cluster, options, user};

use crate::figures::figure;

#[tokio::test(flavor = "multi_thread")]
async fn g11_after_weeks_a_client_reads_what_it_missed() {
    weeks(3_000, 1_000, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --full"]
async fn long_after_weeks_10000_messages_and_500_changes_are_read_and_no_more() {
    weeks(30_000, 10_000, 500).await;
}

/// The same absence with a long history and with a tenth of it, then one that is longer than changes
/// are kept.
async fn weeks(history: u32, missed: u32, changes: u32) {
    let away = limits::CHANGES_KEPT - DAY;
    let within = Absence { away, history, missed, changes };
    let long = within.end().await;
    let short = Absence { history: history / 10, ..within }.end().await;
    // The changes of the first seconds are older than the store keeps them.
    let beyond = Absence { away: limits::CHANGES_KEPT + DAY + Duration::from_secs(120), ..within };
    let beyond = beyond.end().await;
    figure!(
        "29 days away: {missed} new messages and {changes} changes of {history} old ones: {long}; of {} old ones: \
         {short}. 31 days away, {} changes no longer kept: {beyond}",
        history / 10,
        beyond.swept
    );
    let wanted = (missed + changes) as usize;
    for back in [&long, &short] {
        assert_eq!((back.complete, back.swept), (true, 0));
        assert_eq!(back.rows, wanted, "each new message and each change once");
        assert_eq!(back.held, back.stored, "nothing is missing");
    }
    // What bob has of the last minutes before he left may shift the pages by one.
    let more = long.cost.calls.abs_diff(short.cost.calls);
    assert!(more <= CALLS_A_PAGE, "the history is not read: {more} store calls more");
    let ratio = long.cost.read_units / short.cost.read_units;
    assert!((0.99..=1.01).contains(&ratio), "x{ratio}");
    for back in [&long, &beyond] {
        let units = back.cost.read_units / back.rows as f64;
        assert!(units <= UNITS_A_ROW_MAX, "{units} read units a row");
    }
    assert!(!beyond.complete && beyond.swept > 0, "{beyond}");
    // Of what is older than the absence nothing is left but what was read: it may be outdated.
    assert_eq!(beyond.rows, wanted - beyond.swept);
    assert_eq!(beyond.held, beyond.rows + beyond.overlap);
}

#[derive(Debug, Clone, Copy)]
struct Absence {
    away: Duration,
    /// Messages of the two months before.
    history: u32,
    /// Messages that were sent meanwhile.
    missed: u32,
    /// Changes of old messages meanwhile: edits, deletions, reactions.
    changes: u32,
}

/// What a client that came back has, and what that cost.
#[derive(Debug)]
struct Back {
    /// What the first page says.
    complete: bool,
    rows: usize,
    cost: Cost,
    /// What reading the whole channel costs.
    whole: Cost,
    held: usize,
    /// Of these, messages of the minutes before the client left.
    overlap: usize,
    stored: usize,
    /// Changes that the store has forgotten.
    swept: usize,
}

impl std::fmt::Display for Back {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, cost, whole, held, stored, .. } = self;
        write!(
            f,
            "{rows} rows in {} store calls and {} read units (the whole channel: {}), then {held} of \
             {stored} messages held, each as stored",
            cost.calls, cost.read_units, whole.read_units
        )
    }
}

impl Absence {
    /// Lives through it: bob leaves with copies of everything, alice goes on, bob comes back.
    async fn end(self) -> Back {
        let engine = Arc::new(Engine::start(EngineData::Memory).unwrap());
        // Without its engine the stack has no relay, for which each of these messages would be late.
        let data = Data::Endpoint(engine.endpoint().to_owned());
        let cluster = Cluster::of(StackOptions { nodes: 1, data, ..options() }, None).await;
        let past = Past::of(&cluster);
        let now = cluster.stack.app().clock.now();
        let left = now.minus(self.away);
        past.clock.set(left.minus(MONTHS));
        let channel = past.channel().await;
        let copies = past.send(&channel, left.minus(MONTHS), MONTHS, self.history).await;
        let mut inbox = Inbox::new(100_000);
        copies.iter().cloned().for_each(|copy| assert!(inbox.upsert(copy)));
        inbox.record_in_step(left);
        past.send(&channel, left, self.away, self.missed).await;
        self.change(&past, left, &copies).await;
        let swept = tokio::task::spawn_blocking(move || engine.sweep().map(|rows| (engine, rows)));
        let (_engine, swept) = swept.await.unwrap().unwrap();

        let api = cluster.api("bob");
        let mut gap = inbox.clone();
        gap.open_gap(None, now);
        let from = gap.catch_up_from(&channel, None).unwrap();
        let first = api.scroll_newer(&channel, from, limits::PAGE_ROWS_MAX, None).await.unwrap();
        let before = cluster.stack.capacity().snapshot();
        let cursor = Some(format!("{}-0-00000000", left.unix_ms()));
        let (client, mut events) = Client::start(Config { inbox, cursor, ..Config::new(api) });
        let mut rows = 0;
        loop {
            match events.recv().await.unwrap() {
                Event::Ready { resumed, .. } => assert!(!resumed, "no node knows the cursor"),
                Event::Message { source: Source::CaughtUp, .. } => rows += 1,
                Event::CaughtUp { .. } => break,
                other => assert!(!matches!(other, Event::Stopped { .. }), "{other:?}"),
            }
        }
        let capacity = cluster.stack.capacity();
        let cost = capacity.since(&before).total();
        let before = capacity.snapshot();
        let stored = past.stored(&channel).await;
        let whole = capacity.since(&before).total();
        let timeline = client.timeline(&channel);
        for shown in timeline.messages() {
            assert_eq!(stored.get(&shown.id), Some(&unmarked(shown.clone())));
        }
        let ids = timeline.ids();
        let overlap = ids.iter().filter(|id| **id > from && id.time() < left).count();
        Back {
            complete: first.complete,
            rows,
            cost,
            whole,
            held: ids.len(),
            overlap,
            stored: stored.len(),
            swept,
        }
    }

    /// Changes messages that bob has: a tenth of the changes at once, the others over the whole time.
    async fn change(self, past: &Past, left: Timestamp, copies: &[Message]) {
        for n in 0..self.changes {
            let at = match n < self.changes / 10 {
                true => left.plus(Duration::from_secs(1).saturating_mul(n) + HOUR / 60),
                false => left.plus(self.away / self.changes * n),
            };
            past.clock.set(at);
            let target = &copies[copies.len() * n as usize / self.changes as usize];
            past.change(target, ChangeId::mint(at, n.into()), n).await;
        }
    }
}

/// The functions' code on the stack's store, at another time.
struct Past {
    app: App,
    clock: Arc<ManualClock>,
}

impl Past {
    fn of(cluster: &Cluster) -> Self {
        let ports = cluster.stack.ports().clone();
        let clock = Arc::new(ManualClock::at(ports.clock.now()));
        let app = App::new(Ports { clock: clock.clone(), ..ports });
        // Whatever was published weeks ago is in no stream.
        app.publisher().switch(false);
        Self { app, clock }
    }

    async fn channel(&self) -> ChannelId {
        let (visibility, members) = (Visibility::Private, vec![user("bob")]);
        let kind = NewChannelKind::Group { visibility, name: "general".to_owned(), members };
        let new = NewChannel { kind, contract: Contract::PersistFirst };
        create_channel(&self.app, &alice(), new).await.unwrap().0.id
    }

    /// Stores messages of alice that are spread evenly over a time, oldest first.
    async fn send(
        &self,
        channel: &ChannelId,
        from: Timestamp,
        during: Duration,
        count: u32,
    ) -> Vec<Message> {
        let message = |n: u32| {
            let id = MessageId::mint(from.plus(during / (count + 1) * (n + 1)), n.into());
            let text = format!("message {n:06} of a long conversation about where to have lunch");
            Message::new(id, channel.clone(), user("alice"), MessageText::from_stored(text))
        };
        let messages: Vec<Message> = (0..count).map(message).collect();
        let store = |message: &Message| {
            let stored = StoredMessage::new(message.clone(), 1);
            async move { self.app.messages.append(&stored).await.unwrap() }
        };
        stream::iter(&messages).map(store).buffer_unordered(16).for_each(async |_| {}).await;
        messages
    }

    async fn change(&self, message: &Message, change_id: ChangeId, n: u32) {
        let target = Target { log: message.log(), id: message.id };
        let origin = Origin { received_at: self.app.clock.now(), trace: TraceId::of_bits(1) };
        let (app, caller) = (&self.app, alice());
        match n % 3 {
            0 => {
                let text = MessageText::from_stored(format!("{} (edited)", message.text.as_str()));
                let mentions = Mentions::default();
                let edit = EditMessage { text, mentions, change_id, if_rev: None };
                edit_message(app, &caller, &target, &edit, origin).await.map(drop).unwrap();
            }
            1 => delete_message(app, &caller, &target, origin).await.map(drop).unwrap(),
            _ => {
                let emoji = Emoji::parse("👍").unwrap();
                let act = Act { emoji, is_made: true, change_id: Some(change_id) };
                react(app, &caller, &target, &act, origin).await.map(drop).unwrap();
            }
        }
    }

    /// The channel as it is stored now.
    async fn stored(&self, channel: &ChannelId) -> BTreeMap<MessageId, Message> {
        let mut stored = BTreeMap::new();
        let mut lowest = Some(MessageId::MIN);
        while let Some(from) = lowest {
            let query = PageQuery {
                log: channel.clone().into(),
                lowest: from,
                highest: MessageId::last_of(Timestamp::MAX),
                newest_first: false,
                limit: limits::PAGE_ROWS_MAX,
                strong: true,
            };
            let page = self.app.messages.page(&query).await.unwrap();
            let last = page.entries.last().map(LogEntry::id);
            lowest = last.filter(|_| page.more).and_then(MessageId::next);
            let messages = page.entries.into_iter().filter_map(LogEntry::into_message);
            stored.extend(messages.map(|stored| (stored.message.id, stored.message)));
        }
        stored
    }
}

fn alice() -> Principal {
    Principal {
        workspace_id: "w".parse().unwrap(),
        user_id: user("alice"),
        is_admin: false,
        expires_at: Timestamp::MAX,
    }
}

/// A message without what only its reader's copy says.
fn unmarked(mut message: Message) -> Message {
    message.reactions.iter_mut().for_each(|reaction| reaction.mine = None);
    message
}

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// How long the channel existed before bob left.
const MONTHS: Duration = Duration::from_secs(60 * 86_400);
/// Read units for each message that a client missed: a row of about 200 bytes, its change log, and
/// the caller's standing once a page.
const UNITS_A_ROW_MAX: f64 = 0.15;
/// Messages, changes, changed messages, and the caller's standing.
const CALLS_A_PAGE: u64 = 4;
