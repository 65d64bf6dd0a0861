// URL (WHATWG URL Standard, section 6). Its state is its serialisation; native.url* parse it.

const { uncurryThis, record, defineInterface, requireArguments, usvString } = native.web;
const { isPlatformObject, searchParams } = native.web;
const { urlParse, urlGet, urlSet, urlMaxLength } = native;
const slice = uncurryThis(String.prototype.slice);

// In the order of `enum field` in web_url.c.
const fields = "href origin protocol username password host hostname port pathname search hash".split(" ");
const SEARCH = fields.indexOf("search");
const plain = ["origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "hash"];

const shown = (text) => (text.length > 200 ? slice(text, 0, 200) + "..." : text);

function invalid(input, base) {
  if (input.length > urlMaxLength) return new TypeError("Invalid URL: longer than " + urlMaxLength + " bytes");
  const against = base === undefined ? "" : ' with the base "' + shown(base) + '"';
  const error = new TypeError('Invalid URL: "' + shown(input) + '"' + against);
  native.define(error, "code", "ERR_INVALID_URL");
  native.define(error, "input", input);
  return error;
}

class URL {
  #href;
  #params; // created at the first access
  #stale = false; // the params have changed since #href was set

  constructor(url, base = undefined) {
    requireArguments(arguments.length, 1, "URL");
    const input = usvString(url);
    if (base !== undefined) base = usvString(base);
    const href = urlParse(input, base);
    if (href === undefined) throw invalid(input, base);
    this.#href = href;
  }

  static parse(url, base = undefined) {
    requireArguments(arguments.length, 1, "URL.parse");
    const href = urlParse(usvString(url), base === undefined ? undefined : usvString(base));
    return href === undefined ? null : new URL(href);
  }

  static canParse(url, base = undefined) {
    requireArguments(arguments.length, 1, "URL.canParse");
    return urlParse(usvString(url), base === undefined ? undefined : usvString(base)) !== undefined;
  }

  get href() {
    return this.#current();
  }
  set href(value) {
    const input = usvString(value);
    const href = urlParse(input, undefined);
    if (href === undefined) throw invalid(input);
    this.#href = href;
    this.#refresh();
  }

  get search() {
    return urlGet(this.#current(), SEARCH);
  }
  set search(value) {
    this.#change(SEARCH, value);
    this.#refresh();
  }

  get searchParams() {
    this.#params ??= searchParams.create(urlGet(this.#href, SEARCH), () => {
      this.#stale = true;
    });
    return this.#params;
  }

  toString() {
    return this.#current();
  }

  toJSON() {
    return this.#current();
  }

  #current() {
    if (this.#stale) {
      this.#stale = false;
      this.#href = urlSet(this.#href, SEARCH, searchParams.query(this.#params));
    }
    return this.#href;
  }

  #change(field, value) {
    const text = usvString(value); // may run code of the program, so it comes before everything else
    this.#href = urlSet(this.#current(), field, text);
  }

  #refresh() {
    this.#stale = false;
    if (this.#params !== undefined) searchParams.replace(this.#params, urlGet(this.#href, SEARCH));
  }

  static {
    for (const name of plain) {
      const field = fields.indexOf(name);
      const accessor = record({
        get() {
          return urlGet(this.#current(), field);
        },
        set(value) {
          this.#change(field, value);
        },
        configurable: true,
      });
      if (name === "origin") accessor.set = undefined;
      Object.defineProperty(URL.prototype, name, accessor);
    }
    isPlatformObject.push((value) => #href in value);
  }
}

defineInterface(URL);
