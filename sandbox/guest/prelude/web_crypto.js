// crypto.getRandomValues and crypto.randomUUID (Web Cryptography API, section 10) on the run's seeded generator.

const { uncurryThis, defineHidden, defineInterface, requireArguments, isPlatformObject } = native.web;
const { random, className } = native;
const { DOMException, Uint8Array } = globalThis;
const typedArrayPrototype = Object.getPrototypeOf(Uint8Array.prototype);
const getter = (name) => uncurryThis(Object.getOwnPropertyDescriptor(typedArrayPrototype, name).get);
const [bufferOf, byteOffsetOf, byteLengthOf] = ["buffer", "byteOffset", "byteLength"].map(getter);
const set = uncurryThis(typedArrayPrototype.set);
const padStart = uncurryThis(String.prototype.padStart);
const numberToString = uncurryThis(Number.prototype.toString);

const QUOTA = 65536;
const integerArrays = { __proto__: null };
for (const bits of ["8", "16", "32"]) integerArrays[`Int${bits}Array`] = integerArrays[`Uint${bits}Array`] = true;
for (const name of ["Uint8ClampedArray", "BigInt64Array", "BigUint64Array"]) integerArrays[name] = true;

const allow = {};

class Crypto {
  #brand;

  constructor(token) {
    if (token !== allow) throw new TypeError("Illegal constructor");
  }

  getRandomValues(array) {
    requireArguments(arguments.length, 1, "crypto.getRandomValues");
    if (!integerArrays[className(array)]) {
      throw new DOMException("crypto.getRandomValues: the argument is not an integer typed array", "TypeMismatchError");
    }
    const length = byteLengthOf(array);
    if (length > QUOTA) {
      const message = "crypto.getRandomValues: at most " + QUOTA + " bytes a call, " + length + " asked for";
      throw new DOMException(message, "QuotaExceededError");
    }
    set(new Uint8Array(bufferOf(array), byteOffsetOf(array), length), random(length));
    return array;
  }

  // RFC 9562, section 5.4 (version 4).
  randomUUID() {
    const bytes = random(16);
    let text = "";
    for (let i = 0; i < 16; i++) {
      let byte = bytes[i];
      if (i === 6) byte = (byte & 0x0f) | 0x40;
      if (i === 8) byte = (byte & 0x3f) | 0x80;
      if (i === 4 || i === 6 || i === 8 || i === 10) text += "-";
      text += padStart(numberToString(byte, 16), 2, "0");
    }
    return text;
  }

  static {
    isPlatformObject.push((value) => #brand in value);
  }
}

defineInterface(Crypto);
defineHidden(globalThis, "crypto", new Crypto(allow));
