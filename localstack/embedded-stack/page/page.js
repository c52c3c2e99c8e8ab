// The page of one person: builds its parts, hands them to each other, and draws when something
// changed.
//
// Invariant: the open channel changes only when a person opens another one, or when none is open.

import { prepareBrowse } from "./browse.js";
import { Composer } from "./composer.js";
import { Core } from "./core.js";
import { prepareConfirm, prepareDialogs, problemText } from "./dialogs.js";
import { byId } from "./dom.js";
import { isDrawerOpen, openDrawer, prepareLayout } from "./layout.js";
import { prepareLists } from "./lists.js";
import { Notice } from "./notice.js";
import { Panel } from "./panel.js";
import { Sidebar } from "./sidebar.js";
import { openStorages } from "./storage.js";
import { PEOPLE } from "./store.js";
import { isolate } from "./text.js";
import { MessageView } from "./view.js";

export function startPage(workspaceId, userId) {
  new Page(workspaceId, userId).start();
}

class Page {
  #core;
  #store;
  #view;
  #composer;
  #sidebar;
  #panel;
  #notice;
  #confirm = prepareConfirm();
  #drawLists;
  #isDrawDue = false;

  constructor(workspaceId, userId) {
    this.#core = new Core(workspaceId, userId, openStorages(), navigator.locks);
    const { store, outbox, connection, sync, api } = this.#core;
    this.#store = store;
    this.#notice = new Notice(this.#core, {
      setOffline: (offline) => this.#core.setOffline(offline),
      connectAgain: () => connection.restart(),
      retryNow: () => this.#core.retryNow(),
    });
    this.#view = new MessageView(store, {
      loadOlder: (channelId) => sync.loadOlder(channelId),
      retry: (id) => outbox.retry(id),
      copy: (text) => this.#copy(text),
      discard: (id) => outbox.discard(id),
      createFirst: () => this.#createFirst(),
      left: () => this.#core.readState.flush(),
      askToDelete: (message) => this.#askToDelete(message),
      edits: this.#core.edits,
      reactions: this.#core.reactions,
      pins: this.#core.pins,
      picture: (file) => this.#core.attachments.picture(file),
      saveFile: (file) => this.#attempt(() => this.#core.attachments.save(file)),
    });
    this.#core.reactions.undone = (emoji, problem) =>
      this.#notice.flash(`Your click on ${emoji} is undone. ${problemText(problem)}`);
    this.#core.pins.failed = (makes, problem) =>
      this.#notice.flash(`${makes ? "Pinning" : "Unpinning"} failed. ${problemText(problem)}`);
    this.#drawLists = prepareLists(store, api, (message) => this.#showMessage(message));
    this.#composer = new Composer(store, this.#core.attachments, {
      submit: (channelId, text, attachments) => {
        outbox.submit(channelId, text, attachments);
        this.#view.toBottom();
      },
      copy: (text) => this.#copy(text),
    });
    this.#sidebar = new Sidebar(store, {
      removeMember: (channel, member) => this.#askToRemove(channel, member),
      leave: (channel) => this.#askToLeave(channel),
      edit: (channel) => editChannel(channel),
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

  start() {
    this.#store.onChange(() => this.#draw());
    // The timer updates what counts seconds, also in tabs that are not drawn.
    setInterval(() => this.#draw(), 1_000);
    prepareLayout();
    this.#listen();
    this.#draw();
    this.#core.start();
  }

  #listen() {
    const mayBeBack = () => this.#core.networkMayBeBack();
    addEventListener("online", mayBeBack);
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") mayBeBack();
      else this.#core.readState.flush();
    });
    addEventListener("hashchange", () => this.#openFromHash());
    addEventListener("keydown", (event) => this.#onKey(event));
    addEventListener("storage", ({ key }) => {
      if (key === this.#store.unread.marksKey) this.#store.unread.readElsewhere();
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
      this.#openFirst();
      this.#sidebar.render();
      this.#view.render();
      this.#composer.render();
      this.#drawLists();
      this.#panel.render();
      this.#notice.render();
      this.#renderTitle();
      this.#askBeforeLeaving();
    };
    requestAnimationFrame(once);
    setTimeout(once, 50);
  }

  #renderTitle() {
    const { shown, userId } = this.#store;
    const total = this.#store.unread.total();
    const title = shown ? isolate(this.#store.titleOf(shown)) : "Inkwire";
    const state = TITLE_STATES[this.#core.connection.phase] ?? "";
    document.title = `${state}${total > 0 ? `(${total}) ` : ""}${title} · ${userId} · Inkwire`;
  }

  /** Only while needed: with this listener some browsers do not keep the page for "Back". */
  #askBeforeLeaving() {
    if (this.#core.hasUnsaved) addEventListener("beforeunload", ask);
    else removeEventListener("beforeunload", ask);
  }

  /** Opens the channel of the address, even an unknown one, so that the page can say so. */
  #openFirst() {
    if (!this.#store.channelsKnown || this.#store.activeId !== null) return;
    const wanted = location.hash.slice(1);
    const first = this.#sortedChannels()[0]?.channel_id ?? null;
    if (wanted !== "" || first !== null) this.#open(wanted === "" ? first : wanted);
  }

  #openFromHash() {
    const wanted = location.hash.slice(1);
    if (wanted === "" || !this.#store.channelsKnown) return;
    this.#show(wanted);
    this.#composer.focus();
  }

  #show(channelId) {
    this.#open(channelId);
    openDrawer("none");
  }

  #showMessage(message) {
    this.#show(message.channel_id);
    this.#composer.focus();
    this.#view.show(message);
  }

  #open(channelId) {
    this.#store.activeId = channelId;
    const address = channelId === null ? "" : `#${channelId}`;
    if (location.hash !== address)
      history.replaceState(null, "", `${location.pathname}${location.search}${address}`);
    const { channels, members } = this.#store;
    if (channels.has(channelId) && !members.has(channelId))
      this.#core.sync.channelList.loadMembers(channelId);
    this.#draw();
  }

  #sortedChannels() {
    const store = this.#store;
    return [...store.sortedChannels("GROUP_CHANNEL"), ...store.sortedChannels("DM")];
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
      await this.#changeMembers(channelId, () => api.removeMember(channelId, store.userId));
      const isDone = !store.channels.has(channelId) && store.drafts.get(channelId) === "";
      if (isDone && store.activeId === channelId) this.#open(null);
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
    if (event.key === "Escape" && isDrawerOpen()) return openDrawer("none");
    if (!event.altKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
    const all = this.#sortedChannels();
    if (all.length === 0 || document.querySelector("dialog[open]")) return;
    const step = event.key === "ArrowDown" ? 1 : -1;
    const at = all.findIndex(({ channel_id: id }) => id === this.#store.activeId);
    const next = at < 0 ? 0 : (at + step + all.length) % all.length;
    event.preventDefault();
    this.#open(all[next].channel_id);
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
