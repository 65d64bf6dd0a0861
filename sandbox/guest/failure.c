/* A thrown value as the failed outcome: {"kind","name","message","stack"}. Reading the value may run getters of the program;
   an exception from one is dropped. */
#include <stdlib.h>
#include "guest.h"

#define TEXT_CAP 4096
#define STACK_CAP 65536
#define BRIEF_CAP 1024
#define PROTOTYPES 100 /* of a thrown value, one above the other */
#define OTHERS 5 /* errors, and causes, that a message names */

static bool is_of_program(const char *line, size_t size) {
    static const char place[] = PROGRAM_FILE ":";
    for (size_t i = 0; i + sizeof place - 1 <= size; i++)
        if (!memcmp(line + i, place, sizeof place - 1)) return true;
    return false;
}

/* The frames in the program itself, such as "    at f (program.js:3:5)". The program may have written the text. */
static void clean_stack(Bytes *out, const char *stack, size_t size) {
    const char *end = stack + (size < STACK_CAP ? size : STACK_CAP);
    while (stack < end && !out->full) {
        const char *stop = memchr(stack, '\n', (size_t)(end - stack));
        if (!stop) stop = end;
        if (is_of_program(stack, (size_t)(stop - stack))) {
            if (out->size) bytes_char(out, '\n');
            bytes_put(out, stack, (size_t)(stop - stack));
        }
        stack = stop + 1;
    }
}

static JSValue stack_getter = JS_UNDEFINED; /* of Error.prototype, captured before any program runs */
static JSValue error_prototype = JS_UNDEFINED;

int failure_install(JSContext *ctx) {
    static const char code[] = "Object.getOwnPropertyDescriptor(Error.prototype, 'stack').get";
    static const char prototype[] = "Error.prototype";
    stack_getter = JS_Eval(ctx, code, sizeof code - 1, "intrinsics", 0);
    error_prototype = JS_Eval(ctx, prototype, sizeof prototype - 1, "intrinsics", 0);
    return JS_IsException(stack_getter) || JS_IsException(error_prototype) ? -1 : 0;
}

/* An error, or an object that was made to inherit from one, as `Object.create(Error.prototype)`. */
static bool is_error(JSContext *ctx, JSValueConst value) {
    if (JS_IsError(value)) return true;
    bool found = false;
    JSValue next = JS_IsObject(value) ? JS_GetPrototype(ctx, value) : JS_UNDEFINED;
    for (int i = 0; i < PROTOTYPES && JS_IsObject(next) && !found; i++) {
        found = JS_VALUE_GET_PTR(next) == JS_VALUE_GET_PTR(error_prototype);
        JSValue after = JS_GetPrototype(ctx, next);
        JS_FreeValue(ctx, next);
        next = after;
    }
    if (JS_IsException(next)) JS_FreeValue(ctx, JS_GetException(ctx));
    JS_FreeValue(ctx, next);
    return found;
}

/* The stack that the engine recorded, or undefined. Never throws. */
JSValue error_stack(JSContext *ctx, JSValueConst error) {
    JSValue stack = JS_Call(ctx, stack_getter, error, 0, NULL);
    if (JS_IsException(stack)) {
        JS_FreeValue(ctx, JS_GetException(ctx));
        return JS_UNDEFINED;
    }
    return stack;
}

static bool own_stack(JSContext *ctx, JSValueConst error, Bytes *out) {
    JSValue stack = error_stack(ctx, error);
    bool is_text = JS_IsString(stack);
    if (is_text) {
        size_t size;
        const char *text = JS_ToCStringLen(ctx, &size, stack);
        if (text) clean_stack(out, text, size);
        else JS_FreeValue(ctx, JS_GetException(ctx));
        JS_FreeCString(ctx, text);
    }
    JS_FreeValue(ctx, stack);
    return is_text;
}

