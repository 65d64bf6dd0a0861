/* Values as JSON text. Strict, for results and arguments: a value without a JSON form is an error that names its path.
   Lenient, for logs: it is described. Only captured intrinsics are used: a patched prototype changes nothing here. */
#include <stdio.h>
#include <stdlib.h>
#include "guest.h"

/* Not inlined: what every level of nesting keeps on the stack decides how deep a value may be. */
#define RARE __attribute__((noinline))

struct step { /* one level of nesting. The chain gives the path, and shows cycles */
    const struct step *outer;
    JSValueConst object;
    JSAtom key;     /* JS_ATOM_NULL: the step is `index` */
    uint64_t index;
    uint32_t depth;
};

struct encoder {
    JSContext *ctx;
    Bytes *out;
    const char *root;
    bool lenient, is_result;
};

char encode_place[192];

static struct {
    JSValue map_for_each, set_for_each, date_to_iso, regexp_to_string, symbol_to_string, value_of[4];
    JSValue plain[8]; /* intrinsic prototypes: a toJSON that a program defines on one is ignored */
    JSClassID boxed[4], object, array;
    JSAtom to_json, name, message, cause, errors, to_string, constructor, tag;
} captured;

static bool encode(struct encoder *e, JSValueConst v, const struct step *outer, bool may_convert);

static bool same_object(JSValueConst a, JSValueConst b) {
    return JS_IsObject(a) && JS_IsObject(b) && JS_VALUE_GET_PTR(a) == JS_VALUE_GET_PTR(b);
}

static bool is_symbol(JSContext *ctx, JSAtom atom) {
    JSValue key = JS_AtomToValue(ctx, atom);
    bool found = JS_IsSymbol(key);
    JS_FreeValue(ctx, key);
    return found;
}

static void path_step(struct encoder *e, const struct step *s, Bytes *path) {
    if (!s) return;
    path_step(e, s->outer, path);
    if (s->key == JS_ATOM_NULL) {
        bytes_char(path, '[');
        bytes_u32(path, (uint32_t)s->index);
        bytes_char(path, ']');
        return;
    }
    size_t size;
    const char *key = JS_AtomToCStringLen(e->ctx, &size, s->key);
    if (!key) {
        JS_FreeValue(e->ctx, JS_GetException(e->ctx));
        return;
    }
    bool symbol = is_symbol(e->ctx, s->key);
    bool word = size > 0 && !symbol && !(key[0] >= '0' && key[0] <= '9');
    for (size_t i = 0; word && i < size; i++)
        word = (key[i] >= 'a' && key[i] <= 'z') || (key[i] >= 'A' && key[i] <= 'Z') || (key[i] >= '0' && key[i] <= '9') ||
               key[i] == '_' || key[i] == '$';
    if (word) {
        bytes_char(path, '.');
        bytes_put(path, key, size);
    } else if (symbol) {
        bytes_text(path, "[Symbol(");
        bytes_put(path, key, size);
        bytes_text(path, ")]");
    } else {
        bytes_char(path, '[');
        bytes_json_string(path, key, size);
        bytes_char(path, ']');
    }
    JS_FreeCString(e->ctx, key);
}

/* Strict: throws a TypeError "<path> <problem>". Lenient: writes `instead`. */
static bool refuse(struct encoder *e, const struct step *at, const char *problem, const char *instead) {
    if (e->lenient) return bytes_text(e->out, instead);
    Bytes path = {.cap = 150}; /* the engine cuts messages at 255 bytes */
    bytes_text(&path, e->root);
    path_step(e, at, &path);
    JS_ThrowTypeError(e->ctx, "%.*s%s %s", (int)path.size, (const char *)path.data, path.full ? "..." : "", problem);
    bytes_release(&path);
    return false;
}

/* Remembers the place in a result whose own code, such as a getter, threw. */
RARE static void remember_place(struct encoder *e, const struct step *at) {
    if (!e->is_result) return;
    Bytes path = {.cap = sizeof encode_place - 1};
    bytes_text(&path, e->root);
    path_step(e, at, &path);
    memcpy(encode_place, path.data, path.size);
    encode_place[path.size] = 0;
    bytes_release(&path);
}

/* An exception ends the encoding in strict mode; in lenient mode it is described and dropped. */
static bool threw(struct encoder *e) {
    if (!e->lenient) return false;
    JS_FreeValue(e->ctx, JS_GetException(e->ctx));
    return bytes_text(e->out, "[threw]");
}

