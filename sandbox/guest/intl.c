/* The part of the guest that is made at its first touch: `Intl` and the methods that take a locale.

   Its scripts (intl/*.js, as bytecode) and tables are two passive data segments of the module: they are in no memory until
   `memory.init` copies a piece of them, so that an isolate which needs neither pays nothing. The scripts run in a realm of
   their own, because a program may have replaced every builtin by then. */
#include "intl.h"

enum { TABLES, SCRIPTS };

SEGMENT(read_tables, "0")
SEGMENT(read_scripts, "1")

static JSContext *realm;               /* of the part's own code; NULL before the first touch */
static JSValue native = JS_UNDEFINED;  /* what the scripts share; `methods` in it are functions by name, `intl` is `Intl` */
static uint32_t loaded;                /* so many scripts have run */
enum { OBJECT, ARRAY, FUNCTION, ERROR, RANGE_ERROR, TYPE_ERROR, NUMBERS, STRINGS, BOOLEANS, BIGINTS, SYMBOLS, PROTOTYPES };
static const char *const prototype_names[PROTOTYPES] = {
    "Object", "Array", "Function", "Error", "RangeError", "TypeError", "Number", "String", "Boolean", "BigInt", "Symbol",
};
static JSValue prototypes[PROTOTYPES]; /* of the program's realm, from before it runs */

/* --- tables: pieces of segment 0, each behind its length and packed --- */

/* Unpacks the format of `_packed` in intl_tables.py: a byte with two counts, literal bytes, the distance of a copy. The
   bytes are the module's own; the checks keep a damaged one from writing elsewhere. */
static bool unpack(const uint8_t *at, const uint8_t *end, uint8_t *out, size_t size) {
    uint8_t *begin = out, *limit = out + size;
    while (at < end) {
        uint32_t token = *at++, literals = token >> 4, copied = token & 15;
        if (literals == 15)
            for (uint8_t more = 255; more == 255 && at < end; literals += more) more = *at++;
        if (literals > (size_t)(end - at) || literals > (size_t)(limit - out)) return false;
        memcpy(out, at, literals);
        out += literals, at += literals;
        if (end - at < 2) break;
        uint32_t distance = at[0] | (uint32_t)at[1] << 8;
        at += 2;
        if (copied == 15)
            for (uint8_t more = 255; more == 255 && at < end; copied += more) more = *at++;
        copied += 4;
        if (!distance || distance > (size_t)(out - begin) || copied > (size_t)(limit - out)) return false;
        for (; copied; copied--, out++) *out = out[-(ptrdiff_t)distance];
    }
    return out == limit;
}

/* What is freed stays in the memory, and so in the bytes of a frozen program, unless it is zeros. */
static void release(JSContext *ctx, uint8_t *bytes, size_t size) {
    if (bytes) memset(bytes, 0, size);
    js_free(ctx, bytes);
}

uint8_t *intl_piece(JSContext *ctx, uint32_t number, size_t *size) {
    uint32_t count, place[2], length;
    read_tables(&count, 4, 4);
    if (number >= count) {
        JS_ThrowRangeError(ctx, "no such table");
        return NULL;
    }
    read_tables(place, 8 + 8 * number, 8);
    read_tables(&length, place[0], 4);
    uint8_t *packed = js_malloc(ctx, place[1]), *bytes = packed ? js_malloc(ctx, length + 1) : NULL;
    if (bytes) {
        read_tables(packed, place[0], place[1]);
        if (!unpack(packed + 4, packed + place[1], bytes, length)) __builtin_trap();
        bytes[length] = 0;
        *size = length;
    }
    release(ctx, packed, place[1]);
    return bytes;
}

/* piece(number): a table as text; json(number): as the value that it is the JSON of. */
static JSValue js_piece(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int as_json) {
    uint32_t number;
    size_t size;
    if (JS_ToUint32(ctx, &number, argv[0])) return JS_EXCEPTION;
    uint8_t *bytes = intl_piece(ctx, number, &size);
    if (!bytes) return JS_EXCEPTION;
    const char *text = (const char *)bytes;
    JSValue value = as_json ? JS_ParseJSON(ctx, text, size, "table") : JS_NewStringLen(ctx, text, size);
    release(ctx, bytes, size);
    return value;
}

static JSValue js_compare(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    int flags, order;
    if (JS_ToInt32(ctx, &flags, argv[2]) || !collate(ctx, argv[0], argv[1], flags, &order)) return JS_EXCEPTION;
    return JS_NewInt32(ctx, order);
}

static JSValue js_now(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) { return JS_NewFloat64(ctx, guest_now); }

/* --- the scripts --- */

