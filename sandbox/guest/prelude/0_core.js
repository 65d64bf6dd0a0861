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
const [[{ __proto__: site }]] = [0].map(() => new Error().stack); // of `map`: frames of ours are in no stack
for (const name of ["getFunction", "getThis"]) delete site[name];
Error.prepareStackTrace = undefined;
