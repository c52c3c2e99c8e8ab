use model::{Message, Rev};

use super::*;

/// Alice is in a channel and has its first message. Then the stream is flushed, and gets one later
/// message, which is not delivered.
fn flushed() -> (Fixture, ChannelId, SocketId, Position) {
    flushed_before(message(&channel(1), 1, "in the new stream"))
}

/// The same, with this entry in the new stream.
fn flushed_before(what: What) -> (Fixture, ChannelId, SocketId, Position) {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    fixture.push(message(&c, 1, "first"));
    fixture.refreshed(&c, 1, &["alice"]);
    let before = fixture.entries.last().unwrap().position;
    fixture.entries.clear();
    fixture.now = Timestamp::from_unix_ms(2_000_000);
    let mut later = fixture.entry(what);
    later.position.entry.ms = 1_900_000;
    *fixture.entries.last_mut().unwrap() = later.clone();
    fixture.input(Input::Entry(later));
    fixture.answer_fill();
    fixture.answer_fill();
    (fixture, c, alice, before)
}

fn stored(c: &ChannelId, n: u64, text: &str) -> Message {
    let id = MessageId::mint(Timestamp::from_unix_ms(n), u128::from(n) * 7_919);
    let text = MessageText::from_stored(text.to_owned());
    Message::new(id, c.clone(), user("sender"), text)
}

fn history(messages: Vec<Message>, members: &[&str]) -> Option<History> {
    let members = members.iter().map(|name| member(name, 0)).collect();
    Some(History { messages, members: ChannelMembers { version: 1, members } })
}

/// The history reads that the last effects request.
fn readings(fixture: &Fixture) -> Vec<(RepairId, ChannelId, Timestamp)> {
    let reading = |effect: &Effect| match effect {
        Effect::ReadHistory { id, channel, since } => Some((*id, channel.clone(), *since)),
        _ => None,
    };
    fixture.effects.iter().filter_map(reading).collect()
}

fn answer(fixture: &mut Fixture, c: &ChannelId, history: Option<History>) {
    let (id, ..) = readings(fixture)[0].clone();
    fixture.input(Input::HistoryRead { id, channel: c.clone(), history });
}

#[test]
fn g4_an_entry_of_a_later_version_in_a_new_stream_causes_a_resync() {
    let (mut fixture, c, alice, _) = flushed_before(unknown());
    fixture.load("alice", &[&c]);
    answer(&mut fixture, &c, history(Vec::new(), &["alice"]));
    assert_eq!(fixture.rereads(), [(alice, None)], "a backfill does not bring what it said");
}

#[test]
fn g4_what_the_stream_has_lost_is_pushed_from_the_store() {
    let (mut fixture, c, alice, before) = flushed();
    assert!(!fixture.workspace.is_fresh());
    fixture.load("alice", &[&c]);
    let since = Timestamp::from_unix_ms(before.entry.ms).minus(limits::OVERLAP);
    let asked = readings(&fixture);
    assert!(matches!(&asked[..], [(_, of, from)] if *of == c && *from == since), "{asked:?}");
    // The first message has the id that was pushed before the flush: Alice has it.
    let lost = vec![stored(&c, 2, "first"), stored(&c, 50, "lost"), stored(&c, 60, "streamed")];
    answer(&mut fixture, &c, history(lost, &["alice"]));
    let expected = ["lost", "streamed"].map(|text| (alice, text.to_owned()));
    assert_eq!(fixture.delivered(), expected);
    assert_eq!(fixture.cursor_of_last(), before.to_string(), "the cursor from before it");
    assert_eq!(fixture.resynced(), []);
    assert!(fixture.workspace.is_fresh());
    fixture.tick();
    assert_eq!(
        fixture.cursor_of_last(),
        fixture.entries[0].position.to_string(),
        "resumable again"
    );
    fixture.push(message(&c, 1, "and on"));
    assert_eq!(fixture.delivered(), [(alice, "and on".to_owned())], "the view is new as well");
}

#[test]
fn g4_a_backfill_tells_one_id_in_two_channels_apart() {
    let (mut fixture, c, alice, _) = flushed();
    let other = channel(2);
    fixture.load("alice", &[&c, &other]);
    // Clients choose message ids, which are unique within a channel only.
    let elsewhere = Message { channel_id: other.clone(), ..stored(&c, 2, "elsewhere") };
    let asked = readings(&fixture);
    assert_eq!(asked.len(), 2, "{asked:?}");
    let mut delivered = Vec::new();
    for (id, of, _) in asked {
        let message = if of == c { stored(&c, 2, "first") } else { elsewhere.clone() };
        let history = history(vec![message], &["alice"]);
        fixture.input(Input::HistoryRead { id, channel: of, history });
        delivered.extend(fixture.delivered());
    }
    assert_eq!(delivered, [(alice, "elsewhere".to_owned())]);
}

