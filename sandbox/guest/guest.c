/* The exports that the host calls, and the loop that runs a slice. */
#include <stdlib.h>
#include "guest.h"
#include "intl.h"

#define EXPORT(name) __attribute__((export_name(#name)))
#define INPUT_SIZE 16384
#define GC_SLACK (4 << 20) /* so much that a small program ends before the first collection */

static uint8_t input[INPUT_SIZE + INPUT_ALIGN] __attribute__((aligned(INPUT_ALIGN)));
static uint8_t *large_input;
static JSRuntime *rt;
static JSContext *ctx;
static JSValue native = JS_UNDEFINED;
static JSValue begin = JS_UNDEFINED; /* what the preload set as `host.begin` */
static Bytes output;

struct layout guest_layout;
struct limits guest_limits = {.memory = 64 << 20, .stack = 256 << 10, .arguments = 1 << 20, .result = 1 << 20,
                              .log_bytes = 65536, .log_lines = 1000, .depth = 100, .timers = 1000, .source = 1 << 20};
double guest_now, guest_began;

static void publish(void) {
    guest_layout.output = (uint32_t)(uintptr_t)output.data;
    guest_layout.output_size = (uint32_t)output.size;
    guest_layout.heap = (uint32_t)guest_memory_used();
    guest_layout.end = (uint32_t)alloc_end();
}

/* --- outcomes: ["suspended",calls,wake,logs] ["completed",has,value,logs,calls] ["failed",error,logs,calls] --- */

static Bytes *outcome(const char *tag) {
    bytes_release(&output);
    bytes_text(&output, "[\"");
    bytes_text(&output, tag);
    bytes_text(&output, "\",");
    return &output;
}

static void publish_text(const char *text) {
    bytes_release(&output);
    guest_layout.output = (uint32_t)(uintptr_t)text;
    guest_layout.output_size = (uint32_t)strlen(text);
}

static void finish(bool last) {
    output.cap = 0;
    bytes_char(&output, ',');
    logs_take(&output, last);
    if (last) {
        bytes_char(&output, ',');
        calls_take_new(&output);
    }
    bytes_char(&output, ']');
    if (output.failed) publish_text("[\"failed\",{\"kind\":\"memory\",\"message\":\"out of memory\"},[],[]]");
    else publish();
}

static void fail(const char *kind, JSValue thrown) {
    failure_from_exception(ctx, outcome("failed"), kind, thrown);
    rejections_report(ctx);
    finish(true);
}

static void fail_plainly(const char *kind, const char *name, const char *message) {
    failure_plain(outcome("failed"), kind, name, message);
    rejections_report(ctx);
    finish(true);
}

/* A trap is all that a program can neither catch nor survive. The outcome is written before it. */
_Noreturn void guest_stop(JSContext *c, const char *kind, const char *name, const char *message) {
    JSValue error = JS_ThrowRangeError(c, "%s", message);
    error = JS_GetException(c);
    if (JS_IsError(error)) {
        JS_DefinePropertyValueStr(c, error, "name", JS_NewString(c, name), JS_PROP_C_W_E);
        fail(kind, error);
    } else {
        fail_plainly(kind, name, message);
    }
    guest_layout.stopped = 1;
    __builtin_trap();
}

static void complete(JSValue value) {
    bool has = !JS_IsUndefined(value);
    Bytes *out = outcome("completed");
    bytes_text(out, has ? "true," : "false,");
    out->cap = out->size + guest_limits.result;
    bool ok = encode_value(ctx, out, value, "result");
    JS_FreeValue(ctx, value);
    if (ok) {
        out->cap = 0;
        rejections_report(ctx);
        finish(true);
    } else if (out->full) {
        fail_plainly("size", "RangeError", "the result is larger than its limit allows");
    } else if (out->failed) {
        fail_plainly("memory", "InternalError", "out of memory");
    } else {
        fail("exception", JS_GetException(ctx));
    }
}

static void suspend(void) {
    double wake;
    Bytes *out = outcome("suspended");
    calls_take_new(out);
    bytes_char(out, ',');
    if (timers_wake_at(&wake)) bytes_double(ctx, out, wake);
    else bytes_text(out, "null");
    finish(false);
}

/* --- a slice --- */

