// The page of one person: builds its parts, hands them to each other, and draws when something
// changed.

import { prepareBrowse } from "./browse.js";
import { ChannelView } from "./channel_view.js";
import { Core } from "./core.js";
import { prepareConfirm, prepareDialogs, problemText } from "./dialogs.js";
import { byId } from "./dom.js";
import { listenToInput } from "./idle.js";
import { isChannelCovered, isDrawerOpen, openDrawer, prepareLayout, showSidebar } from "./layout.js";
import { prepareLists } from "./lists.js";
import { logOfMessage } from "./logs.js";
import { Navigation } from "./navigation.js";
import { Notice } from "./notice.js";
import { Panel } from "./panel.js";
import { ReactionPicker } from "./picker.js";
import { Sidebar } from "./sidebar.js";
import { viewOf } from "./screen.js";
import { openStorages } from "./storage.js";
import { PEOPLE } from "./store.js";
import { isolate } from "./text.js";
import { prepareThreadList } from "./thread_list.js";
import { ThreadPane } from "./thread_pane.js";
import { WhereView } from "./where_view.js";

export function startPage(workspaceId, userId) {
  new Page(workspaceId, userId).start();
}

class Page {
  #core;
  #store;
  #navigation;
  #channel;
  #thread;
  #sidebar;
  #panel;
  #notice;
  #where;
  #confirm = prepareConfirm();
  #drawLists;
  #isDrawDue = false;
  /** What waits until the next drawing is done. */
  #afterDraw = null;

