// The default `host`: host.<name>(argument) is a host call. An image with a preload has its own way instead.
const call = native.call;
globalThis.host = new Proxy(Object.create(null), {
  get(_target, name) {
    if (typeof name !== "string" || name === "then" || name === "toJSON") return undefined;
    return (argument) => call(name, argument);
  },
});
Object.defineProperty(globalThis, "host", { enumerable: false });