static void drain_jobs(void) {
    JSContext *at;
    int more;
    while ((more = JS_ExecutePendingJob(rt, &at)) != 0)
        if (more < 0) JS_FreeValue(ctx, JS_GetException(ctx));
}

static void log_exception(void) {
    Bytes text = {.cap = 8192};
    JSValue error = JS_GetException(ctx);
    bytes_text(&text, "Uncaught in a timer: ");
    inspect_value(ctx, &text, error);
    logs_add("error", (const char *)text.data, text.size);
    bytes_release(&text);
    JS_FreeValue(ctx, error);
}

static bool lingers;                         /* the program has ended, and its timers are what it is about */
static JSValue ended_with = JS_UNDEFINED;

/* Whether a program that has ended is about its timers: it made no call, and its value is none or a timer. Others leave
   timers behind that must not hold up their result, such as the limit of a Promise.race. */
static bool is_about_timers(JSValueConst value) {
    uint32_t id;
    if (calls_made() || !timers_wake_at(&(double){0})) return false;
    return JS_IsUndefined(value) || (JS_IsNumber(value) && !JS_ToUint32(ctx, &id, value) && timers_has(id));
}

/* Ends the program when its timers and their calls are done. What a timer leaves rejected is its failure. */
static bool linger(void) {
    JSValue reason;
    if (JS_IsJobPending(rt) || calls_outstanding() || timers_wake_at(&(double){0})) return false;
    if (rejections_take(&reason)) fail("exception", reason);
    else complete(ended_with);
    return true;
}

static bool ended(void) {
    JSValue value;
    if (lingers) return linger();
    switch (program_progress(ctx, &value)) {
    case PROGRAM_DONE:
        if ((lingers = is_about_timers(value))) ended_with = value;
        else complete(value);
        return !lingers;
    case PROGRAM_FAILED: fail("exception", value); return true;
    default: return false;
    }
}

static void run(void) {
    uint32_t made_before = timers_made();
    bool failed;
    do {
        for (;;) {
            drain_jobs();
            if (ended()) return;
            if (!JS_IsJobPending(rt)) break;
        }
        if (!timers_run_next_due(ctx, made_before, &failed)) break;
        if (failed && lingers) {
            fail("exception", JS_GetException(ctx));
            return;
        }
        if (failed) log_exception();
    } while (true);
    if (!calls_outstanding() && !timers_wake_at(&(double){0}))
        fail_plainly("deadlock", "Deadlock", "the program waits for a promise that nothing can settle any more");
    else
        suspend();
}

/* --- reading batches. The host is trusted, and still every length is checked --- */

struct reader { const uint8_t *at, *end; };

static const uint8_t *take(struct reader *r, size_t size) {
    if ((size_t)(r->end - r->at) < size) __builtin_trap();
    const uint8_t *at = r->at;
    r->at += size;
    return at;
}

static uint32_t take_u32(struct reader *r) {
    uint32_t n;
    memcpy(&n, take(r, 4), 4);
    return n;
}

static double take_double(struct reader *r) {
    double d;
    memcpy(&d, take(r, 8), 8);
    return d;
}

static struct reader batch(uint32_t size) {
    uint8_t *from = large_input ? large_input : input;
    if (!large_input && size > INPUT_SIZE) __builtin_trap();
    JS_UpdateStackTop(rt);
    bytes_release(&output);
    return (struct reader){from, from + size};
}

static void done_with_input(uint32_t size) {
    if (large_input) free(large_input);
    else memset(input, 0, size);
    large_input = NULL;
}

/* --- exports --- */

EXPORT(layout) struct layout *export_layout(void) { return &guest_layout; }

/* Writes a part of the difference of this memory from the initial one into `input`, as `size u32 | runs`, beginning with the
   block at `from`. Returns the block to go on with; at the end of the initial memory there is nothing more. */
EXPORT(difference) uint32_t export_difference(uint32_t from) {
    if (!from) {
        bytes_release(&output);
        publish();
        alloc_clear();
    }
    return freeze_difference(input, INPUT_SIZE, sizeof input, from);
}

/* Turns a part of the initial memory into that of a frozen program, by `size` bytes of runs in `input`. Only locals: it
   changes every variable. */
