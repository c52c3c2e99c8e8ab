//! Every limit of the system, in one place, with the reason for its value.
//!
//! The unit is the last word of a name (`_bytes_max`, `_frames_max`); durations are [`Duration`].

use std::time::Duration;

mod deliver_first;
mod ephemeral;
mod files;
mod presence;
mod socket;

pub use deliver_first::*;
pub use ephemeral::*;
pub use files::*;
pub use presence::*;
pub use socket::*;

/// How far in the past a client's id may be if a send is to cost one put (G1). Covers a first
/// attempt and one retry on a slow phone.
pub const PAST: Duration = Duration::from_secs(10);
/// How far in the future a client's id may be if a send is to cost one put (G1). Covers server
/// clocks that differ by 0.9 s.
pub const FUTURE: Duration = Duration::from_secs(1);
/// How far ahead of the server's clock `after` may be (G2): as far as ids that servers mint.
pub const AFTER_MAX: Duration = Duration::from_secs(10);
/// The oldest id that is still redirected (G1); older ones are refused unless already stored.
pub const REDIRECT_PAST_MAX: Duration = Duration::from_secs(24 * 3600);
/// The furthest id in the future that is still redirected (G1).
pub const REDIRECT_FUTURE_MAX: Duration = Duration::from_secs(600);
/// The oldest `change_id` that an edit or a reaction may have.
pub const CHANGE_PAST_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a reader who was away gets the changes of older messages (G11).
pub const CHANGES_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How much longer the store keeps them: a reader's clock and the function's differ, and a page
/// that promises all changes takes time.
pub const CHANGES_MARGIN: Duration = Duration::from_secs(24 * 3600);
/// The longest emoji. The longest of Unicode 16, two people with skin tones, has 42.
pub const EMOJI_BYTES_MAX: usize = 64;
/// Emoji with which a message may be reacted to: its row, which every page contains, stays a few KB.
pub const REACTION_EMOJI_MAX: usize = 20;
/// Reactions that a message may have: all of them are read to count them.
pub const REACTIONS_MAX: u64 = 5_000;
/// Rows of reactions that a message may have, withdrawn ones included: so that whoever reacts and
/// withdraws over and over cannot make counting slow.
pub const REACTION_ROWS_MAX: u32 = 10_000;
/// Rows of reactions in one read: about half of what a query returns at most, 1 MB.
pub const REACTION_ROWS_READ_MAX: u32 = 2_000;
/// Users named in the summary of one emoji; beyond, it only counts.
pub const REACTION_USERS_MAX: usize = 10;
/// How often a message's reactions are counted at least while they come in. A message with more
/// reactions is counted more rarely, because that reads all of them: [`FOLD_EVERY_MAX`].
pub const FOLD_EVERY: Duration = Duration::from_secs(1);
/// How rarely the reactions of the most popular message are counted.
pub const FOLD_EVERY_MAX: Duration = Duration::from_secs(5);
/// Users named in the summary of a message's replies.
pub const REPLIES_USERS_MAX: usize = 5;
/// Replies that are counted anew each time; of more, the older ones are counted for good. As many as a
/// query reads for a few units.
pub const REPLIES_OPEN_MAX: usize = 50;
/// How old a reply is before it is counted for good: no reply is stored any more with an id that is
/// older than [`PAST`], [`SEND_DEADLINE`] and [`FUTURE`] together, which is 17 s.
pub const REPLIES_OPEN_FOR: Duration = Duration::from_secs(60);
/// How late a reply is counted into its root at most, for clients: a reply that is stored before a client
/// catches up and counted later than this after it is read only when somebody opens the thread.
pub const COUNTED_WITHIN: Duration = Duration::from_secs(3_600);
/// Threads of a channel that a client keeps.
pub const CLIENT_THREADS_MAX: usize = 1_000;
/// How long a thread stays among those that a user follows after they last wrote, read or were
/// mentioned in it.
pub const FOLLOWED_KEPT: Duration = Duration::from_secs(90 * 86_400);
/// Messages that may be pinned in a channel: one page shows all.
pub const PINS_MAX: usize = 100;
/// Users whom a text may mention: each is a row.
pub const MENTIONS_MAX: usize = 50;
/// How long a mention is listed.
pub const MENTIONS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// A user's newest mentions that one call counts: about 100 KB.
pub const MENTION_ROWS_MAX: u32 = 1_000;
/// Rows of a channel's pins that are read to count them, unpinned ones that have not expired included:
/// so that whoever pins and unpins over and over cannot make a pin slow. Beyond, no unpinning of what
/// is not pinned is remembered.
pub const PIN_ROWS_MAX: usize = 1_000;
/// How long a withdrawn reaction or pin is remembered, so that a late retry of it does not bring it
/// back: longer than the oldest `change_id`.
pub const WITHDRAWN_TTL: Duration = Duration::from_secs(48 * 3600);
/// A text up to this length is repeated in pushes of other changes of its message.
pub const REPEATED_TEXT_BYTES_MAX: usize = 512;
/// How long a redirect is kept: twice the age at which a retry is refused.
pub const REDIRECT_TTL: Duration = Duration::from_secs(48 * 3600);
/// The deadline of a send: the functions' time-out.
pub const SEND_DEADLINE: Duration = Duration::from_secs(6);
/// How far before its last id a client starts to read again: `PAST` + `SEND_DEADLINE` + the age at
/// which the alarm for a lagging relay fires + slack.
pub const OVERLAP: Duration = Duration::from_secs(600);
/// How long a send may take to publish, including connecting and retries (G3).
pub const PUBLISH_DEADLINE: Duration = Duration::from_millis(200);
/// After this many publish time-outs in a row, an environment stops publishing for
/// [`PUBLISH_PAUSE`].
pub const PUBLISH_TIMEOUTS_MAX: u32 = 3;
/// How long an environment skips publishing after [`PUBLISH_TIMEOUTS_MAX`].
pub const PUBLISH_PAUSE: Duration = Duration::from_secs(5);
/// Newest-first reads start this far ahead of the clock: above every message that a server may have
/// minted (`AFTER_MAX` + clock differences), below ids in the future that are redirected.
pub const NEWEST_AHEAD: Duration = Duration::from_secs(15);
/// Bytes of texts after which a page of messages ends: twice as many, if all are escaped, are below
/// the 6 MB that a function may answer with
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>).
pub const PAGE_BYTES_MAX: usize = 2_500_000;
/// Queries for one page when redirects hide its rows; after that, the page is shorter.
pub const PAGE_QUERIES_MAX: u32 = 8;

