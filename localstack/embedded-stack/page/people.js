// User ids that a person types: which are well-formed, and which this page has never seen.
//
// There is no list of users. The server accepts any well-formed id, so a typo opens a conversation
// with nobody.

export const WORKSPACE_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** `me` stands for the caller. */
export const USER_ID = /^(?!me$)[A-Za-z0-9_-]{1,64}$/;

/** Why the ids cannot be used at all; null if they can. */
export function userIdsError(ids) {
  const wrong = ids.find((id) => !USER_ID.test(id));
  if (wrong === undefined) return null;
  if (wrong === "me") return "“me” is no user id: it stands for whoever asks.";
  return `“${wrong}” is not a user id: it takes 1 to 64 of A-Z, a-z, 0-9, _ and -.`;
}

/** A warning that ids are unknown here; null if all are known. */
export function strangersWarning(ids, known) {
  const strangers = ids.filter((id) => !known.has(id));
  if (strangers.length === 0) return null;
  return strangers.map((id) => strangerWords(id, known)).join(" ");
}

function strangerWords(id, known) {
  const likely = [...known].find((other) => other.toLowerCase() === id.toLowerCase());
  const nobody = `Nobody called “${id}” has been seen here.`;
  if (likely === undefined) return nobody;
  return `${nobody} Did you mean “${likely}”? Capital and small letters differ.`;
}
