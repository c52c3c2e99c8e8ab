// The left side and the head: who I am, channels and DMs with unread marks, members.

import { deliversFirst, isMeeting } from "./contracts.js";
import {
  avatar,
  byId,
  element,
  icon,
  nameNode,
  reconcile,
  setAttribute,
  setHidden,
  setText,
} from "./dom.js";
import { face, faceWords, Here, updateFace } from "./presence_view.js";
import { UNKNOWN } from "./presence.js";
import { PEOPLE } from "./store.js";
import { counted, presenceWords } from "./text.js";

export class Sidebar {
  #store;
  #threads;
  #presence;
  #here;
  #actions;

  /**
   * `actions` has `removeMember(channel, userId)`, `leave(channel)`, `edit(channel)`,
   * `end(channel)` for a meeting, and `showMembers()`.
   */
  constructor(store, threads, presence, actions) {
    this.#store = store;
    this.#threads = threads;
    this.#presence = presence;
    this.#here = new Here(store, presence, actions.showMembers);
    this.#actions = actions;
    setText(byId("workspace-name"), store.workspaceId);
    byId("edit-channel").addEventListener("click", () => actions.edit(store.active));
    byId("leave-channel").addEventListener("click", () => actions.leave(store.active));
    byId("end-meeting").addEventListener("click", () => actions.end(store.active));
    this.#renderPeople();
  }

  render() {
    const { active, activeId, shown } = this.#store;
    setText(byId("me"), this.#store.displayName(this.#store.userId));
    this.#renderChannels(byId("channel-list"), this.#store.sortedChannels("GROUP_CHANNEL"));
    this.#renderChannels(byId("dm-list"), this.#store.sortedChannels("DM"));
    const empty = (type) =>
      this.#store.channelsKnown && this.#store.sortedChannels(type).length === 0;
    setHidden(byId("no-channels"), !empty("GROUP_CHANNEL"));
    setHidden(byId("no-dms"), !empty("DM"));
    const kept = this.#store.formerWithText();
    setHidden(byId("kept-section"), kept.length === 0);
    this.#renderChannels(byId("kept-list"), kept);
    this.#renderMembers(active);
    this.#renderHead(shown);
    const elsewhere =
      this.#store.unread.total() - (active ? this.#store.unread.of(activeId) : 0);
    setHidden(byId("menu-badge"), elsewhere === 0 && this.#threads.unread() === 0);
  }

  #renderPeople() {
    const others = PEOPLE.includes(this.#store.userId) ? PEOPLE : [...PEOPLE, this.#store.userId];
    for (const person of others) {
      const query = new URLSearchParams(location.search);
      query.set("as", person);
      const current = person === this.#store.userId;
      byId("people").append(
        element(
          "a",
          {
            href: `/?${query}`,
            class: "person",
            "data-testid": "person",
            "data-user-id": person,
            "aria-current": current ? "true" : null,
            title: current ? `This page is ${person}` : `Open as ${person}`,
          },
          avatar(person),
          nameNode(person),
        ),
      );
    }
  }

  #renderChannels(list, channels) {
    const create = (channel) => {
      const isDm = channel.type === "DM";
      const name = element("span", { class: "name", dir: "auto", translate: "no" });
      const mentions = element("span", { class: "mentions", "data-testid": "channel-mentions" });
      const unread = element("span", { class: "unread", "data-testid": "unread" });
      const link = element(
        "a",
        {
          href: `#${channel.channel_id}`,
          class: "channel-item",
          "data-testid": "channel-item",
          "data-channel-id": channel.channel_id,
          "data-type": channel.type,
          "data-contract": channel.contract,
        },
        isDm ? face(channel.channel_id) : groupMark(channel),
        name,
        ...(isDm ? [faceWords()] : []),
        ...(isDm && deliversFirst(channel) ? [firstMark()] : []),
        mentions,
        unread,
      );
      return element("li", {}, link);
    };
    const update = (node, channel) => {
      const link = node.firstElementChild;
      const count = this.#store.unread.of(channel.channel_id);
      const { activeId, activeThread } = this.#store;
      // What was not sent may be for a thread.
      const active = [activeId, activeThread].includes(channel.channel_id);
      setAttribute(link, "aria-current", active ? "page" : null);
      setAttribute(link, "data-unread", count > 0 ? count : null);
      const name = this.#store.nameOf(channel);
      setText(link.querySelector(".name"), name);
      if (channel.type === "DM") this.#updatePartner(link, channel, name);
      const mentioned = this.#store.unread.mentionsOf(channel.channel_id);
      const mentions = link.querySelector(".mentions");
      setHidden(mentions, mentioned === 0);
      setText(mentions, mentioned > 99 ? "@99+" : `@${mentioned}`);
      setAttribute(mentions, "aria-label", counted(mentioned, "mention", "mentions"));
      const unread = link.querySelector(".unread");
      setHidden(unread, count === 0);
      setText(unread, count > 99 ? "99+" : String(count));
      setAttribute(unread, "aria-label", `${count} unread`);
    };
    reconcile(list, channels, (channel) => channel.channel_id, create, update);
  }

  /** Who the other one is may be known later than the DM. */
  #updatePartner(link, channel, name) {
    const partner = this.#store.partnerOf(channel);
    const isOpen = partner !== undefined && this.#store.channels.has(channel.channel_id);
    const state = isOpen ? this.#presence.of(partner) : null;
    updateFace(link, partner ?? channel.channel_id, name, state);
  }

