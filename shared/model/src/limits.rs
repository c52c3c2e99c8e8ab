//! Every bound of the system, in one place, with the reason for its value.
//!
//! Units stand last in a name (`_bytes_max`, `_frames_max`); durations are [`Duration`].

use std::time::Duration;

/// How far in the past a client's id may lie and still cost one put (G1). Covers a first attempt
/// and one retry on a slow phone.
pub const PAST: Duration = Duration::from_secs(10);
/// How far in the future a client's id may lie and still cost one put (G1). Covers server clocks
/// that differ by 0.9 s.
pub const FUTURE: Duration = Duration::from_secs(1);
/// How far ahead of the server's clock `after` may be (G2): the reach of ids that servers mint.
pub const AFTER_MAX: Duration = Duration::from_secs(10);
/// The oldest id that is still redirected (G1); older ones are refused unless already stored.
pub const REDIRECT_PAST_MAX: Duration = Duration::from_secs(24 * 3600);
/// The furthest id in the future that is still redirected (G1).
pub const REDIRECT_FUTURE_MAX: Duration = Duration::from_secs(600);
/// How long a redirect is kept: twice the age at which a retry is refused.
pub const REDIRECT_TTL: Duration = Duration::from_secs(48 * 3600);
/// The wall a send must answer within: the functions' time-out.
pub const SEND_DEADLINE: Duration = Duration::from_secs(6);
/// How far a client that re-reads goes back before its last id: `PAST` + `SEND_DEADLINE` + the age
/// at which a lagging relay alarms + slack.
pub const OVERLAP: Duration = Duration::from_secs(600);
/// What a send may spend on publishing, connecting and retrying included (G3).
pub const PUBLISH_DEADLINE: Duration = Duration::from_millis(200);
/// After this many publish time-outs in a row an environment stops trying for
/// [`PUBLISH_PAUSE`].
pub const PUBLISH_TIMEOUTS_MAX: u32 = 3;
/// How long an environment skips publishing after [`PUBLISH_TIMEOUTS_MAX`].
pub const PUBLISH_PAUSE: Duration = Duration::from_secs(5);
/// Newest-first reads start this far ahead of the clock: above every message that a server can
/// have minted (`AFTER_MAX` + clock differences), below the redirects ahead.
pub const NEWEST_AHEAD: Duration = Duration::from_secs(15);
/// Queries that one page may take when redirects hide its rows; then it is answered short.
pub const PAGE_QUERIES_MAX: u32 = 8;

/// Length of workspace, user and node ids.
pub const ID_CHARS_MAX: usize = 64;
/// Characters of one message: a long paste, below the store's item limit of 400 KiB at 4 bytes each.
pub const MESSAGE_CHARS_MAX: usize = 40_000;
/// A message's revision is no longer than this: two ULIDs and a mark between them.
pub const REV_BYTES_MAX: usize = 64;
/// Characters of a channel's name.
pub const CHANNEL_NAME_CHARS_MAX: usize = 80;
/// Members that one `POST /channels` may name.
pub const CREATE_MEMBERS_MAX: usize = 100;
/// Bytes of a REST body: [`MESSAGE_CHARS_MAX`] characters beyond the basic plane, each
/// escaped as a pair of surrogates (12 bytes), fit.
pub const BODY_BYTES_MAX: usize = 768 * 1024;
/// Nesting of a JSON body.
pub const JSON_DEPTH_MAX: usize = 8;
/// Rows of one page.
pub const PAGE_ROWS_MAX: u32 = 100;
/// Rows of a page of messages when the caller names no limit.
pub const PAGE_MESSAGES_DEFAULT: u32 = 20;
/// Rows of a page of channels or members when the caller names no limit.
pub const PAGE_ROWS_DEFAULT: u32 = 100;

