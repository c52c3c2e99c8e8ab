// How presence is shown: a mark at the picture of a user, with words for screen readers, and in the
// head of a channel how many of its members are here.

import { isMeeting } from "./contracts.js";
import { avatar, byId, element, hueOf, initial, setAttribute, setHidden, setText } from "./dom.js";
import { presentOf } from "./presence.js";
import { usersOf } from "./screen.js";
import { hereWords, presenceWords } from "./text.js";

/** A user's avatar with a presence mark. `faceWords()` goes after the name. */
export function face(userId) {
  const mark = element("span", { class: "presence" });
  return element("span", { class: "face", "aria-hidden": "true" }, avatar(userId), mark);
}

/** The same for screen readers. */
export function faceWords() {
  return element("span", { class: "visually-hidden presence-words" });
}

/** Brings a row with a face and its words up to date. A `state` of null shows no presence. */
export function updateFace(row, userId, name, state) {
  const picture = row.querySelector(".avatar");
  setText(picture, initial(name));
  setAttribute(picture, "class", `avatar ${hueOf(userId)}`);
  const words = state === null ? "" : presenceWords(state);
  setAttribute(row, "data-presence", state);
  setAttribute(row.querySelector(".face"), "title", words === "" ? null : words);
  setText(row.querySelector(".presence-words"), words === "" ? "" : `, ${words}`);
}

/** The button in the head that says how many are here, and leads to the list of members. */
export class Here {
  #store;
  #presence;

  constructor(store, presence, showMembers) {
    this.#store = store;
    this.#presence = presence;
    byId("here").addEventListener("click", showMembers);
  }

  render(channel) {
    const members = channel === null ? [] : this.#store.membersInOrder(channel.channel_id);
    const present = counts(channel) ? presentOf(members, this.#presence) : null;
    setHidden(byId("here"), present === null);
    if (present === null) return;
    const viewed = new Set(usersOf(this.#store));
    const left = members.filter((user) => !viewed.has(user)).length;
    setText(byId("here-count"), `${present.length}${left > 0 ? "+" : ""}`);
    const me = this.#store.userId;
    const others = present.filter(({ user }) => user !== me);
    const people = others.map(({ user, isIdle }) => ({ name: this.#store.displayName(user), isIdle }));
    const isMeHere = others.length < present.length;
    setText(byId("here-names"), hereWords(people, isMeHere, left));
  }
}

/**
 * Whether the head counts: a DM shows the state in words, and a meeting is attended by those who
 * joined it, not by everybody who is online.
 */
function counts(channel) {
  return channel !== null && channel.type !== "DM" && !isMeeting(channel);
}
