"""Programs whose answers depend on everything a program may receive: orders, times, randomness, and its own state."""

from __future__ import annotations

PROGRAMS = {
    "sequence": "let s = 0; for (let n = 0; n < 5; n++) s += (await codemode.s.echo({n})).n; return s",
    "promise all": "return (await Promise.all([1,2,3,4].map(n => codemode.s.echo({n})))).map(r => r.n)",
    "all and then": """
        const seen = [];
        await Promise.all([1,2,3,4,5].map(n => codemode.s.echo({n}).then(r => seen.push(r.n))));
        return seen
    """,
    "race": "return await Promise.race([codemode.s.echo({n: 1}), codemode.s.echo({n: 2}), codemode.s.echo({n: 3})])",
    "any": "return await Promise.any([codemode.s.fail({n: 1}), codemode.s.echo({n: 2}), codemode.s.fail({n: 3})])",
    "all settled": """
        const all = await Promise.allSettled([codemode.s.fail({n: 1}), codemode.s.echo({n: 2}), codemode.s.deny({})]);
        const why = ({reason}) => [reason.message, reason.code, reason.kind];
        return all.map(one => one.status === "fulfilled" ? one.value : why(one))
    """,
    "any fails": """
        try { await Promise.any([codemode.s.fail({n: 1}), codemode.s.fail({n: 2})]) }
        catch (error) { return [error.name, error.errors.map(one => one.message)] }
    """,
    "more than may fly": """
        const seen = [];
        await Promise.all(Array.from({length: 24}, (_, n) => codemode.s.echo({n}).then(r => seen.push(r.n))));
        return seen
    """,
    "timer": "await codemode.s.echo({}); await new Promise(f => setTimeout(f, 3600e3)); return Date.now()",
    "timers in order": """
        const seen = [];
        for (const ms of [9000, 3000, 6000]) setTimeout(() => seen.push([ms, Date.now()]), ms);
        await codemode.s.echo({n: 1});
        await new Promise(f => setTimeout(f, 20000));
        return seen
    """,
    "interval": """
        const seen = [];
        const id = setInterval(() => seen.push(Date.now()), 5000);
        while (seen.length < 3) await codemode.s.echo({n: seen.length});
        clearInterval(id);
        return [seen, (await codemode.s.echo({n: 9})).n]
    """,
    "timeout against call": """
        const late = new Promise((_, reject) => setTimeout(() => reject(new Error("late")), 4000));
        try { return await Promise.race([late, codemode.s.echo({n: 1}).then(() => codemode.s.echo({n: 2}))]) }
        catch (error) { return error.message }
    """,
    "date": "const a = new Date(); await codemode.s.echo({}); return [a, new Date(), performance.now() >= 0]",
    "random": """
        const a = [Math.random()];
        for (let i = 0; i < 3; i++) { await codemode.s.echo({i}); a.push(Math.random()) }
        return a
    """,
    "crypto": "const a = crypto.randomUUID(); await codemode.s.echo({a}); return [a, crypto.randomUUID()]",
    "map order": """
        const map = new Map();
        await Promise.all(["x", "y", "z"].map(async key => map.set(key, (await codemode.s.echo({key})).key)));
        return map
    """,
    "set and weak": """
        const set = new Set(), weak = new WeakMap(), key = {};
        weak.set(key, 1);
        for (const n of [3, 1, 2]) { await codemode.s.echo({n}); set.add(n); weak.set(key, weak.get(key) + n) }
        return [set, weak.get(key)]
    """,
    "thrown": "await codemode.s.echo({}); throw new RangeError('too far')",
    "tool error": "await codemode.s.echo({n: 1});\nawait codemode.s.fail({n: 2})",
    "denied": "await codemode.s.echo({n: 1}); await codemode.s.deny({})",
    "caught": """
        const seen = [];
        for (const n of [1, 2])
            try { await codemode.s.fail({n}) } catch (e) { seen.push(e.message, e.code, e.data, e.tool) }
        return seen
    """,
    "labelled catches": """
        outer: for (let n = 0; n < 4; n++) {
            try { if (n === 2) { await codemode.s.fail({n}) } else await codemode.s.echo({n}) }
            catch { await codemode.s.say({text: "caught"}); continue outer }
            finally { await codemode.s.echo({finally: n}) }
        }
        return "done"
    """,
    "wrong arguments": "await codemode.s.echo({}); return await codemode.s.say({text: 5})",
    "generator": """
        function* numbers() { let n = 0; while (true) n += yield n }
        const it = numbers(); it.next();
        const seen = [];
        for (const n of [1, 2, 3]) seen.push(it.next((await codemode.s.echo({n})).n).value);
        return seen
    """,
    "async generator": """
        async function* pages() { for (let n = 0; n < 3; n++) yield await codemode.s.echo({n}) }
        const seen = []; for await (const page of pages()) seen.push(page.n); return seen
    """,
    "async iterator": """
        const range = {[Symbol.asyncIterator]() { let n = 0; return {
            next: async () => n < 3 ? {value: (await codemode.s.echo({n: n++})).n, done: false} : {done: true},
            return: async () => { await codemode.s.say({text: "closed"}); return {done: true} } }}};
        const seen = []; for await (const n of range) { seen.push(n); if (n === 1) break } return seen
    """,
    "class": """
        class Counter {
            #n = 0;
            static made = 0;
            constructor() { Counter.made++ }
            async add(k) { this.#n += (await codemode.s.echo({k})).k; return this }
            get n() { return this.#n }
        }
        const c = new Counter(); await (await c.add(2)).add(3); return [c.n, Counter.made]
    """,
    "inheritance": """
        class A { async go(n) { return (await codemode.s.echo({n})).n } }
        class B extends A { async go(n) { return (await super.go(n)) * 2 + await super.go(1) } }
        return await new B().go(4)
    """,
    "big closure": """
        const rows = Array.from({length: 3000}, (_, n) => ({n, text: "row " + n}));
        const pick = (n) => rows[n].text;
        const seen = [];
        for (const n of [5, 2999]) { await codemode.s.echo({n}); rows[n].text += "!"; seen.push(pick(n)) }
        return [seen, rows.length]
    """,
    "big results": """
        const a = await codemode.big.rows({count: 500}), b = await codemode.big.rows({count: 2});
        return [a.length, a[499], b]
    """,
    "emit": """
        await codemode.emit({type: "text", text: "one"}); await codemode.s.echo({});
        await codemode.emit({type: "image", data: new Uint8Array([1, 2]), mimeType: "image/png"});
        await codemode.s.echo({}); return 1
    """,
    "console": """
        console.log("before"); await codemode.s.echo({}); console.warn("between", {a: 1}); await codemode.s.echo({});
        console.error(new Error("shown").message); console.table?.([1]); return 1
    """,
    "search": """
        const found = await codemode.search("says"); await codemode.s.echo({});
        return [found[0].path, await codemode.describe(found[0]), (await codemode.tools()).length]
    """,
    "wrong name": """
        await codemode.s.echo({}); const name = "ech" + "oo";
        try { codemode.s[name]({}) } catch (e) { await codemode.s.echo({}); return e.message }
    """,
    "typescript": """
        interface Row { n: number }
        const rows: Row[] = [];
        for (const n of [1, 2] as const) { const row = await codemode.s.echo({n}) as Row; rows.push(row) }
        return rows.reduce<number>((sum, row) => sum + row.n, 0)
    """,
    "typescript that throws": "enum Kind { A = 'a' }\nawait codemode.s.echo({kind: Kind.A});\nthrow new Error(Kind.A)",
    "entry": """
        async function main() {
            const one = await codemode.s.echo({n: 1});
            return one.n + (await codemode.s.echo({n: 2})).n
        }
    """,
    "entry after a timer": """
        await new Promise(f => setTimeout(f, 5000));
        async function main() { return (await codemode.s.echo({n: 3})).n }
    """,
    "entry that throws": """
        export default async function () {
            await codemode.s.echo({});
            throw new TypeError("inside")
        }
    """,
    "typed arrays": """
        const bytes = new Uint8Array(8), view = new DataView(bytes.buffer), floats = new Float64Array(2);
        for (const n of [1, 2]) { await codemode.s.echo({n}); view.setUint32(n * 2, 0xdeadbeef); floats[n - 1] = n / 3 }
        return [bytes, [...floats], structuredClone({bytes}).bytes[2]]
    """,
    "bigint": "let n = 2n ** 70n; for (let i = 0; i < 2; i++) { await codemode.s.echo({i}); n = n * 3n + 1n } return n",
    "nested awaits": """
        const f = async n => n === 0 ? 0 : (await codemode.s.echo({n})).n + await f(n - 1);
        return await f(await f(2))
    """,
    "regular expressions": """
        const re = /(\\d+)/g; const seen = []; const text = "a1b22c333"; let m;
        while ((m = re.exec(text))) { await codemode.s.say({text: m[1]}); seen.push([m[0], re.lastIndex]) } return seen
    """,
    "symbols and proxies": """
        const log = []; const p = new Proxy({}, {get: (_, key) => { log.push(String(key)); return 1 }});
        const tag = Symbol("tag"); const o = {[tag]: 1};
        await codemode.s.echo({x: p.x}); o[tag]++; await codemode.s.echo({y: p.y}); return [log, o[tag]]
    """,
    "microtask order": """
        const seen = []; const tick = n => Promise.resolve().then(() => seen.push(n));
        tick(1); queueMicrotask(() => seen.push(2)); await codemode.s.echo({}); tick(3); await null; seen.push(4);
        await codemode.s.echo({}); return seen
    """,
    "not awaited": "codemode.s.echo({n: 1}); await codemode.s.echo({n: 2}); codemode.s.echo({n: 3}); return 1",
    "unhandled": "codemode.s.fail({n: 1}); await codemode.s.echo({n: 2}); await codemode.s.echo({n: 3}); return 1",
    "deadlock": "await codemode.s.echo({}); await new Promise(() => {})",
    "urls and text": """
        const url = new URL("https://example.org/a?b=1"); await codemode.s.echo({}); url.searchParams.append("c", "2");
        const bytes = new TextEncoder().encode("é"); await codemode.s.echo({}); return [url.href, bytes, btoa("x")]
    """,
    "abort": """
        const control = new AbortController(); const seen = [];
        control.signal.addEventListener("abort", () => seen.push("aborted"));
        await codemode.s.echo({}); control.abort(); await codemode.s.echo({}); return [seen, control.signal.aborted]
    """,
}
