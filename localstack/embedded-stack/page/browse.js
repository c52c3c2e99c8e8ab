// The list of public channels, and how to join one.

import { byId, element, reconcile, setHidden, setText } from "./dom.js";
import { problemText } from "./dialogs.js";

/**
 * `actions` has `publicChannels()` and `join(channel)`, both promises, and `showChannel(channel)`.
 */
export function prepareBrowse(store, { publicChannels, join, showChannel }) {
  const dialog = byId("browse-dialog");
  const list = byId("browse-list");
  const error = dialog.querySelector(".error");
  const attempt = async (action) => {
    setHidden(error, true);
    try {
      await action();
    } catch (problem) {
      setText(error, problemText(problem));
      setHidden(error, false);
    }
  };
  const create = (channel) => {
    const button = element("button", { type: "button", class: "quiet", "data-testid": "join" });
    button.addEventListener("click", () =>
      attempt(async () => {
        if (!store.channels.has(channel.channel_id)) await join(channel);
        dialog.close();
        showChannel(channel);
      }),
    );
    return element(
      "li",
      { "data-testid": "public-channel", "data-channel-id": channel.channel_id },
      element(
        "span",
        { class: "public-channel" },
        element("b", { dir: "auto", translate: "no" }),
        element("span", { class: "muted", dir: "auto" }),
      ),
      button,
    );
  };
  const update = (node, channel) => {
    setText(node.querySelector("b"), `# ${channel.name}`);
    const notes = [channel.archived ? "archived" : "", channel.topic].filter(Boolean);
    setText(node.querySelector(".muted"), notes.join(" · "));
    const isIn = store.channels.has(channel.channel_id);
    setText(node.querySelector("button"), isIn ? "Open" : "Join");
  };
  const show = (channels) => {
    const sorted = channels.toSorted((a, b) => a.name.localeCompare(b.name));
    reconcile(list, sorted, (channel) => channel.channel_id, create, update);
    setHidden(byId("no-public-channels"), channels.length > 0);
  };
  dialog.querySelector("[data-cancel]").addEventListener("click", () => dialog.close());
  byId("browse").addEventListener("click", () => {
    dialog.showModal();
    attempt(async () => show(await publicChannels()));
  });
}