static bool run_script(JSContext *ctx, uint32_t at, uint32_t size) {
    uint8_t *bytes = js_malloc(ctx, size);
    if (!bytes) return false;
    read_scripts(bytes, at, size);
    JSValue compiled = JS_ReadObject(ctx, bytes, size, JS_READ_OBJ_BYTECODE);
    release(ctx, bytes, size);
    JSValue function = JS_IsException(compiled) ? compiled : JS_EvalFunction(ctx, compiled);
    JSValue result = JS_IsException(function) ? JS_EXCEPTION : JS_Call(ctx, function, JS_UNDEFINED, 1, (JSValueConst *)&native);
    bool ok = !JS_IsException(result);
    JS_FreeValue(ctx, function);
    JS_FreeValue(ctx, result);
    return ok;
}

static JSValue native_of(JSContext *ctx) {
    static const JSCFunctionListEntry functions[] = {
        JS_CFUNC_MAGIC_DEF("piece", 1, js_piece, false),
        JS_CFUNC_MAGIC_DEF("json", 1, js_piece, true),
        JS_CFUNC_DEF("compare", 3, js_compare),
        JS_CFUNC_DEF("now", 0, js_now),
    };
    JSValue made = JS_NewObject(ctx), program = JS_NewObject(ctx);
    JS_SetPropertyFunctionList(ctx, made, functions, sizeof functions / sizeof *functions);
    for (int i = 0; i < PROTOTYPES; i++)
        JS_DefinePropertyValueStr(ctx, program, prototype_names[i], JS_DupValue(ctx, prototypes[i]), JS_PROP_C_W_E);
    JS_DefinePropertyValueStr(ctx, made, "realm", program, JS_PROP_C_W_E);
    JS_DefinePropertyValueStr(ctx, made, "methods", JS_NewObject(ctx), JS_PROP_C_W_E);
    JS_DefinePropertyValueStr(ctx, made, "intl", JS_NewObjectProto(ctx, prototypes[OBJECT]), JS_PROP_C_W_E);
    return made;
}

static JSContext *make_realm(JSContext *program) {
    JSContext *ctx = JS_NewContextRaw(JS_GetRuntime(program));
    if (!ctx || JS_AddIntrinsicBaseObjects(ctx) || JS_AddIntrinsicDate(ctx) || JS_AddIntrinsicRegExp(ctx) ||
        JS_AddIntrinsicJSON(ctx) || JS_AddIntrinsicMapSet(ctx) || JS_AddIntrinsicBigInt(ctx)) {
        if (ctx) JS_FreeContext(ctx);
        JS_ThrowOutOfMemory(program);
        return NULL;
    }
    JS_AddIntrinsicRegExpCompiler(ctx);
    return ctx;
}

/* Runs the first `wanted` scripts, where that did not happen yet. Returns false with an exception pending; what is missing is
   then tried again the next time. */
static bool load(JSContext *program, uint32_t wanted) {
    if (loaded >= wanted) return true;
    if (!realm) {
        JSContext *ctx = make_realm(program);
        if (!ctx) return false;
        native = native_of(ctx);
        if (JS_IsException(native)) return false;
        realm = ctx;
    }
    uint32_t count, at = 8, size;
    read_scripts(&count, 4, 4);
    for (uint32_t i = 0; i < wanted && i < count; i++, at += 4 + size) {
        read_scripts(&size, at, 4);
        if (i < loaded) continue;
        if (!run_script(realm, at + 4, size)) return false;
        loaded = i + 1;
    }
    return true;
}

static JSValue member(const char *object, const char *name) {
    JSValue holder = JS_GetPropertyStr(realm, native, object);
    JSValue value = name ? JS_GetPropertyStr(realm, holder, name) : JS_DupValue(realm, holder);
    JS_FreeValue(realm, holder);
    return value;
}

/* --- what a program sees --- */

enum method { DATE, DATE_ONLY, TIME_ONLY, NUMBER, BIGINT, LOWER, UPPER, LIST, COMPARE };
enum { FOR_NUMBERS = 2, FOR_DATES = 4, FOR_TEXT = 5, ALL = 99 }; /* so many scripts are needed */
static const struct { const char *name; uint32_t scripts; } known[] = {
    {"date", FOR_DATES}, {"dateOnly", FOR_DATES}, {"timeOnly", FOR_DATES}, {"number", FOR_NUMBERS}, {"bigint", FOR_NUMBERS},
    {"lower", FOR_TEXT}, {"upper", FOR_TEXT}, {"list", FOR_TEXT}, {"compare", FOR_TEXT},
};

static JSValue call_method(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int method) {
    if (!load(ctx, known[method].scripts)) return JS_EXCEPTION;
    JSValue function = member("methods", known[method].name);
    JSValueConst arguments[4] = {self, argc > 0 ? argv[0] : JS_UNDEFINED, argc > 1 ? argv[1] : JS_UNDEFINED,
                                 argc > 2 ? argv[2] : JS_UNDEFINED};
    JSValue result = JS_Call(realm, function, JS_UNDEFINED, 4, arguments);
    JS_FreeValue(realm, function);
    return result;
}

