// The page without its document: builds the parts that talk to the server, and connects them.

import { Api } from "./api.js";
import { Attachments } from "./attachments.js";
import { Deliveries, isDelivered } from "./deliveries.js";
import { Edits } from "./edits.js";
import { Got } from "./got.js";
import { Idle } from "./idle.js";
import { Invisible } from "./invisible.js";
import { LocalDb } from "./local_db.js";
import { LocalMessages } from "./local_messages.js";
import { Meetings } from "./meetings.js";
import { Outbox } from "./outbox.js";
import { Owners } from "./owners.js";
import { Pins } from "./pins.js";
import { Presence } from "./presence.js";
import { Probes } from "./probes.js";
import { Reactions } from "./reactions.js";
import { Profiles } from "./profiles.js";
import { ReadState } from "./read_state.js";
import { Receipts } from "./receipts.js";
import { Screen } from "./screen.js";
import { Connection } from "./socket.js";
import { Store } from "./store.js";
import { Sync } from "./sync.js";
import { claimTab } from "./tab.js";
import { Threads } from "./threads.js";
import { Typing } from "./typing.js";

/** When to send by REST alone if no node can be reached. */
const RELEASE_ANYWAY_MS = 5_000;

export class Core {
  #phaseBefore = null;
  /** Whose queue sessionStorage holds, once tab.js has found out. */
  #owner = null;
  #isListRead = false;
  #isRestored = false;

  /** `locks` is the browser's `navigator.locks`, if it has one. */
  constructor(workspaceId, userId, storages, locks) {
    this.storages = storages;
    this.store = new Store(workspaceId, userId, storages);
    this.api = new Api(workspaceId, userId);
    this.readState = new ReadState(this.api, this.store);
    this.threads = new Threads(this.api, this.store);
    this.sync = new Sync(this.api, this.store, {
      readMarks: (signal) => Promise.all([this.readState.load(signal), this.threads.load(signal)]),
      replied: (reply) => this.threads.replied(reply),
      mayLackReplies: () => this.threads.mayLackReplies(),
      threadMarksRead: () => this.threads.firstLoad,
      markMoved: (frame) => this.readState.onFrame(frame),
      arrived: (message) => this.typing.onMessage(message),
      typists: (frame) => this.typing.onFrame(frame),
      present: (frame) => this.presence.onFrame(frame),
      listRead: () => this.#listRead(),
      logRead: (log) => {
        this.outbox.logRead(log);
        this.got.note(log);
      },
      waitingLogs: () => this.outbox.waitingLogs(),
    });
    const isBehind = (log) => this.sync.isBehind(log);
    this.attachments = new Attachments(this.api, this.store);
    this.edits = new Edits(this.api, this.store);
    this.reactions = new Reactions(this.api, this.store);
    this.pins = new Pins(this.api, this.store);
    this.profiles = new Profiles(this.api, this.store);
    this.outbox = new Outbox(this.api, this.store, storages.session, isBehind);
    this.connection = new Connection(this.api, this.store.log, {
      ready: (frame, session) => {
        this.sync.onReady(frame, session);
        this.presence.attached(session);
        this.screen.attached();
        this.idle.attached();
        this.invisible.attached(frame);
        this.meetings.attached(session);
        this.deliveries.attached(session);
        this.got.attached(session);
      },
      frame: (frame, session) => this.#onFrame(frame, session),
      changed: () => this.#connectionChanged(),
    });
    this.probes = new Probes(this.connection);
    this.presence = new Presence(this.store);
    this.screen = new Screen(this.connection, ({ users }) => this.presence.viewed(users));
    this.idle = new Idle(this.connection);
    const invisibleKey = `inkwire.invisible.${workspaceId}.${userId}`;
    // The node passed on nothing of what this page said that it has.
    const becameVisible = () => this.got.again();
    this.invisible = new Invisible(
      this.api,
      this.connection,
      storages.local,
      invisibleKey,
      becameVisible,
    );
    this.typing = new Typing(this.store, this.connection);
    this.meetings = new Meetings(this.store, this.connection, this.api.clock, {
      arrived: (message) => this.typing.onMessage(message),
      ended: (channelId) => this.#meetingEnded(channelId),
      mayBeOver: () => this.sync.channelList.refreshSoon(),
    });
    this.#makeDeliveries(workspaceId, userId, locks);
    this.sync.attach(this.connection);
    claimTab(storages.session, locks).then((owner) => {
      this.#owner = owner;
      this.#restore();
    });
  }

