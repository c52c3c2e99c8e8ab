// The left side and the head: who I am, channels and DMs with unread marks, members; its dialogs.

import { avatar, byId, element, icon, reconcile, setAttribute, setHidden, setText } from "./dom.js";
import { PEOPLE } from "./store.js";

export class Sidebar {
  #store;
  #actions;

  /** `actions` has `removeMember(channelId, userId)` and `leave(channel)`. */
  constructor(store, actions) {
    this.#store = store;
    this.#actions = actions;
    setText(byId("workspace-name"), store.workspaceId);
    setText(byId("me"), store.userId);
    byId("leave-channel").addEventListener("click", () => actions.leave(store.active));
    this.#renderPeople();
  }

  render() {
    const { active, activeId } = this.#store;
    this.#renderChannels(byId("channel-list"), this.#store.sortedChannels("GROUP_CHANNEL"));
    this.#renderChannels(byId("dm-list"), this.#store.sortedChannels("DM"));
    const empty = (type) =>
      this.#store.channelsKnown && this.#store.sortedChannels(type).length === 0;
    setHidden(byId("no-channels"), !empty("GROUP_CHANNEL"));
    setHidden(byId("no-dms"), !empty("DM"));
    this.#renderMembers(active);
    this.#renderHead(active);
    const elsewhere =
      this.#store.unreadTotal() - (active ? this.#store.timeline(activeId).unread.size : 0);
    setHidden(byId("menu-badge"), elsewhere === 0);
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
          element("span", {}, person),
        ),
      );
    }
  }

  #renderChannels(list, channels) {
    const create = (channel) => {
      const dm = channel.type === "DM";
      const mark = element("span", { class: "mark", "aria-hidden": "true" }, dm ? "@" : "#");
      const name = element("span", { class: "name", dir: "auto" });
      const unread = element("span", { class: "unread", "data-testid": "unread" });
      const link = element(
        "a",
        {
          href: `#${channel.channel_id}`,
          class: "channel-item",
          "data-testid": "channel-item",
          "data-channel-id": channel.channel_id,
          "data-type": channel.type,
        },
        mark,
        name,
        unread,
      );
      return element("li", {}, link);
    };
    const update = (node, channel) => {
      const link = node.firstElementChild;
      const count = this.#store.timeline(channel.channel_id).unread.size;
      const active = channel.channel_id === this.#store.activeId;
      setAttribute(link, "aria-current", active ? "page" : null);
      setAttribute(link, "data-unread", count > 0 ? count : null);
      setText(link.querySelector(".name"), this.#store.nameOf(channel));
      const unread = link.querySelector(".unread");
      setHidden(unread, count === 0);
      setText(unread, count > 99 ? "99+" : String(count));
      setAttribute(unread, "aria-label", `${count} unread`);
    };
    reconcile(list, channels, (channel) => channel.channel_id, create, update);
  }

  #renderMembers(channel) {
    const members = channel ? this.#store.members.get(channel.channel_id) : null;
    setHidden(byId("members-section"), !members);
    if (!members) return;
    // A DM is its two members for ever: nothing to add, remove or leave.
    const dm = channel.type === "DM";
    setHidden(byId("add-member"), dm);
    setHidden(byId("leave-channel"), dm);
    setText(byId("members-title"), `Members · ${members.length}`);
    const me = this.#store.userId;
    const rows = [...members].sort((a, b) => a.user_id.localeCompare(b.user_id));
    const create = ({ user_id: userId }) => {
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
      remove.addEventListener("click", () =>
        this.#actions.removeMember(this.#store.activeId, userId),
      );
      return element(
        "li",
        { class: "member", "data-testid": "member-item", "data-user-id": userId },
        avatar(userId),
        element("span", { class: "name" }, userId),
        note,
        remove,
      );
    };
    const update = (node, { user_id: userId }) => {
      const creator = channel.created_by === userId && !dm;
      const notes = [userId === me ? "you" : null, creator ? "creator" : null];
      setText(node.querySelector(".note"), notes.filter(Boolean).join(", "));
      const removable = !dm && userId !== me && channel.created_by === me;
      setHidden(node.querySelector("button"), !removable);
    };
    reconcile(byId("member-list"), rows, (member) => member.user_id, create, update);
  }

  #renderHead(channel) {
    const name = channel ? this.#store.nameOf(channel) : "Inkwire";
    const shown = channel && channel.type !== "DM" ? `# ${name}` : name;
    setText(byId("channel-name"), shown);
    const members = channel ? this.#store.members.get(channel.channel_id) : null;
    const parts = [];
    if (channel?.type === "DM") parts.push("direct message");
    else if (members)
      parts.push(`${members.length} ${members.length === 1 ? "member" : "members"}`);
    if (channel) parts.push(CONTRACTS.get(channel.contract) ?? channel.contract);
    setText(byId("channel-meta"), parts.filter(Boolean).join(" · "));
    const total = this.#store.unreadTotal();
    const mark = total > 0 ? `(${total}) ` : "";
    document.title = `${mark}${shown} · ${this.#store.userId} · Inkwire`;
  }
}