#[test]
fn g4_until_it_is_read_cursors_stay_and_nobody_attaches() {
    let (mut fixture, c, alice, before) = flushed();
    fixture.tick();
    assert_eq!(fixture.delivered(), [(alice, "tick false".to_owned())]);
    assert_eq!(fixture.cursor_of_last(), before.to_string());
    fixture.input(Input::Linked);
    fixture.answer_fill();
    assert_eq!(fixture.workspace.safe(), Some(before), "another fill pays nothing back");
    let bob = fixture.attach_with("bob", None);
    assert_eq!(fixture.delivered(), []);
    fixture.load("bob", &[&c]);
    assert_eq!(fixture.delivered(), [], "bob waits: {bob:?}");
}

#[test]
fn g4_rows_are_read_anew_before_the_channels_are_chosen() {
    let (mut fixture, c, alice, _) = flushed();
    let added_in_the_hole = channel(2);
    fixture.load("alice", &[&c, &added_in_the_hole]);
    let channels: Vec<ChannelId> = readings(&fixture).into_iter().map(|(_, of, _)| of).collect();
    assert_eq!(channels.len(), 2);
    let ((id, ..), other) = (readings(&fixture)[0].clone(), &added_in_the_hole);
    let of_other = history(vec![stored(other, 70, "in a new channel")], &["alice"]);
    fixture.input(Input::HistoryRead { id, channel: other.clone(), history: of_other });
    assert_eq!(fixture.delivered(), [(alice, "in a new channel".to_owned())]);
    assert!(!fixture.workspace.is_fresh(), "one channel is not read yet");
    let of_c = history(vec![stored(&c, 71, "not for alice any more")], &["bob"]);
    fixture.input(Input::HistoryRead { id, channel: c.clone(), history: of_c });
    let told = [(alice, "member_removed".to_owned())];
    assert_eq!(fixture.delivered(), told, "rows that were read after the messages judge them");
    assert!(fixture.workspace.is_fresh());
}

#[test]
fn g4_a_channel_that_cannot_be_read_is_told_to_its_members() {
    let (mut fixture, c, alice, _) = flushed();
    fixture.load("alice", &[&c]);
    answer(&mut fixture, &c, None);
    assert_eq!(fixture.resynced(), [alice]);
    assert!(fixture.workspace.is_fresh());
}

#[test]
fn g4_more_messages_than_a_socket_may_queue_are_a_resync() {
    let (mut fixture, c, alice, _) = flushed();
    fixture.load("alice", &[&c]);
    let many = 100..101 + limits::BACKFILL_TOTAL_MAX as u64;
    let messages = many.map(|n| stored(&c, n, "one of too many")).collect();
    answer(&mut fixture, &c, history(messages, &["alice"]));
    assert_eq!(fixture.resynced(), [alice]);
    assert!(!fixture.delivered().iter().any(|(_, text)| text == "one of too many"));
    assert!(fixture.workspace.is_fresh());
}

#[test]
fn g4_too_many_channels_are_a_resync() {
    let (mut fixture, _, alice, _) = flushed();
    let channels: Vec<ChannelId> =
        (0..=limits::BACKFILL_CHANNELS_MAX as u64).map(|n| channel(10 + n)).collect();
    fixture.load("alice", &channels.iter().collect::<Vec<_>>());
    assert_eq!(fixture.resynced(), [alice]);
    assert!(fixture.workspace.is_fresh());
}

#[test]
fn g4_a_backfill_begins_again_when_the_link_was_lost_meanwhile() {
    let (mut fixture, c, alice, before) = flushed();
    fixture.load("alice", &[&c]);
    let (stale, ..) = readings(&fixture)[0].clone();
    fixture.input(Input::Lost);
    let lost = || history(vec![stored(&c, 50, "lost")], &["alice"]);
    fixture.input(Input::HistoryRead { id: stale, channel: c.clone(), history: lost() });
    assert_eq!(fixture.effects, [], "nobody waits for it");
    fixture.input(Input::Linked);
    fixture.answer_fill();
    assert_eq!(fixture.workspace.safe(), Some(before));
    let again = fixture.effects.clone();
    fixture.input(Input::HistoryRead { id: stale, channel: c.clone(), history: lost() });
    assert_eq!(fixture.effects, [], "it may have been read before what was lost");
    fixture.effects = again;
    answer(&mut fixture, &c, lost());
    assert_eq!(fixture.delivered(), [(alice, "lost".to_owned())]);
    assert!(fixture.workspace.is_fresh());
}