EXPORT(patch) void export_patch(uint32_t size) {
    if (size > INPUT_SIZE) __builtin_trap();
    freeze_patch(input, size);
}

/* A buffer for a batch that `input` is too small for; 0 when there is no memory. */
EXPORT(reserve) uint8_t *export_reserve(uint32_t size) {
    free(large_input);
    large_input = malloc((size_t)size + 8);
    return large_input;
}

EXPORT(initialize) int export_initialize(void) {
    rt = JS_NewRuntime2(&guest_malloc_functions, NULL);
    if (!rt) return -1;
    JS_SetGCThreshold(rt, 32 << 10);
    if (!(ctx = JS_NewContext(rt))) return -1;
    program_install(rt);
    rejections_install(rt);
    native = JS_NewObject(ctx);
    if (failure_install(ctx) || encode_install(ctx) || random_install(ctx, native) || clock_install(ctx) || logs_install(ctx, native) ||
        calls_install(ctx, native) || timers_install(ctx, native))
        return -1;
    if (intl_install(ctx)) return -1;
    if (web_install && web_install(ctx, native)) return -1;
    guest_layout.abi = GUEST_ABI;
    guest_layout.input = (uint32_t)(uintptr_t)input;
    guest_layout.input_size = INPUT_SIZE;
    publish();
    return 0;
}

/* A batch for one of the exports below: a file name, then text to compile or bytecode to run. */
struct setup { char file[128]; const uint8_t *data; uint32_t size; };

static struct setup take_setup(struct reader *r) {
    struct setup s = {0};
    uint32_t name_size = take_u32(r);
    const uint8_t *name = take(r, name_size);
    memcpy(s.file, name, name_size < sizeof s.file ? name_size : sizeof s.file - 1);
    s.size = take_u32(r);
    s.data = take(r, s.size);
    return s;
}

/* Compiles the text as the body of function (<parameter>) { "use strict"; ... }. Its own lines begin at 1. */
static JSValue compile_body(const struct setup *s, const char *parameter) {
    Bytes text = {0};
    bytes_text(&text, "(function (");
    bytes_text(&text, parameter);
    bytes_text(&text, ") {\"use strict\";\n\n");
    bytes_put(&text, s->data, s->size);
    bytes_put(&text, "\n})", 4);
    JSEvalOptions options = {.version = JS_EVAL_OPTIONS_VERSION, .filename = s->file, .line_num = -1,
                             .eval_flags = JS_EVAL_FLAG_COMPILE_ONLY};
    JSValue compiled = text.failed ? JS_ThrowOutOfMemory(ctx) : JS_Eval2(ctx, (const char *)text.data, text.size - 1, &options);
    bytes_release(&text);
    return compiled;
}

/* Runs a compiled body with its argument. Frees `compiled`. */
static bool call_body(JSValue compiled, JSValueConst argument) {
    JSValue function = JS_IsException(compiled) ? JS_EXCEPTION : JS_EvalFunction(ctx, compiled);
    JSValue result = JS_IsException(function) ? JS_EXCEPTION : JS_Call(ctx, function, JS_UNDEFINED, 1, &argument);
    bool ok = !JS_IsException(result);
    JS_FreeValue(ctx, function);
    JS_FreeValue(ctx, result);
    if (ok) drain_jobs();
    return ok;
}

static int setup_done(uint32_t size, bool ok) {
    if (!ok) fail("exception", JS_HasException(ctx) ? JS_GetException(ctx) : JS_NULL);
    done_with_input(size);
    publish();
    if (ok) {
        JS_RunGC(rt);
        alloc_clear();
    }
    return ok ? 0 : -1;
}

/* Writes the bytecode of a script to the output. It runs in another instance: the garbage of compiling would be in the
   image, and every fresh isolate would pay for it. */
static int compile(uint32_t size, const char *parameter) {
    struct reader r = batch(size);
    struct setup s = take_setup(&r);
    JSValue compiled = compile_body(&s, parameter);
    if (JS_IsException(compiled)) return setup_done(size, false);
    size_t length;
    uint8_t *bytecode = JS_WriteObject(ctx, &length, compiled, JS_WRITE_OBJ_BYTECODE | JS_WRITE_OBJ_STRIP_DEBUG);
    JS_FreeValue(ctx, compiled);
    bool ok = bytecode && bytes_put(&output, bytecode, length);
    js_free(ctx, bytecode);
    return setup_done(size, ok);
}

