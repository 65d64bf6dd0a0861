// Intrinsics for the other web_*.js files, captured before any program runs: a program that replaces a builtin does not
// change how these globals work. No template literals in code that runs later: the engine compiles them to calls of
// String.prototype.concat.

const { defineProperty, getOwnPropertyNames, getOwnPropertyDescriptor } = Object;

// uncurryThis(method)(receiver, ...arguments) calls the method without looking it up again.
const uncurryThis = Function.prototype.bind.bind(Function.prototype.call);

// Property descriptors and option records must not inherit from a patched Object.prototype.
const record = (properties) => ({ __proto__: null, ...properties });

function defineHidden(target, key, value) {
  defineProperty(target, key, record({ value, writable: true, enumerable: false, configurable: true }));
}

// Web IDL, section 3.7: an interface's operations and attributes are enumerable, the interface object is not.
function defineInterface(constructor) {
  for (const holder of [constructor.prototype, constructor]) {
    const names = getOwnPropertyNames(holder);
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      if (name === "constructor" || !getOwnPropertyDescriptor(holder, name).configurable) continue;
      if (holder === constructor && (name === "name" || name === "length")) continue;
      defineProperty(holder, name, record({ ...getOwnPropertyDescriptor(holder, name), enumerable: true }));
    }
  }
  const tag = record({ value: constructor.name, configurable: true });
  defineProperty(constructor.prototype, Symbol.toStringTag, tag);
  defineHidden(globalThis, constructor.name, constructor);
}

// An operation of the global object.
function defineFunction(name, value) {
  defineProperty(globalThis, name, record({ value, writable: true, enumerable: true, configurable: true }));
}

// Web IDL: fewer arguments than an operation declares is a TypeError.
function requireArguments(given, needed, operation) {
  if (given < needed) {
    const wanted = needed + (needed === 1 ? " argument" : " arguments");
    throw new TypeError(operation + ": " + wanted + " required, " + given + " given");
  }
}

// Array.prototype.splice makes an array of the class that the list's constructor names; this does not.
function removeAt(list, at, count) {
  for (let i = at + count; i < list.length; i++) list[i - count] = list[i];
  list.length -= count;
}

const concat = uncurryThis(String.prototype.concat);
const toWellFormed = uncurryThis(String.prototype.toWellFormed);

// Web IDL DOMString: ToString, so a symbol is a TypeError. USVString: a lone surrogate becomes U+FFFD.
const domString = (value) => concat("", value);
const usvString = (value) => toWellFormed(concat("", value));

native.web = record({
  uncurryThis,
  record,
  defineHidden,
  defineInterface,
  defineFunction,
  requireArguments,
  removeAt,
  domString,
  usvString,
  // structuredClone asks each whether a value is an object of a web interface (none of them is serialisable).
  isPlatformObject: [],
});