/// Texts over this travel on the bus as a reference that each node reads once (G3).
pub const INLINE_TEXT_BYTES_MAX: usize = 4 * 1024;
/// Entries of a workspace's stream and of a node's ring.
pub const STREAM_ENTRIES_MAX: usize = 5_000;
/// Bytes of a workspace's stream and of a node's ring: 5,000 long texts must not fill a cache.
pub const STREAM_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a stream without publications is kept.
pub const STREAM_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long a publication's guard key makes publishing it again a no-op.
pub const GUARD_TTL: Duration = OVERLAP;
/// Entries that one read of the stream returns.
pub const STREAM_READ_ENTRIES_MAX: usize = 500;
/// Notices queued between the bus and a workspace's task; a full queue is a gap, which is filled.
pub const SUBSCRIPTION_NOTICES_MAX: usize = 1_024;
/// Connecting to the bus.
pub const BUS_CONNECT_MAX: Duration = Duration::from_millis(300);
/// One answer of the bus to a node or to the balancer.
pub const BUS_RESPONSE_MAX: Duration = Duration::from_secs(2);
/// First and last wait between attempts to reach a lost bus.
pub const BUS_RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// A subscription, connecting included.
pub const BUS_SUBSCRIBE_MAX: Duration = BUS_RESPONSE_MAX.saturating_add(BUS_CONNECT_MAX);
/// Callers that wait for a subscription; one more waits to be queued.
pub const BUS_JOINS_MAX: usize = 256;
/// How often a process's link for subscriptions is probed.
pub const BUS_PROBE_EVERY: Duration = Duration::from_secs(2);
/// How long an answer may take on the link. With [`BUS_PROBE_EVERY`]: a dead one is noticed within
/// 6 s, one that hears nothing within 10 s.
pub const BUS_PROBE_WAIT: Duration = Duration::from_secs(4);
/// A connection is replaced at this age: one to a primary that was isolated and replaced would
/// otherwise answer for ever. With the link's probe, which goes through it, such a link is noticed
/// within 31 s.
pub const BUS_CONNECTION_AGE_MAX: Duration = Duration::from_secs(25);

/// How often a node renews its lease (G7).
pub const LEASE_RENEW: Duration = Duration::from_secs(2);
/// The age at which a lease is dead (G7): three missed renewals.
pub const LEASE_TTL: Duration = Duration::from_secs(6);
/// How long a dead lease is remembered, so that the balancer can size the ramp of its clients.
pub const LEASE_MEMORY: Duration = Duration::from_secs(120);
/// A ticket lives `delay_ms` and this long.
pub const TICKET_TTL: Duration = Duration::from_secs(30);
/// Distinct reporters within [`REPORT_WINDOW`] that demote a node for [`DEMOTION`].
pub const REPORTERS_MIN: usize = 3;
/// Reports that the directory keeps, the newest of all nodes together. All clients of a lost node
/// report it, and each of them reads the reports: more would cost the square of their number.
/// Enough for ten nodes at a time.
pub const REPORTS_MAX: usize = 10 * REPORTERS_MIN;
/// The window in which reports of a node count together.
pub const REPORT_WINDOW: Duration = Duration::from_secs(10);
/// How long a reported node gets no new clients.
pub const DEMOTION: Duration = Duration::from_secs(30);
/// The share of the mean load up to which a workspace stays on its few nodes, in percent
/// (consistent hashing with bounded loads).
pub const AFFINITY_LOAD_PERCENT: u64 = 125;
/// Load below which affinity is not bounded: tiny fleets would otherwise scatter.
pub const AFFINITY_LOAD_FREE: u64 = 50;
/// The longest `delay_ms`: the ramp of a lost node's clients.
pub const DELAY_MAX: Duration = Duration::from_secs(30);
/// How long the balancer answers from its last view of the fleet when the directory is gone.
pub const FLEET_STALE_MAX: Duration = Duration::from_secs(30);
/// How long the balancer trusts a view of the fleet before it reads again.
pub const FLEET_FRESH: Duration = Duration::from_millis(500);

