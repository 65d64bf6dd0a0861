// Walks every object that can be reached from the globals, from prototypes, getters and call sites, into `found`.
const found = new Set(), queue = [globalThis, (function () {}), (async () => {}), (function* () {}), (async function* () {}),
  [][Symbol.iterator](), new Map().entries(), new Set().values(), 'x'[Symbol.iterator](), 'x'.matchAll(/x/g), new Proxy({}, {}),
  Object.getPrototypeOf(Uint8Array), new Error('e'), Symbol.prototype, new URLSearchParams('a=1').keys()];
Error.prepareStackTrace = (e, sites) => sites;
for (const f of [() => { throw new Error() }, () => [1].map(() => { throw new Error() }), () => new URL('x'), () => null.x,
                 () => console.log({ get a() { queue.push(new Error().stack); return 1 } }),
                 () => structuredClone({ get a() { queue.push(new Error().stack); return 1 } }),
                 () => reach({ get a() { queue.push(new Error().stack); return 1 } })])
  try { f() } catch (e) { queue.push(e, e.stack) }
Error.prepareStackTrace = undefined;
while (queue.length && found.size < 20000) {
  const it = queue.pop();
  if ((typeof it !== 'object' && typeof it !== 'function') || it === null || found.has(it)) continue;
  found.add(it);
  try { queue.push(Object.getPrototypeOf(it)) } catch {}
  for (const key of Reflect.ownKeys(it)) {
    let d; try { d = Object.getOwnPropertyDescriptor(it, key) } catch {}
    if (!d) continue;
    queue.push(d.value, d.get, d.set);
    if (d.get) try { queue.push(it[key]) } catch {}
  }
  if (Object.hasOwn(Object.getPrototypeOf(it) ?? {}, 'getFunctionName'))
    for (const key of ['getFunction', 'getThis', 'getEvalOrigin', 'getTypeName', 'getFileName', 'getFunctionName'])
      try { queue.push(it[key]?.()) } catch {}
  for (const key of ['caller', 'arguments', 'callee', '__proto__']) try { queue.push(it[key]) } catch {}
}