EXPORT(compile) int export_compile(uint32_t size) { return compile(size, "native"); }
EXPORT(compile_preload) int export_compile_preload(uint32_t size) { return compile(size, "host"); }

EXPORT(prelude) int export_prelude(uint32_t size) {
    struct reader r = batch(size);
    struct setup s = take_setup(&r);
    return setup_done(size, call_body(JS_ReadObject(ctx, s.data, s.size, JS_READ_OBJ_BYTECODE), native));
}

EXPORT(preload) int export_preload(uint32_t size) {
    struct reader r = batch(size);
    JSValue host = JS_NewObject(ctx), global = JS_GetGlobalObject(ctx);
    JS_DefinePropertyValueStr(ctx, host, "call", JS_GetPropertyStr(ctx, native, "call"), 0);
    struct setup s = take_setup(&r);
    bool ok = call_body(JS_ReadObject(ctx, s.data, s.size, JS_READ_OBJ_BYTECODE), host);
    if (ok) begin = JS_GetPropertyStr(ctx, host, "begin");
    JSAtom name = JS_NewAtom(ctx, "host");
    if (ok) JS_DeleteProperty(ctx, global, name, 0);
    JS_FreeAtom(ctx, name);
    JS_FreeValue(ctx, global);
    JS_FreeValue(ctx, host);
    return setup_done(size, ok);
}

/* Calls the function that the preload set as `host.begin`. The text is the host's, but it counts as the program's memory. */
static bool call_begin(const char *text, uint32_t size) {
    if (!size || !JS_IsFunction(ctx, begin)) return true;
    JSValue argument = JS_NewStringLen(ctx, text, size);
    JSValue result = JS_IsException(argument) ? JS_EXCEPTION : JS_Call(ctx, begin, JS_UNDEFINED, 1, &argument);
    bool ok = !JS_IsException(result);
    JS_FreeValue(ctx, argument);
    JS_FreeValue(ctx, result);
    JS_FreeValue(ctx, begin);
    begin = JS_UNDEFINED;
    return ok;
}

EXPORT(start) void export_start(uint32_t size) {
    struct reader r = batch(size);
    guest_now = guest_began = take_double(&r);
    random_seed(take(&r, 32));
    memcpy(&guest_limits, take(&r, sizeof guest_limits), sizeof guest_limits);
    uint32_t text_size = take_u32(&r);
    const char *text = (const char *)take(&r, (size_t)text_size + 1);
    uint32_t claimed = take_u32(&r), names_size = take_u32(&r);
    const char *names = (const char *)take(&r, names_size);
    uint32_t source_size = take_u32(&r);
    const char *source = (const char *)take(&r, (size_t)source_size + 1);
    guest_memory_limit(guest_limits.memory);
    JS_SetGCThreshold(rt, guest_limits.memory / 4 < GC_SLACK ? guest_limits.memory / 4 : GC_SLACK);
    JS_SetMaxStackSize(rt, guest_limits.stack);
    if (claimed > guest_limits.source) {
        fail_plainly("size", "RangeError", "the program's source is larger than its limit allows");
        return;
    }
    int begun = call_begin(text, text_size) ? program_begin(ctx, source, source_size, names, names_size) : -1;
    done_with_input(size);
    if (begun > 0) run();
    else fail(begun ? "exception" : "syntax", JS_GetException(ctx));
}

EXPORT(resume) void export_resume(uint32_t size) {
    struct reader r = batch(size);
    guest_now = take_double(&r);
    uint32_t count = take_u32(&r);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = take_u32(&r), ok = take_u32(&r), length = take_u32(&r);
        const char *json = (const char *)take(&r, (size_t)length + 1);
        calls_settle(ctx, id, ok != 0, json, length);
    }
    done_with_input(size);
    run();
}

/* The ids of the calls without a settlement, for the header of a frozen program. */
EXPORT(pending) void export_pending(void) {
    bytes_release(&output);
    bytes_char(&output, '[');
    calls_outstanding_ids(&output);
    bytes_char(&output, ']');
    publish();
}
