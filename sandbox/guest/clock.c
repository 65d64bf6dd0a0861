/* Time in the isolate is the batch's `now`, the same for a whole slice: nothing to time other programs with. */
#include "guest.h"

static JSValue js_performance_now(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    return JS_NewFloat64(ctx, guest_now - guest_began);
}

static JSValue js_time_origin(JSContext *ctx, JSValueConst self) { return JS_NewFloat64(ctx, guest_began); }

int clock_install(JSContext *ctx) {
    static const JSCFunctionListEntry members[] = {
        JS_CFUNC_DEF("now", 0, js_performance_now),
        JS_CGETSET_DEF("timeOrigin", js_time_origin, NULL),
    };
    JSValue global = JS_GetGlobalObject(ctx), performance = JS_NewObject(ctx);
    int failed = JS_SetPropertyFunctionList(ctx, performance, members, 2) < 0 ||
                 JS_DefinePropertyValueStr(ctx, global, "performance", performance,
                                           JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE | JS_PROP_ENUMERABLE) < 0;
    JS_FreeValue(ctx, global);
    return failed ? -1 : 0;
}