/* String.prototype.localeCompare: without a locale and options the usual order, for which no script is needed. */
static JSValue locale_compare(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    if (JS_IsUndefined(self) || JS_IsNull(self))
        return JS_ThrowTypeError(ctx, "String.prototype.localeCompare called on null or undefined");
    if ((argc > 1 && !JS_IsUndefined(argv[1])) || (argc > 2 && !JS_IsUndefined(argv[2])))
        return call_method(ctx, self, argc, argv, COMPARE);
    int order;
    JSValue a = JS_ToString(ctx, self), b = JS_IsException(a) ? JS_EXCEPTION : JS_ToString(ctx, argv[0]);
    bool ok = !JS_IsException(b) && collate(ctx, a, b, COLLATE_USUAL, &order);
    JS_FreeValue(ctx, a);
    JS_FreeValue(ctx, b);
    return ok ? JS_NewInt32(ctx, order) : JS_EXCEPTION;
}

static int define_intl(JSContext *ctx, JSValue value) {
    JSValue global = JS_GetGlobalObject(ctx);
    int status = JS_DefinePropertyValueStr(ctx, global, "Intl", value, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
    JS_FreeValue(ctx, global);
    return status;
}

static JSValue get_intl(JSContext *ctx, JSValueConst self) {
    if (!load(ctx, ALL)) return JS_EXCEPTION;
    JSValue intl = member("intl", NULL);
    if (define_intl(ctx, JS_DupValue(ctx, intl)) >= 0) return intl;
    JS_FreeValue(ctx, intl);
    return JS_EXCEPTION;
}

static JSValue set_intl(JSContext *ctx, JSValueConst self, JSValueConst value) {
    return define_intl(ctx, JS_DupValue(ctx, value)) < 0 ? JS_EXCEPTION : JS_UNDEFINED;
}

static int replace(JSContext *ctx, JSValueConst object, const JSCFunctionListEntry *entries, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++) {
        JSAtom name = JS_NewAtom(ctx, entries[i].name);
        failed |= JS_DeleteProperty(ctx, object, name, 0) < 0;
        JS_FreeAtom(ctx, name);
    }
    return failed || JS_SetPropertyFunctionList(ctx, object, entries, count) < 0 ? -1 : 0;
}

static JSValue prototype_of(JSContext *ctx, const char *constructor) {
    JSValue global = JS_GetGlobalObject(ctx), function = JS_GetPropertyStr(ctx, global, constructor);
    JSValue prototype = JS_GetPropertyStr(ctx, function, "prototype");
    JS_FreeValue(ctx, function);
    JS_FreeValue(ctx, global);
    return prototype;
}

int intl_install(JSContext *ctx) {
    static const JSCFunctionListEntry dates[] = {
        JS_CFUNC_MAGIC_DEF("toLocaleString", 0, call_method, DATE),
        JS_CFUNC_MAGIC_DEF("toLocaleDateString", 0, call_method, DATE_ONLY),
        JS_CFUNC_MAGIC_DEF("toLocaleTimeString", 0, call_method, TIME_ONLY),
    };
    static const JSCFunctionListEntry numbers[] = {JS_CFUNC_MAGIC_DEF("toLocaleString", 0, call_method, NUMBER)};
    static const JSCFunctionListEntry bigints[] = {JS_CFUNC_MAGIC_DEF("toLocaleString", 0, call_method, BIGINT)};
    static const JSCFunctionListEntry lists[] = {JS_CFUNC_MAGIC_DEF("toLocaleString", 0, call_method, LIST)};
    static const JSCFunctionListEntry strings[] = {
        JS_CFUNC_MAGIC_DEF("toLocaleLowerCase", 0, call_method, LOWER),
        JS_CFUNC_MAGIC_DEF("toLocaleUpperCase", 0, call_method, UPPER),
        JS_CFUNC_DEF("localeCompare", 1, locale_compare),
    };
    static const JSCFunctionListEntry global_members[] = {JS_CGETSET_DEF("Intl", get_intl, set_intl)};
    static const struct { const char *constructor; const JSCFunctionListEntry *entries; int count; } places[] = {
        {"Date", dates, 3}, {"Number", numbers, 1}, {"BigInt", bigints, 1}, {"Array", lists, 1}, {"String", strings, 3},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        JSValue prototype = prototype_of(ctx, places[i].constructor);
        failed |= replace(ctx, prototype, places[i].entries, places[i].count);
        JS_FreeValue(ctx, prototype);
    }
    JSValue bytes = prototype_of(ctx, "Uint8Array"), typed_arrays = JS_GetPrototype(ctx, bytes);
    failed |= replace(ctx, typed_arrays, lists, 1);
    JS_FreeValue(ctx, typed_arrays);
    JS_FreeValue(ctx, bytes);
    for (int i = 0; i < PROTOTYPES; i++) prototypes[i] = prototype_of(ctx, prototype_names[i]);
    JSValue global = JS_GetGlobalObject(ctx);
    failed |= JS_SetPropertyFunctionList(ctx, global, global_members, 1) < 0;
    JS_FreeValue(ctx, global);
    return failed ? -1 : 0;
}