/* Whether the text has more UTF-16 units than there is room in bytes: then it is not converted. */
static bool is_too_long(struct encoder *e, JSValueConst string) {
    int64_t length;
    if (!e->out->cap || JS_GetLength(e->ctx, string, &length)) return false;
    if ((uint64_t)length <= e->out->cap - e->out->size) return false;
    if (!e->lenient) return e->out->full = true;
    return false;
}

/* Of a text in a log as much as has room. */
RARE static bool put_text(struct encoder *e, const char *text, size_t size, bool quoted) {
    Bytes *out = e->out;
    size_t before = out->size;
    if (quoted ? bytes_json_string(out, text, size) : bytes_put(out, text, size)) return true;
    if (!e->lenient || !out->full) return false;
    size_t room = out->cap - before, take = room < 16 ? 0 : quoted ? (room - 16) / 2 : room;
    if (take > size) take = size;
    while (take && ((uint8_t)text[take] & 0xC0) == 0x80) take--;
    out->size = before;
    out->full = false;
    if (take && !(quoted ? bytes_json_string(out, text, take) : bytes_put(out, text, take))) out->size = before;
    out->full = true;
    return false;
}

static bool put_string(struct encoder *e, JSValueConst v) {
    size_t size;
    if (is_too_long(e, v)) return false;
    const char *text = JS_ToCStringLen(e->ctx, &size, v);
    if (!text) return threw(e);
    bool ok = put_text(e, text, size, true);
    JS_FreeCString(e->ctx, text);
    return ok;
}

static bool put_raw(struct encoder *e, JSValueConst v) {
    size_t size;
    const char *text = JS_ToCStringLen(e->ctx, &size, v);
    if (!text) return threw(e);
    bool ok = put_text(e, text, size, false);
    JS_FreeCString(e->ctx, text);
    return ok;
}

/* Writes the text that a captured intrinsic returns for `v`: Date and RegExp. */
static bool put_converted(struct encoder *e, JSValueConst v, JSValueConst function) {
    JSValue text = JS_Call(e->ctx, function, v, 0, NULL);
    if (JS_IsException(text)) return threw(e);
    bool ok = put_string(e, text);
    JS_FreeValue(e->ctx, text);
    return ok;
}

/* By its name, such as Symbol(id). */
RARE static bool put_symbol(struct encoder *e, JSValueConst v, const struct step *at) {
    JSValue text = JS_Call(e->ctx, captured.symbol_to_string, v, 0, NULL);
    if (JS_IsException(text)) return threw(e);
    if (e->lenient) {
        bool ok = put_raw(e, text);
        JS_FreeValue(e->ctx, text);
        return ok;
    }
    const char *name = JS_ToCString(e->ctx, text);
    JS_FreeValue(e->ctx, text);
    if (!name) return false;
    char problem[128];
    size_t size = strlen(name), take = size < 48 ? size : 48;
    while (take < size && take && ((uint8_t)name[take] & 0xC0) == 0x80) take--;
    snprintf(problem, sizeof problem, "is a symbol, %.*s%s: only data can leave the program", (int)take, name,
             take < size ? "..." : "");
    JS_FreeCString(e->ctx, name);
    return refuse(e, at, problem, "");
}

static bool put_date(struct encoder *e, JSValueConst v) {
    JSValue text = JS_Call(e->ctx, captured.date_to_iso, v, 0, NULL);
    if (JS_IsException(text)) { /* an invalid date is null, as in JSON.stringify */
        JS_FreeValue(e->ctx, JS_GetException(e->ctx));
        return bytes_text(e->out, "null");
    }
    bool ok = put_string(e, text);
    JS_FreeValue(e->ctx, text);
    return ok;
}

static bool put_bytes(struct encoder *e, const char *type, const uint8_t *data, size_t size) {
    return bytes_text(e->out, "{\"$type\":\"") && bytes_text(e->out, type) && bytes_text(e->out, "\",\"base64\":\"") &&
           bytes_base64(e->out, data, size) && bytes_text(e->out, "\"}");
}

static bool put_elements(struct encoder *e, JSValueConst v, struct step *step) {
    int64_t length;
    if (JS_GetLength(e->ctx, v, &length)) {
        remember_place(e, step->outer);
        return threw(e);
    }
    if (!bytes_char(e->out, '[')) return false;
    for (int64_t i = 0; i < length; i++) {
        if (i && !bytes_char(e->out, ',')) return false;
        JSValue item = JS_GetPropertyInt64(e->ctx, v, i);
        step->index = (uint64_t)i;
        if (JS_IsException(item)) {
            remember_place(e, step);
            if (!threw(e)) return false;
            continue;
        }
        bool ok = encode(e, item, step, true);
        JS_FreeValue(e->ctx, item);
        if (!ok) return false;
    }
    return bytes_char(e->out, ']');
}