/// Length of workspace, user and node ids.
pub const ID_CHARS_MAX: usize = 64;
/// Characters of one message: a long paste, below the store's item limit of 400 KiB at 4 bytes each.
pub const MESSAGE_CHARS_MAX: usize = 40_000;
/// The longest revision of a message: two ULIDs and a separator.
pub const REV_BYTES_MAX: usize = 64;
/// Characters of a channel's name.
pub const CHANNEL_NAME_CHARS_MAX: usize = 80;
/// Characters of a channel's topic: a line above its messages.
pub const TOPIC_CHARS_MAX: usize = 250;
/// Characters of the name in a profile: as many as of a channel's name.
pub const PROFILE_NAME_CHARS_MAX: usize = 80;
/// Bytes of the URL of an avatar: with the other fields a profile is below 4 KiB, one read unit.
pub const AVATAR_BYTES_MAX: usize = 2_048;
/// Characters of a status: a line beside a name.
pub const STATUS_CHARS_MAX: usize = 100;
/// Bytes of a status's emoji: the longest sequences have about 40.
pub const STATUS_EMOJI_BYTES_MAX: usize = 64;
/// Bytes of a time zone's name: IANA's longest has 30.
pub const TZ_BYTES_MAX: usize = 64;
/// Profiles that one `GET /users` may name: one page.
pub const PROFILES_MAX: usize = PAGE_ROWS_MAX as usize;
/// Attempts to change a profile while its user changes it from elsewhere.
pub const PROFILE_ROUNDS_MAX: u32 = 8;
/// Members that one `POST /channels` may name.
pub const CREATE_MEMBERS_MAX: usize = 100;
/// Bytes of a REST body: enough for [`MESSAGE_CHARS_MAX`] characters beyond the basic plane, each
/// escaped as a surrogate pair (12 bytes).
pub const BODY_BYTES_MAX: usize = 768 * 1024;
/// Nesting of a JSON body.
pub const JSON_DEPTH_MAX: usize = 8;
/// Rows of one page.
pub const PAGE_ROWS_MAX: u32 = 100;
/// Rows of a page of messages if the caller sets no limit.
pub const PAGE_MESSAGES_DEFAULT: u32 = 20;
/// Rows of a page of channels or members if the caller sets no limit.
pub const PAGE_ROWS_DEFAULT: u32 = 100;

