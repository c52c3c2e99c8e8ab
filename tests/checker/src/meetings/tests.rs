//! Small histories of one channel, with one defect each.

use model::{Presence, Timestamp};

use super::*;
use crate::{Change, SayOutcome, Verdict, Viewed, check};

fn channel() -> ChannelId {
    ChannelId::mint_group(Timestamp::from_unix_ms(1), 1)
}

fn at(session: u64, n: u64) -> SessionPosition {
    SessionPosition { session: SessionId::mint(Timestamp::from_unix_ms(session), 1), n }
}

fn id(n: u64) -> MessageId {
    MessageId::mint(Timestamp::from_unix_ms(n), 1)
}

/// Writes what alice says, and what bob's client hears.
#[derive(Default)]
struct Pen(History, u64);

impl Pen {
    fn with_members() -> Self {
        let mut pen = Self::default();
        for name in ["alice", "bob"] {
            pen.changes(name, Change::Add);
        }
        let user = UserId::parse("bob").unwrap();
        pen.push(Event::Starts { client: ClientId(1), user });
        pen
    }

    fn push(&mut self, event: Event) {
        self.1 += 1;
        self.0.record(Duration::from_millis(self.1), event);
    }

    fn meeting(&mut self, event: Meeting) {
        self.push(Event::Meeting(event));
    }

    fn changes(&mut self, name: &str, change: Change) {
        let user = UserId::parse(name).unwrap();
        self.push(Event::ChangeStarted { channel: channel(), user: user.clone(), change });
        self.push(Event::ChangeReturned { channel: channel(), user, change });
    }

    fn says(&mut self, say: u64, n: u64) {
        self.meeting(Meeting::Says { say: SendId(say), channel: channel(), id: id(say) });
        let outcome = SayOutcome::Accepted(n);
        self.meeting(Meeting::SayEnded { say: SendId(say), outcome });
    }

    fn joins(&mut self, socket: u64, after: Option<SessionPosition>) {
        let (socket, client) = (SocketId(socket), ClientId(1));
        self.meeting(Meeting::Joins { socket, client, channel: channel(), after });
    }

    fn joined(&mut self, socket: u64, at: SessionPosition, missed: Option<u64>) {
        let (socket, client) = (SocketId(socket), ClientId(1));
        self.meeting(Meeting::Joined { socket, client, channel: channel(), at, missed });
    }

    fn said(&mut self, socket: u64, n: u64, say: u64) {
        let (socket, client) = (SocketId(socket), ClientId(1));
        self.meeting(Meeting::Said { socket, client, channel: channel(), n, id: id(say) });
    }

    fn heard(&mut self, n: u64, missing: u64) {
        self.meeting(Meeting::Heard { client: ClientId(1), channel: channel(), n, missing });
    }

    fn verdict(&self) -> Verdict {
        let mut bounds = Bounds::of_any_fault(Duration::from_secs(5), 1);
        bounds.ends_sessions = |kind| kind == "flushed";
        check(&self.0, &bounds)
    }

    fn breaks(&self, rule: Check) {
        let verdict = self.verdict();
        assert!(verdict.breaks(rule) && verdict.violations_total == 1, "{verdict}");
    }
}

#[test]
fn k11_a_sound_meeting_holds() {
    let mut pen = Pen::with_members();
    pen.says(1, 1);
    pen.joins(1, None);
    pen.joined(1, at(1, 1), Some(1));
    pen.says(2, 2);
    pen.said(1, 2, 2);
    pen.heard(2, 0);
    pen.says(3, 3);
    pen.says(4, 4);
    pen.said(1, 4, 4);
    pen.heard(4, 1);
    pen.says(5, 5);
    pen.joins(2, Some(at(1, 4)));
    pen.joined(2, at(1, 5), Some(1));
    pen.push(Event::FaultBegan { kind: "flushed".to_owned() });
    pen.says(6, 1);
    pen.joined(2, at(2, 0), None);
    pen.said(2, 1, 6);
    pen.heard(1, 0);
    let verdict = pen.verdict();
    assert!(verdict.holds(), "{verdict}");
    let Verdict { joins, said, heard, missed, .. } = verdict;
    assert_eq!((joins, said, heard, missed), (2, 6, 3, 2));
}

#[test]
fn k11_what_was_said_before_or_to_nobody_who_joined_is_a_leak() {
    let mut before = Pen::with_members();
    before.says(1, 1);
    before.joins(1, None);
    before.joined(1, at(1, 1), Some(1));
    before.said(1, 1, 1);
    before.breaks(Check::K11Apart);
    let mut not_joined = Pen::with_members();
    not_joined.says(1, 1);
    not_joined.said(1, 1, 1);
    not_joined.breaks(Check::K11Apart);
    let mut left = Pen::with_members();
    left.joins(1, None);
    left.joined(1, at(1, 0), Some(0));
    left.meeting(Meeting::Left { socket: SocketId(1), channel: channel() });
    left.says(1, 1);
    left.said(1, 1, 1);
    left.breaks(Check::K11Apart);
}

