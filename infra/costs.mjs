// The cost of a deployment, from counted units, list prices and assumptions that can be changed:
//
//   node infra/costs.mjs                            the tables of docs/operations.md
//   node infra/costs.mjs receivers=50 egress=0.05   with other inputs or prices, by name
//   node infra/costs.mjs --inputs                   every input and price, with its source
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const { region, read, prices } = JSON.parse(
  readFileSync(fileURLToPath(new URL('prices.json', import.meta.url)), 'utf8'),
);

/** Counted inputs, each from a test or a constant of this project. */
export const COUNTED = {
  writesPerSend: [1, 'write units a send, text up to about 800 bytes (tests/e2e/cost.rs)'],
  readsPerSend: [2, 'strong read units a send (tests/e2e/cost.rs)'],
  writesPerDelivered: [1, 'write units a message of a channel that delivers first, put by `archive`; no read (tests/e2e/deliver_first.rs)'],
  writesPerEdit: [2, 'write units an edit or a deletion: the change log, the message (tests/e2e/cost.rs)'],
  readsPerEdit: [2, 'strong read units an edit or a deletion (tests/e2e/cost.rs)'],
  writesPerReaction: [3, 'write units a reaction on a quiet message: its row, the change log, the message (tests/e2e/cost.rs)'],
  readsPerReaction: [6, 'read units of it: 4 of the call (tests/e2e/cost.rs), 2 of `derive`, which looks again'],
  writesPerHotReaction: [1, 'write units a reaction on a message that others react to now (tests/e2e/cost.rs)'],
  readsPerHotReaction: [3, 'read units of it, without those of the count that it shares (tests/e2e/cost.rs)'],
  foldSeconds: [1, 'seconds between counts of a hot message, up to 1000 reactions (limits::FOLD_EVERY)'],
  writesPerMark: [1, 'write units a read mark; no read (tests/e2e/cost.rs)'],
  readsPerMarks: [5, 'strong read units for the marks of 100 channels (tests/conformance/store/read_marks.rs)'],
  readsPerCount: [1, 'strong read units to count a channel with up to 4 KiB unread (tests/e2e/cost.rs)'],
  writesPerFile: [2, 'write units a file: its row (tests/e2e/cost.rs), and giving it to its message, by `derive` (tests/conformance/store/attachments.rs)'],
  readsPerFile: [3, 'read units a file: 2 of the call that signs the upload, 1 more of the send (tests/e2e/cost.rs)'],
  readsPerFileUrl: [4, 'read units a URL of a file: the file, its message, standing 2 (tests/e2e/cost.rs)'],
  mentionRowsMax: [1000, 'newest mentions of a user that a count reads (limits::MENTION_ROWS_MAX)'],
  tickSeconds: [15, 'seconds between ticks (limits::TICK)'],
  vcpu: [1, 'vCPU a node (infra/lib/settings.mjs)'],
  memoryGb: [2, 'GB a node (infra/lib/settings.mjs)'],
  functionMb: [512, 'MB a function (infra/lib/parameters.mjs)'],
  archiveMb: [128, 'MB of the function `archive` (infra/lib/parameters.mjs)'],
  archiveEvery: [60, 'seconds between its starts (infra/lib/schedule.mjs)'],
  archiveRun: [70, 'seconds that a run takes where a channel delivers first (limits::ARCHIVE_RUN)'],
  socketsPerNode: [20000, 'sockets a node that the fleet is scaled towards, of 60000 (parameters)'],
  relayBatch: [100, 'records a call of the relay at most (infra/lib/stream.mjs)'],
  deriveBatch: [1000, 'records a call of `derive` at most (infra/lib/stream.mjs)'],
  alarmMetrics: [64, 'metrics that alarms look at (infra/lib/alarms.mjs)'],
  nodeMetrics: [10, 'custom metrics of the fleet (infra/lib/collector.mjs)'],
  textBytes: [100, 'bytes of text: the frame sizes below are of a message this long'],
  messageFrame: [342, 'bytes of a message frame with that text and its header (docs/protocol.md)'],
  tickFrame: [107, 'bytes of a tick and its header (docs/protocol.md)'],
};

