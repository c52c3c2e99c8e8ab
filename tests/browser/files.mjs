// A user attaches files, and the other member sees pictures and links to what is not a picture.

import { SOON_MS } from "./page.mjs";

/** A picture of one red pixel. */
const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg==";

export async function attachAndShow(run) {
  const names = [`pixel ${run.tag}.png`, `<b>notes</b> ${run.tag}.txt`.replace("/", "")];
  await run.alice.evaluate(choose, [names, PIXEL]);
  await run.alice.until(
    "both files are uploaded",
    SOON_MS,
    () => document.querySelectorAll('[data-testid=tray-file][data-state="ready"]').length === 2,
  );
  await run.alice.click("send");
  for (const tab of [run.alice, run.bob]) {
    await tab.until(
      "the message has a picture that is drawn, and a link to each file",
      SOON_MS,
      (wanted) => {
        const rows = [...document.querySelectorAll("[data-testid=message]")];
        const row = rows.find((one) => one.textContent.includes(wanted[0]));
        if (row === undefined || row.dataset.delivery !== "stored") return false;
        const shown = [...row.querySelectorAll("[data-testid=file] .name")];
        const picture = row.querySelector("[data-testid=picture]");
        const isDrawn = picture.complete && picture.naturalWidth === 1 && !picture.hidden;
        const isSame = JSON.stringify(shown.map((node) => node.textContent)) === JSON.stringify(wanted);
        return isSame && isDrawn && row.querySelector(".message-text").hidden;
      },
      names,
    );
  }
  const rest = await run.alice.evaluate(() => document.querySelector("[data-testid=tray]").hidden);
  if (!rest) throw new Error("the tray still shows files that were sent");
}

export async function refuseAndRemove(run) {
  await run.alice.evaluate(drop, [`empty ${run.tag}.txt`]);
  const refused = '[data-testid=tray-file][data-state="refused"]';
  await run.alice.until(
    "an empty file is refused with a reason, and nothing can be sent",
    SOON_MS,
    (selector) =>
      document.querySelector(selector)?.textContent.includes("the file is empty") &&
      document.querySelector("[data-testid=send]").disabled,
    refused,
  );
  await run.alice.clickWithin(`${refused} [data-testid=tray-remove]`);
  await run.alice.until(
    "it is gone",
    SOON_MS,
    () => document.querySelectorAll("[data-testid=tray-file]").length === 0,
  );
}

/** In the page: chooses a picture and a text as the file dialog does. */
function choose([[picture, text], base64]) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const chosen = new DataTransfer();
  chosen.items.add(new File([bytes], picture, { type: "image/png" }));
  chosen.items.add(new File(["a text"], text, { type: "text/plain" }));
  const input = document.querySelector("[data-testid=attach-input]");
  input.files = chosen.files;
  input.dispatchEvent(new Event("change"));
}

/** In the page: drops an empty file on the messages. */
function drop([name]) {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([], name, { type: "text/plain" }));
  const target = document.querySelector("[data-testid=message-scroll]");
  for (const type of ["dragenter", "dragover", "drop"])
    target.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
}