/// How long a batch of the relay waits for a replica to acknowledge it, or to appear (G3).
pub const REPLICA_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long the relay waits for a replica that should be there and is not: one that lost its link
/// is back within a second. After a failover everything unpublished waits for this.
pub const REPLICA_ABSENT_WAIT: Duration = Duration::from_secs(2);
/// How long the relay then takes it for granted that none is there, and only asks: a primary that
/// was promoted stays alone for minutes, and each batch would wait for it.
pub const REPLICA_ABSENT_MEMORY: Duration = Duration::from_secs(60);
/// Publications of one batch of the relay: one wait for a replica covers them all, and its pipeline
/// and the store's answers to it stay within a few MiB.
pub const RELAY_BATCH_MAX: usize = 1_000;
/// How often the relay runs one batch before it leaves it to the feed: a broken connection or two,
/// and a replica that did not acknowledge.
pub const RELAY_RUNS_MAX: u32 = 4;
/// Channels whose workspace an environment of the relay remembers: some 100 bytes each.
pub const RELAY_CHANNELS_MAX: usize = 20_000;
/// A message of this age is marked late when it is relayed. A minute below [`OVERLAP`]: a client's
/// last id may be [`AFTER_MAX`] ahead, and a batch may take [`RELAY_RUNS_MAX`] runs.
pub const LATE_AGE: Duration = Duration::from_secs(540);
/// How far ahead of the clock a late mark's time lies: it is written before the message is
/// published, and stands for what follows in the next [`OVERLAP`], plus that minute.
pub const LATE_AHEAD: Duration = Duration::from_secs(660);
/// The first and the longest wait of the local feed between two tries to relay records that Redis
/// did not take. After an outage it adds to the seconds that a try itself may take.
pub const RELAY_RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Bytes of an upgrade request's head.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Headers of an upgrade request.
pub const HEAD_HEADERS_MAX: usize = 64;
/// How long a connection may take to complete its request's head.
pub const HEAD_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a socket may take to say `hello`.
pub const HELLO_WAIT_MAX: Duration = Duration::from_secs(5);
/// Bytes of a frame, and of a message, from a client.
pub const CLIENT_FRAME_BYTES_MAX: usize = 16 * 1024;
/// Frames a second from one client.
pub const CLIENT_FRAMES_PER_SECOND_MAX: u32 = 20;
/// Bytes a second from one client, measured below the parser.
pub const CLIENT_BYTES_PER_SECOND_MAX: u32 = 64 * 1024;
/// How long a frame, or a message in fragments, may stay unfinished.
pub const CLIENT_MESSAGE_WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest cursor that is looked at; a longer one is unknown.
pub const CURSOR_BYTES_MAX: usize = 128;
/// Sockets of one user on one node; one more closes the oldest.
pub const SOCKETS_PER_USER_MAX: usize = 10;
/// Sockets of a node.
pub const SOCKETS_MAX: usize = 60_000;
/// Connections of a node that are not upgraded: most of them in the middle of their request's head,
/// for which each holds a few KB, and up to [`HEAD_WAIT_MAX`]. More are cut. Many, so that it takes
/// many silent ones to keep others out.
pub const HANDSHAKES_MAX: usize = 4_096;
/// TLS handshakes that a node has in flight: they last two ways to the client and back, so more than
/// of the others; each holds some 20 KB.
pub const TLS_HANDSHAKES_MAX: usize = 4_096;
/// How long a TLS handshake may take.
pub const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Bytes that TLS holds for a socket whose kernel buffer is full: a record, and what did not fit.
pub const TLS_BUFFER_BYTES_MAX: usize = 32 * 1024;
/// How long a node waits for its own name to resolve: an event, a record, its way to the name
/// servers, and what resolvers remember of its absence. Longer, and another task is tried.
pub const NAME_WAIT_MAX: Duration = Duration::from_secs(300);
/// Handshakes a second that a node takes: what the balancer sizes a ramp by.
pub const HANDSHAKES_PER_SECOND_MAX: u32 = 2_000;
/// The listen backlog: the default of 128 overflows in a reconnect storm, and a dropped client
/// comes back after a whole second.
pub const LISTEN_BACKLOG: u32 = 4_096;
/// Frames queued for one socket; one more makes it a slow consumer.
pub const OUTBOUND_FRAMES_MAX: usize = 512;
/// Bytes queued for one socket; one frame of any size may always queue.
pub const OUTBOUND_BYTES_MAX: usize = 256 * 1024;
/// Frames that one call hands to the kernel.
pub const WRITE_BATCH_FRAMES_MAX: usize = 64;
/// How long a socket may swallow nothing of what is queued; then it is a slow consumer.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(10);
/// Reads of the store that a node has in flight.
pub const STORE_READS_MAX: usize = 128;
/// Reads that one workspace has in flight: one whose reads hang takes no more from the others.
pub const WORKSPACE_READS_MAX: usize = 32;
/// First and last wait between two reads of a workspace while the store fails.
pub const STORE_RETRY: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_millis(1_000));
/// How long a read may take before it counts as failed, at first and at most: a store that got slow
/// is still read, one that is silent is noticed early.
pub const STORE_PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));
/// After this many failures in a row, whoever had them, a node reads no faster than
/// [`STORE_PROBE_EVERY`].
pub const STORE_FAILURES_MAX: u32 = 64;
/// The least time between two reads of a node whose store fails.
pub const STORE_PROBE_EVERY: Duration = Duration::from_millis(20);
/// How often one read may fail while the store answers others; then it is given up.
pub const STORE_REFUSALS_MAX: u32 = 8;
/// Channels whose members one read joins: their versions come with one call.
pub const MEMBERS_BATCH_MAX: usize = 32;
/// Sockets that may wait for their user's rows while the store is in trouble and nothing is known of
/// its speed; those that come then are told to come later.
pub const ATTACHES_IN_TROUBLE_MIN: usize = 16;
/// How long a socket may wait to be attached: well below the time after which its client takes it
/// for dead.
pub const ATTACH_WAIT_MAX: Duration = Duration::from_secs(10);
/// The shortest and the longest `delay_ms` that a busy node names, without its jitter.
pub const BUSY_DELAY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// Members that one query of a refresh reads: a page of 1 MB holds them.
pub const MEMBERS_READ_MAX: u32 = 1_000;
/// How long a closing socket may take to swallow its close frame: a slow consumer should see why.
pub const GOODBYE_MAX: Duration = Duration::from_secs(10);
/// How long a connection is read on after its close frame, so that closing does not reset it.
pub const CLOSE_LINGER: Duration = Duration::from_millis(1_000);
/// Orders queued for a writer shard; a full queue holds the workspace's task, not the memory.
pub const SHARD_ORDERS_MAX: usize = 4_096;
/// Requests queued for a workspace's task.
pub const WORKSPACE_REQUESTS_MAX: usize = 4_096;
/// Texts by reference that one resume may read; more, and the client reads by itself.
pub const REPLAY_TEXTS_MAX: usize = 64;
/// Publications kept while a fill runs; more are read again by the next fill.
pub const PENDING_ENTRIES_MAX: usize = 1_024;
/// Channels that a workspace's backfill reads from the store (G4); more are a `resync`.
pub const BACKFILL_CHANNELS_MAX: usize = 500;
/// Channels that a node reads at once for backfills: they are rare, and must not starve attaches.
pub const BACKFILLS_MAX: usize = 8;
/// Messages of one channel in a backfill; more, and its members read by themselves.
pub const BACKFILL_MESSAGES_MAX: usize = 2_000;
/// Messages of all channels of a backfill: each costs a few bytes in the queue of each socket.
pub const BACKFILL_TOTAL_MAX: usize = 20_000;
/// Bytes of texts of one channel in a backfill; more, as above.
pub const BACKFILL_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Delivered messages that a workspace remembers at least, and at most twice as many: as many as a
/// backfill may push.
pub const DELIVERED_MIN: usize = BACKFILL_TOTAL_MAX / 2;
/// Bytes of publications that a workspace holds for views and texts that the store does not tell
/// (G6). Beyond them channels are given up, and their members read them again.
pub const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same of a whole node; a workspace over its share of it gives up.
pub const HELD_NODE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A hold of this age makes ticks say `fresh:false`: a refresh takes milliseconds.
pub const HOLD_STALE: Duration = Duration::from_secs(1);
/// Channels whose view a workspace's task keeps without a local member.
pub const EMPTY_VIEWS_MAX: usize = 10_000;
/// How often every socket gets a `tick`.
pub const TICK: Duration = Duration::from_secs(15);
/// A client that hears nothing for this long gives its socket up.
pub const SILENCE_MAX: Duration = Duration::from_secs(25);
/// How many clients a second a `resync` sends to the store: its `delay_ms` grows with the number of
/// sockets.
pub const RESYNCS_PER_SECOND: u64 = 500;
/// The longest `delay_ms` of a `resync`.
pub const RESYNC_SPREAD_MAX: Duration = Duration::from_secs(60);
/// Channels that a `resync` names; a client with more reads all.
pub const RESYNC_CHANNELS_MAX: usize = 200;
/// How long the channels of an incident are joined into one `resync` at most.
pub const RESYNC_JOIN_MAX: Duration = Duration::from_secs(30);
/// How long a workspace's task outlives its last socket.
pub const WORKSPACE_IDLE: Duration = Duration::from_secs(60);
/// How long SIGTERM waits for the sockets to go.
pub const DRAIN_MAX: Duration = Duration::from_secs(20);
/// First and last wait of a client between attempts (full jitter).
pub const CLIENT_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