/** Store units of other calls: [strong read units, write units], all counted in tests/e2e/cost.rs. */
export const CALLS = {
  'create a private channel': [2, 3],
  'create a public channel': [2, 4],
  'join a public channel': [7, 3],
  'rename, set a topic, archive': [2, 1],
  'list 100 public channels': [101.5, 0],
  'first profile of a user': [2, 2],
  'change a profile': [2, 1],
  'read one profile': [2, 0],
  'list 100 profiles': [101.5, 0],
};

/** Assumed inputs. */
export const ASSUMED = {
  receivers: [10, 'sockets that get each message'],
  packetBytes: [74, 'bytes around a frame: IPv4 and TCP with timestamps 52, TLS record 22'],
  sendMs: [15, 'billed ms of a send: three round trips inside the region; not measured on AWS'],
  relayMs: [50, 'billed ms of a call of the relay; not measured on AWS'],
  relayFill: [0.1, 'how full its batches are: 1 is a busy stream'],
  archiveIdleMs: [10, 'billed ms of a run of `archive` that finds nothing to wait for; not measured on AWS'],
  acceptedFrame: [150, 'bytes of the frame `accepted` and its header, which answers a send on a socket'],
  amendMs: [20, 'billed ms of an edit, a deletion, a reaction or a pin: four round trips; not measured on AWS'],
  scrollMs: [15, 'billed ms of a page; not measured on AWS'],
  readsPerPage: [3, 'read units a page of 20 older messages: one query, eventual, 1 for short texts; standing 2'],
  deriveMs: [50, 'billed ms of a call of `derive` that need not wait; not measured on AWS'],
  deriveFill: [0.01, 'how full its batches are: 10 records a call'],
  writesPerFold: [2, 'write units a count of a hot message: the change log, the message'],
  readsPerFold: [4, 'read units of it, while all its reactions are 4 KB: the message and they, before the wait and after'],
  writesPerPin: [3, 'write units a pin: its row, the change log, the message; a removal is the same'],
  readsPerPin: [6, 'read units of it: standing 2, the message, 40 pins of the channel (4 KB), which a removal does not read; 2 of `derive`'],
  mentioned: [1, 'members that a message mentions, of those messages that mention somebody'],
  writesPerMention: [1, 'write units a mentioned member: a row that `derive` puts; not counted by a test'],
  readsPerMention: [1, 'read units a mentioned user, a member or not; `derive` reads one more for the channel'],
  writesPerReply: [3, 'write units a reply: the reply; by `derive`, the change log and the root (tests/e2e/cost.rs)'],
  readsPerReply: [5, 'read units a reply, those of `derive` included (tests/e2e/cost.rs)'],
  mentionRows: [100, 'mentions of a user in 30 days'],
  mentionBytes: [100, 'bytes that a mention takes in its table'],
  mentionsPerPage: [20, 'mentions a page, each with its message'],
  mentionChannels: [5, 'channels that these are in'],
  itemBytes: [300, 'bytes that a message takes in its table'],
  answerBytes: [900, 'bytes that go out for a send: headers, body, TLS'],
  marksPerCall: [3, 'read marks a call: a client sends one call for what it read in 10 s'],
  readMs: [10, 'billed ms of a call with marks: one round trip; not measured on AWS'],
  countedChannels: [100, 'channels of a user who asks what is unread'],
  countMs: [100, 'billed ms of that call: a dozen rounds of queries; not measured on AWS'],
  fileBytes: [500_000, 'bytes of a file'],
  fileReads: [5, 'times that a file is read'],
  filesMs: [10, 'billed ms of a call that signs a URL: two round trips; not measured on AWS'],
  keptMonths: [12, 'months that a message and a file are kept, for the cost of keeping a million'],
  pingMinutes: [9, 'minutes between pings that keep a WebSocket API from closing (it does after 10)'],
};

