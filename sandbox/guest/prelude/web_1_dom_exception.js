// DOMException (Web IDL, section 2.8.1): an Error whose name and message are its class's own. The engine has a class of
// that name, whose instances are not errors; it is used for the legacy codes.

const { uncurryThis, defineInterface, domString } = native.web;
const { DOMException: EngineException, Error, Object } = globalThis;
const { getOwnPropertyDescriptor } = Object;
const codeOf = uncurryThis(getOwnPropertyDescriptor(EngineException.prototype, "code").get);

class DOMException extends Error {
  #name;
  #message;

  constructor(message = "", name = "Error") {
    super();
    this.#message = domString(message);
    this.#name = domString(name);
  }

  get name() {
    return this.#name;
  }

  get message() {
    return this.#message;
  }

  get code() {
    return codeOf(new EngineException("", this.#name));
  }

  static {
    native.web.isDOMException = (value) => #name in value;
  }
}

for (const name of Object.getOwnPropertyNames(EngineException)) {
  if (!name.endsWith("_ERR")) continue;
  const constant = getOwnPropertyDescriptor(EngineException, name);
  Object.defineProperty(DOMException, name, constant);
  Object.defineProperty(DOMException.prototype, name, constant);
}
defineInterface(DOMException);