static bool put_view(struct encoder *e, JSValueConst v, struct step *step) {
    int type = JS_GetTypedArrayType(v);
    if (type >= 0 && type != JS_TYPED_ARRAY_UINT8 && type != JS_TYPED_ARRAY_UINT8C) return put_elements(e, v, step);
    size_t offset = 0, length = 0, size;
    JSValue buffer;
    if (type >= 0) {
        buffer = JS_GetTypedArrayBuffer(e->ctx, v, &offset, &length, NULL);
    } else {
        int64_t at = 0, count = 0;
        buffer = JS_GetPropertyStr(e->ctx, v, "buffer");
        JSValue from = JS_GetPropertyStr(e->ctx, v, "byteOffset"), bytes = JS_GetPropertyStr(e->ctx, v, "byteLength");
        if (JS_ToInt64(e->ctx, &at, from) || JS_ToInt64(e->ctx, &count, bytes) || at < 0 || count < 0) {
            JS_FreeValue(e->ctx, JS_GetException(e->ctx));
            at = count = 0;
        }
        JS_FreeValue(e->ctx, from);
        JS_FreeValue(e->ctx, bytes);
        offset = (size_t)at;
        length = (size_t)count;
    }
    if (JS_IsException(buffer)) {
        JS_FreeValue(e->ctx, JS_GetException(e->ctx));
        return refuse(e, step->outer, "is detached: its bytes were transferred", "[detached]");
    }
    uint8_t *data = JS_GetArrayBuffer(e->ctx, &size, buffer);
    if (!data) {
        if (JS_HasException(e->ctx)) JS_FreeValue(e->ctx, JS_GetException(e->ctx));
        size = 0;
    }
    if (offset > size || length > size - offset) offset = length = 0;
    bool ok = put_bytes(e, type < 0 ? "DataView" : type == JS_TYPED_ARRAY_UINT8 ? "Uint8Array" : "Uint8ClampedArray",
                        data + offset, length);
    JS_FreeValue(e->ctx, buffer);
    return ok;
}

/* The members of a Map or Set are copied first: encoding them can run code that changes it. */
static struct { JSValue *items; size_t count, room; bool failed; } gathered;

static JSValue js_gather(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    if (gathered.count + 2 > gathered.room) {
        size_t room = gathered.room ? gathered.room * 2 : 32;
        JSValue *items = room <= SIZE_MAX / sizeof *items ? realloc(gathered.items, room * sizeof *items) : NULL;
        if (!items) {
            gathered.failed = true;
            return JS_UNDEFINED;
        }
        gathered.items = items;
        gathered.room = room;
    }
    gathered.items[gathered.count++] = JS_DupValue(ctx, argv[1]);
    gathered.items[gathered.count++] = JS_DupValue(ctx, argv[0]);
    return JS_UNDEFINED;
}

static bool too_deep(struct encoder *e, const struct step *at) {
    char problem[64];
    snprintf(problem, sizeof problem, "is nested deeper than %u levels", guest_limits.depth);
    return refuse(e, at, problem, "[deeper]");
}

static bool put_members(struct encoder *e, const JSValue *items, size_t count, bool pairs, struct step *step) {
    if (pairs && count && step->depth + 1 > guest_limits.depth) return too_deep(e, step->outer);
    if (!bytes_char(e->out, '[')) return false;
    for (size_t i = 0; i < count; i += 2) {
        step->index = i / 2;
        if (i && !bytes_char(e->out, ',')) return false;
        if (!pairs) {
            if (!encode(e, items[i + 1], step, true)) return false;
            continue;
        }
        struct step inner = {.outer = step, .object = JS_UNDEFINED, .depth = step->depth + 1};
        if (!bytes_char(e->out, '[') || !encode(e, items[i], &inner, true) || !bytes_char(e->out, ',')) return false;
        inner.index = 1;
        if (!encode(e, items[i + 1], &inner, true) || !bytes_char(e->out, ']')) return false;
    }
    return bytes_char(e->out, ']');
}

