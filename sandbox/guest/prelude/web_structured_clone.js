// structuredClone (HTML Standard, section 2.7), by a work list instead of recursion: nesting is bounded by memory only.
// Each object is allocated where it first occurs, and filled in later.

const { uncurryThis, record, defineFunction, requireArguments, domString } = native.web;
const { isDOMException, isPlatformObject } = native.web;
const { className, define } = native;
const { DOMException, Object, Map, Set, Date, RegExp, Error, ArrayBuffer, DataView, Uint8Array } = globalThis;
const { keys, getOwnPropertyDescriptor, defineProperty } = Object;
const getter = (prototype, name) => uncurryThis(getOwnPropertyDescriptor(prototype, name).get);

const push = uncurryThis(Array.prototype.push);
const mapGet = uncurryThis(Map.prototype.get);
const mapSet = uncurryThis(Map.prototype.set);
const mapForEach = uncurryThis(Map.prototype.forEach);
const setAdd = uncurryThis(Set.prototype.add);
const setHas = uncurryThis(Set.prototype.has);
const setForEach = uncurryThis(Set.prototype.forEach);
const getTime = uncurryThis(Date.prototype.getTime);
const sourceOf = getter(RegExp.prototype, "source");
const flags = []; // RegExp.prototype.flags looks each of these up again
const flagNames = "d:hasIndices g:global i:ignoreCase m:multiline s:dotAll u:unicode v:unicodeSets y:sticky";
for (const flag of flagNames.split(" ")) {
  push(flags, { letter: flag[0], isSet: getter(RegExp.prototype, flag.slice(2)) });
}
const stackOf = getter(Error.prototype, "stack");
const valueOf = {
  __proto__: null,
  Boolean: uncurryThis(Boolean.prototype.valueOf),
  Number: uncurryThis(Number.prototype.valueOf),
  String: uncurryThis(String.prototype.valueOf),
  BigInt: uncurryThis(BigInt.prototype.valueOf),
};

const bufferLength = getter(ArrayBuffer.prototype, "byteLength");
const bufferMaxLength = getter(ArrayBuffer.prototype, "maxByteLength");
const isResizable = getter(ArrayBuffer.prototype, "resizable");
const isDetached = getter(ArrayBuffer.prototype, "detached");
const transferBuffer = uncurryThis(ArrayBuffer.prototype.transfer);
const setBytes = uncurryThis(Object.getPrototypeOf(Uint8Array.prototype).set);

const views = { __proto__: null };
for (const constructor of [DataView, Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array,
  Uint32Array, BigInt64Array, BigUint64Array, Float16Array, Float32Array, Float64Array]) {
  const prototype = constructor === DataView ? DataView.prototype : Object.getPrototypeOf(constructor.prototype);
  views[constructor.name] = record({
    constructor,
    buffer: getter(prototype, "buffer"),
    byteOffset: getter(prototype, "byteOffset"),
    length: getter(prototype, constructor === DataView ? "byteLength" : "length"),
  });
}

const errors = { __proto__: null };
for (const constructor of [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]) {
  errors[constructor.name] = constructor;
}
const domExceptionName = getter(DOMException.prototype, "name");
const domExceptionMessage = getter(DOMException.prototype, "message");

const hidden = (value) => record({ value, writable: true, enumerable: false, configurable: true });
const refuse = (what) => new DOMException("structuredClone: " + what + " cannot be cloned", "DataCloneError");

const PROPERTIES = 0, ENTRIES = 1, ITEMS = 2, CAUSE = 3;

class Clone {
  #known = new Map(); // original -> copy, so that sharing and cycles survive
  #unfilled = []; // three items for each copy: how to fill it, the original, the copy

