/* The three forms of a program: a script (top-level await; its last expression is the value), a function body (top-level
   return), a module (export default). The first that compiles counts. A value that is a function is then called. */
#include <stdlib.h>
#include "guest.h"

enum stage { PLAIN_SCRIPT, SCRIPT, BODY, MODULE, VALUE };
static enum stage stage;
static JSValue promise = JS_UNDEFINED; /* for a plain script, which has no promise: its value */
static JSModuleDef *module;
static bool called;
static char *candidates; /* names of functions that the program defines and does not mention again, one a line */
static size_t candidates_size;

struct place { int line, column; };

static JSValue compile(JSContext *ctx, const char *source, size_t size, int flags, int line) {
    JSEvalOptions options = {.version = JS_EVAL_OPTIONS_VERSION, .filename = PROGRAM_FILE, .line_num = line,
                             .eval_flags = flags | JS_EVAL_FLAG_STRICT | JS_EVAL_FLAG_COMPILE_ONLY};
    return JS_Eval2(ctx, source, size, &options);
}

/* `before` ends in two line feeds, so that the program's lines begin at 1: the engine cannot start at line 0. */
static JSValue compile_between(JSContext *ctx, const char *before, const char *source, size_t size, const char *after) {
    Bytes text = {0};
    bytes_text(&text, before);
    bytes_put(&text, source, size);
    bytes_put(&text, after, strlen(after) + 1);
    JSValue compiled = text.failed ? JS_ThrowOutOfMemory(ctx)
                                   : compile(ctx, (const char *)text.data, text.size - 1, JS_EVAL_TYPE_GLOBAL, -1);
    bytes_release(&text);
    return compiled;
}

/* Compiles the text in two wrappers and uses one. A text that closes the first, such as `}); f(); (() => {`, does not
   compile in the second. */
static JSValue compile_body(JSContext *ctx, const char *source, size_t size) {
    JSValue compiled = compile_between(ctx, "(async()=>{\n\n", source, size, "\n})");
    if (JS_IsException(compiled)) return compiled;
    JSValue again = compile_between(ctx, "async function f(){\n\n", source, size, "\n}");
    if (JS_IsException(again)) {
        JS_FreeValue(ctx, compiled);
        return again;
    }
    JS_FreeValue(ctx, again);
    return compiled;
}

static bool import_refused;

static JSModuleDef *refuse_import(JSContext *ctx, const char *name, void *opaque) {
    import_refused = true;
    JS_ThrowTypeError(ctx, "cannot import \"%.100s\": a program has no modules to import, all it may use is in its globals",
                      name);
    return NULL;
}

static char *keep_name(JSContext *ctx, const char *base, const char *name, void *opaque) { return js_strdup(ctx, name); }

void program_install(JSRuntime *rt) { JS_SetModuleLoaderFunc(rt, keep_name, refuse_import, NULL); }

/* The place of a syntax error: its stack begins "    at program.js:LINE:COLUMN". */
static struct place place_of(JSContext *ctx, JSValueConst error) {
    struct place place = {0, 0};
    JSValue stack = error_stack(ctx, error);
    const char *text = JS_IsString(stack) ? JS_ToCString(ctx, stack) : NULL;
    const char *frame = text ? strstr(text, PROGRAM_FILE ":") : NULL;
    if (frame) {
        char *end;
        place.line = (int)strtol(frame + sizeof PROGRAM_FILE, &end, 10);
        if (*end == ':') place.column = (int)strtol(end + 1, NULL, 10);
    }
    JS_FreeCString(ctx, text);
    JS_FreeValue(ctx, stack);
    return place;
}

static bool is_further(struct place a, struct place b, int lines) {
    if (a.line > lines) return false; /* behind the program, in our own wrapper */
    return a.line > b.line || (a.line == b.line && a.column > b.column);
}

static int count_lines(const char *source, size_t size) {
    int lines = 1;
    for (size_t i = 0; i < size; i++) lines += source[i] == '\n';
    return lines;
}

/* Of two syntax errors the one further in the text; of two at the same place the earlier attempt. */
static void keep_further(JSContext *ctx, JSValue *best, int lines) {
    JSValue error = JS_GetException(ctx);
    if (is_further(place_of(ctx, error), place_of(ctx, *best), lines)) {
        JS_FreeValue(ctx, *best);
        *best = error;
    } else {
        JS_FreeValue(ctx, error);
    }
}

