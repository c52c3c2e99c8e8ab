// The dialogs: new channel, new direct message, new member, details of a channel, the own name, and
// the question before a removal.

import { contractFields, isMeeting } from "./contracts.js";
import { avatar, byId, element, setHidden, setText } from "./dom.js";
import { strangersWarning, userIdsError } from "./people.js";
import { PEOPLE } from "./store.js";

/**
 * `actions` has `createChannel(body)`, `addMember(channelId, userId)`, `changeChannel(channelId,
 * fields)` and `changeProfile(fields)`, all promises, and `showChannel(channel)`, called if the
 * dialog is still open when the channel is there. Answers what opens the details of a channel.
 */
export function prepareDialogs(store, actions) {
  const { createChannel, addMember, changeChannel, changeProfile, showChannel } = actions;
  const ids = (value) => value.split(",").map((id) => id.trim());
  const newChannel = prepare("channel-dialog", {
    users: (fields) => ids(fields.get("others")).filter(Boolean),
    store,
    submit: (fields, others) => {
      const members = [...new Set([...fields.getAll("member"), ...others])];
      const visibility = fields.has("public") ? "public" : "private";
      const name = fields.get("name").trim();
      const contract = contractFields(fields.get("keeps"));
      return createChannel({ type: "GROUP_CHANNEL", name, visibility, members, ...contract });
    },
    done: showChannel,
  });
  const newDm = prepare("dm-dialog", {
    users: (fields) => [fields.get("user").trim()],
    store,
    submit: (fields, [user]) => {
      if (user === store.userId)
        throw new Error(`You are “${user}”: a direct message needs another person.`);
      return createChannel({ type: "DM", members: [user], ...contractFields(fields.get("keeps")) });
    },
    done: showChannel,
  });
  const newMember = prepare("member-dialog", {
    users: (fields) => [fields.get("user").trim()],
    store,
    submit: (_, [user], channelId) => addMember(channelId, user),
  });

  const details = prepare("details-dialog", {
    fill: (elements, channel) => {
      elements.name.value = channel.name;
      elements.topic.value = channel.topic ?? "";
      elements.archived.checked = channel.archived === true;
      setText(byId("details-dialog-title"), isMeeting(channel) ? "Name and topic" : DETAILS_TITLE);
      // A meeting is ended instead.
      setHidden(elements.archived.closest("label"), isMeeting(channel));
    },
    submit: (fields, _, channel) => changeChannel(channel.channel_id, changedOf(fields, channel)),
  });
  const profile = prepare("profile-dialog", {
    fill: (elements) => {
      elements.name.value = store.profiles.get(store.userId)?.name ?? "";
    },
    submit: (fields) => changeProfile({ name: fields.get("name").trim() }),
  });

  for (const chips of document.querySelectorAll("[data-people]")) {
    const people = PEOPLE.filter((person) => person !== store.userId);
    for (const person of people) chips.append(chip(chips.dataset.people, person));
  }
  byId("new-channel").addEventListener("click", () => newChannel.open());
  byId("new-dm").addEventListener("click", () => newDm.open());
  byId("add-member").addEventListener("click", () => newMember.open(store.activeId));
  byId("edit-profile").addEventListener("click", () => profile.open());
  return { editChannel: (channel) => details.open(channel) };
}

const DETAILS_TITLE = "Name, topic, archive";

/** The fields that differ from the channel: not everybody may send all of them. */
export function changedOf(fields, channel) {
  const wanted = {
    name: fields.get("name").trim(),
    topic: fields.get("topic").trim(),
    archived: fields.has("archived"),
  };
  const here = { name: channel.name, topic: channel.topic ?? "", archived: channel.archived === true };
  return Object.fromEntries(Object.entries(wanted).filter(([name, value]) => value !== here[name]));
}

/** Asks before something that another person would have to undo. */
export function prepareConfirm() {
  let act = async () => {};
  const dialog = prepare("confirm-dialog", { submit: () => act() });
  return (title, text, verb, action) => {
    act = action;
    setText(byId("confirm-title"), title);
    setText(byId("confirm-text"), text);
    setText(byId("confirm-ok"), verb);
    dialog.open();
  };
}

export function problemText(problem) {
  if (problem.code === "unreachable")
    return "The server did not answer. Whether it acted is unknown.";
  const field = problem.field ? ` (${problem.field})` : "";
  return `${problem.message}${field}`;
}

/**
 * A dialog that runs `submit(fields, users, subject)` and closes when that succeeds; a problem is
 * shown inside, and the form stays as it was filled. `users(fields)` are the ids that a person
 * typed: malformed ones are refused here, unknown ones need a second press. `subject` is what the
 * dialog was opened for, whatever happens behind it. `fill(elements, subject)` fills in the form.
 */
function prepare(id, { users = () => [], store, submit, done = () => {}, fill = () => {} }) {
  const dialog = byId(id);
  const form = dialog.querySelector("form");
  const button = form.querySelector("[type=submit]");
  const error = dialog.querySelector(".error");
  let opening = 0;
  let subject;
  let accepted = null;

  /** The problem with the typed ids, or the question about them, which is asked once. */
  const objection = (typed) => {
    const wrong = userIdsError(typed);
    if (wrong !== null || typed.join() === accepted) return wrong;
    accepted = typed.join();
    const warning = typed.length > 0 ? strangersWarning(typed, store.people()) : null;
    return warning && `${warning} To go on, press “${button.textContent}” again.`;
  };
  const showError = (text) => {
    error.textContent = text ?? "";
    error.hidden = text === null;
  };

  dialog.querySelector("[data-cancel]").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fields = new FormData(form);
    const typed = users(fields);
    const problem = objection(typed);
    showError(problem);
    if (problem !== null) return;
    const mine = opening;
    button.disabled = true;
    try {
      const result = await submit(fields, typed, subject);
      if (!dialog.open || mine !== opening) return;
      dialog.close();
      done(result);
    } catch (problem) {
      if (mine === opening) showError(problemText(problem));
    } finally {
      if (mine === opening) button.disabled = false;
    }
  });
  return {
    open(of) {
      opening += 1;
      subject = of;
      accepted = null;
      form.reset();
      fill(form.elements, subject);
      button.disabled = false;
      showError(null);
      dialog.showModal();
    },
  };
}

function chip(kind, person) {
  if (kind === "checkbox") {
    const box = element("input", { type: "checkbox", name: "member", value: person });
    return element("label", { class: "chip", translate: "no" }, box, avatar(person), person);
  }
  const attributes = { type: "button", class: "chip", translate: "no" };
  const button = element("button", attributes, avatar(person), person);
  button.addEventListener("click", () => {
    const input = button.closest("form").elements.user;
    input.value = person;
    input.focus();
  });
  return button;
}