const CONTRACTS = new Map([
  ["persist_first", "stored before delivery"],
  ["deliver_first", "delivered before stored"],
  ["ephemeral", "never stored"],
]);

/**
 * A dialog that runs `submit(form)` and closes when it succeeds; what failed is shown inside, and
 * the form stays as it was filled.
 */
function prepare(id, submit) {
  const dialog = byId(id);
  const form = dialog.querySelector("form");
  const error = dialog.querySelector(".error");
  dialog.querySelector("[data-cancel]").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("[type=submit]");
    button.disabled = true;
    error.hidden = true;
    try {
      await submit(form);
      dialog.close();
    } catch (problem) {
      error.textContent = problemText(problem);
      error.hidden = false;
    }
    button.disabled = false;
  });
  return {
    open() {
      form.reset();
      error.hidden = true;
      dialog.showModal();
    },
  };
}

/** `actions` has `createChannel(body)` and `addMember(channelId, userId)`, both promises. */
export function prepareDialogs(store, actions) {
  const channel = prepare("channel-dialog", async (form) => {
    const fields = new FormData(form);
    const others = fields
      .get("others")
      .split(",")
      .map((user) => user.trim())
      .filter(Boolean);
    const members = [...new Set([...fields.getAll("member"), ...others])];
    const name = fields.get("name").trim();
    await actions.createChannel({ type: "GROUP_CHANNEL", name, members });
  });
  const dm = prepare("dm-dialog", async (form) => {
    const user = new FormData(form).get("user").trim();
    await actions.createChannel({ type: "DM", members: [user] });
  });
  const member = prepare("member-dialog", async (form) => {
    await actions.addMember(store.activeId, new FormData(form).get("user").trim());
  });

  for (const chips of document.querySelectorAll("[data-people]")) {
    const people = PEOPLE.filter((person) => person !== store.userId);
    for (const person of people) chips.append(chip(chips.dataset.people, person));
  }
  byId("new-channel").addEventListener("click", () => channel.open());
  byId("new-dm").addEventListener("click", () => dm.open());
  byId("add-member").addEventListener("click", () => member.open());
}

/** Asks before something that another person would have to undo. */
export function prepareConfirm() {
  let act = async () => {};
  const dialog = prepare("confirm-dialog", () => act());
  return (title, text, verb, action) => {
    act = action;
    setText(byId("confirm-title"), title);
    setText(byId("confirm-text"), text);
    setText(byId("confirm-ok"), verb);
    dialog.open();
  };
}

function chip(kind, person) {
  if (kind === "checkbox") {
    const box = element("input", { type: "checkbox", name: "member", value: person });
    return element("label", { class: "chip" }, box, avatar(person), person);
  }
  const button = element("button", { type: "button", class: "chip" }, avatar(person), person);
  button.addEventListener("click", () => {
    const input = button.closest("form").elements.user;
    input.value = person;
    input.focus();
  });
  return button;
}

export function problemText(problem) {
  if (problem.code === "unreachable")
    return "The server did not answer. Whether it acted is unknown.";
  const field = problem.field ? ` (${problem.field})` : "";
  return `${problem.message}${field}`;
}
