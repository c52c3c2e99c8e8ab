// The files beside the text: chosen, dropped or pasted; each with its progress or its problem.

import { sizeWords } from "./attachments.js";
import { element, reconcile, setAttribute, setHidden, setText } from "./dom.js";

export class Tray {
  #attachments;
  #parts;
  #list;
  #input;
  #target;

  /**
   * `parts` are the composer's elements, `area` is where files may be dropped, and `target()` is
   * the log that takes files now, or null.
   */
  constructor(attachments, parts, area, target) {
    this.#attachments = attachments;
    this.#parts = parts;
    this.#list = parts.tray;
    this.#input = parts.input;
    this.#target = target;
    parts.attach.addEventListener("click", () => this.#input.click());
    this.#input.addEventListener("change", () => {
      this.#add([...this.#input.files]);
      // The same file can be chosen again.
      this.#input.value = "";
    });
    parts.text.addEventListener("paste", (event) => {
      const { files } = event.clipboardData;
      // A copied text may come with a picture of itself.
      if (files.length === 0 || event.clipboardData.types.includes("text/plain")) return;
      event.preventDefault();
      this.#add([...files]);
    });
    this.#listenToDrops(area);
  }

  /** Shows what waits in a log, which may take no more. */
  render(log) {
    setHidden(this.#parts.attach, this.#target() === null);
    const files = log === null ? [] : this.#attachments.of(log);
    setHidden(this.#list, files.length === 0);
    reconcile(
      this.#list,
      files,
      ({ key }) => key,
      (file) => this.#chip(file, log),
      updateChip,
    );
  }

  #add(files) {
    const log = this.#target();
    if (log === null || files.length === 0) return;
    this.#attachments.add(log, files);
    this.#parts.text.focus();
  }

  #listenToDrops(area) {
    const hasFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
    let depth = 0;
    const show = (isOver) =>
      setAttribute(area, "data-dropping", isOver && this.#target() !== null);
    area.addEventListener("dragenter", (event) => {
      if (!hasFiles(event)) return;
      depth += 1;
      show(true);
    });
    area.addEventListener("dragover", (event) => {
      if (hasFiles(event)) event.preventDefault();
    });
    area.addEventListener("dragleave", (event) => {
      if (!hasFiles(event)) return;
      depth = Math.max(0, depth - 1);
      show(depth > 0);
    });
    area.addEventListener("drop", (event) => {
      depth = 0;
      show(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.#add([...event.dataTransfer.files]);
    });
  }

  #chip({ key, name }, log) {
    const retry = element("button", { type: "button", class: "text-button", "data-retry": true }, "Retry");
    const remove = element(
      "button",
      { type: "button", class: "text-button", "data-testid": "tray-remove" },
      "Remove",
    );
    setAttribute(remove, "aria-label", `Remove ${name}`);
    retry.addEventListener("click", () => this.#attachments.retry(log, key));
    remove.addEventListener("click", () => {
      this.#attachments.remove(log, key);
      this.#parts.text.focus();
    });
    return element(
      "li",
      { class: "tray-file", "data-testid": "tray-file" },
      element("bdi", { class: "name", translate: "no" }, name),
      element("span", { class: "tray-state", role: "status" }),
      element("progress", { max: "1", "aria-label": `Upload of ${name}` }),
      retry,
      remove,
    );
  }
}

function updateChip(node, { bytes, state, share, problem }) {
  setAttribute(node, "data-state", state);
  const words = state === "uploading" ? `${Math.floor(share * 100)} %` : sizeWords(bytes);
  setText(node.querySelector(".tray-state"), problem ?? words);
  const progress = node.querySelector("progress");
  setHidden(progress, state !== "uploading");
  if (progress.value !== share) progress.value = share;
  setHidden(node.querySelector("[data-retry]"), state !== "failed");
}
