// Message ids: ULIDs, 48 bits of Unix milliseconds and 80 random bits in Crockford's alphabet.

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** The first ten characters of a ULID: its time. */
function encodeTime(ms) {
  let text = "";
  for (let rest = ms, place = 0; place < 10; place += 1) {
    text = ALPHABET[rest % 32] + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}

/** Unix ms of a message id. */
export function timeOf(id) {
  let ms = 0;
  for (const character of id.slice(0, 10)) ms = ms * 32 + ALPHABET.indexOf(character);
  return ms;
}

/** The lowest id of that millisecond. As an exclusive offset it leaves out nothing. */
export function lowestIdAt(ms) {
  return encodeTime(Math.max(0, ms)) + "0".repeat(16);
}

/** The id just before this one: an exclusive offset that includes this message. */
export function idBefore(id) {
  const last = id.search(/[^0]0*$/);
  if (last < 0) return id;
  const lower = ALPHABET[ALPHABET.indexOf(id[last]) - 1];
  return id.slice(0, last) + lower + "Z".repeat(id.length - last - 1);
}

/** A fresh ULID: 48 bits of time, 80 random bits. */
export function mintId(ms) {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return encodeTime(ms) + Array.from(random, (byte) => ALPHABET[byte & 31]).join("");
}

/** A fresh id that is greater than an earlier one, also within a millisecond. */
export function mintAbove(ms, last) {
  const minted = mintId(ms);
  return last === undefined || minted > last ? minted : mintId(timeOf(last) + 1);
}