static bool put_collection(struct encoder *e, JSValueConst v, bool pairs, struct step *step) {
    JSValue callback = JS_NewCFunction(e->ctx, js_gather, "", 2);
    memset(&gathered, 0, sizeof gathered);
    JSValue done = JS_Call(e->ctx, pairs ? captured.map_for_each : captured.set_for_each, v, 1, (JSValueConst *)&callback);
    JS_FreeValue(e->ctx, callback);
    JSValue *items = gathered.items;
    size_t count = gathered.count;
    bool ok = !gathered.failed && !JS_IsException(done);
    memset(&gathered, 0, sizeof gathered);
    if (!ok && !e->lenient && !JS_HasException(e->ctx)) JS_ThrowOutOfMemory(e->ctx);
    if (ok && e->lenient) bytes_text(e->out, pairs ? "Map " : "Set ");
    ok = ok ? put_members(e, items, count, pairs, step) : threw(e);
    for (size_t i = 0; i < count; i++) JS_FreeValue(e->ctx, items[i]);
    free(items);
    JS_FreeValue(e->ctx, done);
    return ok;
}

static bool put_key(struct encoder *e, JSAtom atom, bool symbol, bool *first) {
    size_t size;
    const char *key = JS_AtomToCStringLen(e->ctx, &size, atom);
    if (!key) return false;
    bool ok = *first || bytes_char(e->out, ',');
    if (ok && symbol) {
        Bytes name = {0};
        ok = bytes_text(&name, "Symbol(") && bytes_put(&name, key, size) && bytes_char(&name, ')') &&
             bytes_json_string(e->out, (const char *)name.data, name.size) && bytes_char(e->out, ':');
        bytes_release(&name);
    } else if (ok) {
        ok = bytes_json_string(e->out, key, size) && bytes_char(e->out, ':');
    }
    JS_FreeCString(e->ctx, key);
    *first = false;
    return ok;
}

static bool put_property(struct encoder *e, JSValueConst v, JSAtom atom, bool symbol, struct step *step, bool *first) {
    JSValue value = JS_GetProperty(e->ctx, v, atom);
    step->key = atom;
    if (JS_IsException(value)) {
        remember_place(e, step);
        return e->lenient ? put_key(e, atom, symbol, first) && threw(e) : false;
    }
    if (JS_IsUndefined(value) && !e->lenient) return true;
    bool ok = put_key(e, atom, symbol, first) && encode(e, value, step, true);
    JS_FreeValue(e->ctx, value);
    return ok;
}

/* A value that an error has in addition: what is no data is described, for it must not hide the error. */
RARE static bool put_or_describe(struct encoder *e, JSValueConst value, const struct step *step) {
    size_t before = e->out->size;
    for (const struct step *s = step; s; s = s->outer)
        if (same_object(s->object, value)) return bytes_text(e->out, "\"[Circular]\"");
    if (encode(e, value, step, true)) return true;
    if (e->out->full || e->out->failed) return false;
    JS_FreeValue(e->ctx, JS_GetException(e->ctx));
    *encode_place = 0;
    e->out->size = before;
    Bytes text = {.cap = 1024};
    inspect_value(e->ctx, &text, value);
    bool ok = bytes_json_string(e->out, (const char *)text.data, text.size);
    bytes_release(&text);
    return ok;
}

/* The own `cause` and `errors` of an error, which are not enumerable. */
RARE static bool put_others(struct encoder *e, JSValueConst v, struct step *step, bool *first) {
    const JSAtom atoms[] = {captured.cause, captured.errors};
    for (int i = 0; i < 2; i++) {
        JSPropertyDescriptor found;
        int has = JS_GetOwnProperty(e->ctx, &found, v, atoms[i]);
        if (has < 0) return threw(e);
        if (!has) continue;
        bool ok = true;
        JS_FreeValue(e->ctx, found.getter);
        JS_FreeValue(e->ctx, found.setter);
        step->key = atoms[i];
        if (!JS_IsUndefined(found.value) && !(found.flags & JS_PROP_ENUMERABLE) && (ok = put_key(e, atoms[i], false, first))) {
            int64_t length = 0;
            if (i == 0 || !JS_IsArray(found.value) || JS_GetLength(e->ctx, found.value, &length)) {
                ok = put_or_describe(e, found.value, step);
            } else {
                struct step inner = {.outer = step, .object = found.value, .depth = step->depth + 1};
                ok = bytes_char(e->out, '[');
                for (int64_t n = 0; ok && n < length; n++) {
                    JSValue one = JS_GetPropertyInt64(e->ctx, found.value, n);
                    inner.index = (uint64_t)n;
                    ok = (!n || bytes_char(e->out, ',')) && (JS_IsException(one) ? threw(e) : put_or_describe(e, one, &inner));
                    JS_FreeValue(e->ctx, one);
                }
                ok = ok && bytes_char(e->out, ']');
            }
        }
        JS_FreeValue(e->ctx, found.value);
        if (!ok) return false;
    }
    return true;
}

