/* Host calls. Each returns a promise, whose resolving functions are in this table only, by the id with which the host
   settles it. The program can neither see nor forge them. */
#include <stdlib.h>
#include "guest.h"

/* All calls of one batch together may have this many times the bytes of one call: the host decodes them at once. */
#define BATCH 4

struct call {
    JSValue resolve, reject, error; /* `error` comes from the call site, so that a rejection has its stack */
    bool open;
};

static struct call *calls;
static uint32_t made, room, open_calls;
static Bytes fresh; /* the calls that the host does not know yet: "[id,name,arguments,line],..." */
static JSValue error_constructor = JS_UNDEFINED;

static bool grow(void) {
    if (made < room) return true;
    uint32_t larger = room ? room * 2 : 16;
    struct call *moved = realloc(calls, larger * sizeof *calls);
    if (!moved) return false;
    calls = moved;
    room = larger;
    return true;
}

static JSValue rejected(JSContext *ctx) {
    JSValue error = JS_GetException(ctx);
    JSValue promise = JS_NewSettledPromise(ctx, true, error);
    JS_FreeValue(ctx, error);
    return promise;
}

static JSValue out_of_memory(JSContext *ctx, Bytes *json) {
    bytes_release(json);
    JS_ThrowOutOfMemory(ctx);
    return rejected(ctx);
}

static bool encode_call(JSContext *ctx, Bytes *json, JSValueConst name, JSValueConst arguments) {
    size_t size;
    const char *text = JS_ToCStringLen(ctx, &size, name);
    if (!text) return false;
    json->cap = guest_limits.arguments + 1024;
    bool ok = size <= 1024 && bytes_json_string(json, text, size);
    if (size > 1024) JS_ThrowRangeError(ctx, "the name of a host call has at most 1024 bytes");
    JS_FreeCString(ctx, text);
    if (!ok || !bytes_char(json, ',')) return false;
    json->cap = json->size + guest_limits.arguments;
    if (JS_IsUndefined(arguments)) return bytes_text(json, "null");
    return encode_value(ctx, json, arguments, "arguments");
}

static void forget(JSContext *ctx, const struct call *call) {
    JS_FreeValue(ctx, call->resolve);
    JS_FreeValue(ctx, call->reject);
    JS_FreeValue(ctx, call->error);
}

static _Noreturn void stop_for_calls(JSContext *ctx) {
    guest_stop(ctx, "calls", "RangeError", "the program made more host calls than its limit allows");
}

/* native.call(name, argument) -> Promise */
static JSValue js_call(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    if (made >= guest_limits.calls) stop_for_calls(ctx);
    Bytes json = {0};
    if (!encode_call(ctx, &json, argv[0], argc > 1 ? argv[1] : JS_UNDEFINED)) {
        if (json.full)
            guest_stop(ctx, "size", "RangeError", "the arguments of a host call are larger than their limit allows");
        if (json.failed) return out_of_memory(ctx, &json);
        bytes_release(&json);
        return rejected(ctx);
    }
    struct call call = {.open = true};
    JSValue functions[2], promise = JS_NewPromiseCapability(ctx, functions);
    if (JS_IsException(promise)) {
        bytes_release(&json);
        return rejected(ctx);
    }
    call.resolve = functions[0];
    call.reject = functions[1];
    call.error = JS_CallConstructor(ctx, error_constructor, 0, NULL);
    if (JS_IsException(call.error)) {
        JS_FreeValue(ctx, JS_GetException(ctx));
        call.error = JS_UNDEFINED;
    }
    uint32_t line = JS_IsUndefined(call.error) ? 0 : error_line(ctx, call.error);
    /* Code of the program may have run above (getters, Error.prepareStackTrace) and made calls: check again. */
    if (made >= guest_limits.calls) stop_for_calls(ctx);
    if (!grow()) {
        forget(ctx, &call);
        JS_FreeValue(ctx, promise);
        return out_of_memory(ctx, &json);
    }
    calls[made++] = call;
    open_calls++;
    if (fresh.size + json.size > (size_t)guest_limits.arguments * BATCH + 4096)
        guest_stop(ctx, "size", "RangeError", "the arguments of the host calls made at once are larger than their limit allows");
    if (fresh.size) bytes_char(&fresh, ',');
    bytes_char(&fresh, '[');
    bytes_u32(&fresh, made);
    bytes_char(&fresh, ',');
    bytes_put(&fresh, json.data, json.size);
    bytes_char(&fresh, ',');
    bytes_u32(&fresh, line);
    bytes_char(&fresh, ']');
    bytes_release(&json);
    if (fresh.failed) {
        bytes_release(&fresh);
        guest_stop(ctx, "memory", "InternalError", "out of memory");
    }
    return promise;
}