/// Longer texts travel on the bus as a reference, and each node reads them once (G3).
pub const INLINE_TEXT_BYTES_MAX: usize = 4 * 1024;
/// Entries in a workspace's stream and in a node's ring.
pub const STREAM_ENTRIES_MAX: usize = 5_000;
/// Bytes of a workspace's stream and of a node's ring: 5,000 long texts must not fill a cache.
pub const STREAM_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a stream without publications is kept.
pub const STREAM_TTL: Duration = Duration::from_secs(24 * 3600);
/// How much older than a cursor a membership may be if a resuming client is still told of it: the
/// clocks of Redis and of functions differ.
pub const JOINED_MARGIN: Duration = Duration::from_secs(2);
/// How long a publication's guard key turns publishing it again into a no-op.
pub const GUARD_TTL: Duration = OVERLAP;
/// Entries that one read of the stream returns.
pub const STREAM_READ_ENTRIES_MAX: usize = 500;
/// Notices queued between the bus and a workspace's task; a full queue is a gap, which is filled.
pub const SUBSCRIPTION_NOTICES_MAX: usize = 1_024;
/// The timeout for connecting to the bus.
pub const BUS_CONNECT_MAX: Duration = Duration::from_millis(300);
/// The timeout of one response from the bus to a node or to the balancer.
pub const BUS_RESPONSE_MAX: Duration = Duration::from_secs(2);
/// First and longest wait between attempts to reconnect to the bus.
pub const BUS_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// The timeout of a subscription, connecting included.
pub const BUS_SUBSCRIBE_MAX: Duration = BUS_RESPONSE_MAX.saturating_add(BUS_CONNECT_MAX);
/// Callers queued for a subscription; further ones wait until they can be queued.
pub const BUS_JOINS_MAX: usize = 256;
/// How often a process probes its subscription connection.
pub const BUS_PROBE_EVERY: Duration = Duration::from_secs(2);
/// The timeout of a probe. With [`BUS_PROBE_EVERY`], a dead connection is noticed within 6 s, and
/// one that receives nothing within 10 s.
pub const BUS_PROBE_WAIT: Duration = Duration::from_secs(4);
/// The age at which a connection is replaced: otherwise, a primary that was isolated and replaced
/// would go on answering. The probe uses such a connection too, so a subscription to the wrong
/// server is noticed within 31 s.
pub const BUS_CONNECTION_AGE_MAX: Duration = Duration::from_secs(25);

/// How often a node renews its lease (G7).
pub const LEASE_RENEW: Duration = Duration::from_secs(2);
/// The age at which a lease has expired (G7): three missed renewals.
pub const LEASE_TTL: Duration = Duration::from_secs(6);
/// How long an expired lease is kept, so that the balancer can compute the ramp of its clients.
pub const LEASE_MEMORY: Duration = Duration::from_secs(120);
/// A ticket is valid for `delay_ms` plus this.
pub const TICKET_TTL: Duration = Duration::from_secs(30);
/// Distinct reporters within [`REPORT_WINDOW`] that demote a node for [`DEMOTION`].
pub const REPORTERS_MIN: usize = 3;
/// Reports that the directory keeps: the newest of all nodes together. All clients of a lost node
/// report it, and each report reads the others, so the cost would grow with their square. Enough
/// for ten nodes at a time.
pub const REPORTS_MAX: usize = 10 * REPORTERS_MIN;
/// The window in which reports of a node are counted together.
pub const REPORT_WINDOW: Duration = Duration::from_secs(10);
/// How long a reported node gets no new clients.
pub const DEMOTION: Duration = Duration::from_secs(30);
/// The share of the mean load, in percent, up to which a workspace stays on its few nodes
/// (consistent hashing with bounded loads).
pub const AFFINITY_LOAD_PERCENT: u64 = 125;
/// Below this load, affinity is not bounded, so that small fleets do not scatter workspaces.
pub const AFFINITY_LOAD_FREE: u64 = 50;
/// The longest `delay_ms`, which is the ramp of a lost node's clients.
pub const DELAY_MAX: Duration = Duration::from_secs(30);
/// How long the balancer uses its last view of the fleet while the directory is down.
pub const FLEET_STALE_MAX: Duration = Duration::from_secs(30);
/// How long the balancer uses a view of the fleet before it reads again.
pub const FLEET_FRESH: Duration = Duration::from_millis(500);

