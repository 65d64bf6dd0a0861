/* A thrown value as the failed outcome: {"kind","name","message","stack"}. Reading the value may run getters of the program;
   an exception from one is dropped. */
#include <stdlib.h>
#include "guest.h"

#define TEXT_CAP 4096
#define STACK_CAP 65536
#define BRIEF_CAP 1024
#define OTHERS 5 /* errors, and causes, that a message names of one error */
#define NESTED 4 /* errors in errors */
#define SEEN 32

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

/* Captured before any program runs. */
static JSValue error_prototype = JS_UNDEFINED, stack_getter = JS_UNDEFINED;

int failure_install(JSContext *ctx) {
    static const char code[] = "Object.getOwnPropertyDescriptor(Error.prototype, 'stack').get";
    error_prototype = JS_Eval(ctx, "Error.prototype", 15, "intrinsics", 0);
    stack_getter = JS_Eval(ctx, code, sizeof code - 1, "intrinsics", 0);
    return JS_IsException(stack_getter) || JS_IsException(error_prototype) ? -1 : 0;
}

/* Whether the value is an error, or has been made as one: Object.create(Error.prototype). Runs no code of the program. */
static bool is_error(JSContext *ctx, JSValueConst value) {
    if (JS_IsError(value)) return true;
    if (!JS_IsObject(value)) return false;
    bool found = false;
    JSValue at = JS_DupValue(ctx, value);
    for (int i = 0; i < SEEN && JS_IsObject(at) && !JS_IsProxy(at) && !found; i++) {
        JSValue next = JS_GetPrototype(ctx, at);
        JS_FreeValue(ctx, at);
        at = next;
        found = JS_IsObject(at) && JS_VALUE_GET_PTR(at) == JS_VALUE_GET_PTR(error_prototype);
    }
    if (JS_IsException(at)) JS_FreeValue(ctx, JS_GetException(ctx));
    JS_FreeValue(ctx, at);
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

/* The line of the program that an error comes from, by the first frame of its stack that is in the program; 0 if there is
   none. The program may have written the text, so the number may be any, but none of the program's code runs. */
uint32_t error_line(JSContext *ctx, JSValueConst error) {
    static const char place[] = PROGRAM_FILE ":";
    JSValue stack = error_stack(ctx, error);
    uint32_t line = 0;
    if (JS_IsString(stack)) {
        size_t size;
        const char *text = JS_ToCStringLen(ctx, &size, stack);
        if (!text) JS_FreeValue(ctx, JS_GetException(ctx));
        const char *end = text ? text + (size < STACK_CAP ? size : STACK_CAP) : NULL;
        for (const char *at = text; at && (at = memchr(at, 'p', (size_t)(end - at))); at++) {
            if ((size_t)(end - at) < sizeof place || memcmp(at, place, sizeof place - 1)) continue;
            for (at += sizeof place - 1; at < end && *at >= '0' && *at <= '9' && line < 100000000; at++)
                line = line * 10 + (uint32_t)(*at - '0');
            break;
        }
        JS_FreeCString(ctx, text);
    }
    JS_FreeValue(ctx, stack);
    return line;
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
    if (!is_error(ctx, value)) {
        Bytes text = {.cap = BRIEF_CAP};
        inspect_value(ctx, &text, value);
        bytes_put(out, text.data, text.size);
        if (text.full) bytes_text(out, "\xE2\x80\xA6");
        bytes_release(&text);
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

struct seen { /* the errors that are described already: a chain of causes may be a circle */
    const void *at[SEEN];
    int count;
};

static bool is_new(struct seen *seen, JSValueConst error) {
    if (!JS_IsObject(error)) return true;
    for (int i = 0; i < seen->count; i++)
        if (seen->at[i] == JS_VALUE_GET_PTR(error)) return false;
    if (seen->count == SEEN) return false;
    seen->at[seen->count++] = JS_VALUE_GET_PTR(error);
    return true;
}

static void begin_line(Bytes *out, int depth, const char *label) {
    bytes_char(out, '\n');
    for (int i = 0; i < depth; i++) bytes_text(out, "  ");
    bytes_text(out, label);
}

/* Whether an error has a cause, or errors that its message does not name. */
static bool has_others(JSContext *ctx, JSValueConst error) {
    if (!is_error(ctx, error)) return false;
    JSValue cause = own_value(ctx, error, "cause"), errors = own_value(ctx, error, "errors");
    JSValue text = own_value(ctx, error, "message");
    bool found = !JS_IsUndefined(cause) || (JS_IsArray(errors) && JS_IsString(text));
    JS_FreeValue(ctx, text);
    JS_FreeValue(ctx, errors);
    JS_FreeValue(ctx, cause);
    return found;
}

static void describe_others(JSContext *ctx, JSValueConst error, Bytes *out, struct seen *seen, int depth);

/* Appends the `errors` of an error. Where its message is made of them, those alone that say more. */
static void describe_errors(JSContext *ctx, JSValueConst error, Bytes *out, struct seen *seen, int depth) {
    JSValue errors = own_value(ctx, error, "errors"), text = own_value(ctx, error, "message");
    int64_t length = 0;
    if (JS_IsArray(errors) && JS_GetLength(ctx, errors, &length)) JS_FreeValue(ctx, JS_GetException(ctx));
    for (int64_t i = 0; i < length && i < OTHERS && !out->full; i++) {
        JSValue one = JS_GetPropertyInt64(ctx, errors, i);
        if (JS_IsException(one)) {
            JS_FreeValue(ctx, JS_GetException(ctx));
        } else if (!JS_IsUndefined(one) && (JS_IsString(text) || has_others(ctx, one))) {
            begin_line(out, depth, "error: ");
            brief(ctx, one, out);
            if (is_error(ctx, one) && is_new(seen, one)) describe_others(ctx, one, out, seen, depth + 1);
        }
        JS_FreeValue(ctx, one);
    }
    if (length > OTHERS && JS_IsString(text)) {
        begin_line(out, depth, "and ");
        bytes_u32(out, (uint32_t)(length - OTHERS));
        bytes_text(out, length - OTHERS == 1 ? " more error" : " more errors");
    }
    JS_FreeValue(ctx, text);
    JS_FreeValue(ctx, errors);
}

/* Appends what the error says of others: its errors, and the chain of its causes with theirs. */
static void describe_others(JSContext *ctx, JSValueConst error, Bytes *out, struct seen *seen, int depth) {
    if (depth >= NESTED) return;
    describe_errors(ctx, error, out, seen, depth);
    JSValue cause = own_value(ctx, error, "cause");
    for (int i = 0; !JS_IsUndefined(cause) && !out->full && is_new(seen, cause); i++) {
        if (i == OTHERS) {
            begin_line(out, depth, "and more causes");
            break;
        }
        begin_line(out, depth, "caused by: ");
        brief(ctx, cause, out);
        JSValue next = JS_UNDEFINED;
        if (is_error(ctx, cause)) {
            if (depth + 1 < NESTED) describe_errors(ctx, cause, out, seen, depth + 1);
            next = own_value(ctx, cause, "cause");
        }
        JS_FreeValue(ctx, cause);
        cause = next;
    }
    JS_FreeValue(ctx, cause);
}

/* What a program threw that is no error. */
static void describe_value(JSContext *ctx, JSValueConst thrown, Bytes *message) {
    int64_t length = 1;
    bool is_text = JS_IsString(thrown) && !JS_GetLength(ctx, thrown, &length) && length;
    if (!is_text) bytes_text(message, "the program threw ");
    if (!length) bytes_text(message, "an empty text");
    else if (JS_IsPromise(thrown)) bytes_text(message, "a promise: await it first");
    else inspect_value(ctx, message, thrown);
    if (!message->full) return;
    message->full = false;
    message->cap += 3;
    while (message->size && (message->data[message->size - 1] & 0xC0) == 0x80) message->size--;
    if (message->size && message->data[message->size - 1] >= 0xC0) message->size--;
    bytes_text(message, "\xE2\x80\xA6");
}

static void describe(JSContext *ctx, JSValueConst value, Bytes *name, Bytes *message, Bytes *stack) {
    JSValue thrown = proxied(ctx, value);
    struct seen seen = {.count = 0};
    if (!is_error(ctx, thrown)) { /* a proxy of another value is shown as the proxy shows it */
        JS_FreeValue(ctx, thrown);
        thrown = JS_DupValue(ctx, value);
    }
    if (!is_error(ctx, thrown)) {
        message->cap -= 8;
        describe_value(ctx, thrown, message);
        JS_FreeValue(ctx, thrown);
        return;
    }
    if (!text_of(ctx, thrown, "name", name)) bytes_text(name, "Error");
    if (!text_of(ctx, thrown, "message", message)) {
        bytes_put(message, name->data, name->size);
        bytes_text(message, " without a message");
    }
    static int describing; /* an error may be in a value that another one has as its cause */
    is_new(&seen, thrown);
    if (!describing) {
        describing++;
        describe_others(ctx, thrown, message, &seen, 0);
        describing--;
    }
    own_stack(ctx, thrown, stack);
    JS_FreeValue(ctx, thrown);
}

void failure_from_exception(JSContext *ctx, Bytes *out, const char *kind, JSValue thrown) {
    Bytes name = {.cap = TEXT_CAP}, message = {.cap = TEXT_CAP}, stack = {.cap = TEXT_CAP};
    int limit = guest_limit_of(thrown);
    if (limit == LIMIT_MEMORY) kind = "memory";
    if (limit == LIMIT_STACK) kind = "stack";
    describe(ctx, thrown, &name, &message, &stack);
    if (*encode_place) { /* below the frames of the program is what called it */
        if (stack.size) bytes_char(&stack, '\n');
        bytes_text(&stack, "    while ");
        bytes_text(&stack, encode_place);
        bytes_text(&stack, " was read");
    }
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
