// An AggregateError without a message of its own, as Promise.any makes it, says what its errors are.

const { uncurryThis, record, defineHidden } = native.web;
const { inspect } = native;
const { Error } = globalThis;
const { isArray } = Array;
const { getOwnPropertyDescriptor } = Object;
const isError = uncurryThis(Object.prototype.isPrototypeOf);

const MOST = 5;

function shown(error) {
  if (!isError(Error.prototype, error)) return typeof error === "string" ? error : inspect(error);
  try {
    const { name, message } = error;
    return typeof message === "string" && message !== "" ? name + ": " + message : "" + name;
  } catch {
    return "an error"; // a getter of the program threw
  }
}

Object.defineProperty(AggregateError.prototype, "message", record({
  get() {
    const errors = getOwnPropertyDescriptor(this, "errors")?.value;
    if (!isArray(errors) || errors.length === 0) return "";
    let text = "";
    for (let i = 0; i < errors.length && i < MOST; i++) text += (i ? "; " : "") + shown(errors[i]);
    return "all failed: " + text + (errors.length > MOST ? "; and " + (errors.length - MOST) + " more" : "");
  },
  set(value) {
    defineHidden(this, "message", value);
  },
  configurable: true,
  enumerable: false,
}));