uint32_t calls_outstanding(void) { return open_calls; }

uint32_t calls_made(void) { return made; }

void calls_take_new(Bytes *out) {
    bytes_char(out, '[');
    bytes_put(out, fresh.data, fresh.size);
    bytes_char(out, ']');
    bytes_release(&fresh);
}

void calls_outstanding_ids(Bytes *out) {
    bool first = true;
    for (uint32_t i = 0; i < made; i++) {
        if (!calls[i].open) continue;
        if (!first) bytes_char(out, ',');
        bytes_u32(out, i + 1);
        first = false;
    }
}

static void define(JSContext *ctx, JSValueConst error, const char *name, JSValue value) {
    JS_DefinePropertyValueStr(ctx, error, name, value, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
}

static void copy_properties(JSContext *ctx, JSValueConst error, JSValueConst properties) {
    JSPropertyEnum *names;
    uint32_t count;
    if (!JS_IsObject(properties) || JS_GetOwnPropertyNames(ctx, &names, &count, properties, JS_GPN_STRING_MASK)) return;
    for (uint32_t i = 0; i < count; i++) {
        JSValue value = JS_GetProperty(ctx, properties, names[i].atom);
        JS_DefinePropertyValue(ctx, error, names[i].atom, value, JS_PROP_C_W_E);
    }
    JS_FreePropertyEnum(ctx, names, count);
}

/* The payload of an error settlement is [name, message, properties]. */
static JSValue rejection(JSContext *ctx, struct call *call, JSValueConst payload) {
    JSValue error = JS_IsObject(call->error) ? JS_DupValue(ctx, call->error) : JS_NewError(ctx);
    if (JS_IsException(error)) return error;
    JSValue properties = JS_GetPropertyUint32(ctx, payload, 2);
    copy_properties(ctx, error, properties);
    JS_FreeValue(ctx, properties);
    define(ctx, error, "name", JS_GetPropertyUint32(ctx, payload, 0));
    define(ctx, error, "message", JS_GetPropertyUint32(ctx, payload, 1));
    clean_stack_property(ctx, error);
    return error;
}

void calls_settle(JSContext *ctx, uint32_t id, bool ok, const char *json, size_t size) {
    if (!id || id > made || !calls[id - 1].open) return;
    struct call *call = &calls[id - 1];
    call->open = false;
    open_calls--;
    JSValue value = JS_ParseJSON(ctx, json, size, "settlement");
    if (!JS_IsException(value) && !ok) {
        JSValue error = rejection(ctx, call, value);
        JS_FreeValue(ctx, value);
        value = error;
    }
    if (JS_IsException(value)) {
        ok = false; /* out of memory: the call is rejected with that */
        value = JS_GetException(ctx);
    }
    JSValue done = JS_Call(ctx, ok ? call->resolve : call->reject, JS_UNDEFINED, 1, (JSValueConst *)&value);
    if (JS_IsException(done)) JS_FreeValue(ctx, JS_GetException(ctx));
    JS_FreeValue(ctx, done);
    JS_FreeValue(ctx, value);
    forget(ctx, &calls[id - 1]); /* the table may have moved */
}

int calls_install(JSContext *ctx, JSValue native) {
    JSValue global = JS_GetGlobalObject(ctx);
    error_constructor = JS_GetPropertyStr(ctx, global, "Error");
    JS_FreeValue(ctx, global);
    return define_function(ctx, native, "call", js_call, 2) < 0 ? -1 : 0;
}