static JSValue compile_any(JSContext *ctx, const char *source, size_t size) {
    stage = memmem(source, size, "await", 5) ? SCRIPT : PLAIN_SCRIPT;
    int flags = stage == SCRIPT ? JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_ASYNC : JS_EVAL_TYPE_GLOBAL;
    JSValue compiled = compile(ctx, source, size, flags, 1);
    if (!JS_IsException(compiled)) return compiled;
    int lines = count_lines(source, size);
    JSValue best = JS_GetException(ctx);
    stage = BODY;
    compiled = compile_body(ctx, source, size);
    if (JS_IsException(compiled)) {
        keep_further(ctx, &best, lines);
        stage = MODULE;
        compiled = compile(ctx, source, size, JS_EVAL_TYPE_MODULE, 1);
    }
    if (JS_IsException(compiled) && import_refused) {
        JS_FreeValue(ctx, best);
        return compiled;
    }
    if (JS_IsException(compiled)) {
        keep_further(ctx, &best, lines);
        return JS_Throw(ctx, best);
    }
    JS_FreeValue(ctx, best);
    return compiled;
}

static void replace(JSContext *ctx, JSValue next) {
    JS_FreeValue(ctx, promise);
    promise = next;
}

/* 1: it runs; 0: a syntax error is pending; -1: it threw before its first await. */
int program_begin(JSContext *ctx, const char *source, size_t size, const char *names, size_t names_size) {
    called = false;
    candidates = malloc(names_size + 1);
    if (candidates) {
        memcpy(candidates, names, names_size);
        candidates_size = names_size;
    }
    JSValue compiled = compile_any(ctx, source, size);
    if (JS_IsException(compiled)) return import_refused ? -1 : 0;
    if (stage == MODULE) module = JS_VALUE_GET_PTR(compiled);
    JSValue result = JS_EvalFunction(ctx, compiled);
    if (!JS_IsException(result) && stage == BODY) {
        JSValue function = result;
        result = JS_Call(ctx, function, JS_UNDEFINED, 0, NULL);
        JS_FreeValue(ctx, function);
    }
    if (JS_IsException(result)) return -1;
    replace(ctx, result);
    return 1;
}

/* The place of a name in `candidates`: greater for a later one, 0 when it is not in them. */
static size_t candidate_rank(const char *name) {
    size_t size = strlen(name);
    for (size_t at = 0; candidates && at + size <= candidates_size; at++) {
        bool begins = !at || candidates[at - 1] == '\n';
        bool ends = at + size == candidates_size || candidates[at + size] == '\n';
        if (begins && ends && !memcmp(candidates + at, name, size)) return at + 1;
    }
    return 0;
}

/* Of the functions that the module exports the last candidate, else any. */
static JSValue exported_function(JSContext *ctx, JSValueConst exports) {
    JSValue function = JS_UNDEFINED;
    JSPropertyEnum *names;
    uint32_t count;
    size_t best = 0;
    if (JS_GetOwnPropertyNames(ctx, &names, &count, exports, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY)) return JS_EXCEPTION;
    for (uint32_t i = 0; i < count; i++) {
        JSValue item = JS_GetProperty(ctx, exports, names[i].atom);
        if (JS_IsException(item)) JS_FreeValue(ctx, JS_GetException(ctx));
        const char *name = JS_AtomToCString(ctx, names[i].atom);
        size_t rank = JS_IsFunction(ctx, item) && name ? 1 + candidate_rank(name) : 0;
        JS_FreeCString(ctx, name);
        if (rank > best) {
            JS_FreeValue(ctx, function);
            function = JS_DupValue(ctx, item);
            best = rank;
        }
        JS_FreeValue(ctx, item);
    }
    JS_FreePropertyEnum(ctx, names, count);
    return function;
}

/* The default export of the module, else the last function that it exports. */
static JSValue module_value(JSContext *ctx) {
    JSValue exports = JS_GetModuleNamespace(ctx, module);
    if (JS_IsException(exports)) return exports;
    JSAtom name = JS_NewAtom(ctx, "default");
    JSValue value = JS_UNDEFINED;
    int has = JS_HasProperty(ctx, exports, name);
    if (has > 0) value = JS_GetProperty(ctx, exports, name);
    JS_FreeAtom(ctx, name);
    if (!has) value = exported_function(ctx, exports);
    JS_FreeValue(ctx, exports);
    return value;
}

static bool is_identifier(const char *name, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || (i && c >= '0' && c <= '9')))
            return false;
    }
    return size > 0 && size < 256;
}