/// How long a batch of the relay waits for a replica to acknowledge it, or to appear (G3).
pub const REPLICA_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long the relay waits for a missing replica: one that lost its connection is back within a
/// second. After a failover, everything unpublished waits for this.
pub const REPLICA_ABSENT_WAIT: Duration = Duration::from_secs(2);
/// How long the relay remembers that no replica appeared, and waits for none: a promoted primary
/// stays alone for minutes, and every batch would wait.
pub const REPLICA_ABSENT_MEMORY: Duration = Duration::from_secs(60);
/// Publications in a batch of the relay: one wait for a replica covers them all, and the pipeline
/// and the store's responses stay within a few MiB.
pub const RELAY_BATCH_MAX: usize = 1_000;
/// How often the relay runs a batch before it leaves it to the feed: enough for a broken connection
/// or two, and a replica that did not acknowledge.
pub const RELAY_RUNS_MAX: u32 = 4;
/// Channels whose workspace an environment of the relay caches: some 100 bytes each.
pub const RELAY_CHANNELS_MAX: usize = 20_000;
/// The relay reads a message again whose state is older than this, because it may have been deleted
/// since (G10).
pub const RELAY_FRESH: Duration = Duration::from_secs(10);
/// A message older than this is marked late when it is relayed. It is a minute below [`OVERLAP`]: a
/// client's last id may be [`AFTER_MAX`] ahead, and a batch may take [`RELAY_RUNS_MAX`] runs.
pub const LATE_AGE: Duration = Duration::from_secs(540);
/// How far ahead of the clock a late mark ends. It is written before the message is published, and
/// covers late messages of the next [`OVERLAP`], plus the minute of [`LATE_AGE`].
pub const LATE_AHEAD: Duration = Duration::from_secs(660);
/// First and longest wait of the local feed before it relays records again that Redis did not
/// accept. After an outage this adds to the seconds that an attempt itself may take.
pub const RELAY_RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Sockets of one user on one node; one more closes the oldest.
pub const SOCKETS_PER_USER_MAX: usize = 10;
/// Sockets of a node.
pub const SOCKETS_MAX: usize = 60_000;
/// Connections of a node that are not upgraded yet; more are cut. Most are sending their request's
/// head, for up to [`HEAD_WAIT_MAX`], and hold a few KB each. The limit is high, so that it takes
/// many silent connections to keep others out.
pub const HANDSHAKES_MAX: usize = 4_096;
/// Unfinished TLS handshakes of a node, some 20 KB each. They take two round trips, so there are
/// more of them than of other handshakes.
pub const TLS_HANDSHAKES_MAX: usize = 4_096;
/// How long a TLS handshake may take.
pub const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Bytes that TLS buffers for a socket whose kernel buffer is full: a record and the remainder.
pub const TLS_BUFFER_BYTES_MAX: usize = 32 * 1024;
/// How long a node waits until its own name resolves: an event, a record, its propagation, and
/// negative answers in resolvers' caches. After that, another task is tried.
pub const NAME_WAIT_MAX: Duration = Duration::from_secs(300);
/// Handshakes per second that a node accepts; the balancer computes ramps from it.
pub const HANDSHAKES_PER_SECOND_MAX: u32 = 2_000;
/// The listen backlog: the default of 128 overflows in a reconnect storm, and a dropped client
/// retries only after a second.
pub const LISTEN_BACKLOG: u32 = 4_096;
/// Frames queued for one socket; one more makes it a slow consumer.
pub const OUTBOUND_FRAMES_MAX: usize = 512;
/// Bytes queued for one socket; an empty queue accepts one frame of any size.
pub const OUTBOUND_BYTES_MAX: usize = 256 * 1024;
/// Frames that one call passes to the kernel.
pub const WRITE_BATCH_FRAMES_MAX: usize = 64;
/// How long a socket may accept none of its queued bytes before it is a slow consumer.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(10);
/// Store reads that a node has in flight.
pub const STORE_READS_MAX: usize = 128;
/// Store reads that one workspace has in flight, so that hanging reads leave the rest to others.
pub const WORKSPACE_READS_MAX: usize = 32;
/// First and longest wait between a workspace's reads while the store fails.
pub const STORE_RETRY: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_millis(1_000));
/// First and longest timeout of a read: a store that became slow can still be read, and one that
/// does not answer is noticed early.
pub const STORE_PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));
/// After this many failures in a row, over all workspaces, a node reads no faster than
/// [`STORE_PROBE_EVERY`].
pub const STORE_FAILURES_MAX: u32 = 64;
/// The shortest time between two reads of a node whose store fails.
pub const STORE_PROBE_EVERY: Duration = Duration::from_millis(20);
/// A read is given up if it fails this often while the store answers others.
pub const STORE_REFUSALS_MAX: u32 = 8;
/// Channels whose members are read together: their versions come with one call.
pub const MEMBERS_BATCH_MAX: usize = 32;
/// Sockets that may wait for their user's rows while the store is in trouble and its speed is
/// unknown; further clients are asked to reconnect later.
pub const ATTACHES_IN_TROUBLE_MIN: usize = 16;
/// How long a socket may wait to be attached: much less than clients wait before they give up.
pub const ATTACH_WAIT_MAX: Duration = Duration::from_secs(10);
/// The shortest and the longest `delay_ms` of a busy node, before jitter.
pub const BUSY_DELAY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// Members per query of a refresh: they fit in a page of 1 MB.
pub const MEMBERS_READ_MAX: u32 = 1_000;
/// How long a closing socket may take to accept its close frame: a slow consumer should see why.
pub const GOODBYE_MAX: Duration = Duration::from_secs(10);
/// How long a connection is still read after its close frame, so that closing does not reset it.
pub const CLOSE_LINGER: Duration = Duration::from_millis(1_000);
/// Commands queued for a writer shard; if the queue is full, the workspace's task waits.
pub const SHARD_COMMANDS_MAX: usize = 4_096;
/// Requests queued for a workspace's task.
pub const WORKSPACE_REQUESTS_MAX: usize = 4_096;
/// Texts that one resume may read from the store; if there are more, the client reads by itself.
pub const REPLAY_TEXTS_MAX: usize = 64;
/// Publications kept while a fill runs; if there are more, the next fill reads them again.
pub const PENDING_ENTRIES_MAX: usize = 1_024;
/// Channels that a workspace's backfill reads from the store (G4); with more, it is a `resync`.
pub const BACKFILL_CHANNELS_MAX: usize = 500;
/// Channels that a node reads at once for backfills: these are rare, and must not starve attaches.
pub const BACKFILLS_MAX: usize = 8;
/// Messages per channel in a backfill; if there are more, the members read by themselves.
pub const BACKFILL_MESSAGES_MAX: usize = 2_000;
/// Messages per backfill in all channels: each costs a few bytes in the queue of each socket.
pub const BACKFILL_TOTAL_MAX: usize = 20_000;
/// Threads per channel in a backfill, each of which takes two queries; if more changed, the members read
/// by themselves.
pub const BACKFILL_THREADS_MAX: usize = 100;
/// Bytes of texts per channel in a backfill; if there are more, the members read by themselves.
pub const BACKFILL_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Delivered messages that a workspace remembers at least; at most twice as many, which is as many
/// as a backfill may push.
pub const DELIVERED_MIN: usize = BACKFILL_TOTAL_MAX / 2;
/// Bytes of publications that a workspace holds while the store does not return views or texts
/// (G6). Beyond this, channels are given up, and their members read them again.
pub const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same for a whole node; beyond it, a workspace above its share gives up channels.
pub const HELD_NODE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A hold older than this sets `fresh:false` in ticks: a refresh normally takes milliseconds.
pub const HOLD_STALE: Duration = Duration::from_secs(1);
/// Views that a workspace's task keeps for channels without a local member.
pub const EMPTY_VIEWS_MAX: usize = 10_000;
/// How often every socket gets a `tick`.
pub const TICK: Duration = Duration::from_secs(15);
/// A client that receives nothing for this long gives its socket up.
pub const SILENCE_MAX: Duration = Duration::from_secs(25);
/// How many clients per second a `resync` sends to the store; `delay_ms` grows with their number.
pub const RESYNCS_PER_SECOND: u64 = 500;
/// The longest `delay_ms` of a `resync`.
pub const RESYNC_SPREAD_MAX: Duration = Duration::from_secs(60);
/// Channels that a `resync` names; if there are more, clients read all of theirs.
pub const RESYNC_CHANNELS_MAX: usize = 200;
/// How long the channels of an incident are collected for one `resync`, at most.
pub const RESYNC_JOIN_MAX: Duration = Duration::from_secs(30);
/// How long a workspace's task outlives its last socket.
pub const WORKSPACE_IDLE: Duration = Duration::from_secs(60);
/// How long a node waits after SIGTERM for its sockets to close.
pub const DRAIN_MAX: Duration = Duration::from_secs(20);
/// How long a draining node leaves a socket open after it handed its client over: a dial on a slow
/// network, TLS, `ready` and the joins. The hand-overs take half of [`DRAIN_MAX`] at most, so that
/// it ends in time.
pub const GOING_WAIT: Duration = Duration::from_secs(5);
/// First and longest wait of a client between attempts (full jitter).
pub const CLIENT_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

