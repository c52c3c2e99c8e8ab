// The files beside the text: chosen, dropped or pasted; each with its progress or its problem.

import { sizeWords } from "./attachments.js";
import { byId, element, reconcile, setAttribute, setHidden, setText } from "./dom.js";

export class Tray {
  #store;
  #attachments;
  #list = byId("tray");
  #input = byId("attach-input");

  constructor(store, attachments) {
    this.#store = store;
    this.#attachments = attachments;
    byId("attach").addEventListener("click", () => this.#input.click());
    this.#input.addEventListener("change", () => {
      this.#add([...this.#input.files]);
      // The same file can be chosen again.
      this.#input.value = "";
    });
    byId("composer-text").addEventListener("paste", (event) => {
      const { files } = event.clipboardData;
      // A copied text may come with a picture of itself.
      if (files.length === 0 || event.clipboardData.types.includes("text/plain")) return;
      event.preventDefault();
      this.#add([...files]);
    });
    this.#listenToDrops(byId("main"));
  }

  render() {
    const { active, activeId } = this.#store;
    setHidden(byId("attach"), active === null || active.archived === true);
    const files = activeId === null ? [] : this.#attachments.of(activeId);
    setHidden(this.#list, files.length === 0);
    reconcile(
      this.#list,
      files,
      ({ key }) => key,
      (file) => this.#chip(file),
      updateChip,
    );
  }

  #add(files) {
    const { active } = this.#store;
    if (active === null || active.archived === true || files.length === 0) return;
    this.#attachments.add(active.channel_id, files);
    byId("composer-text").focus();
  }

  #listenToDrops(target) {
    const hasFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
    let depth = 0;
    const show = (isOver) => setAttribute(target, "data-dropping", isOver);
    target.addEventListener("dragenter", (event) => {
      if (!hasFiles(event)) return;
      depth += 1;
      show(true);
    });
    target.addEventListener("dragover", (event) => {
      if (hasFiles(event)) event.preventDefault();
    });
    target.addEventListener("dragleave", (event) => {
      if (!hasFiles(event)) return;
      depth = Math.max(0, depth - 1);
      show(depth > 0);
    });
    target.addEventListener("drop", (event) => {
      depth = 0;
      show(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.#add([...event.dataTransfer.files]);
    });
  }

  #chip({ key, name }) {
    const retry = element("button", { type: "button", class: "text-button", "data-retry": true }, "Retry");
    const remove = element(
      "button",
      { type: "button", class: "text-button", "data-testid": "tray-remove" },
      "Remove",
    );
    setAttribute(remove, "aria-label", `Remove ${name}`);
    const channelId = this.#store.activeId;
    retry.addEventListener("click", () => this.#attachments.retry(channelId, key));
    remove.addEventListener("click", () => {
      this.#attachments.remove(channelId, key);
      byId("composer-text").focus();
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
