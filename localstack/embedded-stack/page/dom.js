// The document as the other modules use it. What people wrote goes through `textContent` or an
// attribute, never through markup.

export function byId(id) {
  return document.getElementById(id);
}

/** An element with attributes and children; strings become text nodes. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** The text that this page wrote last, by node. */
const written = new WeakMap();

/**
 * Writes only what this page wants changed: an untouched node keeps the selection and a translation
 * by the browser, and a screen reader stays quiet.
 */
export function setText(node, text) {
  if ((written.get(node) ?? node.textContent) === text) return;
  written.set(node, text);
  node.textContent = text;
}

/**
 * Like `setText`, for a text that is shown with elements in it: `create(text)` makes its nodes when
 * the text changed.
 */
export function setNodes(node, text, create) {
  // No text has this character, so none is taken for the other kind.
  const mark = `\0${text}`;
  if (written.get(node) === mark) return;
  written.set(node, mark);
  node.replaceChildren(...create(text));
}

export function setAttribute(node, name, value) {
  if (value === null || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

/**
 * Makes the children of `parent` match `items` in order, keeping a node as long as its key stays.
 * `create` builds a node for an item, `update` brings any node up to date.
 */
export function reconcile(parent, items, keyOf, create, update) {
  const wanted = new Map(items.map((item) => [String(keyOf(item)), item]));
  const kept = new Map();
  // Remove first: otherwise every later node would be moved instead.
  for (const child of [...parent.children]) {
    if (wanted.has(child.dataset.key)) kept.set(child.dataset.key, child);
    else child.remove();
  }
  let place = parent.firstElementChild;
  for (const [key, item] of wanted) {
    let node = kept.get(key);
    if (!node) {
      node = create(item);
      node.dataset.key = key;
    }
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
    update?.(node, item);
  }
}

/** A colour class, always the same for a name. */
export function hueOf(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 9973;
  return `hue-${sum % 8}`;
}

/** A name inside a sentence, isolated from its text direction and never translated. */
export function nameNode(name) {
  return element("bdi", { translate: "no" }, name);
}

/** The letter of an avatar. */
export function initial(name) {
  return [...name][0]?.toUpperCase() ?? "?";
}

/** The colour is that of the user, the letter that of the name. */
export function avatar(userId, name = userId) {
  const letter = initial(name);
  return element(
    "span",
    { class: `avatar ${hueOf(userId)}`, "aria-hidden": "true", translate: "no" },
    letter,
  );
}

export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`;
}

/** A duration as people say it. */
export function age(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${seconds % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
