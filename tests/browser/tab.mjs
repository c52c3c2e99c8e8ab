// One browser tab: a user's actions in it, and values that the checks read from it.

const POLL_MS = 50;

export class Tab {
  /** Warnings and errors on the console: `{text, url}`. */
  complaints = [];
  /** How often the page asked the user before leaving. */
  leavingAsked = 0;
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
    } else if (method === "Page.javascriptDialogOpening" && params.type === "beforeunload") {
      this.leavingAsked += 1;
      this.send("Page.handleJavaScriptDialog", { accept: true }).catch(() => {});
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
    // The browser does not reload if only the fragment differs, so leave the page first.
    await this.send("Page.navigate", { url: "about:blank" });
    const { errorText } = await this.send("Page.navigate", { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
  }

  reload() {
    return this.send("Page.reload");
  }

  /** Runs a script in every document of this tab before the page's own scripts. */
  beforeScripts(action) {
    return this.send("Page.addScriptToEvaluateOnNewDocument", { source: `(${action})()` });
  }

  close() {
    return this.send("Page.close");
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

  /** Runs a function in the page. Its arguments and result are plain data. */
  evaluate(action, ...args) {
    return this.#evaluate(action, args, {});
  }

  /** Like `evaluate`, with the permissions of a user gesture. */
  evaluateAsPerson(action, ...args) {
    return this.#evaluate(action, args, { userGesture: true });
  }

  async #evaluate(action, args, options) {
    const expression = `(${action})(...${JSON.stringify(args)})`;
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
      ...options,
    });
    if (exceptionDetails) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  }

  /** Polls until the function returns a truthy value. A failure names `what`. */
  async until(what, deadlineMs, action, ...args) {
    const end = Date.now() + deadlineMs;
    let last;
    for (;;) {
      try {
        last = await this.evaluate(action, ...args);
      } catch (error) {
        // During a navigation, the page has no context for a moment.
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

  /** Clicks on an element by script, once it exists: also on what only hovering shows. */
  clickWithin(selector) {
    return this.until(`${selector} is clicked`, 10_000, (wanted) => {
      const node = document.querySelector(wanted);
      node?.click();
      return node !== null;
    }, selector);
  }

  /** Focuses an element, once it exists. */
  focus(selector) {
    return this.until(`${selector} has the focus`, 10_000, (wanted) => {
      const node = document.querySelector(wanted);
      node?.focus();
      return node !== null;
    }, selector);
  }

  /** Clicks as a user does: fails if another element covers this one. */
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
   * Fails the next request to that path with a connection reset: at stage `Request` before the
   * server sees it, at `Response` after the server has executed it. Resolves to what was sent.
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

  /**
   * Holds back the next request to that path. Resolves, once it is made, to a function that lets it
   * continue.
   */
  async holdNext(path) {
    await this.send("Fetch.enable", { patterns: [{ urlPattern: `*${path}` }] });
    const held = new Promise((resolve) => {
      this.#onPaused = ({ requestId }) => {
        this.#onPaused = null;
        resolve(async () => {
          await this.send("Fetch.continueRequest", { requestId });
          await this.send("Fetch.disable");
        });
      };
    });
    return { held };
  }

  async screenshot() {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    return Buffer.from(data, "base64");
  }
}

const KEY_CODES = { Backspace: 8, Tab: 9, Enter: 13, Escape: 27, ArrowUp: 38, ArrowDown: 40 };

function pause() {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS));
}