void clean_stack_property(JSContext *ctx, JSValueConst error) {
    Bytes text = {.cap = TEXT_CAP};
    if (own_stack(ctx, error, &text)) {
        JSValue stack = JS_NewStringLen(ctx, (const char *)text.data, text.size);
        JS_DefinePropertyValueStr(ctx, error, "stack", stack, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
    }
    bytes_release(&text);
}

/* Appends error[name]. False when it is not a text, or empty. */
static bool text_of(JSContext *ctx, JSValueConst error, const char *name, Bytes *out) {
    JSValue value = JS_GetPropertyStr(ctx, error, name);
    bool ok = false;
    if (JS_IsString(value)) {
        size_t size;
        const char *text = JS_ToCStringLen(ctx, &size, value);
        if (text) ok = bytes_put(out, text, size < TEXT_CAP ? size : TEXT_CAP) && size;
        JS_FreeCString(ctx, text);
    }
    if (JS_HasException(ctx)) JS_FreeValue(ctx, JS_GetException(ctx));
    JS_FreeValue(ctx, value);
    return ok;
}

static void member(Bytes *out, const char *key, const Bytes *text) {
    bytes_text(out, key);
    /* The cut may have left half a character, and the writer does not check: remove it here. */
    size_t size = text->size;
    while (size && size >= TEXT_CAP && ((uint8_t)text->data[size - 1] & 0xC0) == 0x80) size--;
    if (size && size >= TEXT_CAP - 4 && text->data[size - 1] >= 0xC0) size--;
    bytes_json_string(out, (const char *)text->data, size);
}

void failure_plain(Bytes *out, const char *kind, const char *name, const char *message) {
    bytes_text(out, "{\"kind\":");
    bytes_json_string(out, kind, strlen(kind));
    bytes_text(out, ",\"name\":");
    bytes_json_string(out, name, strlen(name));
    bytes_text(out, ",\"message\":");
    bytes_json_string(out, message, strlen(message));
    bytes_text(out, "}");
}

/* error[name] when that is a property of its own and a value, else undefined. Runs no getter. Never throws. */
static JSValue own_value(JSContext *ctx, JSValueConst error, const char *name) {
    JSAtom atom = JS_NewAtom(ctx, name);
    JSPropertyDescriptor found;
    int has = JS_GetOwnProperty(ctx, &found, error, atom);
    JS_FreeAtom(ctx, atom);
    if (has < 0) JS_FreeValue(ctx, JS_GetException(ctx));
    if (has <= 0) return JS_UNDEFINED;
    JS_FreeValue(ctx, found.getter);
    JS_FreeValue(ctx, found.setter);
    return found.value;
}

/* "Name: message" of an error, or another value as logs show it. */
static void brief(JSContext *ctx, JSValueConst value, Bytes *out) {
    if (!JS_IsError(value)) {
        inspect_value(ctx, out, value);
        return;
    }
    Bytes text = {.cap = BRIEF_CAP};
    if (!text_of(ctx, value, "name", out)) bytes_text(out, "Error");
    if (text_of(ctx, value, "message", &text)) {
        bytes_text(out, ": ");
        bytes_put(out, text.data, text.size);
    }
    bytes_release(&text);
}

/* Appends what the error says of others: its `errors`, unless its message is made of them, and the chain of its causes. */
static void describe_others(JSContext *ctx, JSValueConst thrown, Bytes *message) {
    JSValue errors = own_value(ctx, thrown, "errors"), text = own_value(ctx, thrown, "message");
    for (int64_t i = 0; JS_IsArray(errors) && JS_IsString(text) && i < OTHERS; i++) {
        JSValue one = JS_GetPropertyInt64(ctx, errors, i);
        if (JS_IsException(one)) JS_FreeValue(ctx, JS_GetException(ctx));
        else if (!JS_IsUndefined(one)) {
            bytes_text(message, "\nerror: ");
            brief(ctx, one, message);
        }
        JS_FreeValue(ctx, one);
    }
    JS_FreeValue(ctx, text);
    JS_FreeValue(ctx, errors);
    JSValue cause = own_value(ctx, thrown, "cause");
    bool itself = JS_IsObject(cause) && JS_VALUE_GET_PTR(cause) == JS_VALUE_GET_PTR(thrown);
    for (int i = 0; !itself && !JS_IsUndefined(cause) && i < OTHERS; i++) {
        bytes_text(message, "\ncaused by: ");
        brief(ctx, cause, message);
        JSValue next = JS_IsError(cause) ? own_value(ctx, cause, "cause") : JS_UNDEFINED;
        bool again = JS_IsObject(next) && (JS_VALUE_GET_PTR(next) == JS_VALUE_GET_PTR(thrown) ||
                                           JS_VALUE_GET_PTR(next) == JS_VALUE_GET_PTR(cause));
        JS_FreeValue(ctx, cause);
        cause = next;
        if (again) break;
    }
    JS_FreeValue(ctx, cause);
}

static void describe(JSContext *ctx, JSValueConst thrown, Bytes *name, Bytes *message, Bytes *stack) {
    if (!is_error(ctx, thrown)) {
        if (!JS_IsString(thrown)) bytes_text(message, "the program threw ");
        inspect_value(ctx, message, thrown);
        return;
    }
    if (!text_of(ctx, thrown, "name", name)) bytes_text(name, "Error");
    if (!text_of(ctx, thrown, "message", message)) {
        bytes_put(message, name->data, name->size);
        bytes_text(message, " without a message");
    }
    describe_others(ctx, thrown, message);
    own_stack(ctx, thrown, stack);
}

void failure_from_exception(JSContext *ctx, Bytes *out, const char *kind, JSValue thrown) {
    Bytes name = {.cap = TEXT_CAP}, message = {.cap = TEXT_CAP}, stack = {.cap = TEXT_CAP};
    int limit = guest_limit_of(thrown);
    if (limit == LIMIT_MEMORY) kind = "memory";
    if (limit == LIMIT_STACK) kind = "stack";
    describe(ctx, thrown, &name, &message, &stack);
    bytes_text(out, "{\"kind\":");
    bytes_json_string(out, kind, strlen(kind));
    if (name.size) member(out, ",\"name\":", &name);
    member(out, ",\"message\":", &message);
    if (stack.size) member(out, ",\"stack\":", &stack);
    bytes_char(out, '}');
    bytes_release(&name);
    bytes_release(&message);
    bytes_release(&stack);
    JS_FreeValue(ctx, thrown);
}

void describe_error(JSContext *ctx, JSValueConst error, Bytes *out) {
    Bytes name = {.cap = TEXT_CAP}, message = {.cap = TEXT_CAP}, stack = {.cap = TEXT_CAP};
    describe(ctx, error, &name, &message, &stack);
    bytes_put(out, name.data, name.size);
    bytes_text(out, ": ");
    bytes_put(out, message.data, message.size);
    if (stack.size) {
        bytes_char(out, '\n');
        bytes_put(out, stack.data, stack.size);
    }
    bytes_release(&name);
    bytes_release(&message);
    bytes_release(&stack);
}