#[test]
fn g4_what_was_held_when_the_stream_was_lost_is_owed() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    let alice = fixture.attach("alice", &[&c]);
    let safe = fixture.entries.last().unwrap().position;
    fixture.push(message(&c, 1, "held for a view"));
    fixture.entries.clear();
    fixture.input(Input::Linked);
    fixture.answer_fill();
    fixture.entry(marker());
    fixture.entries[0].position.entry.ms = 1_900_000;
    fixture.answer_fill();
    assert_eq!(fixture.workspace.safe(), Some(safe));
    fixture.load("alice", &[&c]);
    answer(&mut fixture, &c, history(vec![stored(&c, 2, "held for a view")], &["alice"]));
    assert_eq!(fixture.delivered(), [(alice, "held for a view".to_owned())]);
}

#[test]
fn g4_a_backfill_waits_for_a_store_that_is_away_and_closes_nobody() {
    let (mut fixture, c, alice, _) = flushed();
    fixture.after(Duration::from_secs(600));
    assert_eq!(fixture.effects, [], "no socket is closed, and no client gets a resync");
    fixture.tick();
    assert_eq!(fixture.delivered(), [(alice, "tick false".to_owned())]);
    // The rows of the first registration arrive last.
    let loaded = Some(LoadedUser { channels: vec![c.clone()], ..LoadedUser::default() });
    let mut registrations = (0..100).map(Registration::new);
    let is_awaited = |n: &Registration| fixture.workspace.awaits_user(&user("alice"), *n);
    let registration = registrations.find(is_awaited).unwrap();
    fixture.input(Input::UserLoaded { user: user("alice"), registration, loaded });
    answer(&mut fixture, &c, history(vec![stored(&c, 50, "lost")], &["alice"]));
    assert_eq!(fixture.delivered(), [(alice, "lost".to_owned())]);
}

/// Flushes the stream again; afterwards it holds one marker.
fn flush_again(fixture: &mut Fixture, ms: u64) {
    fixture.entries.clear();
    fixture.entry(marker());
    fixture.entries[0].position.entry.ms = ms;
    fixture.input(Input::Linked);
    fixture.answer_fill();
    fixture.answer_fill();
}

#[test]
fn g4_a_second_loss_of_the_stream_pushes_nothing_twice() {
    let (mut fixture, c, alice, _) = flushed();
    fixture.load("alice", &[&c]);
    let first = || vec![stored(&c, 2, "first"), stored(&c, 50, "lost")];
    answer(&mut fixture, &c, history(first(), &["alice"]));
    assert_eq!(fixture.delivered(), [(alice, "lost".to_owned())]);
    fixture.push(message(&c, 1, "live"));
    flush_again(&mut fixture, 1_950_000);
    fixture.load("alice", &[&c]);
    let all = [first(), vec![stored(&c, 60, "new")]].concat();
    answer(&mut fixture, &c, history(all, &["alice"]));
    assert_eq!(fixture.delivered(), [(alice, "new".to_owned())]);
}

#[test]
fn g4_what_was_pushed_while_a_backfill_ran_comes_once() {
    let (mut fixture, c, alice, _) = flushed();
    let load = fixture.effects.clone();
    // This message is stored and published while the store does not answer the node.
    let pushed = fixture.entry(message(&c, 1, "in the outage"));
    let id = MessageId::parse(&pushed.publication.id.to_string()).unwrap();
    fixture.input(Input::Entry(pushed));
    fixture.effects = load;
    fixture.load("alice", &[&c]);
    let in_the_outage = Message { id, rev: Rev::of(id), ..stored(&c, 1, "in the outage") };
    answer(&mut fixture, &c, history(vec![in_the_outage], &["alice"]));
    assert_eq!(fixture.delivered(), [(alice, "in the outage".to_owned())]);
}