// How clients catch up (ADR 0023).

/// How far before the start of a complete read a message may lie that was stored after it. An id is
/// at most [`PAST`] old when its function looks at the clock, the write is given up
/// [`SEND_DEADLINE`] later, and clocks of servers differ by [`FUTURE`]: 17 s. The rest is for a
/// write that the store carries out after its function gave up, and for a clock that is off.
pub const VERIFIED_OVERLAP: Duration = Duration::from_secs(30);
/// Messages that `known` of `GET /scroll` may name: 3,200 characters, so that a line of a request
/// stays below the 8 KiB that proxies take. With a page of [`PAGE_ROWS_MAX`] between them they take
/// five of the queries of [`PAGE_QUERIES_MAX`].
pub const KNOWN_MESSAGES_MAX: u32 = 400;
/// Channels that a catch-up reads at once.
pub const CLIENT_READS_MAX: usize = 4;
/// The longest wait that a client believes a server: `Retry-After`, `delay_ms` of a `resync` and of
/// close code 1013.
pub const CLIENT_WAIT_MAX: Duration = Duration::from_secs(300);

// Calls of the functions while the store or Redis is in trouble.

/// The wall of a call that reads: below the functions' time-out of 10 s.
pub const CALL_DEADLINE: Duration = Duration::from_secs(8);
/// The wall of a call that changes channels, members or users: below their time-out of 29 s. A
/// revocation writes to each channel of a user.
pub const MEMBERSHIP_DEADLINE: Duration = Duration::from_secs(25);
/// Failures in a row that open a circuit.
pub const CIRCUIT_FAILURES_MAX: u32 = 3;
/// How long a circuit is open, at first and at most: an environment notices within this that the
/// store is back.
pub const CIRCUIT_OPEN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));
/// How long a circuit remembers that it was open.
pub const CIRCUIT_MEMORY: Duration = Duration::from_secs(30);
/// Calls that the store may get for each one that it does not throttle, while it throttles: with 4,
/// nothing is refused until it throttles three of four.
pub const CALLS_AN_ANSWER: f64 = 4.0;
/// How long a throttled call counts: short, so that all calls pass soon after the last of them.
pub const THROTTLED_WINDOW: Duration = Duration::from_secs(1);
/// A call that was cut after this long counts as a failure: one attempt of the store's client.
pub const CIRCUIT_SLOW: Duration = Duration::from_secs(2);
/// The shortest `Retry-After`, and the longest; jitter adds up to as much again.
pub const RETRY_AFTER: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_millis(1_500));
/// How long a call may wait for a free environment of the local gateway: with [`SEND_DEADLINE`] what
/// clients wait for an answer.
pub const SLOT_WAIT_MAX: Duration = Duration::from_secs(4);