const HOURS = 730;
const MILLION = 1_000_000;
const GB = 1_000_000_000;

/** The values of inputs and prices. The command line overrides defaults. */
export function inputsOf(chosen = {}) {
  const all = { ...COUNTED, ...ASSUMED };
  const values = Object.fromEntries(Object.entries(all).map(([name, [value]]) => [name, value]));
  const costs = Object.fromEntries(Object.entries(prices).map(([name, { usd, per }]) => [name, usd / per]));
  for (const [name, value] of Object.entries(chosen)) {
    if (!Number.isFinite(value) || value < 0) throw new Error(`${name} is not a number from 0 on`);
    if (name in values) values[name] = value;
    else if (name in prices) costs[name] = value / prices[name].per;
    else throw new Error(`${name} is neither an input nor a price; --inputs lists them`);
  }
  return { values, costs };
}

/** Billed GB-seconds of so many milliseconds. */
const seconds = (v, ms) => (ms / 1000) * (v.functionMb / 1024);

/** A record's share of a call of one of the stream's readers. */
function relayShare({ values: v, costs: c }) {
  const calls = 1 / Math.max(1, v.relayBatch * v.relayFill);
  return calls * (c.invocations + seconds(v, v.relayMs) * c.functionSeconds);
}

function deriveShare({ values: v, costs: c }) {
  const calls = 1 / Math.max(1, v.deriveBatch * v.deriveFill);
  return calls * (c.invocations + seconds(v, v.deriveMs) * c.functionSeconds);
}

/** Read units of a query that is eventually consistent: half a unit for each 4 KB that it begins. */
const queried = (rows, bytes) => Math.max(1, Math.ceil((rows * bytes) / 4096)) / 2;

/** The cost of a million messages, without their receivers' connections. */
export function perMillionMessages(inputs) {
  const { values: v, costs: c } = inputs;
  const lines = {
    'store: writes': v.writesPerSend * c.writeUnits,
    'store: reads': v.readsPerSend * c.readUnits,
    'API calls': c.httpCalls,
    'function `send`': c.invocations + seconds(v, v.sendMs) * c.functionSeconds,
    'function `relay`, its stream reads free': relayShare(inputs),
    'bytes out: answers': (v.answerBytes / GB) * c.egress,
    'bytes out: deliveries': v.receivers * ((v.messageFrame + v.packetBytes) / GB) * c.egress,
  };
  const ours = scaled(lines, MILLION);
  const kept = (v.itemBytes / GB) * (c.storage + c.restore) * v.keptMonths * MILLION;
  const socketMessages = (1 + v.receivers) * c.socketMessages * MILLION;
  return {
    ours,
    kept,
    // The send comes over the socket, and each delivery is another message. The compute that calls
    // the gateway's API for each delivery is not counted.
    gateway: sum(ours) - ours['API calls'] + socketMessages,
    hosted: (1 + v.receivers) * c.hostedMessages * MILLION,
  };
}

/** The contracts of channels, in the order of the figures below. */
export const CONTRACTS = ['persist_first', 'deliver_first', 'ephemeral'];

/**
 * The cost of a million messages for each contract, without their deliveries, which are the same. Where
 * a channel delivers first, sends come over sockets, and `archive` stores them later: its time is not paid
 * for by the message (`perArchiveMonth`). What is `ephemeral` is in the cache only, and only for a moment.
 */
export function perMillionByContract(inputs) {
  const { values: v, costs: c } = inputs;
  const { ours, kept } = perMillionMessages(inputs);
  const accepted = ((v.acceptedFrame + v.packetBytes) / GB) * c.egress * MILLION;
  const relay = 'function `relay`, its stream reads free';
  const of = (name, ...others) => [name, [ours[name], ...others]];
  const lines = Object.fromEntries([
    of('store: writes', v.writesPerDelivered * c.writeUnits * MILLION, 0),
    of('store: reads', 0, 0),
    of('API calls', 0, 0),
    of('function `send`', 0, 0),
    of(relay, ours[relay], 0),
    of('bytes out: answers', accepted, accepted),
  ]);
  return { lines, kept: [kept, kept, 0] };
}

