// Headless Chromium over the DevTools pipe: no packages, no port, NUL-separated JSON on fd 3 and 4.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const BINARY = process.env.INKWIRE_CHROMIUM ?? "/usr/bin/chromium";
const POLL_MS = 50;
const COMMAND_MS = 30_000;

export class Chromium {
  #child;
  #profile;
  #nextId = 1;
  #pending = new Map();
  #tabs = new Map();
  #exited;

  static async launch() {
    const profile = await mkdtemp(join(tmpdir(), "inkwire-browser-"));
    const flags = [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--disable-dev-shm-usage",
      `--user-data-dir=${profile}`,
      "--remote-debugging-pipe",
      "about:blank",
    ];
    const stdio = ["ignore", "ignore", "ignore", "pipe", "pipe"];
    // A process group of its own, so that the helpers of the browser go with it.
    const child = spawn(BINARY, flags, { stdio, detached: true });
    return new Chromium(child, profile);
  }

  constructor(child, profile) {
    this.#child = child;
    this.#profile = profile;
    this.#exited = new Promise((resolve) => {
      child.on("error", (error) => this.#gone(error.message, resolve));
      child.on("exit", (code) => this.#gone(`exit code ${code}`, resolve));
    });
    child.stdio[3].on("error", () => {});
    let rest = "";
    child.stdio[4].setEncoding("utf8");
    child.stdio[4].on("data", (chunk) => {
      const parts = (rest + chunk).split("\0");
      rest = parts.pop();
      for (const part of parts) this.#receive(JSON.parse(part));
    });
  }

  send(method, params = {}, sessionId = undefined) {
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new Error(`${method}: no answer from the browser in ${COMMAND_MS / 1_000} s`));
      }, COMMAND_MS);
      this.#pending.set(id, { method, resolve, reject, timer });
      this.#child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  /** A tab in a window of its own: a tab behind another one counts as hidden. */
  async open(name, url) {
    const { targetId } = await this.send("Target.createTarget", {
      url: "about:blank",
      newWindow: true,
    });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const tab = new Tab(this, name, sessionId);
    this.#tabs.set(sessionId, tab);
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await tab.send(`${domain}.enable`);
    await tab.resize(1440, 900, "light");
    await tab.go(url);
    return tab;
  }

  async close() {
    await this.send("Browser.close").catch(() => {});
    const late = setTimeout(() => {
      try {
        process.kill(-this.#child.pid, "SIGKILL");
      } catch {
        // Gone meanwhile.
      }
    }, 3_000);
    await this.#exited;
    clearTimeout(late);
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  #receive(message) {
    const pending = this.#pending.get(message.id);
    if (!pending) {
      this.#tabs.get(message.sessionId)?.receive(message.method, message.params);
      return;
    }
    this.#pending.delete(message.id);
    clearTimeout(pending.timer);
    if (message.error) pending.reject(new Error(`${pending.method}: ${message.error.message}`));
    else pending.resolve(message.result);
  }

  #gone(why, resolve) {
    for (const { reject, method, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new Error(`${method}: the browser is gone (${why})`));
    }
    this.#pending.clear();
    resolve();
  }
}

class Tab {
  /** What the console says that a person would not want to see: `{text, url}`. */
  complaints = [];
  #browser;
  #sessionId;
  #onPaused = null;

  constructor(browser, name, sessionId) {
    this.#browser = browser;
    this.name = name;
    this.#sessionId = sessionId;
  }

  send(method, params) {
    return this.#browser.send(method, params, this.#sessionId);
  }

  receive(method, params) {
    if (method === "Runtime.exceptionThrown") {
      const { exceptionDetails: details } = params;
      this.#complain(details.exception?.description ?? details.text, details.url);
    } else if (method === "Runtime.consoleAPICalled" && params.type === "error") {
      this.#complain(params.args.map(({ value, description }) => value ?? description).join(" "));
    } else if (method === "Log.entryAdded" && params.entry.level === "error") {
      this.#complain(params.entry.text, params.entry.url);
    } else if (method === "Page.javascriptDialogOpening") {
      this.#complain(`a script opened a dialog: ${params.message}`);
      this.send("Page.handleJavaScriptDialog", { accept: true }).catch(() => {});
    } else if (method === "Fetch.requestPaused") {
      this.#onPaused?.(params);
    }
  }