#[test]
fn k11_who_was_removed_hears_nothing() {
    let mut pen = Pen::with_members();
    pen.joins(1, None);
    pen.joined(1, at(1, 0), Some(0));
    pen.changes("bob", Change::Remove);
    pen.says(1, 1);
    pen.said(1, 1, 1);
    pen.breaks(Check::K4Leak);
}

#[test]
fn k11_nothing_is_said_in_a_channel_that_is_over() {
    let mut pen = Pen::with_members();
    pen.meeting(Meeting::Over { channel: channel() });
    pen.says(1, 1);
    assert!(pen.verdict().holds(), "a node may not know it yet");
    pen.1 += 12_000;
    pen.says(2, 2);
    pen.breaks(Check::K11Apart);
}

#[test]
fn k12_a_number_that_repeats_is_found() {
    let mut heard_twice = Pen::with_members();
    heard_twice.joins(1, None);
    heard_twice.joined(1, at(1, 0), Some(0));
    heard_twice.says(1, 1);
    heard_twice.said(1, 1, 1);
    heard_twice.said(1, 1, 1);
    heard_twice.breaks(Check::K12Numbers);
    let mut accepted_twice = Pen::with_members();
    accepted_twice.joins(1, None);
    accepted_twice.joined(1, at(1, 0), Some(0));
    accepted_twice.says(1, 1);
    accepted_twice.says(2, 1);
    accepted_twice.breaks(Check::K12Numbers);
    let mut two_numbers = Pen::with_members();
    two_numbers.joins(1, None);
    two_numbers.joined(1, at(1, 0), Some(0));
    two_numbers.says(1, 1);
    two_numbers.said(1, 2, 1);
    two_numbers.breaks(Check::K12Numbers);
}

#[test]
fn k12_what_was_missed_is_exact() {
    for (after, told, holds) in [
        (None, Some(3), true),
        (None, Some(2), false),
        (Some(at(1, 1)), Some(2), true),
        (Some(at(1, 1)), Some(3), false),
        (Some(at(1, 1)), None, false),
        (Some(at(9, 1)), None, true),
        (Some(at(9, 1)), Some(2), false),
    ] {
        let mut pen = Pen::with_members();
        for n in 1..=3 {
            pen.says(n, n);
        }
        pen.joins(1, after);
        pen.joined(1, at(1, 3), told);
        let verdict = pen.verdict();
        assert_eq!(!verdict.breaks(Check::K12Numbers), holds, "{after:?}, {told:?}: {verdict}");
    }
}

#[test]
fn k12_who_joins_is_told_of_all_that_was_accepted_before_and_of_nothing_later() {
    let mut too_far = Pen::with_members();
    too_far.joins(1, None);
    too_far.joined(1, at(1, 1), Some(1));
    too_far.says(1, 1);
    too_far.joins(2, None);
    too_far.joined(2, at(1, 0), Some(0));
    too_far.said(2, 1, 1);
    assert!(too_far.verdict().breaks(Check::K12Numbers), "{}", too_far.verdict());
}

#[test]
fn k12_a_hole_is_reported() {
    for (missing, holds) in [(1, true), (0, false)] {
        let mut pen = Pen::with_members();
        pen.joins(1, None);
        pen.joined(1, at(1, 0), Some(0));
        pen.says(1, 1);
        pen.says(2, 2);
        pen.said(1, 2, 2);
        pen.heard(2, missing);
        assert_eq!(pen.verdict().holds(), holds);
    }
}

#[test]
fn k12_a_session_ends_only_with_a_fault() {
    let mut pen = Pen::with_members();
    pen.joins(1, None);
    pen.joined(1, at(1, 0), Some(0));
    pen.joins(2, Some(at(1, 0)));
    pen.joined(2, at(2, 0), None);
    pen.breaks(Check::K12Numbers);
}

#[test]
fn k13_what_is_left_and_what_is_no_publication_is_found() {
    let mut pen = Pen::with_members();
    let entry = |id: &str| ("stream".to_owned(), id.to_owned());
    pen.0.lasting.published.insert(entry("a"));
    pen.0.lasting.appended = vec![entry("a"), entry("a")];
    assert!(pen.verdict().holds());
    pen.0.lasting.appended.push(entry("b"));
    pen.breaks(Check::K13Lasting);
    pen.0.lasting.appended.clear();
    pen.0.lasting.found.push("a key".to_owned());
    pen.breaks(Check::K13Lasting);
    assert_eq!(pen.verdict().left, 1);
    pen.0.lasting.found.clear();
    pen.0.lasting.cursors.push("said".to_owned());
    pen.breaks(Check::K13Lasting);
}

#[test]
fn k14_who_is_not_shown_as_they_are_is_found() {
    let user = UserId::parse("alice").unwrap();
    let mut pen = Pen::with_members();
    for (is, shown, holds) in [
        (Presence::Active, Some(Presence::Active), true),
        (Presence::Offline, Some(Presence::Active), false),
        (Presence::Active, None, false),
    ] {
        pen.0.viewed = vec![Viewed { client: ClientId(1), user: user.clone(), is, shown }];
        assert_eq!(!pen.verdict().breaks(Check::K14Present), holds);
    }
}