// Tokens.

/// How far an issuer's clock may be ahead of ours: `nbf` is taken so much earlier.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(5);
/// An `exp` further away than this is no time in seconds (10 years).
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long a socket may live on one ticket, if the environment does not say: a token that lives
/// longer must not keep a socket open for ever.
pub const SOCKET_LIFETIME: Duration = Duration::from_secs(24 * 3600);

// Membership changes.

/// Users that one `POST /channels/{channel_id}/members` may name.
pub const ADD_MEMBERS_MAX: usize = 100;
/// Rounds of a membership change that meets changes of the same users; then it is `channel_busy`.
pub const CHANGE_ROUNDS_MAX: u32 = 8;
/// First and last wait between these rounds.
pub const CHANGE_BACKOFF: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_millis(500));
/// Pages of [`MEMBERS_READ_MAX`] members that are read to find the longest member.
pub const OWNER_PAGES_MAX: u32 = 20;

// Nodes beside each other, Redis, and the log of their troubles.

/// Publications that the relay sends together: a live one waits for some 2 ms of them in Redis, of
/// its 200 ([`PUBLISH_DEADLINE`]).
pub const RELAY_PIPELINE_MAX: usize = 32;
/// The longest pause of the relay between two pipelines of a batch. It lasts as long as the last
/// pipeline took, so that a backlog takes half of Redis at most; this bounds what a slow server
/// makes of it.
pub const RELAY_PAUSE_MAX: Duration = Duration::from_millis(50);

/// How often an outage that goes on is logged again.
pub const OUTAGE_LOG_EVERY: Duration = Duration::from_secs(60);
/// How far a node's clock may be from Redis's: ids and tickets allow for a second or a few. Above
/// it the node says so, and the balancer prefers others.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5);
/// Ids of ticket secrets that a lease carries: one secret, or two while it is replaced.
pub const LEASE_TICKET_KEYS_MAX: usize = 8;
/// How long the directory remembers to whom a node was given: only they may report it. Covers a
/// ticket's delay and life, a handshake, silence, and a few attempts.
pub const GIVEN_MEMORY: Duration = Duration::from_secs(600);
/// Users that the directory remembers for one node, the newest: some 200 KB of Redis.
pub const GIVEN_PER_NODE_MAX: usize = 2_048;
/// Reports of one node that one workspace may have in the directory: one workspace's reports must
/// not push out those of others ([`REPORTS_MAX`]).
pub const REPORTS_PER_WORKSPACE_MAX: usize = 2 * REPORTERS_MIN;
/// How long sent bytes may stay unacknowledged on a client's socket before the kernel gives it up: a
/// client that vanished is no load after the next tick and this. The kernel counts a closed window
/// too, and takes megabytes before a node sees a stalled write: long enough for a slow consumer to
/// be told why first ([`WRITE_STALL_MAX`] + [`GOODBYE_MAX`], and filling the kernel's buffers).
pub const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
