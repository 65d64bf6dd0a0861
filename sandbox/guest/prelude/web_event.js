// Event, CustomEvent and EventTarget (DOM Standard, section 2), without a tree: an event has one target and no path.

const { uncurryThis, defineInterface, requireArguments, domString, removeAt, isPlatformObject } = native.web;
const { log, inspect } = native;
const { DOMException } = globalThis;
const push = uncurryThis(Array.prototype.push);
const apply = Reflect.apply;

let dispatch; // dispatch(event, target, listeners) -> false when the event was cancelled

class Event {
  #type;
  #options;
  #target = null;
  #dispatching = false;
  #canceled = false;
  #stopped = false;

  constructor(type, options = undefined) {
    requireArguments(arguments.length, 1, "Event");
    this.#type = domString(type);
    this.#options = {
      bubbles: !!options?.bubbles, cancelable: !!options?.cancelable, composed: !!options?.composed,
    };
  }

  get type() {
    return this.#type;
  }
  get bubbles() {
    return this.#options.bubbles;
  }
  get cancelable() {
    return this.#options.cancelable;
  }
  get composed() {
    return this.#options.composed;
  }
  get target() {
    return this.#target;
  }
  get currentTarget() {
    return this.#dispatching ? this.#target : null;
  }
  get defaultPrevented() {
    return this.#canceled;
  }

  preventDefault() {
    if (this.#options.cancelable) this.#canceled = true;
  }

  stopPropagation() {} // there is nowhere to propagate to

  stopImmediatePropagation() {
    this.#stopped = true;
  }

  static {
    isPlatformObject.push((value) => #type in value);
    dispatch = (event, target, listeners) => {
      if (event.#dispatching) throw new DOMException("The event is already being dispatched", "InvalidStateError");
      event.#dispatching = true;
      event.#target = target;
      event.#stopped = false;
      const now = [];
      for (let i = 0; i < listeners.length; i++) push(now, listeners[i]);
      for (let i = 0; i < now.length && !event.#stopped; i++) {
        const listener = now[i];
        if (listener.removed || listener.type !== event.#type) continue;
        if (listener.once) remove(listeners, listener);
        call(listener.callback, target, event);
      }
      event.#dispatching = false;
      return !event.#canceled;
    };
  }
}

class CustomEvent extends Event {
  #detail;

  constructor(type, options = undefined) {
    super(type, options);
    this.#detail = options?.detail ?? null;
  }

  get detail() {
    return this.#detail;
  }
}

function remove(listeners, listener) {
  for (let i = 0; i < listeners.length; i++) {
    if (listeners[i] === listener) {
      removeAt(listeners, i, 1);
      listener.removed = true;
      return;
    }
  }
}

// An exception from a listener is reported; `dispatchEvent` does not throw it.
function call(callback, target, event) {
  try {
    if (typeof callback === "function") apply(callback, target, [event]);
    else callback.handleEvent(event);
  } catch (error) {
    log("error", "Uncaught in an event listener: " + inspect(error));
  }
}

class EventTarget {
  #listeners = [];

  addEventListener(type, callback, options = undefined) {
    requireArguments(arguments.length, 2, "EventTarget.addEventListener");
    if (callback === null || callback === undefined) return;
    if (typeof callback !== "function" && typeof callback !== "object") {
      throw new TypeError("EventTarget.addEventListener: the callback is neither a function nor an object");
    }
    const settings = optionsOf(options);
    type = domString(type);
    if (settings.signal?.aborted || this.#find(type, callback, settings.capture)) return;
    const listener = { type, callback, capture: settings.capture, once: settings.once, removed: false };
    push(this.#listeners, listener);
    settings.signal?.addEventListener("abort", () => remove(this.#listeners, listener));
  }

  removeEventListener(type, callback, options = undefined) {
    requireArguments(arguments.length, 2, "EventTarget.removeEventListener");
    const listener = this.#find(domString(type), callback, optionsOf(options).capture);
    if (listener) remove(this.#listeners, listener);
  }

  dispatchEvent(event) {
    requireArguments(arguments.length, 1, "EventTarget.dispatchEvent");
    return dispatch(event, this, this.#listeners);
  }

  #find(type, callback, capture) {
    for (let i = 0; i < this.#listeners.length; i++) {
      const listener = this.#listeners[i];
      if (listener.type === type && listener.callback === callback && listener.capture === capture) return listener;
    }
    return undefined;
  }

  static {
    isPlatformObject.push((value) => #listeners in value);
  }
}

function optionsOf(options) {
  const given = typeof options === "object" && options !== null;
  return {
    capture: given ? !!options.capture : !!options,
    once: given && !!options.once,
    signal: given ? options.signal : undefined,
  };
}

defineInterface(Event);
defineInterface(CustomEvent);
defineInterface(EventTarget);