static bool has_private_members(struct encoder *e, JSValueConst v) {
    JSPropertyEnum *names;
    uint32_t count;
    if (JS_IsProxy(v) || JS_GetOwnPropertyNames(e->ctx, &names, &count, v, JS_GPN_PRIVATE_MASK)) {
        if (JS_HasException(e->ctx)) JS_FreeValue(e->ctx, JS_GetException(e->ctx));
        return false;
    }
    JS_FreePropertyEnum(e->ctx, names, count);
    return count > 0;
}

/* An object of a class whose members are all private: {} would mislead here too. */
RARE static bool put_private(struct encoder *e, JSValueConst v, const struct step *outer) {
    JSValue class = JS_GetProperty(e->ctx, v, captured.constructor);
    JSValue name = JS_IsFunction(e->ctx, class) ? JS_GetProperty(e->ctx, class, captured.name) : JS_UNDEFINED;
    const char *text = JS_IsString(name) ? JS_ToCString(e->ctx, name) : NULL;
    if (JS_HasException(e->ctx)) JS_FreeValue(e->ctx, JS_GetException(e->ctx));
    JS_FreeValue(e->ctx, name);
    JS_FreeValue(e->ctx, class);
    char problem[160], instead[80];
    const char *shown = text && *text && strlen(text) <= 40 ? text : "a class";
    snprintf(problem, sizeof problem, "is an object of %s with private members only: return values, or give it toJSON()", shown);
    snprintf(instead, sizeof instead, "[%s with private members only]", shown);
    JS_FreeCString(e->ctx, text);
    return refuse(e, outer, problem, instead);
}

/* An object without properties of its own that names its kind, such as Intl.NumberFormat or Math: {} would mislead. */
RARE static bool put_named(struct encoder *e, JSValueConst v, const struct step *outer) {
    JSContext *ctx = e->ctx;
    JSValue tag = JS_GetProperty(ctx, v, captured.tag);
    const char *name = JS_IsString(tag) ? JS_ToCString(ctx, tag) : NULL;
    if (JS_HasException(ctx)) JS_FreeValue(ctx, JS_GetException(ctx));
    JS_FreeValue(ctx, tag);
    bool ok;
    if (!name || !*name) {
        ok = has_private_members(e, v) ? put_private(e, v, outer) : bytes_text(e->out, "{}");
    } else if (!strcmp(name, "URLSearchParams")) {
        JSValue text = JS_Invoke(ctx, v, captured.to_string, 0, NULL);
        if (JS_IsException(text)) remember_place(e, outer);
        ok = JS_IsException(text) ? threw(e) : put_string(e, text);
        JS_FreeValue(ctx, text);
    } else {
        char problem[128], instead[64];
        snprintf(problem, sizeof problem, "is %.40s, which has no data of its own: name the values that you need", name);
        snprintf(instead, sizeof instead, "[%.40s]", name);
        ok = refuse(e, outer, problem, instead);
    }
    JS_FreeCString(ctx, name);
    return ok;
}

static bool put_properties(struct encoder *e, JSValueConst v, struct step *step, bool is_error) {
    JSPropertyEnum *names;
    uint32_t count;
    /* Results and arguments have no symbols as keys, as in JSON; logs show them. */
    int which = JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY | (e->lenient ? JS_GPN_SYMBOL_MASK : 0);
    bool first = true, ok;
    if (JS_GetOwnPropertyNames(e->ctx, &names, &count, v, which)) {
        remember_place(e, step->outer);
        return threw(e);
    }
    uint32_t texts = count; /* symbols come last */
    while (e->lenient && texts && is_symbol(e->ctx, names[texts - 1].atom)) texts--;
    if (!count && !is_error) {
        JS_FreePropertyEnum(e->ctx, names, count);
        return put_named(e, v, step->outer);
    }
    ok = bytes_char(e->out, '{');
    if (ok && is_error)
        ok = put_property(e, v, captured.name, false, step, &first) && put_property(e, v, captured.message, false, step, &first) &&
             put_others(e, v, step, &first);
    for (uint32_t i = 0; ok && i < count; i++) {
        if (is_error && (names[i].atom == captured.name || names[i].atom == captured.message)) continue;
        ok = put_property(e, v, names[i].atom, i >= texts, step, &first);
    }
    JS_FreePropertyEnum(e->ctx, names, count);
    return ok && bytes_char(e->out, '}');
}

