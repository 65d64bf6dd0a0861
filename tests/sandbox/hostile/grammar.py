"""Random programs: a soup of tokens, and programs of a small grammar that mostly compile and reach the engine."""

from __future__ import annotations

from hypothesis import strategies as st

TOKENS = (
    "( ) [ ] { } ; , . ... => = == === ! ~ + - * ** / % << >> >>> & | ^ && || ?? ?. ? : ++ -- += ??= < > <= in of as "
    "async await break case catch class const continue debugger default delete do else enum export extends finally for "
    "from function get if import instanceof let new null return set static super switch this throw true try typeof var "
    "void while with yield a b c f g x #p @ ` ${ $ _ 0 1 -1 1.5 1e400 0x7f 1n 2n**9n NaN Infinity 'a' \"b\" `t` /r/g "
    "/(a+)+$/ undefined globalThis host host.x console.log Object Array Promise Proxy Reflect Symbol Map Set WeakMap "
    "JSON.stringify JSON.parse Error RangeError Uint8Array ArrayBuffer Date RegExp BigInt Function eval setTimeout "
    "queueMicrotask structuredClone URL crypto Symbol.iterator Symbol.asyncIterator prototype constructor __proto__ "
    "then toJSON length name message stack \\u0061 \\ud800 // /* */ <!-- --> #!x \n"
).split(" ")

soup = st.lists(st.sampled_from(TOKENS) | st.text(max_size=3), max_size=60).map(" ".join)

_NAMES = st.sampled_from(["a", "b", "c", "f", "o", "p"])
_KEYS = st.sampled_from(
    [
        "a",
        "0",
        "1",
        "length",
        "then",
        "toJSON",
        "constructor",
        "name",
        "message",
        "__proto__",
        "valueOf",
        "toString",
        "x",
    ]
)
_ATOMS = st.sampled_from(
    "a b c f o p 0 1 (-1) 2 1.5 (-0) NaN Infinity 4294967295 (2**53) 1n (-2n) (10n**30n) 'a' '' '\\ud800' "
    "'x'.repeat(99) `t` null undefined true [] ({}) /a+/g /(a|b)*?$/u Symbol() Symbol.iterator globalThis host "
    "this console JSON Math Reflect Object.prototype Array.prototype Promise.prototype Function.prototype "
    "Error.prototype".split(" ")
    + ["new Map([[1, 2]])", "new Set([1])", "new Error('e')", "new Date(0)", "new Uint8Array(4)", "new ArrayBuffer(8)"]
)
_PLACES = _KEYS.map("['{}']".format)
_CLASSES = st.sampled_from(
    "Object Array Promise Proxy Map Set WeakMap WeakSet WeakRef Error AggregateError RangeError Date RegExp Uint8Array "
    "Float64Array BigInt64Array ArrayBuffer DataView Function String Number Boolean BigInt Symbol FinalizationRegistry "
    "URL URLSearchParams TextEncoder TextDecoder AbortController Event EventTarget DOMException Iterator".split(" ")
)
_FUNCTIONS = st.sampled_from(
    "Object.keys Object.assign Object.create Object.defineProperty Object.freeze Object.fromEntries Object.groupBy "
    "Object.getOwnPropertyDescriptors Object.setPrototypeOf Array.from Array.of Array.isArray Array.fromAsync "
    "Promise.all Promise.any Promise.race Promise.resolve Promise.reject Promise.try Reflect.apply Reflect.construct "
    "Reflect.ownKeys Reflect.get Reflect.set Reflect.defineProperty JSON.parse JSON.stringify String.raw "
    "String.fromCodePoint Number.parseFloat BigInt.asIntN BigInt.asUintN Symbol.for Math.max Math.hypot Date.parse "
    "Error.captureStackTrace RegExp.escape structuredClone queueMicrotask setTimeout clearTimeout btoa atob escape "
    "encodeURIComponent decodeURIComponent isNaN eval console.log console.error console.table host.x host.y "
    "host['z'] URL.canParse crypto.randomUUID crypto.getRandomValues Map.groupBy Proxy.revocable "
    "ArrayBuffer.isView Promise.withResolvers".split(" ")
)
_METHODS = st.sampled_from(
    "at concat copyWithin entries every fill filter find findLast flat flatMap forEach includes indexOf join keys map "
    "pop push reduce reverse shift slice some sort splice toReversed toSorted toSpliced unshift values with then catch "
    "finally call apply bind toString valueOf toJSON hasOwnProperty isPrototypeOf get set has add delete clear next "
    "return throw exec test compile match matchAll replace replaceAll search split normalize padStart repeat "
    "localeCompare codePointAt toWellFormed substring trim toFixed toPrecision toISOString setTime getTime "
    "subarray resize transfer getInt8 setFloat64 union isSubsetOf deref register append getAll encode decode "
    "dispatchEvent addEventListener abort take drop toArray".split(" ")
)
_TRAPS = st.sampled_from(
    "get set has deleteProperty ownKeys getOwnPropertyDescriptor defineProperty getPrototypeOf setPrototypeOf "
    "isExtensible preventExtensions apply construct".split(" ")
)


