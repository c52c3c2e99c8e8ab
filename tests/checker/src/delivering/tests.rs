//! Small histories of one channel, with one defect each.

use std::collections::BTreeMap;

use model::{LogId, Rev, Timestamp};

use super::*;
use crate::{Change, Shown, Verdict, check};

fn channel() -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(1), 1)
}

fn id(n: u64) -> MessageId {
    MessageId::mint(Timestamp::from_unix_ms(n), 1)
}

fn text(n: u64) -> TextDigest {
    let mut digest = [0; 32];
    digest[0] = u8::try_from(n).unwrap();
    TextDigest(digest)
}

fn rev() -> Rev {
    Rev::of(id(1))
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// Writes what alice's client 1 delivers, and what bob's client 2 gets.
#[derive(Default)]
struct Pen(History, u64);

impl Pen {
    fn with_members() -> Self {
        let mut pen = Self::default();
        for (name, client) in [("alice", ClientId(1)), ("bob", ClientId(2))] {
            pen.changes(name, Change::Add);
            pen.push(Event::Starts { client, user: user(name) });
            pen.push(Event::Follows { client });
        }
        pen.says(Delivering::Opened { channel: channel(), keeps_acked: false });
        pen
    }

    fn push(&mut self, event: Event) {
        self.1 += 1;
        self.0.record(Duration::from_millis(self.1), event);
    }

    fn says(&mut self, event: Delivering) {
        self.push(Event::Delivering(event));
    }

    fn changes(&mut self, name: &str, change: Change) {
        let (channel, user) = (channel(), user(name));
        self.push(Event::ChangeStarted { channel: channel.clone(), user: user.clone(), change });
        self.push(Event::ChangeReturned { channel, user, change });
    }

    fn takes(&mut self, n: u64) {
        let (client, channel, id) = (ClientId(1), channel(), id(n));
        self.says(Delivering::Takes { client, channel: channel.clone(), id, text: text(n) });
        self.says(Delivering::Sent { channel, id });
    }

    /// The answer to what was sent last.
    fn accepted(&mut self, n: u64, is_kept: bool) {
        let is_sent = |(_, event): &&(Duration, Event)| {
            matches!(event, Event::Delivering(Delivering::Sent { .. }))
        };
        let sent = self.0.events.iter().rfind(is_sent).unwrap().0;
        self.says(Delivering::Accepted { channel: channel(), id: id(n), sent, is_kept });
    }

    fn seen(&mut self, client: u32, n: u64) {
        let (client, log, rev) = (ClientId(client), LogId::from(channel()), rev());
        self.push(Event::Seen { client, log, id: id(n), rev, fresh: true });
    }

    /// A message that was sent and that both have.
    fn delivers(&mut self, n: u64) {
        self.takes(n);
        self.accepted(n, true);
        for client in [1, 2] {
            self.seen(client, n);
        }
    }

    fn archived(&mut self, n: u64) {
        self.says(Delivering::Archived { channel: channel(), id: id(n), is_stored: true });
        self.stores(n, n);
    }

    fn stores(&mut self, n: u64, words: u64) {
        self.0.stored.push(StoredItem {
            log: channel().into(),
            id: id(n),
            sender: user("alice"),
            text: text(words),
            rev: rev(),
            present: text(words),
            is_deleted: false,
            reactions: BTreeMap::new(),
            is_pinned: false,
            replies: None,
        });
    }

    fn shows(&mut self, ids: &[u64]) {
        let ids: Vec<MessageId> = ids.iter().map(|n| id(*n)).collect();
        let revs = vec![rev(); ids.len()];
        self.0.shown.push(Shown { client: ClientId(2), log: channel().into(), ids, revs });
    }

    fn abandons(&mut self, n: u64) {
        self.says(Delivering::Abandoned { channel: channel(), id: id(n) });
    }

    fn page(&mut self, began: u64, ids: &[u64]) {
        let (ids, began) = (ids.iter().map(|n| id(*n)).collect(), Duration::from_millis(began));
        self.says(Delivering::Page { channel: channel(), began, from: None, ids });
    }

    fn verdict(&self) -> Verdict {
        let mut bounds = Bounds::of_any_fault(Duration::from_secs(5), 1);
        bounds.ends_sessions = |kind| kind == "flushed";
        check(&self.0, &bounds)
    }

    fn holds(&self) -> Verdict {
        let verdict = self.verdict();
        assert!(verdict.holds(), "{verdict}");
        verdict
    }

    fn breaks(&self, rule: Check) {
        let verdict = self.verdict();
        assert!(verdict.breaks(rule) && verdict.violations_total == 1, "{verdict}");
    }
}

#[test]
fn k15_what_is_delivered_and_stored_holds() {
    let mut pen = Pen::with_members();
    pen.delivers(1);
    pen.says(Delivering::Sent { channel: channel(), id: id(1) });
    pen.page(pen.1 + 1, &[1]);
    pen.archived(1);
    pen.shows(&[1]);
    let Verdict { taken, accepted, archived, repeated, hole, deliveries, .. } = pen.holds();
    assert_eq!((taken, accepted, archived, repeated, hole), (1, 1, 1, 1, 0));
    assert_eq!(deliveries, 2);
}

#[test]
fn k15_what_is_not_stored_is_lost_unless_redis_lost_it_with_its_sender() {
    let mut pen = Pen::with_members();
    pen.delivers(1);
    pen.breaks(Check::K15Archived);
    pen.0.lost.insert(id(1));
    // Its sender lives.
    pen.breaks(Check::K15Archived);
    pen.abandons(1);
    pen.shows(&[1]);
    assert_eq!(pen.holds().hole, 1);
    pen.0.lost.clear();
    assert!(pen.verdict().breaks(Check::K15Archived), "nobody lost it");
}

#[test]
fn k15_what_all_devices_have_need_not_be_stored_where_only_what_one_lacks_is_kept() {
    let dropped = |archived_before_bob: bool, keeps_acked: bool| {
        let mut pen = Pen::with_members();
        pen.says(Delivering::Opened { channel: channel(), keeps_acked });
        pen.takes(1);
        pen.accepted(1, true);
        pen.seen(1, 1);
        let archived = Delivering::Archived { channel: channel(), id: id(1), is_stored: false };
        if archived_before_bob {
            pen.says(archived.clone());
        }
        pen.seen(2, 1);
        pen.says(archived);
        pen.shows(&[1]);
        pen.page(pen.1 + 1, &[]);
        pen
    };
    assert_eq!(dropped(false, true).holds().dropped, 1);
    dropped(true, true).breaks(Check::K16Accepted);
    assert!(dropped(false, false).verdict().breaks(Check::K15Archived));
}

#[test]
fn k15_a_device_has_what_any_of_its_processes_has() {
    let missed_by_the_first = |device: &str| {
        let mut pen = Pen::with_members();
        pen.says(Delivering::Opened { channel: channel(), keeps_acked: true });
        let runs = |client, device: &str| {
            let device = device.parse().unwrap();
            Delivering::Runs { client: ClientId(client), device }
        };
        pen.says(runs(2, "phone"));
        pen.push(Event::Leaves { client: ClientId(2) });
        pen.push(Event::Starts { client: ClientId(3), user: user("bob") });
        pen.push(Event::Follows { client: ClientId(3) });
        pen.says(runs(3, device));
        pen.takes(1);
        pen.accepted(1, true);
        pen.seen(1, 1);
        pen.seen(3, 1);
        pen.says(Delivering::Archived { channel: channel(), id: id(1), is_stored: false });
        pen
    };
    assert_eq!(missed_by_the_first("phone").holds().dropped, 1);
    assert!(missed_by_the_first("tablet").verdict().breaks(Check::K15Archived));
}

#[test]
fn k15_what_never_left_its_device_may_die_with_it() {
    let mut pen = Pen::with_members();
    pen.takes(1);
    pen.abandons(1);
    assert_eq!(pen.holds().hole, 0);
    pen.seen(2, 1);
    pen.breaks(Check::K15Archived);
}

#[test]
fn k15_a_refusal_ends_the_keeping_and_archived_does_not_lie() {
    let mut pen = Pen::with_members();
    pen.takes(1);
    pen.says(Delivering::Failed { channel: channel(), id: id(1) });
    assert_eq!(pen.holds().refused, 1);
    pen.says(Delivering::Archived { channel: channel(), id: id(1), is_stored: true });
    pen.breaks(Check::K15Archived);
}

#[test]
fn k15_a_message_is_stored_once_and_as_it_was_sent() {
    let mut doubled = Pen::with_members();
    doubled.delivers(1);
    doubled.delivers(2);
    doubled.archived(1);
    doubled.stores(2, 1);
    let verdict = doubled.verdict();
    assert_eq!((verdict.doubled, verdict.violations_total), (1, 2), "{verdict}");
    let mut other = Pen::with_members();
    other.delivers(1);
    other.stores(1, 2);
    other.breaks(Check::K15Archived);
    let mut of_nobody = Pen::with_members();
    of_nobody.stores(1, 1);
    of_nobody.breaks(Check::K15Archived);
}

#[test]
fn k15_everybody_has_what_is_stored_and_shows_nothing_else() {
    let mut lacking = Pen::with_members();
    lacking.takes(1);
    lacking.seen(1, 1);
    lacking.archived(1);
    lacking.breaks(Check::K15Archived);
    let mut besides = Pen::with_members();
    besides.delivers(1);
    besides.says(Delivering::Failed { channel: channel(), id: id(1) });
    besides.shows(&[1]);
    besides.breaks(Check::K15Archived);
    besides.0.lost.insert(id(1));
    besides.holds();
}

#[test]
fn k15_what_is_accepted_arrives_soon() {
    let mut pen = Pen::with_members();
    pen.takes(1);
    pen.accepted(1, true);
    pen.seen(1, 1);
    pen.1 += 5_000;
    pen.seen(2, 1);
    pen.archived(1);
    pen.breaks(Check::K7Alive);
}

#[test]
fn k15_who_was_removed_gets_nothing() {
    let mut pen = Pen::with_members();
    pen.changes("bob", Change::Remove);
    pen.delivers(1);
    pen.archived(1);
    pen.breaks(Check::K4Leak);
}

#[test]
fn k15_a_page_has_what_was_accepted_before() {
    let mut pen = Pen::with_members();
    pen.delivers(1);
    pen.archived(1);
    let after = pen.1;
    pen.page(after - 3, &[]);
    pen.holds();
    pen.page(after, &[]);
    pen.breaks(Check::K15Archived);
}

#[test]
fn k16_what_is_accepted_is_kept_unless_redis_lost_it() {
    let mut pen = Pen::with_members();
    pen.takes(1);
    pen.accepted(1, false);
    pen.seen(1, 1);
    pen.seen(2, 1);
    pen.archived(1);
    pen.breaks(Check::K16Accepted);
    let mut lost = Pen::with_members();
    lost.takes(1);
    lost.push(Event::FaultBegan { kind: "flushed".to_owned() });
    lost.push(Event::FaultEnded { kind: "flushed".to_owned() });
    lost.accepted(1, false);
    lost.seen(1, 1);
    lost.seen(2, 1);
    lost.archived(1);
    lost.holds();
    lost.says(Delivering::Sent { channel: channel(), id: id(1) });
    lost.accepted(1, false);
    lost.breaks(Check::K16Accepted);
}

#[test]
fn k16_nobody_says_stored_before_it_is() {
    let mut pen = Pen::with_members();
    pen.delivers(1);
    pen.says(Delivering::Archived { channel: channel(), id: id(1), is_stored: false });
    pen.stores(1, 1);
    pen.breaks(Check::K16Accepted);
}

#[test]
fn k16_nobody_is_said_to_have_read_what_they_did_not_share() {
    let (user, channel) = (user("bob"), channel());
    let shares =
        |n: u64| Delivering::Shares { user: user.clone(), channel: channel.clone(), up_to: id(n) };
    let read =
        |n: u64| Delivering::Read { user: user.clone(), channel: channel.clone(), up_to: id(n) };
    let mut pen = Pen::with_members();
    pen.says(shares(2));
    pen.says(shares(1));
    pen.says(read(2));
    pen.holds();
    pen.says(read(3));
    pen.breaks(Check::K16Accepted);
}

#[test]
fn k16_a_receipt_is_not_ahead_of_what_a_device_said_and_got() {
    let got = |n: u64| Delivering::Got { client: ClientId(2), channel: channel(), up_to: id(n) };
    let receipt =
        |n: u64| Delivering::Receipt { user: user("bob"), channel: channel(), up_to: id(n) };
    let mut pen = Pen::with_members();
    pen.delivers(1);
    pen.archived(1);
    pen.delivers(2);
    pen.archived(2);
    pen.says(got(1));
    pen.says(receipt(1));
    pen.holds();
    pen.says(receipt(2));
    pen.breaks(Check::K16Accepted);
    let mut liar = Pen::with_members();
    liar.says(got(1));
    liar.breaks(Check::K16Accepted);
}