#[test]
fn g4_who_attached_after_a_backfill_gets_what_it_pushed_from_the_next() {
    let (mut fixture, c, _, _) = flushed();
    fixture.load("alice", &[&c]);
    answer(&mut fixture, &c, history(vec![stored(&c, 50, "lost")], &["alice"]));
    // Bob resumes with a cursor of the new stream from another node. The entry of "lost" was not
    // pushed yet, so he does not have that message.
    let cursor = fixture.entries[0].position.to_string();
    let bob = fixture.attach_with("bob", Some(cursor));
    fixture.load("bob", &[&c]);
    assert_eq!(fixture.delivered(), [(bob, "ready+".to_owned())]);
    flush_again(&mut fixture, 1_950_000);
    let loads = fixture.effects.clone();
    fixture.load("alice", &[&c]);
    fixture.effects = loads
        .into_iter()
        .filter(|effect| matches!(effect, Effect::LoadUser { user: of, .. } if *of == user("bob")))
        .collect();
    fixture.load("bob", &[&c]);
    answer(&mut fixture, &c, history(vec![stored(&c, 50, "lost")], &["alice", "bob"]));
    assert_eq!(fixture.delivered(), [(bob, "lost".to_owned())]);
}

#[test]
fn g4_what_a_fork_took_back_is_pushed_to_who_came_after_it() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    fixture.attach("alice", &[&c]);
    fixture.push(message(&c, 1, "kept"));
    fixture.refreshed(&c, 1, &["alice", "bob"]);
    let (cursor, kept) = (fixture.cursor_of_last(), fixture.entries.len());
    fixture.push(message(&c, 1, "taken back"));
    let id = fixture.entries.pop().unwrap().publication.id;
    fixture.entries.truncate(kept);
    fixture.entry(marker());
    fixture.input(Input::Linked);
    fixture.answer_fill();
    fixture.answer_fill();
    let bob = fixture.attach_with("bob", Some(cursor));
    fixture.load("bob", &[&c]);
    assert_eq!(fixture.delivered(), [(bob, "ready+".to_owned())], "his chain does not name it");
    flush_again(&mut fixture, 1_950_000);
    let loads = fixture.effects.clone();
    fixture.load("alice", &[&c]);
    fixture.effects = loads;
    fixture
        .effects
        .retain(|effect| matches!(effect, Effect::LoadUser { user: of, .. } if *of == user("bob")));
    fixture.load("bob", &[&c]);
    let id = MessageId::parse(&id.to_string()).unwrap();
    let taken_back = Message { id, rev: Rev::of(id), ..stored(&c, 1, "taken back") };
    answer(&mut fixture, &c, history(vec![taken_back], &["alice", "bob"]));
    assert_eq!(fixture.delivered(), [(bob, "taken back".to_owned())], "alice has had it");
}

#[test]
fn g4_a_message_that_a_lost_stream_took_back_reaches_who_resumes_in_an_older_one() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    fixture.attach("alice", &[&c]);
    fixture.push(message(&c, 1, "kept"));
    fixture.refreshed(&c, 1, &["alice", "bob"]);
    let (cursor, older) = (fixture.cursor_of_last(), fixture.entries.clone());
    fixture.push(message(&c, 1, "taken back"));
    let taken_back = fixture.entries.last().unwrap().publication.clone();
    // The server restarts empty. Then a replica is promoted that had not received the message.
    flush_again(&mut fixture, 1_900_000);
    fixture.load("alice", &[&c]);
    answer(&mut fixture, &c, history(Vec::new(), &["alice", "bob"]));
    fixture.entries = older;
    fixture.input(Input::Linked);
    fixture.answer_fill();
    fixture.answer_fill();
    fixture.load("alice", &[&c]);
    answer(&mut fixture, &c, history(Vec::new(), &["alice", "bob"]));
    let bob = fixture.attach_with("bob", Some(cursor));
    fixture.load("bob", &[&c]);
    assert_eq!(fixture.delivered(), [(bob, "ready+".to_owned())], "the stream does not have it");
    // The relay publishes it again.
    let again = fixture.entry(marker());
    fixture.input(Input::Entry(Entry { publication: taken_back, ..again }));
    assert_eq!(fixture.delivered(), [(bob, "taken back".to_owned())], "alice has it");
}

