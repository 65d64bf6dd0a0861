// TextEncoder and TextDecoder (WHATWG Encoding Standard), over native.encode, encodeInto and decode.

const { uncurryThis, defineInterface, requireArguments, domString, isPlatformObject } = native.web;
const { encode, encodeInto, decode, className } = native;
const { Uint8Array } = globalThis;
const toLowerCase = uncurryThis(String.prototype.toLowerCase);
const indexOf = uncurryThis(String.prototype.indexOf);
const slice = uncurryThis(String.prototype.slice);
const getter = (prototype, name) => uncurryThis(Object.getOwnPropertyDescriptor(prototype, name).get);
const dataViewBuffer = getter(DataView.prototype, "buffer");
const dataViewByteOffset = getter(DataView.prototype, "byteOffset");
const dataViewByteLength = getter(DataView.prototype, "byteLength");

// The numbers are those of `enum encoding` in web_text.c.
const encodings = ["utf-8", "utf-16le", "utf-16be", "windows-1252"];
const FATAL = 1, IGNORE_BOM = 2, STREAM = 4;
const STATE_BYTES = 8;

const labels = { __proto__: null };
function addLabels(number, names) {
  for (const name of names.split(" ")) labels[name] = number;
}
addLabels(0, "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8");
addLabels(1, "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le");
addLabels(2, "unicodefffe utf-16be");
addLabels(3, "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591");
addLabels(3, "iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252");

// "Get an encoding": ASCII white space around a label is ignored.
function encodingOf(label) {
  const white = "\t\n\f\r ";
  const text = domString(label);
  let start = 0, end = text.length;
  while (start < end && indexOf(white, text[start]) >= 0) start++;
  while (end > start && indexOf(white, text[end - 1]) >= 0) end--;
  const number = labels[toLowerCase(slice(text, start, end))];
  if (number === undefined) {
    const known = "utf-8, utf-16le, utf-16be, windows-1252 (latin1)";
    throw new RangeError('TextDecoder: "' + slice(text, 0, 40) + '" is not supported; these encodings are: ' + known);
  }
  return number;
}

function bytesOf(input) {
  switch (className(input)) {
    case "":
    case "Object":
      throw new TypeError("TextDecoder.decode: the input must be an ArrayBuffer or a view of one");
    case "DataView":
      return new Uint8Array(dataViewBuffer(input), dataViewByteOffset(input), dataViewByteLength(input));
    default:
      return input;
  }
}

class TextEncoder {
  #brand;

  get encoding() {
    this.#brand;
    return "utf-8";
  }

  encode(input = "") {
    this.#brand;
    return encode(domString(input));
  }

  encodeInto(source, destination) {
    this.#brand;
    requireArguments(arguments.length, 2, "TextEncoder.encodeInto");
    return encodeInto(domString(source), destination);
  }

  static {
    isPlatformObject.push((value) => #brand in value);
  }
}

class TextDecoder {
  #encoding;
  #flags;
  #state = new Uint8Array(STATE_BYTES);

  constructor(label = "utf-8", options = undefined) {
    this.#encoding = encodingOf(label);
    this.#flags = (options?.fatal ? FATAL : 0) | (options?.ignoreBOM ? IGNORE_BOM : 0);
  }

  get encoding() {
    return encodings[this.#encoding];
  }

  get fatal() {
    return (this.#flags & FATAL) !== 0;
  }

  get ignoreBOM() {
    return (this.#flags & IGNORE_BOM) !== 0;
  }

  decode(input = undefined, options = undefined) {
    const bytes = input === undefined ? new Uint8Array(0) : bytesOf(input);
    return decode(this.#encoding, this.#state, bytes, this.#flags | (options?.stream ? STREAM : 0));
  }

  static {
    isPlatformObject.push((value) => #state in value);
  }
}

defineInterface(TextEncoder);
defineInterface(TextDecoder);
