// The open thread, beside its channel or over it: the root, the replies, and the box to write one.
//
// Invariants: the thread is one of the open channel; the pane closes by itself only if nothing of
// the user's would get out of sight with it.

import { Composer } from "./composer.js";
import { byId, reconcile, setAttribute, setHidden, setText } from "./dom.js";
import { renderEdge, threadEdgeContent, threadEdgeState } from "./edge.js";
import { timeOf } from "./ids.js";
import { setThreadOpen } from "./layout.js";
import { MessageRows } from "./message_rows.js";
import { createRow } from "./rows.js";
import { isolate } from "./text.js";
import { MessageView } from "./view.js";

const PLACE = "thread";
const PREFIX = "thread-";

export class ThreadPane {
  #core;
  #store;
  #actions;
  #view;
  #composer;
  #rows;
  #pane = byId("thread");
  /** The thread whose root was asked for last, and how often it had been forgotten by then. */
  #askedFor = null;
  /** Whether a person opened the thread, and nothing was focused yet. */
  #wantsFocus = false;

  /**
   * `actions` are those of the rows and the composer, and `closeThread(reason)`; without a reason a
   * person asked for it.
   */
  constructor(core, picker, actions) {
    const { store, sync, threads } = core;
    this.#core = core;
    this.#store = store;
    this.#actions = actions;
    this.#rows = new MessageRows(store, actions, picker, PLACE);
    const log = () => store.activeThread;
    const viewed = { left: actions.left, loadOlder: (thread) => sync.loadOlder(thread) };
    this.#view = new MessageView(store, viewed, picker, {
      log,
      prefix: PREFIX,
      rows: this.#rows,
      isCovered: () => false,
      renderAbove: (timeline) => this.#renderAbove(timeline),
    });
    this.#composer = new Composer(core, actions, {
      log,
      prefix: PREFIX,
      area: this.#pane,
      label: "Reply",
      placeholder: () => "Reply…",
      refusal: () => (this.#isEnded() ? "The message was deleted." : null),
    });
    byId("close-thread").addEventListener("click", () => actions.closeThread());
    byId("thread-follow").addEventListener("click", () => {
      const thread = store.activeThread;
      actions.attempt(() => threads.set(thread, !threads.follows(thread)));
    });
  }

  /** The focus goes to where a reply is written, once that is drawn. */
  focus() {
    this.#wantsFocus = true;
  }

  get hasFocus() {
    return this.#pane.contains(document.activeElement);
  }

  isReading(log) {
    return this.#view.isReading(log);
  }

  toBottom() {
    this.#view.toBottom();
  }

  /** Scrolls to a reply of the open thread, once it is here. */
  show(reply) {
    this.#wantsFocus = false;
    this.#view.show(reply);
  }

  render() {
    const thread = this.#store.activeThread;
    // Of an unknown channel the channel's own view says what is wrong.
    const isOpen = thread !== null && this.#store.channelsKnown && this.#store.shown !== null;
    setHidden(this.#pane, !isOpen);
    setThreadOpen(isOpen);
    if (isOpen) {
      this.#read(thread);
      this.#renderHead(thread);
    } else this.#askedFor = null;
    this.#view.render();
    this.#composer.render();
    if (!isOpen) return;
    this.#focusIfWanted();
    this.#closeIfOver(thread);
  }

  /** Reads the thread and its root, unless they are here or on their way. */
  #read(thread) {
    if (this.#store.active === null) return;
    if (!this.#store.timeline(thread).isKept) this.#core.sync.openThread(thread);
    const root = this.#root;
    // The channel may forget it, with older pages.
    if (root !== undefined && !this.#store.roots.copyOf(thread)) this.#store.roots.keep(root);
    if (root !== undefined) this.#askedFor = null;
    else if (this.#askedFor !== this.#lifeOf(thread) && !this.#core.api.offline)
      this.#readRoot(thread);
  }

  async #readRoot(thread) {
    this.#askedFor = this.#lifeOf(thread);
    const { activeId: channelId, activeRoot: id } = this.#store;
    const { api } = this.#core;
    try {
      this.#store.roots.keep(await api.untilAnswered(() => api.message(channelId, id)));
    } catch (problem) {
      // Offline: asked for again when the page is online.
      if (problem.retryable) this.#askedFor = null;
      if (problem.retryable || thread !== this.#store.activeThread) return;
      // Removed meanwhile: the list of channels will show it.
      if (problem.code !== "channel_not_found")
        this.#actions.closeThread("This thread does not exist, or you may not read it.");
    }
  }

  #lifeOf(thread) {
    return `${thread} ${this.#store.timeline(thread).life}`;
  }

  get #root() {
    const { activeId, activeRoot } = this.#store;
    return activeRoot === null ? undefined : this.#store.roots.of(activeId, activeRoot);
  }

  /** A deleted message takes no first reply. */
  #isEnded() {
    const root = this.#root;
    return root?.deleted !== undefined && !(root.replies?.count > 0);
  }

  #closeIfOver(thread) {
    const { active, shown } = this.#store;
    const isLost = active === null && shown !== null;
    if (!isLost && !this.#isEnded()) return;
    const isWriting = this.#composer.hasText || this.#core.attachments.of(thread).length > 0;
    if (isWriting || this.#store.unsentIn(thread).length > 0) return;
    const title = isolate(this.#store.titleOf(shown));
    this.#actions.closeThread(
      isLost
        ? `The thread is closed: you are no longer a member of ${title}.`
        : "The thread is closed: its message was deleted.",
    );
  }

  #focusIfWanted() {
    if (!this.#wantsFocus) return;
    this.#wantsFocus = false;
    if (!this.#composer.focus()) byId("thread-title").focus();
  }

  #renderHead(thread) {
    const { shown } = this.#store;
    setText(byId("thread-channel"), shown === null ? "" : this.#store.titleOf(shown));
    const { threads } = this.#core;
    const follow = byId("thread-follow");
    setHidden(follow, !threads.isKnown || this.#store.active === null);
    setText(follow, threads.follows(thread) ? "Unfollow" : "Follow");
    setAttribute(follow, "aria-busy", String(threads.isBusy(thread)));
  }

  get #isConnected() {
    const { phase } = this.#core.connection;
    return phase === "live" || phase === "catching_up";
  }

  #renderAbove(timeline) {
    const root = timeline === null ? undefined : this.#root;
    const rows = root === undefined ? [] : [rowOf(root)];
    const update = (node, row) => this.#rows.update(node, row);
    reconcile(byId("thread-root"), rows, ({ key }) => key, createRow, update);
    if (timeline === null) return;
    const thread = this.#store.activeThread;
    const state = threadEdgeState(this.#store, timeline, this.#isConnected);
    const count = countOf(root, timeline);
    const { sync } = this.#core;
    renderEdge(byId("thread-edge"), state, String(count), () =>
      threadEdgeContent(state, count, {
        loadOlder: () => sync.loadOlder(thread),
        readAgain: () => sync.openThread(thread),
      }),
    );
  }
}

function rowOf(message) {
  const at = new Date(timeOf(message.id));
  const key = `${message.channel_id} ${message.id}`;
  return { key, kind: "message", message, compact: false, missed: false, at };
}

/** How many replies there are: what is here, if all of it is. */
function countOf(root, { historyOffset, messages }) {
  if (historyOffset !== null) return root?.replies?.count ?? 0;
  const isThere = ({ deleted, delivery }) => deleted === undefined && delivery === "stored";
  return [...messages.values()].filter(isThere).length;
}