// Read state (G12).

/// Marks that one `POST /read` may carry: each is a write.
pub const READ_MARKS_MAX: usize = 20;
/// How far ahead of the server's clock a read mark may be: as far as ids that servers mint
/// ([`AFTER_MAX`]). A mark further ahead would hide messages that are not sent yet.
pub const READ_AHEAD_MAX: Duration = Duration::from_secs(10);
/// Unread messages are counted up to here.
pub const UNREAD_COUNT_MAX: u32 = 99;
/// Queries of [`PAGE_ROWS_MAX`] rows that count one channel's unread messages: the user's own and
/// deleted ones take up rows.
pub const UNREAD_QUERIES_MAX: u32 = 3;
/// Channels that one call counts concurrently: 100 take a dozen rounds, and one call does not use
/// up all connections.
pub const UNREAD_CHANNELS_AT_ONCE: usize = 8;
/// Attempts to mark messages unread while the user's other devices do the same.
pub const UNREAD_ROUNDS_MAX: u32 = 5;

// How clients catch up (ADR 0023).

/// A message that is stored after a complete read may have an id up to this much older than the
/// start of the read. An id is at most [`PAST`] old when its function checks it, the write is given
/// up [`SEND_DEADLINE`] later, and servers' clocks differ by [`FUTURE`]: 17 s. The rest is for
/// writes that the store performs after the function gave up, and for wrong clocks.
pub const VERIFIED_OVERLAP: Duration = Duration::from_secs(30);
/// Messages that `known` of `GET /scroll` may name: 3,200 characters, so that a request line stays
/// below the 8 KiB that proxies accept. To pass over them, with a page of [`PAGE_ROWS_MAX`] in
/// between, takes five of the [`PAGE_QUERIES_MAX`] queries.
pub const KNOWN_MESSAGES_MAX: u32 = 400;
/// Channels that a catch-up reads concurrently.
pub const CLIENT_READS_MAX: usize = 4;
/// The longest wait that a client accepts from a server: `Retry-After`, and `delay_ms` of a
/// `resync` and of close code 1013.
pub const CLIENT_WAIT_MAX: Duration = Duration::from_secs(300);

