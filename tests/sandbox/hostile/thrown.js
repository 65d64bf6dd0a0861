// Programs that throw, one a line.
throw new InternalError('out of memory')
throw new RangeError('Maximum call stack size exceeded')
throw new InternalError('interrupted')
throw new SyntaxError('unexpected token')
throw new DOMException('x', 'AbortError')
eval('(')
new Function('}')
JSON.parse('{')
new RegExp('(')
decodeURIComponent('%')
null.x
undeclared
const c = 1; c = 2
'x'.repeat(-1)
new Array(-1)
1n + 1
Symbol() + ''
'x'.normalize('bad')
throw null
throw undefined
throw 0
throw ''
throw Symbol('s')
throw 1n
throw () => 1
throw globalThis
throw new Proxy({}, { getPrototypeOf() { throw 1 } })
throw Object.create(null)
throw Object.create(Error.prototype)
throw Object.setPrototypeOf(new Error('x'), null)
throw new AggregateError([new Error('a')], 'b', { cause: 1 })
throw Object.defineProperty(new Error('x'), 'message', { get() { throw 1 } })
throw Object.defineProperty(new Error('x'), 'name', { value: Symbol() })
throw Object.defineProperty(new Error('x'), 'stack', { get() { throw 1 } })
throw new Error('\ud800')
throw new Error('x', { get cause() { throw 1 } })
await Promise.reject()
await Promise.reject(Promise.reject(1))
await Promise.any([])
throw await host.x()
queueMicrotask(() => { throw 1 }); throw 2
() => { throw 1 }
async () => { throw 1 }
export default () => { throw 1 }
({ then(_, no) { no(1) } })
({ get then() { throw 1 } })