  value(original) {
    if (typeof original === "function") throw refuse("a function");
    if (typeof original === "symbol") throw refuse("a symbol");
    if (typeof original !== "object" || original === null) return original;
    const known = mapGet(this.#known, original);
    if (known !== undefined) return known;
    const copy = this.#allocate(original, className(original));
    mapSet(this.#known, original, copy);
    return copy;
  }

  root(original) {
    const copy = this.value(original);
    const unfilled = this.#unfilled;
    for (let i = 0; i < unfilled.length; i += 3) this.#fill(unfilled[i], unfilled[i + 1], unfilled[i + 2]);
    return copy;
  }

  #allocate(original, kind) {
    switch (kind) {
      case "Object":
      case "Arguments":
        return this.#plain(original);
      case "Array":
        return this.#array(original);
      case "Map":
        return this.#later(ENTRIES, original, new Map());
      case "Set":
        return this.#later(ITEMS, original, new Set());
      case "Error":
        return this.#error(original);
      case "Date":
        return new Date(getTime(original));
      case "RegExp":
        return new RegExp(sourceOf(original), flagsOf(original));
      case "Boolean":
      case "Number":
      case "String":
      case "BigInt":
        return Object(valueOf[kind](original));
      case "ArrayBuffer":
        return cloneBuffer(original);
      default:
        if (views[kind]) return this.#view(original, views[kind]);
        throw refuse("an object of the class " + kind);
    }
  }

  #later(what, original, copy) {
    push(this.#unfilled, what, original, copy);
    return copy;
  }

  #fill(what, original, copy) {
    switch (what) {
      case PROPERTIES: {
        const names = keys(original);
        for (let i = 0; i < names.length; i++) define(copy, names[i], this.value(original[names[i]]));
        break;
      }
      case ENTRIES: {
        const entries = []; // read first: cloning a value may run a getter that changes the map
        mapForEach(original, (value, key) => push(entries, key, value));
        for (let i = 0; i < entries.length; i += 2) mapSet(copy, this.value(entries[i]), this.value(entries[i + 1]));
        break;
      }
      case ITEMS: {
        const items = [];
        setForEach(original, (item) => push(items, item));
        for (let i = 0; i < items.length; i++) setAdd(copy, this.value(items[i]));
        break;
      }
      case CAUSE:
        defineProperty(copy, "cause", hidden(this.value(original)));
    }
  }

  #plain(original) {
    for (let i = 0; i < isPlatformObject.length; i++) {
      if (isPlatformObject[i](original)) throw refuse("an object of a web interface");
    }
    return this.#later(PROPERTIES, original, {});
  }

  // Only keys that exist are copied: holes stay holes.
  #array(original) {
    const copy = [];
    copy.length = original.length;
    return this.#later(PROPERTIES, original, copy);
  }

  // Name, message, stack and cause; other properties of an error are not part of its serialisation.
  #error(original) {
    if (isDOMException(original)) return new DOMException(domExceptionMessage(original), domExceptionName(original));
    const constructor = errors[original.name] ?? Error;
    const message = getOwnPropertyDescriptor(original, "message");
    const copy = message && "value" in message ? new constructor(domString(message.value)) : new constructor();
    const stack = stackOf(original);
    if (typeof stack === "string") defineProperty(copy, "stack", hidden(stack));
    const cause = getOwnPropertyDescriptor(original, "cause");
    if (cause && "value" in cause) this.#later(CAUSE, cause.value, copy);
    return copy;
  }

  // Views of one buffer stay views of one buffer.
  #view(original, { constructor, buffer, byteOffset, length }) {
    return new constructor(this.value(buffer(original)), byteOffset(original), length(original));
  }
}

function flagsOf(pattern) {
  let text = "";
  for (let i = 0; i < flags.length; i++) if (flags[i].isSet(pattern)) text += flags[i].letter;
  return text;
}

function cloneBuffer(original) {
  if (isDetached(original)) throw refuse("a detached ArrayBuffer");
  const length = bufferLength(original);
  const options = isResizable(original) ? record({ maxByteLength: bufferMaxLength(original) }) : undefined;
  const copy = new ArrayBuffer(length, options);
  setBytes(new Uint8Array(copy), new Uint8Array(original));
  return copy;
}

function buffersToTransfer(list) {
  const buffers = new Set();
  for (const buffer of list) {
    if (className(buffer) !== "ArrayBuffer") throw refuse("transfer holds something that is not an ArrayBuffer: it");
    if (isDetached(buffer)) throw refuse("transfer holds an ArrayBuffer that is detached already: it");
    if (setHas(buffers, buffer)) throw refuse("transfer holds the same ArrayBuffer twice: it");
    setAdd(buffers, buffer);
  }
  return buffers;
}

defineFunction("structuredClone", function structuredClone(value, options = undefined) {
  requireArguments(arguments.length, 1, "structuredClone");
  const list = options?.transfer;
  const buffers = list === undefined ? new Set() : buffersToTransfer(list);
  const copy = new Clone().root(value);
  // A transfer is a copy whose original is then detached: a program sees no difference, and nothing is lost on failure.
  setForEach(buffers, (buffer) => transferBuffer(buffer, 0));
  return copy;
});
