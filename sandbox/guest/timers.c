/* setTimeout and setInterval (HTML standard, 8.6): the timers that are due at `now` run in order of their time, then of their
   creation. The host gets the earliest time and resumes the isolate then. */
#include <stdlib.h>
#include "guest.h"

struct timer {
    double due, interval; /* interval < 0: once */
    uint32_t id, nesting;
    JSValue function;
    int argc;
    JSValue *argv;
};

static struct timer *timers;
static uint32_t count, room, last_id, nesting;

static void forget(JSContext *ctx, struct timer *t) {
    JS_FreeValue(ctx, t->function);
    for (int i = 0; i < t->argc; i++) JS_FreeValue(ctx, t->argv[i]);
    free(t->argv);
}

static void take_out(uint32_t at) {
    memmove(timers + at, timers + at + 1, (count - at - 1) * sizeof *timers);
    count--;
}

static bool grow(void) {
    if (count < room) return true;
    uint32_t wanted = room ? room * 2 : 8;
    struct timer *moved = realloc(timers, wanted * sizeof *timers);
    if (!moved) return false;
    timers = moved;
    room = wanted;
    return true;
}

static double clamp(double delay) {
    if (!(delay > 0)) delay = 0;
    if (delay > 2147483647) delay = 1;
    return nesting >= 5 && delay < 4 ? 4 : delay;
}

static JSValue set_timer(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int repeat) {
    double delay = 0;
    if (!JS_IsFunction(ctx, argv[0]))
        return JS_ThrowTypeError(ctx, "the first argument of %s must be a function", repeat ? "setInterval" : "setTimeout");
    if (argc > 1 && JS_ToFloat64(ctx, &delay, argv[1])) return JS_EXCEPTION;
    if (count >= guest_limits.timers)
        return JS_ThrowRangeError(ctx, "too many timers: at most %u may wait at a time", guest_limits.timers);
    struct timer t = {.function = JS_UNDEFINED, .id = last_id + 1, .nesting = nesting + 1};
    t.argc = argc > 2 ? argc - 2 : 0;
    if (t.argc) t.argv = malloc(sizeof(JSValue) * (size_t)t.argc);
    if (!grow() || (t.argc && !t.argv)) {
        free(t.argv);
        return JS_ThrowOutOfMemory(ctx);
    }
    delay = clamp(delay);
    t.due = guest_now + delay;
    t.interval = repeat ? (delay < 1 ? 1 : delay) : -1;
    t.function = JS_DupValue(ctx, argv[0]);
    for (int i = 0; i < t.argc; i++) t.argv[i] = JS_DupValue(ctx, argv[i + 2]);
    timers[count++] = t;
    return JS_NewUint32(ctx, ++last_id);
}

static JSValue js_clear(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    uint32_t id;
    if (!JS_IsNumber(argv[0])) return JS_UNDEFINED;
    if (JS_ToUint32(ctx, &id, argv[0])) return JS_EXCEPTION;
    for (uint32_t i = 0; i < count; i++) {
        if (timers[i].id != id) continue;
        struct timer t = timers[i];
        take_out(i);
        forget(ctx, &t);
        break;
    }
    return JS_UNDEFINED;
}

static uint32_t earliest(void) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (timers[i].due < timers[best].due || (timers[i].due == timers[best].due && timers[i].id < timers[best].id)) best = i;
    return best;
}

bool timers_wake_at(double *when) {
    if (!count) return false;
    *when = timers[earliest()].due;
    return true;
}

bool timers_has(uint32_t id) {
    for (uint32_t i = 0; i < count; i++)
        if (timers[i].id == id) return true;
    return false;
}

/* Runs the timer that is due first, of those from before this slice. The caller drains the job queue after each. */
bool timers_run_next_due(JSContext *ctx, uint32_t made_by, bool *failed) {
    *failed = false;
    uint32_t best = count;
    for (uint32_t i = 0; i < count; i++) {
        if (timers[i].due > guest_now || timers[i].id > made_by) continue;
        if (best == count || timers[i].due < timers[best].due ||
            (timers[i].due == timers[best].due && timers[i].id < timers[best].id))
            best = i;
    }
    if (best == count) return false;
    struct timer t = timers[best];
    bool again = t.interval >= 0;
    if (again) {
        timers[best].due = guest_now + t.interval;
        t.function = JS_DupValue(ctx, t.function);
        JSValue *argv = t.argc ? malloc(sizeof(JSValue) * (size_t)t.argc) : NULL;
        if (!argv) t.argc = 0;
        for (int i = 0; i < t.argc; i++) argv[i] = JS_DupValue(ctx, t.argv[i]);
        t.argv = argv;
    } else {
        take_out(best);
    }
    nesting = t.nesting;
    JSValue result = JS_Call(ctx, t.function, JS_UNDEFINED, t.argc, (JSValueConst *)t.argv);
    nesting = 0;
    *failed = JS_IsException(result);
    JS_FreeValue(ctx, result);
    forget(ctx, &t);
    return true;
}

uint32_t timers_made(void) { return last_id; }

int timers_install(JSContext *ctx, JSValue native) {
    static const JSCFunctionListEntry members[] = {
        JS_CFUNC_MAGIC_DEF("setTimeout", 1, set_timer, 0), JS_CFUNC_MAGIC_DEF("setInterval", 1, set_timer, 1),
        JS_CFUNC_DEF("clearTimeout", 1, js_clear), JS_CFUNC_DEF("clearInterval", 1, js_clear),
    };
    JSValue global = JS_GetGlobalObject(ctx);
    int failed = JS_SetPropertyFunctionList(ctx, global, members, 4);
    JS_FreeValue(ctx, global);
    return failed;
}