def _extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(inner, max_size=3).map(", ".join)
    body = statements(inner)
    return st.one_of(
        st.builds("({}).{}({})".format, inner, _METHODS, arguments),
        st.builds("{}({})".format, _FUNCTIONS, arguments),
        st.builds("new {}({})".format, _CLASSES, arguments),
        st.builds("({})[{}]".format, inner, inner),
        st.builds("({})?.{}".format, inner, _PLACES),
        st.builds("[{}]".format, arguments),
        st.builds("[...({})]".format, inner),
        st.builds(
            "({{ {}: {}, get {}() {{ return {} }} }})".format,
            _KEYS.filter(lambda k: k != "__proto__"),
            inner,
            _KEYS,
            inner,
        ),
        st.builds("({{ ...({}), [{}]: {} }})".format, inner, inner, inner),
        st.builds("((a, b) => ({}))".format, inner),
        st.builds("(async (a) => {{ {} }})".format, body),
        st.builds("(function* (a) {{ yield {}; yield* {} }})()".format, inner, inner),
        st.builds("(async function* () {{ yield {} }})()".format, inner),
        st.builds("(class extends {} {{ x = {}; static y = {} }})".format, _CLASSES, inner, inner),
        st.builds("new Proxy({}, {{ {}() {{ {} }} }})".format, inner, _TRAPS, body),
        st.builds(
            "({} {} {})".format, inner, st.sampled_from("+ - * ** / % == === < in instanceof && ?? |".split()), inner
        ),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("`${{{}}}`".format, inner),
        st.builds("{}`${{{}}}`".format, _NAMES, inner),
        st.builds("(typeof {})".format, inner),
        st.builds("(delete ({}){})".format, inner, _PLACES),
        st.builds("({} = {})".format, _NAMES, inner),
        st.builds("(() => {{ {} }})()".format, body),
        st.builds("(({}){} = {})".format, inner, _PLACES, inner),
        st.builds("({}.prototype{} = {})".format, _CLASSES, _PLACES, inner),
        st.builds("(Error.prepareStackTrace = (e, s) => {})".format, inner),
    )


def statements(expression: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one = st.one_of(
        st.builds("{};".format, expression),
        st.builds("if ({}) return {};".format, expression, expression),
        st.builds("if ({}) throw {};".format, expression, expression),
        st.builds("try {{ {}; }} catch (e) {{ {}; }} finally {{ {}; }}".format, expression, expression, expression),
        st.builds("for (const x of {}) {{ {}; break }}".format, expression, expression),
        st.builds("for (let i = 0; i < 3; i++) {{ {}; }}".format, expression),
        st.builds("for (const k in {}) {{ {}; }}".format, expression, expression),
        st.builds("if ({}) {{ {}; }}".format, expression, expression),
        st.builds("{{ const {{ {}: q, ...r }} = {}; b = r }}".format, _KEYS, expression),
        st.builds("setTimeout(() => {}, {});".format, expression, expression),
        st.builds("{} = {};".format, _NAMES, expression),
    )
    return st.lists(one, min_size=1, max_size=3).map(" ".join)


expressions = st.recursive(_ATOMS, _extend, max_leaves=12)
_awaited = st.builds("await (async () => {{ {} }})()".format, statements(expressions)) | st.builds(
    "await {}".format, expressions
)
_step = st.one_of(
    st.builds("try {{ {} }} catch (e) {{ p = e }}".format, statements(expressions)),
    st.builds("try {{ a = {} }} catch (e) {{ p = e }}".format, _awaited),
    statements(expressions),
)
_DECLARATIONS = (
    "let a = [1, 'two', { three: 3 }], b = { x: 1, y: [2] }, c = 'text', f = (v) => v, o = Object.create(null), p;"
)
_LAST = st.sampled_from(
    ["a", "b", "[a, b, c]", "f(a)", "host.x(b)", "await host.x(a)", "p", "({ a, b, o })", "() => b"]
)
programs = st.lists(_step, max_size=8).map("\n".join)
programs = st.builds("{}\n{}\n{}".format, st.just(_DECLARATIONS), programs, _LAST)