// Calls of the functions while the store or Redis is in trouble.

/// The deadline of a call that reads: below the functions' time-out of 10 s.
pub const CALL_DEADLINE: Duration = Duration::from_secs(8);
/// The deadline of a call that changes channels, members or users: below those functions' time-out
/// of 29 s. A revocation writes to each of the user's channels.
pub const MEMBERSHIP_DEADLINE: Duration = Duration::from_secs(25);
/// Failures in a row that open a circuit.
pub const CIRCUIT_FAILURES_MAX: u32 = 3;
/// How long a circuit is open, at first and at most: the delay with which an environment notices
/// that the store is back.
pub const CIRCUIT_OPEN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));
/// How long a circuit remembers that it was open.
pub const CIRCUIT_MEMORY: Duration = Duration::from_secs(30);
/// While the store throttles, calls allowed per call that it does not throttle. With 4, no call is
/// refused until it throttles three out of four.
pub const CALLS_AN_ANSWER: f64 = 4.0;
/// How long a throttled call counts: short, so that all calls pass soon after the last one.
pub const THROTTLED_WINDOW: Duration = Duration::from_secs(1);
/// A call that is cancelled after this long counts as a failure: one attempt of the store's client.
pub const CIRCUIT_SLOW: Duration = Duration::from_secs(2);
/// The shortest and the longest `Retry-After`; jitter adds up to the same again.
pub const RETRY_AFTER: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_millis(1_500));
/// How long a call may wait for a free environment of the local gateway: this plus
/// [`SEND_DEADLINE`] is the longest that clients wait for a response.
pub const SLOT_WAIT_MAX: Duration = Duration::from_secs(4);