  #complain(text, url = "") {
    this.complaints.push({ text, url: url ?? "" });
  }

  async go(url) {
    // Two addresses that differ in the fragment only would not load anew.
    await this.send("Page.navigate", { url: "about:blank" });
    const { errorText } = await this.send("Page.navigate", { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
  }

  async resize(width, height, scheme) {
    const metrics = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
    await this.send("Emulation.setDeviceMetricsOverride", metrics);
    const features = [
      { name: "prefers-color-scheme", value: scheme },
      { name: "prefers-reduced-motion", value: "reduce" },
    ];
    await this.send("Emulation.setEmulatedMedia", { features });
  }

  /** Runs a function in the page with plain arguments and returns its plain answer. */
  async evaluate(action, ...args) {
    const expression = `(${action})(...${JSON.stringify(args)})`;
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  }

  /** Polls until the function's answer is truthy; a failure names what was waited for. */
  async until(what, deadlineMs, action, ...args) {
    const end = Date.now() + deadlineMs;
    let last;
    for (;;) {
      try {
        last = await this.evaluate(action, ...args);
      } catch (error) {
        // A page that is being replaced has no context for a moment.
        last = error.message;
        if (Date.now() >= end) throw error;
        await pause();
        continue;
      }
      if (last) return last;
      if (Date.now() >= end)
        throw new Error(`${this.name}: not within ${deadlineMs / 1_000} s: ${what}`);
      await pause();
    }
  }

  /** A click as a person makes it: it fails when something else lies over the element. */
  async click(testId, filter = {}) {
    const find = async () =>
      this.evaluate(
        (id, wanted) => {
          const matches = [...document.querySelectorAll(`[data-testid="${id}"]`)].filter((node) =>
            Object.entries(wanted).every(([name, value]) => node.dataset[name] === value),
          );
          const node = matches.find((candidate) => candidate.checkVisibility());
          if (!node || node.disabled) return null;
          node.scrollIntoView({ block: "nearest" });
          const box = node.getBoundingClientRect();
          const x = box.x + box.width / 2;
          const y = box.y + box.height / 2;
          return node.contains(document.elementFromPoint(x, y)) ? { x, y } : null;
        },
        testId,
        filter,
      );
    const end = Date.now() + 10_000;
    let at = await find();
    while (!at) {
      if (Date.now() >= end) {
        throw new Error(
          `${this.name}: nothing to click on for ${testId} ${JSON.stringify(filter)}`,
        );
      }
      await pause();
      at = await find();
    }
    const button = { ...at, button: "left", clickCount: 1 };
    await this.send("Input.dispatchMouseEvent", { ...button, type: "mousePressed" });
    await this.send("Input.dispatchMouseEvent", { ...button, type: "mouseReleased" });
  }

  async type(testId, text) {
    await this.click(testId);
    await this.send("Input.insertText", { text });
  }

  async press(key) {
    const event = { key, code: key, windowsVirtualKeyCode: KEY_CODES[key] };
    const text = key === "Enter" ? { text: "\r" } : {};
    await this.send("Input.dispatchKeyEvent", { ...event, ...text, type: "keyDown" });
    await this.send("Input.dispatchKeyEvent", { ...event, type: "keyUp" });
  }

  /**
   * Cuts the next request to that path with a connection reset: at stage `Request` the server never
   * sees it, at `Response` the server acted and the page never learns. Resolves to what was sent.
   */
  async cutNext(path, stage) {
    const patterns = [{ urlPattern: `*${path}`, requestStage: stage }];
    await this.send("Fetch.enable", { patterns });
    const cut = new Promise((resolve, reject) => {
      this.#onPaused = async ({ requestId, request }) => {
        this.#onPaused = null;
        try {
          await this.send("Fetch.failRequest", { requestId, errorReason: "ConnectionReset" });
          await this.send("Fetch.disable");
          resolve(request.postData);
        } catch (error) {
          reject(error);
        }
      };
    });
    return { cut };
  }

  async screenshot() {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    return Buffer.from(data, "base64");
  }
}

const KEY_CODES = { Enter: 13, Escape: 27 };

function pause() {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS));
}
