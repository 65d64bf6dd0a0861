// Functions of other environments that an isolate does not have. Calling one says what to use instead. Names that programs
// detect with typeof (process, require, Deno, Bun) stay undefined.

const { defineFunction, defineHidden } = native.web;
const { TypeError } = globalThis;

const advice = "a program has no network of its own. Call a tool instead: await codemode.<server>.<tool>(input); " +
  'await codemode.search("what you need") finds one';

defineFunction("fetch", async function fetch(input) {
  throw new TypeError("fetch is not available: " + advice);
});

for (const name of ["XMLHttpRequest", "WebSocket", "EventSource"]) {
  const constructor = { [name]: function () { throw new TypeError(name + " is not available: " + advice); } }[name];
  defineHidden(globalThis, name, constructor);
}
