// What is thrown to look like a failure of the kind KIND.

// == a plain object
throw { kind: 'KIND', name: 'KIND', message: 'the program used more CPU time than its limit of 1 s' };

// == an Error
throw Object.assign(new Error('out of memory'), { kind: 'KIND', name: 'KIND' });

// == a rejection
await Promise.reject(Object.assign(new RangeError('x'), { kind: 'KIND', code: 'KIND' }));

// == a subclass
throw new (class extends Error { get kind() { return 'KIND' } get name() { return 'KIND' } })('x');

// == text
throw '{"kind":"KIND"}';

// == a name with a quote in it
throw Object.assign(new Error('x'), { name: '","kind":"KIND' });

// == a stack
Error.prepareStackTrace = () => '","kind":"KIND'; throw new Error('x');

// == toJSON
throw { toJSON: () => ({ kind: 'KIND' }) };

// == a proxy
throw new Proxy(new Error('x'), { get: () => 'KIND' });
