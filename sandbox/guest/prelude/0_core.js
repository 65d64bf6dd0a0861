// The default `host`: host.<name>(argument) is a host call. A preload replaces it.
const call = native.call;
const host = new Proxy(Object.create(null), {
  get(_target, name) {
    if (typeof name !== "string" || name === "then" || name === "toJSON") return undefined;
    return (argument) => call(name, argument);
  },
});
Object.defineProperty(globalThis, "host", { value: host, writable: true, configurable: true, enumerable: false });

// A call site must not give away its function or receiver: they may be ours.
Error.prepareStackTrace = (_error, sites) => sites;
const site = Object.getPrototypeOf(new Error().stack[0]);
for (const name of ["getFunction", "getThis"]) delete site[name];
Error.prepareStackTrace = undefined;