/** The cost of a month of `archive`: while a channel delivered first in the last week, and otherwise. */
export function perArchiveMonth({ values: v, costs: c }) {
  const runs = (HOURS * 3600) / v.archiveEvery;
  const run = (ms) => c.invocations + (ms / 1000) * (v.archiveMb / 1024) * c.functionSeconds;
  return { used: runs * run(v.archiveRun * 1000), unused: runs * run(v.archiveIdleMs) };
}

/**
 * The cost of a million calls of other kinds, without what is delivered: of the store, and with the
 * functions and the API as well.
 */
export function perMillionCalls(inputs) {
  const { values: v, costs: c } = inputs;
  const store = (writes, reads) => writes * c.writeUnits + reads * c.readUnits;
  const call = (ms) => c.httpCalls + c.invocations + seconds(v, ms) * c.functionSeconds;
  const line = (ofStore, rest) => ({ store: ofStore * MILLION, all: (ofStore + rest) * MILLION });
  return {
    'an edit, or a deletion': line(store(v.writesPerEdit, v.readsPerEdit), call(v.amendMs) + relayShare(inputs)),
    'a reaction on a quiet message': line(
      store(v.writesPerReaction, v.readsPerReaction),
      call(v.amendMs) + relayShare(inputs) + deriveShare(inputs),
    ),
    'a reaction on a hot message': line(store(v.writesPerHotReaction, v.readsPerHotReaction), call(v.amendMs)),
    'the count that those share, once a second': line(
      store(v.writesPerFold, v.readsPerFold),
      c.invocations + seconds(v, v.foldSeconds * 1000 + v.deriveMs) * c.functionSeconds + relayShare(inputs),
    ),
    'a reply in a thread, with its count': line(
      store(v.writesPerReply, v.readsPerReply),
      call(v.sendMs) + 2 * relayShare(inputs) + deriveShare(inputs),
    ),
    'a pin': line(
      store(v.writesPerPin, v.readsPerPin),
      call(v.amendMs) + relayShare(inputs) + deriveShare(inputs),
    ),
    [`listing the mentions of a message (${v.mentioned}), by \`derive\``]: line(
      store(v.mentioned * v.writesPerMention, 1 + v.mentioned * v.readsPerMention),
      deriveShare(inputs),
    ),
    'a page of 20 older messages': line(store(0, v.readsPerPage), call(v.scrollMs)),
    [`a page of ${v.mentionsPerPage} mentions in ${v.mentionChannels} channels`]: line(
      store(0, queried(v.mentionsPerPage, v.mentionBytes) + 2 * v.mentionChannels + v.mentionsPerPage),
      call(v.scrollMs),
    ),
  };
}

/** The cost of a million calls of each kind: store, API and function. As long as a send. */
export function perMillionOfCounted({ values: v, costs: c }) {
  const call = c.httpCalls + c.invocations + (v.sendMs / 1000) * (v.functionMb / 1024) * c.functionSeconds;
  const cost = ([reads, writes]) => reads * c.readUnits + writes * c.writeUnits + call;
  return scaled(Object.fromEntries(Object.entries(CALLS).map(([name, units]) => [name, cost(units)])), MILLION);
}

/** The cost of a million files, each named by a message and read a few times. */
export function perMillionFiles(inputs) {
  const { values: v, costs: c } = inputs;
  const call = c.httpCalls + c.invocations + seconds(v, v.filesMs) * c.functionSeconds;
  const lines = {
    'store: rows, and giving them to messages': v.writesPerFile * c.writeUnits + v.readsPerFile * c.readUnits,
    'signing uploads: API calls and function `files`': call,
    'function `derive`': deriveShare(inputs),
    'S3: an upload, and a look by the send': c.fileWrites + c.fileReads,
    'reads: store, API calls, function, S3': v.fileReads * (v.readsPerFileUrl * c.readUnits + call + c.fileReads),
    'reads: bytes out': v.fileReads * (v.fileBytes / GB) * c.egress,
  };
  return { files: scaled(lines, MILLION), kept: (v.fileBytes / GB) * c.fileStorage * v.keptMonths * MILLION };
}