/* The last function that the program defines at its top level and does not mention again. */
static JSValue uncalled_function(JSContext *ctx) {
    size_t end = candidates_size;
    while (candidates && end) {
        size_t begin = end;
        while (begin && candidates[begin - 1] != '\n') begin--;
        size_t size = end - begin;
        end = begin ? begin - 1 : 0;
        if (!is_identifier(candidates + begin, size)) continue;
        char name[257];
        memcpy(name, candidates + begin, size);
        name[size] = 0;
        JSValue value = JS_Eval(ctx, name, size, "name", JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_STRICT);
        if (JS_IsException(value)) JS_FreeValue(ctx, JS_GetException(ctx));
        if (!JS_IsFunction(ctx, value)) {
            JS_FreeValue(ctx, value);
            continue;
        }
        int64_t required = 0;
        if (JS_GetLength(ctx, value, &required)) JS_FreeValue(ctx, JS_GetException(ctx));
        if (!required) return value;
        Bytes text = {.cap = 512};
        bytes_text(&text, "The program defines ");
        bytes_put(&text, name, size);
        bytes_text(&text, " and never calls it; it was not called because it takes arguments.");
        logs_add("warn", (const char *)text.data, text.size);
        bytes_release(&text);
        JS_FreeValue(ctx, value);
        return JS_UNDEFINED;
    }
    return JS_UNDEFINED;
}

static JSValue stage_value(JSContext *ctx) {
    if (stage == PLAIN_SCRIPT) return JS_DupValue(ctx, promise);
    JSValue result = JS_PromiseResult(ctx, promise), value = JS_UNDEFINED;
    switch (stage) {
    case SCRIPT: value = JS_GetPropertyStr(ctx, result, "value"); break;
    case MODULE: value = module_value(ctx); break;
    default: return result;
    }
    JS_FreeValue(ctx, result);
    return value;
}

/* Waits for an object with a callable `then` as for a promise. Frees `value`. */
static JSValue as_promise(JSContext *ctx, JSValue value) {
    if (!JS_IsObject(value) || JS_IsPromise(value)) return value;
    JSValue then = JS_GetPropertyStr(ctx, value, "then");
    bool thenable = JS_IsFunction(ctx, then), threw = JS_IsException(then);
    JS_FreeValue(ctx, then);
    if (threw) {
        JS_FreeValue(ctx, value);
        return JS_EXCEPTION;
    }
    if (!thenable) return value;
    JSValue functions[2], waiting = JS_NewPromiseCapability(ctx, functions);
    if (!JS_IsException(waiting)) {
        JSValue done = JS_Call(ctx, functions[0], JS_UNDEFINED, 1, (JSValueConst *)&value);
        JS_FreeValue(ctx, done);
        JS_FreeValue(ctx, functions[0]);
        JS_FreeValue(ctx, functions[1]);
    }
    JS_FreeValue(ctx, value);
    return waiting;
}

/* Continues without running jobs. `value` is the reason for PROGRAM_FAILED, and the result for PROGRAM_DONE. */
enum progress program_progress(JSContext *ctx, JSValue *value) {
    for (;;) {
        switch (stage == PLAIN_SCRIPT ? JS_PROMISE_FULFILLED : JS_PromiseState(ctx, promise)) {
        case JS_PROMISE_PENDING: return PROGRAM_PENDING;
        case JS_PROMISE_REJECTED:
            rejections_ignore(ctx, promise);
            *value = JS_PromiseResult(ctx, promise);
            return PROGRAM_FAILED;
        default: break;
        }
        bool first = stage == PLAIN_SCRIPT || stage == SCRIPT || stage == MODULE;
        JSValue v = stage_value(ctx);
        if (JS_IsUndefined(v) && first && !called) v = uncalled_function(ctx);
        if (!called && JS_IsFunction(ctx, v)) {
            called = true;
            JSValue function = v;
            v = JS_Call(ctx, function, JS_UNDEFINED, 0, NULL);
            JS_FreeValue(ctx, function);
        }
        if (!JS_IsException(v)) v = as_promise(ctx, v);
        if (JS_IsException(v)) {
            *value = JS_GetException(ctx);
            return PROGRAM_FAILED;
        }
        if (!JS_IsPromise(v)) {
            *value = v;
            return PROGRAM_DONE;
        }
        replace(ctx, v);
        stage = VALUE;
    }
}
