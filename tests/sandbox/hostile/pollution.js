// Ways to replace what a program shares with nobody: each section is one, tried by test_hostile_tampering.py.

// == Object.prototype
for (const key of ['server', 'toJSON', 'get', 'set', 'value', 'length', 'name', 'message', 'id', 'ok',
                   'writable', 'enumerable', 'configurable', 'constructor', 'kind', 'stack', 'cause', '0', '1'])
  try { Object.prototype[key] = () => 'evil' } catch {}

// == accessors on Object.prototype
const keys = ['toJSON', 'get', 'set', 'writable', 'id', 'ok', 'kind', 'q', 'list', '0', '1', '2'], define = Object.defineProperty;
const evil = { __proto__: null, get: () => 'evil', set() { throw 'evil' }, configurable: true };
for (let i = 0; i < keys.length; i++) define(Object.prototype, keys[i], evil);

// == Array.prototype
for (const key of Reflect.ownKeys(Array.prototype))
  if (typeof Array.prototype[key] === 'function') Array.prototype[key] = () => ['evil']

// == indices of Array.prototype
for (const key of [0, 1, 2, 3])
  Object.defineProperty(Array.prototype, key, { get: () => 'evil', set() { throw 'evil' }, configurable: true })

// == JSON
JSON.stringify = () => '{"evil":1}'; JSON.parse = () => ({ evil: 1 }); globalThis.JSON = { evil: 1 }

// == Promise
const then = Promise.prototype.then, leaked = globalThis.leaked = [];
Promise.prototype.then = function (...f) { leaked.push(this, ...f); return then.apply(this, f) };
Promise.prototype.catch = Promise.prototype.finally = () => 'evil';
for (const key of ['resolve', 'reject', 'all', 'race', 'any', 'allSettled', 'withResolvers', 'try'])
  Promise[key] = (...a) => { leaked.push(...a); return 'evil' };
Object.defineProperty(Promise, Symbol.species, { get: () => function (f) { f((v) => leaked.push(v), () => {}) } })

// == the Promise constructor
const Real = Promise, leaked = globalThis.leaked = [];
class Fake extends Real { constructor(f) { super((a, b) => { leaked.push(a, b); f(a, b) }) } }
globalThis.Promise = Fake; Real.prototype.constructor = Fake

// == Function.prototype
for (const key of ['call', 'apply', 'bind', 'toString'])
  Object.defineProperty(Function.prototype, key, { value: () => 'evil', configurable: true, writable: true });

// == Reflect
for (const key of Reflect.ownKeys(Reflect)) if (typeof key === 'string') Reflect[key] = () => 'evil'

// == Object
for (const key of Object.getOwnPropertyNames(Object))
  if (typeof Object[key] === 'function') Object[key] = () => 'evil'

// == iterators
const evil = function* () { yield 'evil' };
for (const c of [Array, Map, Set, String]) c.prototype[Symbol.iterator] = evil;
Object.getPrototypeOf([].values()).next = () => ({ done: true, value: 'evil' })

// == Map and Set
for (const c of [Map, Set, WeakMap, WeakSet]) for (const key of Reflect.ownKeys(c.prototype))
  if (key !== 'constructor') try { c.prototype[key] = () => 'evil' } catch {}
globalThis.Map = globalThis.Set = function () { return { evil: 1 } }

// == Error
Error.prepareStackTrace = (e) => { e.evil = 1; Object.freeze(e); return 'program.js:666:666' };
Error.stackTraceLimit = Infinity; Error.captureStackTrace = () => { throw 'evil' };
Object.defineProperty(Error.prototype, 'name', { get() { throw 'evil' } });
Object.defineProperty(Error.prototype, 'message', { get() { throw 'evil' } });
globalThis.Error = function () { return { evil: 1 } }

// == a prepareStackTrace that throws
Error.prepareStackTrace = () => { throw 'evil' }

// == a prepareStackTrace that returns itself
Error.prepareStackTrace = (e) => e

// == String and Number
for (const c of [String, Number, Boolean, BigInt, Symbol, Date, RegExp])
  for (const key of Reflect.ownKeys(c.prototype))
    if (typeof Object.getOwnPropertyDescriptor(c.prototype, key).value === 'function' && key !== 'constructor')
      try { Object.defineProperty(c.prototype, key, { value: () => 'evil' }) } catch {}

// == everything frozen
for (const key of Reflect.ownKeys(globalThis)) {
  const value = globalThis[key];
  if (value && (typeof value === 'object' || typeof value === 'function') && value !== globalThis) {
    try { Object.freeze(value); if (value.prototype) Object.freeze(value.prototype) } catch {}
  }
}
Object.freeze(globalThis)

// == everything deleted
const { ownKeys, deleteProperty } = Reflect;
const all = [Array, Map, Set, Error, Date, String, Object, Function, Number];
const world = globalThis, globals = ownKeys(world);
for (let i = 0; i < all.length; i++) {
  const keys = ownKeys(all[i].prototype);
  for (let k = 0; k < keys.length; k++) deleteProperty(all[i].prototype, keys[k]);
}
for (let i = 0; i < globals.length; i++) if (globals[i] !== 'host') deleteProperty(world, globals[i]);

// == prototypes swapped
Object.setPrototypeOf(Array.prototype, new Proxy({}, { get: () => 'evil', has: () => true }));
Object.setPrototypeOf(Promise.prototype, null); Object.setPrototypeOf(Error.prototype, null);
Object.setPrototypeOf(Function.prototype, null)

// == no globals left
for (const key of Object.getOwnPropertyNames(globalThis)) if (key !== 'host') try { delete globalThis[key] } catch {}

// == globalThis with traps
Object.setPrototypeOf(globalThis, new Proxy({}, { get: (t, k) => 'evil', has: () => false, set: () => true }))