RARE static bool put_error(struct encoder *e, JSValueConst v, struct step *step) {
    if (!e->lenient) return put_properties(e, v, step, true);
    Bytes text = {.cap = 8192};
    describe_error(e->ctx, v, &text);
    bool ok = step->outer ? bytes_json_string(e->out, (const char *)text.data, text.size)
                          : bytes_put(e->out, text.data, text.size);
    bytes_release(&text);
    return ok;
}

/* The object's toJSON, own or inherited, but not from an intrinsic prototype. Returns 1, 0 without one, -1 on exception. */
static int find_to_json(struct encoder *e, JSValueConst v, JSValue *function) {
    JSValue at = JS_DupValue(e->ctx, v);
    while (JS_IsObject(at)) {
        for (size_t i = 0; i < sizeof captured.plain / sizeof *captured.plain; i++)
            if (same_object(at, captured.plain[i])) goto none;
        int has = JS_GetOwnProperty(e->ctx, NULL, at, captured.to_json);
        if (has < 0) goto failed;
        if (has) {
            *function = JS_GetProperty(e->ctx, v, captured.to_json);
            JS_FreeValue(e->ctx, at);
            if (JS_IsException(*function)) return -1;
            if (JS_IsFunction(e->ctx, *function)) return 1;
            JS_FreeValue(e->ctx, *function);
            return 0;
        }
        JSValue next = JS_GetPrototype(e->ctx, at);
        JS_FreeValue(e->ctx, at);
        at = next;
    }
    if (JS_IsException(at)) return -1;
none:
    JS_FreeValue(e->ctx, at);
    return 0;
failed:
    JS_FreeValue(e->ctx, at);
    return -1;
}

/* What the value is a proxy of, through any number of them; the value itself, where it is none or was revoked. */
JSValue proxied(JSContext *ctx, JSValueConst value) {
    JSValue at = JS_DupValue(ctx, value);
    while (JS_IsProxy(at)) {
        JSValue target = JS_GetProxyTarget(ctx, at);
        JS_FreeValue(ctx, at);
        at = target;
    }
    if (!JS_IsException(at)) return at;
    JS_FreeValue(ctx, JS_GetException(ctx));
    return JS_DupValue(ctx, value);
}

/* Whether the value has data in a place that no proxy shows: a Map, a Date, an error. */
static bool is_builtin(JSContext *ctx, JSValueConst v) {
    return JS_IsMap(v) || JS_IsSet(v) || JS_IsDate(v) || JS_IsRegExp(v) || JS_IsPromise(v) || JS_IsArrayBuffer(v) ||
           JS_IsDataView(v) || JS_GetTypedArrayType(v) >= 0 || JS_IsError(v);
}

static bool is_array(struct encoder *e, JSValueConst v) {
    JSValue target = proxied(e->ctx, v);
    bool array = JS_IsArray(target);
    JS_FreeValue(e->ctx, target);
    return array;
}

static bool is_empty(JSContext *ctx, JSValueConst string) {
    int64_t length;
    return !JS_GetLength(ctx, string, &length) && !length;
}

static bool put_function(struct encoder *e, JSValueConst v, const struct step *outer) {
    if (!e->lenient) return refuse(e, outer, "is a function: only data can leave the program", "");
    JSValue name = JS_GetProperty(e->ctx, v, captured.name);
    bool named = JS_IsString(name) && !is_empty(e->ctx, name);
    if (JS_IsException(name)) JS_FreeValue(e->ctx, JS_GetException(e->ctx));
    bool ok = bytes_text(e->out, "[Function") && (!named || (bytes_char(e->out, ' ') && put_raw(e, name))) &&
              bytes_char(e->out, ']');
    JS_FreeValue(e->ctx, name);
    return ok;
}

/* Built-in objects without data: encoding them as {} would mislead. */
static const char *special_class(JSContext *ctx, JSClassID class) {
    JSAtom atom = JS_GetClassName(JS_GetRuntime(ctx), class);
    const char *name = atom == JS_ATOM_NULL ? NULL : JS_AtomToCString(ctx, atom), *problem = NULL;
    if (name) {
        if (strstr(name, "Iterator")) problem = "is an iterator: spread it into an array first";
        else if (strstr(name, "Generator")) problem = "is a generator: collect what it yields into an array first";
        else if (!strncmp(name, "Weak", 4)) problem = "is a weak collection: only data can leave the program";
        else if (!strcmp(name, "SharedArrayBuffer")) problem = "is a SharedArrayBuffer: copy it first";
    }
    JS_FreeCString(ctx, name);
    JS_FreeAtom(ctx, atom);
    return problem;
}