  /** What channels need that deliver first. */
  #makeDeliveries(workspaceId, userId, locks) {
    const { api, connection, storages, store } = this;
    const now = () => api.clock.now();
    const name = `inkwire.${workspaceId}.${userId}`;
    const db = new LocalDb(name, () => globalThis.indexedDB, storages.local);
    this.receipts = new Receipts(api, store, db);
    this.localMessages = new LocalMessages(store, db);
    this.got = new Got(store, connection, () => this.localMessages.flush(), now);
    const { receipts } = this;
    const owners = new Owners(locks);
    this.deliveries = new Deliveries({ api, store, connection, receipts, db, owners });
    this.receipts.load();
    this.localMessages.load();
    this.deliveries.restore();
  }

  start() {
    this.connection.start();
  }

  setOffline(offline) {
    this.api.setOffline(offline);
    if (offline) {
      this.readState.stop();
      this.threads.stop();
      this.outbox.hold();
      this.connection.goOffline();
      this.deliveries.setOffline(true);
      return;
    }
    this.connection.goOnline();
    this.deliveries.setOffline(false);
    setTimeout(() => {
      if (!this.api.offline) this.outbox.release();
    }, RELEASE_ANYWAY_MS);
  }

  /** Queues a message and sends it as soon as it may be. In a meeting nothing is queued. */
  submit(log, text, attachments) {
    this.probes.beforeSend();
    if (this.store.isInMeeting(log)) return this.meetings.submit(log, text);
    if (isDelivered(this.store, log)) return this.deliveries.submit(log, text);
    this.outbox.submit(log, text, attachments);
  }

  /** A person asked: ends every wait. */
  retryNow() {
    this.connection.retryNow();
    this.#retryCalls();
  }

  /** The network may be back: ends every back-off. */
  networkMayBeBack() {
    this.connection.skipBackOff();
    this.#retryCalls();
  }

  /** Whether closing this tab would lose text or files. */
  get hasUnsaved() {
    const { drafts } = this.store;
    const isInMemory = this.meetings.hasUnsent || drafts.hasPassing || !drafts.isStored;
    const unsent = this.outbox.unsent + this.deliveries.unsent;
    return unsent > 0 || isInMemory || this.attachments.hasAny;
  }

  #retryCalls() {
    this.api.retryNow();
    this.sync.channelList.retryNow();
    this.outbox.retryNow();
    this.deliveries.retryNow();
    this.reactions.retryNow();
  }

  #onFrame(frame, session) {
    this.invisible.onFrame(frame);
    const isAnswer = this.deliveries.onFrame(frame);
    if (frame.type === "receipts") this.receipts.onFrame(frame);
    else if (!isAnswer && !this.meetings.onFrame(frame)) this.sync.onFrame(frame, session);
    if (frame.type === "message") this.got.note(frame.message.channel_id);
  }

  #connectionChanged() {
    const { phase } = this.connection;
    if (phase !== this.#phaseBefore) {
      this.#phaseBefore = phase;
      if (phase === "live") {
        this.outbox.release();
        this.receipts.read(this.store.activeId);
      }
      // Without a socket there is no catch-up to wait for: send by REST.
      else if (phase === "reconnecting") this.outbox.pumpAll();
    }
    this.store.changed();
  }

  /** The channels are known, so messages may be sent, each when its channel has caught up. */
  #listRead() {
    this.#isListRead = true;
    this.#restore();
    this.outbox.refuseFormer();
    this.meetings.listRead();
    this.deliveries.listRead();
    this.localMessages.listRead();
    this.got.all();
    if (!this.api.offline) this.outbox.release();
  }

  /** The list may still have it for a moment. */
  #meetingEnded(channelId) {
    this.store.removeChannel(channelId);
    this.sync.channelList.refreshSoon();
  }

  #restore() {
    if (this.#isRestored || !this.#isListRead || this.#owner === null) return;
    this.#isRestored = true;
    this.outbox.restore(this.#owner);
    this.outbox.pumpAll();
  }
}