/// What Bob and Carol read by themselves, after the loss, did not have what no store had yet.
#[test]
fn g13_what_redis_lost_before_it_was_stored_reaches_who_came_before_the_loss_was_noticed() {
    let (mut fixture, c) = (Fixture::linked(), channel(1));
    fixture.attach("alice", &[&c]);
    let carol = fixture.attach("carol", &[]);
    let to = c.clone();
    fixture.push(Box::new(move |id| Publication::of_delivered(&said(&to, id, "delivered"), 1)));
    fixture.refreshed(&c, 1, &["alice", "bob"]);
    let delivered = fixture.entries.last().unwrap().publication.clone();
    let bob = fixture.attach("bob", &[&c]);
    fixture.push(change(&c, 2, ChannelChange::MemberAdded, "carol"));
    flush_again(&mut fixture, 1_900_000);
    let loads = fixture.effects.clone();
    for name in ["alice", "bob", "carol"] {
        fixture.effects = loads.clone();
        fixture.load(name, &[&c]);
    }
    answer(&mut fixture, &c, history(Vec::new(), &["alice", "bob", "carol"]));
    // Its sender sends it again.
    let again = fixture.entry(marker());
    fixture.input(Input::Entry(Entry { publication: delivered, ..again }));
    let mut told = fixture.delivered();
    told.sort_unstable();
    let wanted = [bob, carol].map(|socket| (socket, "delivered".to_owned()));
    assert_eq!(told, wanted, "alice has it");
}

#[test]
fn g4_who_leaves_while_it_runs_is_not_waited_for() {
    let (mut fixture, c, alice, _) = flushed();
    fixture.input(Input::Detach(alice));
    assert!(fixture.workspace.is_fresh(), "{:?} of {c}", fixture.effects);
    assert_eq!(readings(&fixture), []);
}

#[test]
fn g9_sockets_are_told_of_memberships_that_rows_show_after_a_hole() {
    let (mut fixture, kept, alice, _) = flushed();
    let (again, new) = (channel(2), channel(3));
    let joined_at = |ms| vec![(again.clone(), Timestamp::from_unix_ms(ms))];
    let load = |fixture: &mut Fixture, channels: &[&ChannelId], joined| {
        let registration = fixture.effects.iter().find_map(|effect| match effect {
            Effect::LoadUser { registration, .. } => Some(*registration),
            _ => None,
        });
        let (user, registration) = (user("alice"), registration.unwrap());
        let channels = channels.iter().map(|id| (*id).clone()).collect();
        let loaded = Some(LoadedUser { channels, joined, ..LoadedUser::default() });
        fixture.input(Input::UserLoaded { user, registration, loaded });
        fixture.delivered()
    };
    let told = |changes: &[&str]| -> Vec<(SocketId, String)> {
        changes.iter().map(|change| (alice, (*change).to_owned())).collect()
    };
    // The rows of a hole that begins during the reading are read instead.
    let hole = |fixture: &mut Fixture| {
        fixture.entries.clear();
        let mut fresh = fixture.entry(marker());
        fresh.position.entry.ms = 2_000_000 + fixture.published;
        *fixture.entries.last_mut().unwrap() = fresh.clone();
        fixture.input(Input::Linked);
        fixture.answer_fill();
        fixture.answer_fill();
    };
    hole(&mut fixture);
    assert_eq!(load(&mut fixture, &[&kept, &again], joined_at(5_000)), told(&["member_added"]));
    hole(&mut fixture);
    assert_eq!(load(&mut fixture, &[&kept, &again], joined_at(5_000)), [], "they know it");
    hole(&mut fixture);
    // Alice was removed and added again, and was seen at another node in between.
    assert_eq!(load(&mut fixture, &[&kept, &again], joined_at(9_000)), told(&["member_added"]));
    hole(&mut fixture);
    let changes = told(&["member_added", "member_removed", "member_removed"]);
    assert_eq!(load(&mut fixture, &[&new], Vec::new()), changes);
}

#[test]
fn g9_a_change_that_comes_while_rows_are_read_is_told_once() {
    let (mut fixture, c, alice, _) = flushed();
    let registration = fixture.effects.iter().find_map(|effect| match effect {
        Effect::LoadUser { registration, .. } => Some(*registration),
        _ => None,
    });
    fixture.workspace.stream = StreamState::Up;
    fixture.push(change(&channel(2), 1, ChannelChange::MemberAdded, "alice"));
    assert_eq!(fixture.delivered(), [(alice, "member_added".to_owned())]);
    let channels = vec![c, channel(2)];
    let joined = vec![(channel(2), fixture.now)];
    let loaded = Some(LoadedUser { channels, joined, ..LoadedUser::default() });
    let (user, registration) = (user("alice"), registration.unwrap());
    fixture.input(Input::UserLoaded { user, registration, loaded });
    assert_eq!(fixture.delivered(), []);
}