static bool put_object(struct encoder *e, JSValueConst v, const struct step *outer, bool may_convert);

/* Whether a proxy was revoked, or is one of a value whose data no proxy shows. */
RARE static bool hides_data(struct encoder *e, JSValueConst v) {
    JSValue target = proxied(e->ctx, v);
    bool hides = JS_IsProxy(target) || is_builtin(e->ctx, target);
    JS_FreeValue(e->ctx, target);
    return hides;
}

RARE static bool put_proxied(struct encoder *e, JSValueConst v, const struct step *outer) {
    JSValue target = proxied(e->ctx, v);
    bool ok = JS_IsProxy(target) ? refuse(e, outer, "is a proxy that was revoked", "[revoked proxy]")
                                 : put_object(e, target, outer, true);
    JS_FreeValue(e->ctx, target);
    return ok;
}

static bool put_object(struct encoder *e, JSValueConst v, const struct step *outer, bool may_convert) {
    JSContext *ctx = e->ctx;
    if (JS_IsProxy(v) && hides_data(e, v)) return put_proxied(e, v, outer);
    if (JS_IsFunction(ctx, v)) return put_function(e, v, outer);
    if (JS_IsDate(v)) return put_date(e, v);
    if (JS_IsRegExp(v)) return put_converted(e, v, captured.regexp_to_string);
    if (JS_IsPromise(v)) return refuse(e, outer, "is a promise: await it first", "[Promise]");
    JSClassID class = JS_GetClassID(v);
    for (int i = 0; i < 4; i++) {
        if (class != captured.boxed[i]) continue;
        JSValue inner = JS_Call(ctx, captured.value_of[i], v, 0, NULL);
        bool ok = JS_IsException(inner) ? threw(e) : encode(e, inner, outer, false);
        JS_FreeValue(ctx, inner);
        return ok;
    }
    struct step step = {.outer = outer, .object = v, .depth = outer ? outer->depth + 1 : 1};
    if (step.depth > guest_limits.depth) return too_deep(e, outer);
    for (const struct step *s = outer; s; s = s->outer)
        if (same_object(s->object, v)) return refuse(e, outer, "is a cycle: it contains itself", "[Circular]");
    JSValue function;
    int has = may_convert ? find_to_json(e, v, &function) : 0;
    if (has < 0) {
        remember_place(e, outer);
        return threw(e);
    }
    if (has) {
        JSValue converted = JS_Call(ctx, function, v, 0, NULL);
        JS_FreeValue(ctx, function);
        if (JS_IsException(converted)) {
            remember_place(e, outer);
            return threw(e);
        }
        bool ok = encode(e, converted, outer, false);
        JS_FreeValue(ctx, converted);
        return ok;
    }
    if (JS_IsMap(v)) return put_collection(e, v, true, &step);
    if (JS_IsSet(v)) return put_collection(e, v, false, &step);
    if (JS_GetTypedArrayType(v) >= 0 || JS_IsDataView(v)) return put_view(e, v, &step);
    if (class != captured.object && class != captured.array && !JS_IsProxy(v) && !JS_IsError(v) && !JS_IsArrayBuffer(v)) {
        const char *problem = special_class(ctx, class);
        if (problem) return refuse(e, outer, problem, "[opaque]");
    }
    if (JS_IsArrayBuffer(v)) {
        size_t size = 0;
        uint8_t *data = JS_GetArrayBuffer(ctx, &size, v);
        if (!data && JS_HasException(ctx)) JS_FreeValue(ctx, JS_GetException(ctx));
        return put_bytes(e, "ArrayBuffer", data, data ? size : 0);
    }
    if (is_array(e, v)) return put_elements(e, v, &step);
    if (JS_IsError(v)) return put_error(e, v, &step);
    return put_properties(e, v, &step, false);
}

static bool put_double(struct encoder *e, double d) {
    if (e->lenient && d != d) return bytes_text(e->out, "NaN");
    if (e->lenient && d - d != 0) return bytes_text(e->out, d < 0 ? "-Infinity" : "Infinity");
    return bytes_double(e->ctx, e->out, d);
}