// Tokens.

/// How far an issuer's clock may be ahead of ours: `nbf` is accepted this much earlier.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(5);
/// An `exp` further away than this (10 years) is not a time in seconds.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long a socket may live on one ticket, if the environment sets nothing else: a token with a
/// longer life must not keep a socket open without end.
pub const SOCKET_LIFETIME: Duration = Duration::from_secs(24 * 3600);

// Membership changes.

/// Users that one `POST /channels/{channel_id}/members` may name.
pub const ADD_MEMBERS_MAX: usize = 100;
/// Attempts of a membership change while others change the same users; then it is `channel_busy`.
pub const CHANGE_ROUNDS_MAX: u32 = 8;
/// First and longest wait between these attempts.
pub const CHANGE_BACKOFF: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_millis(500));
/// Pages of [`MEMBERS_READ_MAX`] members that are read to find the member of longest standing.
pub const OWNER_PAGES_MAX: u32 = 20;

// Nodes next to each other, Redis, and the log of outages.

/// Publications per pipeline of the relay: in Redis, a live publication waits for one pipeline,
/// some 2 ms of its 200 ms ([`PUBLISH_DEADLINE`]).
pub const RELAY_PIPELINE_MAX: usize = 32;
/// The longest pause of the relay between two pipelines of a batch. A pause lasts as long as the
/// last pipeline took, so that a backlog takes at most half of Redis, but no longer than this.
pub const RELAY_PAUSE_MAX: Duration = Duration::from_millis(50);

/// How often an outage that continues is logged again.
pub const OUTAGE_LOG_EVERY: Duration = Duration::from_secs(60);
/// How far a node's clock may differ from Redis's: ids and tickets allow a second or a few. Beyond
/// this the node reports it, and the balancer prefers others.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5);
/// Ids of ticket secrets in a lease: one secret, or two while it is being replaced.
pub const LEASE_TICKET_KEYS_MAX: usize = 8;
/// How long the directory remembers which users were assigned to a node: only they may report it.
/// Covers a ticket's delay and life, a handshake, silence, and a few attempts.
pub const GIVEN_MEMORY: Duration = Duration::from_secs(600);
/// Users that the directory remembers per node, newest first: some 200 KB of Redis.
pub const GIVEN_PER_NODE_MAX: usize = 2_048;
/// Reports of one node that one workspace may have in the directory, so that they do not push out
/// those of other workspaces ([`REPORTS_MAX`]).
pub const REPORTS_PER_WORKSPACE_MAX: usize = 2 * REPORTERS_MIN;
/// How long bytes sent to a client may stay unacknowledged before the kernel closes the connection:
/// the load of a vanished client ends this long after the next tick. The kernel counts a closed
/// window too, and buffers megabytes before a node sees a stalled write: this is long enough to
/// tell a slow consumer why first ([`WRITE_STALL_MAX`] + [`GOODBYE_MAX`], and filling the buffers).
pub const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