  constructor(workspaceId, userId) {
    this.#core = new Core(workspaceId, userId, openStorages(), navigator.locks);
    const { store, connection, threads, presence, api } = this.#core;
    this.#store = store;
    this.#navigation = new Navigation(store, () => this.#opened());
    this.#notice = new Notice(this.#core, {
      setOffline: (offline) => this.#core.setOffline(offline),
      connectAgain: () => connection.restart(),
      retryNow: () => this.#core.retryNow(),
    });
    this.#prepareViews();
    this.#where = new WhereView(this.#core);
    this.#core.reactions.undone = (emoji, problem) =>
      this.#notice.flash(`Your click on ${emoji} is undone. ${problemText(problem)}`);
    this.#core.pins.failed = (makes, problem) =>
      this.#notice.flash(`${makes ? "Pinning" : "Unpinning"} failed. ${problemText(problem)}`);
    this.#core.meetings.closed = (words) => this.#notice.flash(words, "warn");
    const drawMessages = prepareLists(store, api, (message) => this.#showMessage(message));
    const drawThreads = prepareThreadList(store, threads, (root) => this.#openThread(root));
    this.#drawLists = () => {
      drawMessages();
      drawThreads();
    };
    this.#sidebar = new Sidebar(store, threads, presence, {
      removeMember: (channel, member) => this.#askToRemove(channel, member),
      leave: (channel) => this.#askToLeave(channel),
      edit: (channel) => editChannel(channel),
      end: (channel) => this.#askToEnd(channel),
      showMembers: () => {
        showSidebar();
        byId("members-title").focus({ preventScroll: true });
        byId("members-section").scrollIntoView({ block: "start" });
      },
    });
    this.#panel = new Panel(store, connection, {
      kill: () => this.#attempt(() => api.killNode(connection.node.id)),
      setOffline: (offline) => this.#core.setOffline(offline),
    });
    const { editChannel } = prepareDialogs(store, {
      createChannel: (body) => this.#createChannel(body),
      showChannel: ({ channel_id: id }) => this.#show(id),
      addMember: (channelId, member) =>
        this.#changeMembers(channelId, () => api.addMember(channelId, member)),
      changeChannel: async (channelId, fields) =>
        store.setDetails(await api.changeChannel(channelId, fields)),
      changeProfile: (fields) => this.#core.profiles.change(fields),
    });
    prepareBrowse(store, {
      publicChannels: () => api.publicChannels(),
      join: ({ channel_id: id }) => this.#changeMembers(id, () => api.join(id)),
      showChannel: ({ channel_id: id }) => this.#show(id),
    });
  }

  /** The open channel, and the open thread beside it. */
  #prepareViews() {
    const { store, outbox, deliveries, meetings, edits, reactions, pins } = this.#core;
    const { threads, attachments, receipts } = this.#core;
    const actions = {
      retry: (id) => meetings.retry(id) || deliveries.retry(id) || outbox.retry(id),
      copy: (text) => this.#copy(text),
      discard: (id) => meetings.discard(id) || deliveries.discard(id) || outbox.discard(id),
      createFirst: () => this.#createFirst(),
      left: () => this.#core.readState.flush(),
      askToDelete: (message) => this.#askToDelete(message),
      edits,
      reactions,
      pins,
      threads,
      receipts,
      showPlaces: (message) => this.#where.open(message),
      openThread: (message) => this.#openThread(message),
      closeThread: (reason) => this.#closeThread(reason),
      attempt: (action) => this.#attempt(action),
      picture: (file) => attachments.picture(file),
      saveFile: (file) => this.#attempt(() => attachments.save(file)),
      submit: (log, text, files) => {
        this.#core.submit(log, text, files);
        (log === store.activeThread ? this.#thread : this.#channel).toBottom();
      },
    };
    const picker = new ReactionPicker();
    this.#channel = new ChannelView(this.#core, picker, actions);
    this.#thread = new ThreadPane(this.#core, picker, actions);
    store.unread.isReading = (log) => this.#channel.isReading(log) || this.#thread.isReading(log);
  }

  start() {
    this.#store.onChange(() => this.#draw());
    // The timer updates what counts seconds, also in tabs that are not drawn.
    setInterval(() => {
      this.#core.idle.check();
      this.#core.invisible.check();
      this.#draw();
    }, 1_000);
    prepareLayout(() => this.#closeThread());
    this.#listen();
    this.#draw();
    this.#core.start();
  }

  #listen() {
    const { idle, probes, readState } = this.#core;
    listenToInput(window, () => idle.input());
    const appearOffline = byId("invisible");
    appearOffline.checked = this.#core.invisible.wanted;
    appearOffline.addEventListener("change", () => this.#core.invisible.set(appearOffline.checked));
    addEventListener("online", () => {
      this.#core.networkMayBeBack();
      probes.networkChanged();
    });
    addEventListener("focus", () => {
      idle.input();
      probes.userCameBack();
    });
    addEventListener("blur", () => probes.userLeft());
    document.addEventListener("visibilitychange", () => {
      this.#draw();
      if (document.visibilityState === "visible") {
        this.#core.networkMayBeBack();
        idle.input();
        probes.userCameBack();
        return;
      }
      probes.userLeft();
      readState.flush();
    });
    addEventListener("pagehide", () => this.#core.meetings.pageGoes());
    addEventListener("pageshow", ({ persisted }) => persisted && this.#core.meetings.pageIsBack());
    addEventListener("hashchange", () => {
      if (!this.#navigation.openAddress()) return;
      openDrawer("none");
      this.#focusOpened();
    });
    addEventListener("keydown", (event) => this.#onKey(event));
    addEventListener("storage", ({ key }) => {
      if (key === this.#store.unread.marksKey) this.#store.unread.readElsewhere();
      if (key === this.#core.invisible.key) {
        this.#core.invisible.readElsewhere();
        appearOffline.checked = this.#core.invisible.wanted;
      }
    });
    // The fragment of the address names the open channel: this link must not change it.
    byId("skip").addEventListener("click", (event) => {
      event.preventDefault();
      byId("composer-text").focus();
    });
  }

  /** One drawing for all changes of a moment. */
  #draw() {
    if (this.#isDrawDue) return;
    this.#isDrawDue = true;
    const once = () => {
      if (!this.#isDrawDue) return;
      this.#isDrawDue = false;
      this.#navigation.openFirst();
      this.#sidebar.render();
      // First: it may make room, or cover the channel.
      this.#thread.render();
      this.#channel.render();
      this.#drawLists();
      this.#where.render();
      this.#panel.render();
      this.#notice.render();
      this.#sendView();
      this.#renderTitle();
      this.#askBeforeLeaving();
      const after = this.#afterDraw;
      this.#afterDraw = null;
      after?.();
    };
    requestAnimationFrame(once);
    setTimeout(once, 50);
  }

  #sendView() {
    const isHidden = document.visibilityState !== "visible";
    const view = viewOf(this.#store, { isHidden, isChannelCovered: isChannelCovered() });
    this.#core.screen.show(view);
  }

  #renderTitle() {
    const { shown, userId } = this.#store;
    const total = this.#store.unread.total() + this.#core.threads.unread();
    const title = shown ? isolate(this.#store.titleOf(shown)) : "Inkwire";
    const state = TITLE_STATES[this.#core.connection.phase] ?? "";
    document.title = `${state}${total > 0 ? `(${total}) ` : ""}${title} · ${userId} · Inkwire`;
  }

  /** Only while needed: with this listener some browsers do not keep the page for "Back". */
  #askBeforeLeaving() {
    if (this.#core.hasUnsaved) addEventListener("beforeunload", ask);
    else removeEventListener("beforeunload", ask);
  }

  #opened() {
    const { activeId, channels, members } = this.#store;
    if (channels.has(activeId) && !members.has(activeId))
      this.#core.sync.channelList.loadMembers(activeId);
    this.#core.meetings.open(this.#store.active);
    this.#core.receipts.read(activeId);
    this.#draw();
  }

  #show(log) {
    this.#navigation.open(log);
    openDrawer("none");
  }

  #focusOpened() {
    if (this.#store.activeThread === null) this.#channel.focus();
    else this.#thread.focus();
  }

  #showMessage(message) {
    this.#show(logOfMessage(message));
    this.#focusOpened();
    (message.thread === undefined ? this.#channel : this.#thread).show(message);
  }

  #openThread(root) {
    this.#navigation.openThread(root);
    openDrawer("none");
    this.#thread.focus();
  }

  /** With a `reason` the page closes it by itself. */
  #closeThread(reason) {
    const { activeRoot } = this.#store;
    if (activeRoot === null) return;
    const hadFocus = this.#thread.hasFocus;
    this.#navigation.closeThread();
    if (reason !== undefined) this.#notice.flash(reason, "warn");
    if (!hadFocus) return;
    // What is typed now must not get into another box by itself.
    this.#afterDraw = () =>
      reason === undefined ? this.#channel.focusThread(activeRoot) : this.#channel.focusMessages();
  }

  async #createChannel(body) {
    const channel = await this.#core.api.createChannel(body);
    await this.#core.sync.channelList.refresh();
    return channel;
  }

  #createFirst() {
    const members = PEOPLE.filter((person) => person !== this.#store.userId);
    const body = { type: "GROUP_CHANNEL", name: "general", members };
    this.#attempt(() => this.#createChannel(body));
  }

  async #changeMembers(channelId, change) {
    const { channelList } = this.#core.sync;
    await change();
    await channelList.refresh();
    if (this.#store.channels.has(channelId)) await channelList.loadMembers(channelId);
  }

  #askToRemove({ channel_id: channelId }, member) {
    const { api } = this.#core;
    const text = "They can no longer read this channel, not even what was written before.";
    this.#confirm(`Remove ${member}?`, text, "Remove", () =>
      this.#changeMembers(channelId, () => api.removeMember(channelId, member)),
    );
  }

  #askToDelete(message) {
    const text = "Everybody in the channel will see that it was deleted.";
    this.#confirm("Delete this message?", text, "Delete", () => this.#core.edits.remove(message));
  }

  #askToLeave(channel) {
    const { channel_id: channelId } = channel;
    const { api, store } = this.#core;
    const title = `Leave ${isolate(store.titleOf(channel))}?`;
    const isPublic = channel.visibility === "public";
    const text = isPublic ? "You can join it again." : "To come back, a member has to add you.";
    this.#confirm(title, text, "Leave", async () => {
      await this.#changeMembers(channelId, async () => {
        await api.removeMember(channelId, store.userId);
        this.#core.meetings.close(channelId);
      });
      const isDone = !store.channels.has(channelId) && store.drafts.get(channelId) === "";
      if (isDone && store.activeId === channelId) this.#navigation.open(null);
    });
  }

  #askToEnd(channel) {
    const { channel_id: channelId } = channel;
    const { api, meetings, store } = this.#core;
    const title = `End ${isolate(store.titleOf(channel))}?`;
    const text = "It ends for everybody, and nothing said in it can be read afterwards.";
    this.#confirm(title, text, "End meeting", async () => {
      await api.endMeeting(channelId);
      meetings.ended(channelId);
    });
  }

  async #copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      this.#notice.flash("Copied.", "good");
    } catch {
      this.#notice.flash("The browser does not let this page copy: select the text and copy it.");
    }
  }

  async #attempt(action) {
    try {
      await action();
    } catch (error) {
      this.#notice.flash(problemText(error));
    }
  }

  #onKey(event) {
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && !event.isComposing)
      return isDrawerOpen() ? openDrawer("none") : this.#closeThread();
    if (!event.altKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
    if (this.#navigation.step(event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
  }
}

function ask(event) {
  event.preventDefault();
}

const TITLE_STATES = {
  reconnecting: "Disconnected · ",
  offline: "Offline · ",
  stopped: "Disconnected · ",
};