  #renderMembers(channel) {
    const members = channel ? this.#store.members.get(channel.channel_id) : null;
    setHidden(byId("members-section"), !members);
    if (!members) return;
    const me = this.#store.userId;
    // The two members of a DM never change.
    const dm = channel.type === "DM";
    setHidden(byId("add-member"), dm);
    setHidden(byId("leave-channel"), dm);
    setHidden(byId("edit-channel"), dm);
    setText(byId("edit-channel"), isMeeting(channel) ? "Name and topic" : "Name, topic, archive");
    setText(byId("leave-channel"), `Leave this ${isMeeting(channel) ? "meeting" : "channel"}`);
    setHidden(byId("end-meeting"), !isMeeting(channel) || ownerOf(channel, members) !== me);
    setText(byId("members-title"), `Members · ${members.length}`);
    const rows = this.#store.membersInOrder(channel.channel_id);
    const create = (userId) => {
      const note = element("span", { class: "muted note" });
      const remove = element(
        "button",
        {
          type: "button",
          class: "icon-button",
          "data-testid": "remove-member",
          "aria-label": `Remove ${userId}`,
          title: `Remove ${userId}`,
        },
        icon("close"),
      );
      // The row belongs to this channel: another channel gets rows of its own.
      remove.addEventListener("click", () => this.#actions.removeMember(channel, userId));
      return element(
        "li",
        { class: "member", "data-testid": "member-item", "data-user-id": userId },
        face(userId),
        element("span", { class: "name", translate: "no", title: userId }),
        faceWords(),
        note,
        remove,
      );
    };
    const update = (node, userId) => {
      const name = this.#store.displayName(userId);
      setText(node.querySelector(".name"), name);
      updateFace(node, userId, name, this.#presence.of(userId));
      const creator = channel.created_by === userId && !dm;
      const notes = [userId === me ? "you" : null, creator ? "creator" : null];
      setText(node.querySelector(".note"), notes.filter(Boolean).join(", "));
      const removable = !dm && userId !== me && channel.created_by === me;
      setHidden(node.querySelector("button"), !removable);
    };
    const keyOf = (userId) => `${channel.channel_id} ${userId}`;
    reconcile(byId("member-list"), rows, keyOf, create, update);
  }

  #renderHead(channel) {
    const isFirst = deliversFirst(channel);
    const isPlain = channel === null || channel.type === "DM" || isMeeting(channel) || isFirst;
    setText(byId("channel-mark"), isPlain ? "" : "# ");
    setHidden(byId("first-mark"), !isFirst);
    setHidden(byId("meeting-mark"), !isMeeting(channel));
    const name = channel ? this.#store.nameOf(channel) : null;
    setText(byId("channel-title"), name ?? this.#store.activeId ?? "Inkwire");
    setText(byId("channel-topic"), channel?.topic ?? "");
    const members = channel ? this.#store.members.get(channel.channel_id) : null;
    const parts = [];
    if (channel?.archived) parts.push("archived");
    else if (channel?.visibility === "public") parts.push("public");
    if (channel?.type === "DM") parts.push("direct message", this.#partnerWords(channel));
    else if (members) parts.push(counted(members.length, "member", "members"));
    if (channel) parts.push(CONTRACTS.get(channel.contract) ?? channel.contract);
    setText(byId("channel-meta"), parts.filter(Boolean).join(" · "));
    this.#here.render(channel);
  }

  /** Nothing while it is unknown. */
  #partnerWords(channel) {
    const state = this.#presence.of(this.#store.partnerOf(channel));
    return state === UNKNOWN ? "" : presenceWords(state);
  }
}

function groupMark(channel) {
  if (isMeeting(channel)) return icon("meeting");
  if (deliversFirst(channel)) return firstMark();
  return element("span", { class: "mark", "aria-hidden": "true" }, "#");
}

function firstMark() {
  const words = element("span", { class: "visually-hidden" }, "delivers first");
  return element("span", { class: "first-mark", title: "Delivers first" }, icon("bolt"), words);
}

/** A channel's creator or, while they are no member, the member of longest standing. */
export function ownerOf({ created_by: creator }, members) {
  if (members.some(({ user_id: id }) => id === creator)) return creator;
  const byAge = members.toSorted((a, b) => Date.parse(a.joined_at) - Date.parse(b.joined_at));
  return byAge[0]?.user_id;
}

const CONTRACTS = new Map([
  ["persist_first", "stored before delivery"],
  ["deliver_first", "delivered before stored"],
  ["ephemeral", "nothing is kept"],
]);