/** The cost of a million read marks, and of asking a million times what is unread. */
export function perMillionReads({ values: v, costs: c }) {
  const seconds = (ms) => (ms / 1000) * (v.functionMb / 1024);
  const call = (ms) => c.httpCalls + c.invocations + seconds(ms) * c.functionSeconds;
  const channels = v.countedChannels;
  const marks = {
    'store: writes': v.writesPerMark * c.writeUnits,
    'API calls and function `amend`': call(v.readMs) / v.marksPerCall,
  };
  const counts = {
    'store: marks, unread messages': ((channels / 100) * v.readsPerMarks + channels * v.readsPerCount) * c.readUnits,
    'store: mentions': queried(Math.min(v.mentionRows, v.mentionRowsMax), v.mentionBytes) * c.readUnits,
    'API calls and function `scroll`': call(v.countMs),
  };
  return { marks: scaled(marks, MILLION), counts: scaled(counts, MILLION) };
}

/** The cost of a million connection-hours, idle except for the traffic that keeps them open. */
export function perMillionHours({ values: v, costs: c }) {
  const node = v.vcpu * c.vcpuHours + v.memoryGb * c.memoryHours;
  const ticks = 3600 / v.tickSeconds;
  const lines = {
    'nodes': node / v.socketsPerNode,
    'public addresses': c.addressHours / v.socketsPerNode,
    'bytes out: ticks': ticks * ((v.tickFrame + v.packetBytes) / GB) * c.egress,
  };
  return {
    ours: scaled(lines, MILLION),
    gateway: (60 * c.socketMinutes + (60 / v.pingMinutes) * c.socketMessages) * MILLION,
    hosted: 60 * c.hostedMinutes * MILLION,
  };
}

/** The cost of a month of an unused deployment. */
export function perIdleMonth(inputs) {
  const { values: v, costs: c } = inputs;
  const node = v.vcpu * c.vcpuHours + v.memoryGb * c.memoryHours + c.addressHours;
  return {
    'two nodes with their addresses': 2 * node * HOURS,
    'cache, primary and replica': 2 * c.cacheHours * HOURS,
    [`metrics of alarms (${v.alarmMetrics}) and of nodes (${v.nodeMetrics})`]:
      v.alarmMetrics * c.alarms + v.nodeMetrics * c.metrics,
    'function `archive`, which finds nothing': perArchiveMonth(inputs).unused,
    'secrets (4), a zone': 4 * c.secrets + c.zones,
  };
}

const sum = (lines) => Object.values(lines).reduce((total, value) => total + value, 0);
const scaled = (lines, by) =>
  Object.fromEntries(Object.entries(lines).map(([name, value]) => [name, value * by]));
const usd = (value) => value.toFixed(2);

