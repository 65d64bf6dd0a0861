// AbortController and AbortSignal (DOM Standard, section 3). The name makes it load after web_event.js.

const { uncurryThis, defineInterface, requireArguments } = native.web;
const { DOMException, Event, EventTarget, setTimeout } = globalThis;
const push = uncurryThis(Array.prototype.push);
const addEventListener = uncurryThis(EventTarget.prototype.addEventListener);
const dispatchEvent = uncurryThis(EventTarget.prototype.dispatchEvent);

const allow = {};
let abort; // abort(signal, reason): only this file may abort a signal

class AbortSignal extends EventTarget {
  #aborted = false;
  #reason;
  #onabort = null;
  #dependents = [];

  constructor(token) {
    if (token !== allow) throw new TypeError("Illegal constructor: use new AbortController().signal");
    super();
  }

  static abort(reason = new DOMException("This operation was aborted", "AbortError")) {
    const signal = new AbortSignal(allow);
    abort(signal, reason);
    return signal;
  }

  static timeout(milliseconds) {
    requireArguments(arguments.length, 1, "AbortSignal.timeout");
    const delay = +milliseconds;
    if (!(delay >= 0 && delay <= Number.MAX_SAFE_INTEGER)) {
      throw new TypeError("AbortSignal.timeout: the delay must be a number of milliseconds, zero or more");
    }
    const signal = new AbortSignal(allow);
    setTimeout(() => abort(signal, new DOMException("The operation timed out", "TimeoutError")), delay);
    return signal;
  }

  static any(signals) {
    requireArguments(arguments.length, 1, "AbortSignal.any");
    const result = new AbortSignal(allow);
    for (const signal of signals) {
      if (!(#aborted in signal)) throw new TypeError("AbortSignal.any: every item must be an AbortSignal");
      if (signal.#aborted) abort(result, signal.#reason);
      else push(signal.#dependents, result);
    }
    return result;
  }

  get aborted() {
    return this.#aborted;
  }

  get reason() {
    return this.#reason;
  }

  get onabort() {
    return this.#onabort;
  }
  set onabort(callback) {
    if (this.#onabort === null) {
      addEventListener(this, "abort", (event) => this.#onabort && Reflect.apply(this.#onabort, this, [event]));
    }
    this.#onabort = typeof callback === "function" ? callback : null;
  }

  throwIfAborted() {
    if (this.#aborted) throw this.#reason;
  }

  static {
    abort = (signal, reason) => {
      if (signal.#aborted) return;
      signal.#aborted = true;
      signal.#reason = reason;
      dispatchEvent(signal, new Event("abort"));
      for (let i = 0; i < signal.#dependents.length; i++) abort(signal.#dependents[i], reason);
    };
  }
}

class AbortController {
  #signal = new AbortSignal(allow);

  get signal() {
    return this.#signal;
  }

  abort(reason = new DOMException("This operation was aborted", "AbortError")) {
    abort(this.#signal, reason);
  }

  static {
    native.web.isPlatformObject.push((value) => #signal in value);
  }
}

defineInterface(AbortSignal);
defineInterface(AbortController);
