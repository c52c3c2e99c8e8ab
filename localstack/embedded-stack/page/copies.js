// Copies of one message: which is newer, and what it says about the older one.

import { withMine } from "./reactions.js";

/** What a newer copy takes from a message by leaving it out. */
const MAY_END = {
  pinned: undefined,
  mentions: undefined,
  mentions_all: undefined,
  attachments: undefined,
  replies: undefined,
};

/** Whether a copy of a message is newer than the one here. Revisions compare as strings. */
export function isNewer(copy, here) {
  return here.rev === undefined || (copy.rev ?? "") > here.rev;
}

export function isChanged({ id, rev }) {
  return rev !== undefined && rev !== id;
}

/** Frames leave out a long text that did not change. */
export function lacksText({ message }) {
  return message === undefined;
}

/** The revision that a message's text is of. */
export function textRevOf({ id, text_rev: rev }) {
  return rev ?? id;
}

/** Whether a newer copy leaves out a text that is not the one here. */
export function lacksNewText(copy, here) {
  return lacksText(copy) && textRevOf(copy) !== textRevOf(here);
}

/** Brings the message here up to date with a copy of its text. Returns whether that is newer. */
export function takeCopy(here, copy, userId) {
  const isNews = isNewer(copy, here);
  if (isNews) {
    const reactions = withMine(copy, here, userId);
    Object.assign(here, MAY_END, copy, { reactions });
  } else if (copy.rev === here.rev) fillInMine(here, copy);
  return isNews;
}

/** The newer of two copies. If it leaves its text out, the other one may have the same text. */
export function newest(one, other) {
  if (other === undefined) return one;
  const [newer, older] = isNewer(other, one) ? [other, one] : [one, other];
  if (newer.message !== undefined || textRevOf(newer) !== textRevOf(older)) return newer;
  return { ...newer, message: older.message };
}

/** Takes from a copy of the same revision which reactions are the user's: frames do not say it. */
function fillInMine(here, copy) {
  for (const { emoji, mine } of copy.reactions ?? []) {
    const reaction = here.reactions?.find((one) => one.emoji === emoji);
    if (reaction && mine !== undefined) reaction.mine = mine;
  }
}