/** The tables, in Markdown. */
export function tables(chosen = {}) {
  const inputs = inputsOf(chosen);
  const [messages, hours, idle] = [perMillionMessages(inputs), perMillionHours(inputs), perIdleMonth(inputs)];
  const calls = Object.entries(perMillionCalls(inputs));
  const rows = (lines) => Object.entries(lines).map(([name, value]) => `| ${name} | ${usd(value)} |`);
  const [contracts, archive] = [perMillionByContract(inputs), perArchiveMonth(inputs)];
  const columns = (name, line, mark = '') =>
    `| ${[name, ...line.map((value) => mark + usd(value) + mark)].join(' | ')} |`;
  const { marks, counts } = perMillionReads(inputs);
  const { files, kept } = perMillionFiles(inputs);
  const { receivers, keptMonths, socketsPerNode, marksPerCall, countedChannels, mentionRows } = inputs.values;
  const { fileBytes, fileReads } = inputs.values;
  return [
    `| a million messages to ${receivers} sockets each | USD |`,
    '| --- | --- |',
    ...rows(messages.ours),
    `| **Inkwire** | **${usd(sum(messages.ours))}** |`,
    `| API Gateway WebSockets, on the same store and functions | ${usd(messages.gateway)} |`,
    `| Ably | ${usd(messages.hosted)} |`,
    `| beside it: keeping them ${keptMonths} months, restorable | ${usd(messages.kept)} |`,
    '',
    `| a million messages by contract, without deliveries | ${CONTRACTS.map((name) => `\`${name}\``).join(' | ')} |`,
    '| --- | --- | --- | --- |',
    ...Object.entries(contracts.lines).map(([name, line]) => columns(name, line)),
    columns('**Inkwire**', CONTRACTS.map((_, of) => sum(Object.values(contracts.lines).map((line) => line[of]))), '**'),
    columns(`beside it: keeping them ${keptMonths} months, restorable`, contracts.kept),
    columns('beside it: function `archive`, a month, however many', [archive.unused, archive.used, archive.unused]),
    '',
    '| a million of these, without what is delivered | USD, store | USD, all |',
    '| --- | --- | --- |',
    ...calls.map(([name, { store, all }]) => `| ${name} | ${usd(store)} | ${usd(all)} |`),
    '',
    `| a million files of ${fileBytes / 1000} KB, each read ${fileReads} times | USD |`,
    '| --- | --- |',
    ...rows(files),
    `| **Inkwire** | **${usd(sum(files))}** |`,
    `| beside it: keeping them ${keptMonths} months | ${usd(kept)} |`,
    '',
    `| a million read marks, ${marksPerCall} a call | USD |`,
    '| --- | --- |',
    ...rows(marks),
    `| **Inkwire** | **${usd(sum(marks))}** |`,
    '',
    `| asking a million times what is unread in ${countedChannels} channels, with ${mentionRows} mentions | USD |`,
    '| --- | --- |',
    ...rows(counts),
    `| **Inkwire** | **${usd(sum(counts))}** |`,
    '',
    `| a million connection-hours, ${socketsPerNode} sockets a node | USD |`,
    '| --- | --- |',
    ...rows(hours.ours),
    `| **Inkwire** | **${usd(sum(hours.ours))}** |`,
    `| API Gateway WebSockets | ${usd(hours.gateway)} |`,
    `| Ably | ${usd(hours.hosted)} |`,
    '',
    '| a million calls | read units each | write units each | USD |',
    '| --- | --- | --- | --- |',
    ...Object.entries(perMillionOfCounted(inputs)).map(
      ([name, value]) => `| ${name} | ${CALLS[name][0]} | ${CALLS[name][1]} | ${usd(value)} |`,
    ),
    '',
    '| a month that nobody uses | USD |',
    '| --- | --- |',
    ...rows(idle),
    `| **Inkwire** | **${usd(sum(idle))}** |`,
  ].join('\n');
}

/** Every input and price, with its source. */
export function listed() {
  const input = ([name, [value, meaning]]) => `  ${name}=${value}  ${meaning}`;
  const price = ([name, { usd: value, per, unit, source, quoted }]) =>
    `  ${name}=${value}  USD per ${per === 1 ? '' : `${per} `}${unit}\n      ${source}` +
    (quoted ? `\n      quoted by ${quoted}` : '\n      not verified here: look at that page');
  return [
    'counted:',
    ...Object.entries(COUNTED).map(input),
    'assumed:',
    ...Object.entries(ASSUMED).map(input),
    `prices, ${region}, ${read}:`,
    ...Object.entries(prices).map(price),
  ].join('\n');
}

function main(words) {
  if (words.includes('--inputs')) return listed();
  const pairs = words.map((word) => word.split('='));
  return tables(Object.fromEntries(pairs.map(([name, value]) => [name, Number(value || NaN)])));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log(main(process.argv.slice(2)));
  } catch (error) {
    console.error(`infra/costs.mjs: ${error.message}`);
    process.exit(64);
  }
}
