// URLSearchParams (WHATWG URL Standard, section 6). A list in which a value follows each name, and a function that
// tells its URL, if it has one, of a change.

const { uncurryThis, record, defineInterface, requireArguments, removeAt, usvString, isPlatformObject } = native.web;
const { formEscape, formUnescape } = native;
const push = uncurryThis(Array.prototype.push);
const sort = uncurryThis(Array.prototype.sort);
const indexOf = uncurryThis(String.prototype.indexOf);
const slice = uncurryThis(String.prototype.slice);
const apply = Reflect.apply;
const { ownKeys, getOwnPropertyDescriptor } = Reflect;
const { getPrototypeOf, setPrototypeOf } = Object;
const iteratorSymbol = Symbol.iterator;

function parseInto(list, query) {
  for (let start = 0; start <= query.length; ) {
    let end = indexOf(query, "&", start);
    if (end < 0) end = query.length;
    if (end > start) {
      const piece = slice(query, start, end);
      const equals = indexOf(piece, "=");
      const name = equals < 0 ? piece : slice(piece, 0, equals);
      push(list, formUnescape(name), equals < 0 ? "" : formUnescape(slice(piece, equals + 1)));
    }
    start = end + 1;
  }
  return list;
}

function serialize(list) {
  let text = "";
  for (let i = 0; i < list.length; i += 2) {
    text += (i ? "&" : "") + formEscape(list[i]) + "=" + formEscape(list[i + 1]);
  }
  return text;
}

const withoutQuestionMark = (query) => (query[0] === "?" ? slice(query, 1) : query);

function fromSequence(pairs) {
  const list = [];
  for (const pair of pairs) {
    const items = [];
    if (pair === null || typeof pair !== "object") {
      throw new TypeError("URLSearchParams: each item of the sequence must be a [name, value] pair");
    }
    for (const item of pair) push(items, item);
    if (items.length !== 2) {
      throw new TypeError("URLSearchParams: a pair has a name and a value, this one has " + items.length + " items");
    }
    push(list, usvString(items[0]), usvString(items[1]));
  }
  return list;
}

function fromRecord(object) {
  const entries = [];
  const keys = ownKeys(object);
  for (let i = 0; i < keys.length; i++) {
    if (getOwnPropertyDescriptor(object, keys[i])?.enumerable) {
      push(entries, usvString(keys[i]), usvString(object[keys[i]]));
    }
  }
  return entries;
}

function listFrom(init) {
  if (init === null || (typeof init !== "object" && typeof init !== "function")) {
    return parseInto([], withoutQuestionMark(usvString(init)));
  }
  const method = init[iteratorSymbol];
  return method === undefined || method === null ? fromRecord(init) : fromSequence(init);
}

// A live iterator over a list: it also visits pairs that are appended meanwhile.
const NAMES = 0, VALUES = 1, PAIRS = 2;

class SearchParamsIterator {
  #list;
  #kind;
  #at = 0;

  constructor(list, kind) {
    this.#list = list;
    this.#kind = kind;
    setPrototypeOf(this, iteratorPrototype); // without a constructor, unlike the prototype of a class
  }

  next() {
    const list = this.#list;
    const at = this.#at;
    if (at >= list.length) return { value: undefined, done: true };
    this.#at = at + 2;
    return { value: this.#kind === PAIRS ? [list[at], list[at + 1]] : list[at + this.#kind], done: false };
  }
}

const iteratorPrototype = Object.create(getPrototypeOf(getPrototypeOf([][iteratorSymbol]())), record({
  next: record({ value: SearchParamsIterator.prototype.next, writable: true, enumerable: true, configurable: true }),
  [Symbol.toStringTag]: record({ value: "URLSearchParams Iterator", configurable: true }),
}));

class URLSearchParams {
  #list;
  #changed; // called after each change; undefined for a list of its own

  constructor(init = "") {
    this.#list = listFrom(init);
  }

  get size() {
    return this.#list.length / 2;
  }

  append(name, value) {
    requireArguments(arguments.length, 2, "URLSearchParams.append");
    push(this.#list, usvString(name), usvString(value));
    this.#update();
  }

  delete(name, value = undefined) {
    requireArguments(arguments.length, 1, "URLSearchParams.delete");
    const list = this.#list;
    name = usvString(name);
    if (value !== undefined) value = usvString(value);
    for (let i = list.length - 2; i >= 0; i -= 2) {
      if (list[i] === name && (value === undefined || list[i + 1] === value)) removeAt(list, i, 2);
    }
    this.#update();
  }

  get(name) {
    requireArguments(arguments.length, 1, "URLSearchParams.get");
    const at = this.#find(usvString(name));
    return at < 0 ? null : this.#list[at + 1];
  }

  getAll(name) {
    requireArguments(arguments.length, 1, "URLSearchParams.getAll");
    const list = this.#list;
    const values = [];
    name = usvString(name);
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] === name) push(values, list[i + 1]);
    }
    return values;
  }

  has(name, value = undefined) {
    requireArguments(arguments.length, 1, "URLSearchParams.has");
    name = usvString(name);
    return this.#find(name, value === undefined ? undefined : usvString(value)) >= 0;
  }

  set(name, value) {
    requireArguments(arguments.length, 2, "URLSearchParams.set");
    const list = this.#list;
    name = usvString(name);
    value = usvString(value);
    const first = this.#find(name);
    if (first < 0) {
      push(list, name, value);
    } else {
      list[first + 1] = value;
      for (let i = list.length - 2; i > first; i -= 2) {
        if (list[i] === name) removeAt(list, i, 2);
      }
    }
    this.#update();
  }

  // By the UTF-16 code units of the names; pairs of one name keep their order.
  sort() {
    const list = this.#list;
    const pairs = [];
    for (let i = 0; i < list.length; i += 2) push(pairs, { name: list[i], value: list[i + 1] });
    sort(pairs, (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    for (let i = 0; i < pairs.length; i++) {
      list[2 * i] = pairs[i].name;
      list[2 * i + 1] = pairs[i].value;
    }
    this.#update();
  }

  toString() {
    return serialize(this.#list);
  }

  entries() {
    return new SearchParamsIterator(this.#list, PAIRS);
  }

  forEach(callback, thisArgument = undefined) {
    requireArguments(arguments.length, 1, "URLSearchParams.forEach");
    if (typeof callback !== "function") throw new TypeError("URLSearchParams.forEach: the callback must be a function");
    for (let i = 0; i < this.#list.length; i += 2) {
      apply(callback, thisArgument, [this.#list[i + 1], this.#list[i], this]);
    }
  }

  keys() {
    return new SearchParamsIterator(this.#list, NAMES);
  }

  values() {
    return new SearchParamsIterator(this.#list, VALUES);
  }

  #find(name, value) {
    const list = this.#list;
    for (let i = 0; i < list.length; i += 2) {
      if (list[i] === name && (value === undefined || list[i + 1] === value)) return i;
    }
    return -1;
  }

  #update() {
    this.#changed?.();
  }

  static {
    isPlatformObject.push((value) => #list in value);
    // For web_url.js: a list that belongs to a URL, its query, and giving it the query of a URL that changed.
    native.web.searchParams = record({
      create(query, changed) {
        const params = new URLSearchParams(query);
        params.#changed = changed;
        return params;
      },
      query: (params) => serialize(params.#list),
      replace(params, query) {
        params.#list.length = 0;
        parseInto(params.#list, withoutQuestionMark(query));
      },
    });
  }
}

defineInterface(URLSearchParams);
native.web.defineHidden(URLSearchParams.prototype, iteratorSymbol, URLSearchParams.prototype.entries);