static bool encode(struct encoder *e, JSValueConst v, const struct step *outer, bool may_convert) {
    if (e->out->full || e->out->failed) return false;
    switch (JS_VALUE_GET_NORM_TAG(v)) {
    case JS_TAG_NULL: return bytes_text(e->out, "null");
    case JS_TAG_UNDEFINED: return bytes_text(e->out, e->lenient ? "undefined" : "null");
    case JS_TAG_BOOL: return bytes_text(e->out, JS_VALUE_GET_BOOL(v) ? "true" : "false");
    case JS_TAG_INT: {
        int32_t n = JS_VALUE_GET_INT(v);
        if (n < 0 && !bytes_char(e->out, '-')) return false;
        return bytes_u32(e->out, n < 0 ? 0u - (uint32_t)n : (uint32_t)n);
    }
    case JS_TAG_FLOAT64: return put_double(e, JS_VALUE_GET_FLOAT64(v));
    case JS_TAG_BIG_INT:
    case JS_TAG_SHORT_BIG_INT: return e->lenient ? put_raw(e, v) && bytes_char(e->out, 'n') : put_string(e, v);
    case JS_TAG_STRING:
    case JS_TAG_STRING_ROPE: return e->lenient && !outer ? put_raw(e, v) : put_string(e, v);
    case JS_TAG_SYMBOL: return put_symbol(e, v, outer);
    case JS_TAG_OBJECT: return put_object(e, v, outer, may_convert);
    default: return bytes_text(e->out, "null");
    }
}

bool encode_value(JSContext *ctx, Bytes *out, JSValueConst value, const char *root) {
    struct encoder e = {.ctx = ctx, .out = out, .root = root, .is_result = !strcmp(root, "result")};
    return encode(&e, value, NULL, true);
}

bool inspect_value(JSContext *ctx, Bytes *out, JSValueConst value) {
    struct encoder e = {.ctx = ctx, .out = out, .root = "", .lenient = true};
    return encode(&e, value, NULL, true);
}

static JSValue eval(JSContext *ctx, const char *code) { return JS_Eval(ctx, code, strlen(code), "intrinsics", 0); }

int encode_install(JSContext *ctx) {
    static const char *const boxes[] = {"Object(1)", "Object('')", "Object(true)", "Object(1n)"};
    static const char *const values[] = {"Number.prototype.valueOf", "String.prototype.valueOf", "Boolean.prototype.valueOf",
                                         "BigInt.prototype.valueOf"};
    static const char *const plain[] = {"Object.prototype", "Array.prototype", "Map.prototype", "Set.prototype",
                                        "Error.prototype", "Function.prototype", "Object.getPrototypeOf(Uint8Array).prototype",
                                        "ArrayBuffer.prototype"};
    captured.map_for_each = eval(ctx, "Map.prototype.forEach");
    captured.set_for_each = eval(ctx, "Set.prototype.forEach");
    captured.date_to_iso = eval(ctx, "Date.prototype.toISOString");
    captured.symbol_to_string = eval(ctx, "Symbol.prototype.toString");
    captured.regexp_to_string = eval(ctx, "RegExp.prototype.toString");
    for (int i = 0; i < 4; i++) {
        JSValue box = eval(ctx, boxes[i]);
        captured.boxed[i] = JS_GetClassID(box);
        JS_FreeValue(ctx, box);
        captured.value_of[i] = eval(ctx, values[i]);
    }
    JSValue object = JS_NewObject(ctx), array = JS_NewArray(ctx);
    captured.object = JS_GetClassID(object);
    captured.array = JS_GetClassID(array);
    JS_FreeValue(ctx, object);
    JS_FreeValue(ctx, array);
    for (int i = 0; i < 8; i++) captured.plain[i] = eval(ctx, plain[i]);
    captured.to_json = JS_NewAtom(ctx, "toJSON");
    captured.name = JS_NewAtom(ctx, "name");
    captured.message = JS_NewAtom(ctx, "message");
    captured.cause = JS_NewAtom(ctx, "cause");
    captured.errors = JS_NewAtom(ctx, "errors");
    captured.to_string = JS_NewAtom(ctx, "toString");
    captured.constructor = JS_NewAtom(ctx, "constructor");
    JSValue tag = eval(ctx, "Symbol.toStringTag");
    captured.tag = JS_ValueToAtom(ctx, tag);
    JS_FreeValue(ctx, tag);
    return JS_HasException(ctx) ? -1 : 0;
}
