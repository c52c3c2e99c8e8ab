// Drives headless Chromium over its DevTools pipe (NUL-separated JSON on fd 3 and 4): no packages.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Tab } from "./tab.mjs";

const BINARY = process.env.INKWIRE_CHROMIUM ?? "/usr/bin/chromium";
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
    // Its own process group, so that the browser's helper processes can be ended with it.
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

  /** Opens a tab in its own window, because a tab behind another one counts as hidden. */
  async open(name, url) {
    const tab = await this.openBlank(name);
    await tab.go(url);
    return tab;
  }

  async openBlank(name) {
    const blank = { url: "about:blank", newWindow: true };
    const { targetId } = await this.send("Target.createTarget", blank);
    return this.#attach(name, targetId);
  }

  /** Duplicates a tab: opens another one at the same address, with a copy of sessionStorage. */
  async duplicate(tab, name) {
    const idsBefore = new Set(await this.#pageIds());
    await tab.evaluateAsPerson(() => void window.open(location.href));
    for (;;) {
      const targetId = (await this.#pageIds()).find((id) => !idsBefore.has(id));
      if (targetId !== undefined) return this.#attach(name, targetId);
    }
  }

  async #pageIds() {
    const { targetInfos } = await this.send("Target.getTargets");
    return targetInfos.filter(({ type }) => type === "page").map(({ targetId }) => targetId);
  }

  async #attach(name, targetId) {
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const tab = new Tab(this, name, sessionId);
    this.#tabs.set(sessionId, tab);
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await tab.send(`${domain}.enable`);
    await tab.resize(1440, 900, "light");
    return tab;
  }

  async close() {
    await this.send("Browser.close").catch(() => {});
    const late = setTimeout(() => {
      try {
        process.kill(-this.#child.pid, "SIGKILL");
      } catch {
        // It has already ended.
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
