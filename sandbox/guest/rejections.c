/* Rejected promises without a handler. They do not fail the run; those still without one at its end are logged. */
#include "guest.h"

#define KEPT 32
static struct { JSValue promise, reason; } kept[KEPT];
static int count;

static bool same(JSValueConst a, JSValueConst b) {
    return JS_IsObject(a) && JS_IsObject(b) && JS_VALUE_GET_PTR(a) == JS_VALUE_GET_PTR(b);
}

void rejections_ignore(JSContext *ctx, JSValueConst promise) {
    for (int i = 0; i < count; i++) {
        if (!same(kept[i].promise, promise)) continue;
        JS_FreeValue(ctx, kept[i].promise);
        JS_FreeValue(ctx, kept[i].reason);
        kept[i] = kept[--count];
        return;
    }
}

static void track(JSContext *ctx, JSValueConst promise, JSValueConst reason, bool handled, void *opaque) {
    if (handled) {
        rejections_ignore(ctx, promise);
    } else if (count < KEPT) {
        kept[count].promise = JS_DupValue(ctx, promise);
        kept[count++].reason = JS_DupValue(ctx, reason);
    }
}

/* Takes the reason of the first one, which the caller frees. */
bool rejections_take(JSValue *reason) {
    if (!count) return false;
    *reason = kept[0].reason;
    memmove(kept, kept + 1, (size_t)--count * sizeof *kept);
    return true;
}

void rejections_report(JSContext *ctx) {
    for (int i = 0; i < count; i++) {
        Bytes text = {.cap = 8192};
        bytes_text(&text, "Unhandled rejection: ");
        inspect_value(ctx, &text, kept[i].reason);
        logs_add("error", (const char *)text.data, text.size);
        bytes_release(&text);
    }
}

void rejections_install(JSRuntime *rt) { JS_SetHostPromiseRejectionTracker(rt, track, NULL); }
