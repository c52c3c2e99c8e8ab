//! Small runs with one defect each, which the checker must find.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{
    ChangeId, ChannelId, Emoji, Epoch, LogId, MessageId, ReadMark, Rev, TextDigest, Timestamp,
    UnreadCount, UserId,
};

use super::*;

const BOUNDS: Bounds = Bounds {
    settle: Duration::from_secs(5),
    sent_again: Duration::ZERO,
    explains: |kind| kind != "quiet",
    resyncs_per_fault: 1,
    resyncs_besides: 0,
    ends_sessions: |kind| kind != "quiet",
    removals_known: Duration::ZERO,
};

fn channel() -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(1), 1)
}

fn log() -> LogId {
    channel().into()
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn id(ms: u64) -> MessageId {
    MessageId::mint(Timestamp::from_unix_ms(ms), 1)
}

fn text(n: u64) -> TextDigest {
    let mut digest = [0; 32];
    digest[0] = u8::try_from(n).unwrap();
    TextDigest(digest)
}

/// Writes a history in which bob follows with client 1 and alice sends.
#[derive(Default)]
struct Pen(History, u64);

impl Pen {
    fn with_members() -> Self {
        let mut pen = Self::default();
        for name in ["alice", "bob"] {
            pen.changes(name, Change::Add);
        }
        pen.push(Event::Starts { client: ClientId(1), user: user("bob") });
        pen.push(Event::Follows { client: ClientId(1) });
        pen
    }

    fn push(&mut self, event: Event) {
        self.1 += 1;
        self.0.record(Duration::from_millis(self.1), event);
    }

    fn starts(&mut self, name: &str, change: Change) {
        self.push(Event::ChangeStarted { channel: channel(), user: user(name), change });
    }

    fn returns(&mut self, name: &str, change: Change) {
        self.push(Event::ChangeReturned { channel: channel(), user: user(name), change });
    }

    fn changes(&mut self, name: &str, change: Change) {
        self.starts(name, change);
        self.returns(name, change);
    }

    fn post(&mut self, n: u64, after: Option<MessageId>) {
        let (sender, text) = (user("alice"), text(n));
        let start = Event::SendStarted { send: SendId(n), log: log(), sender, text, after };
        self.push(start);
    }

    fn end(&mut self, n: u64, outcome: SendOutcome) {
        self.push(Event::SendEnded { send: SendId(n), outcome });
    }

    fn store(&mut self, n: u64, id: MessageId) {
        let (sender, text) = (user("alice"), text(n));
        let rev = Rev::of(id);
        let (is_deleted, reactions) = (false, BTreeMap::new());
        let log = log();
        let present = text;
        let item = StoredItem {
            log,
            id,
            sender,
            text,
            present,
            rev,
            is_deleted,
            reactions,
            is_pinned: false,
            replies: None,
        };
        self.0.stored.push(item);
    }

    /// A successful send.
    fn sent(&mut self, n: u64) {
        self.post(n, None);
        self.store(n, id(n));
        self.end(n, SendOutcome::Stored(id(n)));
    }

    fn seen(&mut self, n: u64, fresh: bool) {
        let (id, rev) = (id(n), Rev::of(id(n)));
        self.push(Event::Seen { client: ClientId(1), log: log(), id, rev, fresh });
    }

    fn verdict(&self) -> Verdict {
        check(&self.0, &BOUNDS)
    }
}

/// These messages, as they were sent.
fn shown(ids: Vec<MessageId>) -> Shown {
    let revs = ids.iter().copied().map(Rev::of).collect();
    Shown { client: ClientId(1), log: log(), ids, revs }
}

#[test]
fn a_correct_run_holds() {
    let mut pen = Pen::with_members();
    pen.sent(1);
    pen.seen(1, true);
    pen.seen(1, false);
    let ids = vec![id(1)];
    pen.0.shown.push(shown(ids));
    let verdict = pen.verdict();
    assert!(verdict.holds(), "{verdict}");
    assert_eq!((verdict.acknowledged, verdict.deliveries, verdict.raw_duplicates), (1, 1, 1));
}

#[test]
fn k1_an_acknowledged_message_that_is_not_stored_is_lost() {
    let mut pen = Pen::with_members();
    pen.post(1, None);
    pen.end(1, SendOutcome::Stored(id(1)));
    pen.seen(1, true);
    assert!(pen.verdict().breaks(Check::K1Stored));
    assert_eq!(pen.verdict().lost, 1);
}

#[test]
fn k1_two_items_of_one_send_are_doubled() {
    let mut pen = Pen::with_members();
    pen.sent(1);
    pen.store(1, id(2));
    pen.seen(1, true);
    assert!(pen.verdict().breaks(Check::K1Stored));
    assert_eq!(pen.verdict().doubled, 1);
}

#[test]
fn k1_a_refused_send_must_not_be_stored_and_an_unknown_one_may() {
    let mut pen = Pen::with_members();
    pen.post(1, None);
    pen.end(1, SendOutcome::Unknown);
    pen.store(1, id(1));
    assert!(pen.verdict().holds());
    pen.post(2, None);
    pen.end(2, SendOutcome::NotStored);
    assert!(pen.verdict().holds());
    pen.store(2, id(2));
    assert!(pen.verdict().breaks(Check::K1Stored));
}

#[test]
fn k2_a_missing_message_is_lost_and_one_shown_twice_doubled() {
    let mut pen = Pen::with_members();
    pen.sent(1);
    assert!(pen.verdict().breaks(Check::K2Delivered));
    assert_eq!(pen.verdict().lost, 1);
    pen.seen(1, true);
    pen.seen(1, true);
    assert!(pen.verdict().breaks(Check::K2Delivered));
    assert_eq!((pen.verdict().lost, pen.verdict().doubled), (0, 1));
}

#[test]
fn k2_a_message_sent_while_a_user_may_not_be_a_member_need_not_reach_them() {
    let mut pen = Pen::with_members();
    pen.starts("bob", Change::Remove);
    pen.sent(1);
    assert!(pen.verdict().holds(), "a removal in flight may have happened");
    pen.returns("bob", Change::Remove);
    pen.changes("bob", Change::Add);
    assert!(pen.verdict().holds(), "sent before the addition");
    pen.sent(2);
    assert_eq!(pen.verdict().lost, 1, "a member again");
}

#[test]
fn k3_order_phantoms_and_replies() {
    let mut pen = Pen::with_members();
    pen.sent(1);
    pen.sent(2);
    pen.seen(1, true);
    pen.seen(2, true);
    let ids = vec![id(2), id(1)];
    pen.0.shown = vec![shown(ids)];
    assert!(pen.verdict().breaks(Check::K3Order));
    pen.0.shown[0].ids = vec![id(1), id(3)];
    assert!(pen.verdict().breaks(Check::K3Order), "3 was never stored");
    pen.0.shown.clear();
    assert!(pen.verdict().holds());
    pen.post(4, Some(id(9)));
    pen.store(4, id(4));
    pen.end(4, SendOutcome::Stored(id(4)));
    pen.seen(4, true);
    assert!(pen.verdict().breaks(Check::K3Order), "4 answers 9");
}

#[test]
fn k4_a_message_posted_after_a_removal_returned_is_a_leak() {
    let mut pen = Pen::with_members();
    pen.starts("bob", Change::Remove);
    pen.sent(1);
    pen.seen(1, true);
    pen.returns("bob", Change::Remove);
    assert!(pen.verdict().holds(), "concurrent: either way");
    pen.sent(2);
    pen.seen(2, true);
    assert!(pen.verdict().breaks(Check::K4Leak));
    assert_eq!(pen.verdict().leaked, 1);
}

#[test]
fn k4_a_user_being_added_again_may_see_it_and_a_stranger_never() {
    let mut pen = Pen::with_members();
    pen.changes("bob", Change::Remove);
    pen.sent(1);
    pen.starts("bob", Change::Add);
    pen.seen(1, true);
    assert!(pen.verdict().holds());
    pen.push(Event::Starts { client: ClientId(2), user: user("eve") });
    pen.push(Event::Seen {
        client: ClientId(2),
        log: log(),
        id: id(1),
        rev: Rev::of(id(1)),
        fresh: true,
    });
    assert_eq!(pen.verdict().leaked, 1);
}

#[test]
fn k7_late_arrivals_and_needless_resyncs() {
    let mut pen = Pen::with_members();
    pen.sent(1);
    pen.1 += 6_000;
    pen.seen(1, true);
    assert!(pen.verdict().breaks(Check::K7Alive), "a second too late");
    assert!(pen.verdict().slowest >= Duration::from_secs(6));
    pen.push(Event::FaultBegan { kind: "x".to_owned() });
    pen.push(Event::FaultEnded { kind: "x".to_owned() });
    assert!(pen.verdict().holds(), "the fault explains it");
    pen.push(Event::Resynced { client: ClientId(1) });
    assert!(pen.verdict().holds());
    pen.push(Event::Resynced { client: ClientId(1) });
    assert!(pen.verdict().breaks(Check::K7Alive), "one fault, two resyncs");
    pen.push(Event::FaultBegan { kind: "quiet".to_owned() });
    pen.push(Event::FaultEnded { kind: "quiet".to_owned() });
    assert!(pen.verdict().breaks(Check::K7Alive), "a fault that explains none");
    assert_eq!((pen.verdict().resyncs_most, pen.verdict().slowest), (2, Duration::ZERO));
}

#[test]
fn k8_a_copy_that_ends_in_another_revision_is_found() {
    let mut pen = Pen::with_members();
    pen.sent(1);
    pen.seen(1, true);
    pen.0.shown.push(shown(vec![id(1)]));
    let rev = Rev::of(id(9));
    let change_id = None;
    pen.push(Event::Revised { log: log(), id: id(1), rev: rev.clone(), change_id });
    let verdict = pen.verdict();
    assert!(verdict.breaks(Check::K8Converged));
    assert_eq!((verdict.changes, verdict.lost, verdict.diverged), (1, 1, 0), "it is not stored");
    pen.0.stored[0].rev = rev.clone();
    let verdict = pen.verdict();
    assert!(verdict.breaks(Check::K8Converged));
    assert_eq!((verdict.lost, verdict.diverged), (0, 1), "the client shows the first one");
    pen.0.shown[0].revs = vec![rev];
    assert!(pen.verdict().holds());
    pen.push(Event::Leaves { client: ClientId(1) });
    pen.0.shown[0].revs = vec![Rev::of(id(1))];
    assert!(!pen.verdict().breaks(Check::K8Converged), "who left is not judged");
}

#[test]
fn k9_a_summary_that_counts_wrong_is_found() {
    let mut pen = Pen::with_members();
    pen.sent(1);
    let emoji = Emoji::parse("👍").unwrap();
    let act = |n: u64| ChangeId::parse(&id(n).to_string()).unwrap();
    let reacts = |n: u64, who: &str, is_made: bool| {
        let (log, id, user, emoji) = (log(), id(1), user(who), emoji.clone());
        Event::Reacts { log, id, user, emoji, change_id: act(n), is_made }
    };
    for (n, who, is_made) in [(2, "alice", true), (4, "alice", false), (3, "alice", true)] {
        pen.push(reacts(n, who, is_made));
        pen.push(Event::Acted { change_id: act(n) });
    }
    pen.push(reacts(5, "bob", true));
    let counting = |pen: &mut Pen, count: u64| {
        let counts = (count > 0).then(|| (emoji.clone(), count));
        pen.0.stored[0].reactions = counts.into_iter().collect();
        pen.verdict().miscounted
    };
    assert_eq!(counting(&mut pen, 0), 0, "the greatest act of alice wins");
    assert_eq!(counting(&mut pen, 1), 0, "bob's act was not answered: it may count");
    assert_eq!(counting(&mut pen, 2), 1);
    pen.push(Event::Acted { change_id: act(5) });
    assert_eq!(counting(&mut pen, 0), 1);
    assert_eq!(counting(&mut pen, 1), 0);
    pen.0.stored[0].is_deleted = true;
    assert_eq!(counting(&mut pen, 1), 1, "a deleted message has none");
    assert_eq!(pen.verdict().changes, 4);
    assert!(pen.verdict().breaks(Check::K9Counted));
}

#[test]
fn k9_a_pin_that_no_act_made_is_found() {
    let mut pen = Pen::with_members();
    pen.sent(1);
    let act = |n: u64| ChangeId::parse(&id(n).to_string()).unwrap();
    for (n, is_made) in [(2, true), (4, false), (3, true)] {
        let (log, id, change_id) = (log(), id(1), act(n));
        pen.push(Event::Pins { log, id, change_id, is_made });
        pen.push(Event::Acted { change_id });
    }
    let is_wrong = |pen: &Pen| pen.verdict().breaks(Check::K9Counted);
    assert!(!is_wrong(&pen), "the greatest act unpins");
    pen.0.stored[0].is_pinned = true;
    assert!(is_wrong(&pen));
    let change_id = act(5);
    pen.push(Event::Pins { log: log(), id: id(1), change_id, is_made: true });
    assert!(!is_wrong(&pen), "that act was not answered: it may count");
    pen.push(Event::Acted { change_id });
    assert!(!is_wrong(&pen));
    pen.0.stored[0].is_deleted = true;
    assert!(is_wrong(&pen), "a deleted message is not pinned");
}

#[test]
fn k10_a_wrong_count_and_a_mark_that_moved_back_are_found() {
    let mut pen = Pen::with_members();
    for n in 1..=3 {
        pen.sent(n);
    }
    let mark = |n: u64| ReadMark { epoch: Epoch::FIRST, up_to: id(n) };
    let told = |who: &str, n: u64, count: u32| Unread {
        user: user(who),
        channel: channel(),
        mark: mark(n),
        count: UnreadCount::Exact(count),
    };
    let verdict_of = |pen: &mut Pen, unread: Unread| {
        pen.0.unread = vec![unread];
        pen.verdict().breaks(Check::K10Unread)
    };
    assert!(!verdict_of(&mut pen, told("bob", 1, 2)) && verdict_of(&mut pen, told("bob", 1, 3)));
    assert!(!verdict_of(&mut pen, told("alice", 1, 0)), "her own messages do not count");
    pen.push(Event::Marked { user: user("bob"), channel: channel(), mark: mark(2) });
    assert!(verdict_of(&mut pen, told("bob", 1, 2)), "it moved back");
    assert!(!verdict_of(&mut pen, told("bob", 2, 1)));
    pen.0.stored[2].is_deleted = true;
    assert!(!verdict_of(&mut pen, told("bob", 2, 0)) && verdict_of(&mut pen, told("bob", 2, 1)));
    pen.starts("bob", Change::Remove);
    assert!(!verdict_of(&mut pen, told("bob", 1, 1)), "a member who left has a new mark");
}

#[test]
fn k8_an_edit_that_a_former_one_replaced_is_found() {
    let mut pen = Pen::with_members();
    pen.sent(1);
    let change = |n: u64| ChangeId::parse(&id(n).to_string()).unwrap();
    for n in [2, 3, 4] {
        let (log, id, text) = (log(), id(1), text(n));
        pen.push(Event::Edits { log, id, change_id: change(n), text });
    }
    let rev = Rev::of(id(1));
    for n in [2, 3] {
        let (log, id, rev) = (log(), id(1), rev.clone());
        pen.push(Event::Revised { log, id, rev, change_id: Some(change(n)) });
    }
    for (n, is_lost) in [(1, true), (2, true), (3, false), (4, false)] {
        pen.0.stored[0].present = text(n);
        assert_eq!(pen.verdict().breaks(Check::K8Converged), is_lost, "{n}");
    }
    pen.0.stored[0].present = text(2);
    pen.0.stored[0].is_deleted = true;
    assert!(!pen.verdict().breaks(Check::K8Converged));
}
