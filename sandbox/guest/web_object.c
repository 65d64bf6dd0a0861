/* Facts about an object that JavaScript gets only from properties, which the program may have replaced. */
#include "web.h"

/* className(value): the engine's class of an object ("Map", "Error", "Proxy", ...), independent of its prototype and its
   Symbol.toStringTag; "" for a primitive. Every proxy is "Proxy", a revoked one too. */
static JSValue class_name(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    if (!JS_IsObject(argv[0]))
        return JS_NewStringLen(ctx, "", 0);
    if (JS_IsProxy(argv[0]))
        return JS_NewString(ctx, "Proxy");
    JSAtom name = JS_GetClassName(JS_GetRuntime(ctx), JS_GetClassID(argv[0]));
    JSValue text = JS_AtomToString(ctx, name);
    JS_FreeAtom(ctx, name);
    return text;
}

/* define(target, key, value): CreateDataPropertyOrThrow, so no setter on a prototype runs. */
static JSValue define(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    JSAtom key = JS_ValueToAtom(ctx, argv[1]);
    if (key == JS_ATOM_NULL)
        return JS_EXCEPTION;
    int status = JS_DefinePropertyValue(ctx, argv[0], key, JS_DupValue(ctx, argv[2]), JS_PROP_C_W_E | JS_PROP_THROW);
    JS_FreeAtom(ctx, key);
    return status < 0 ? JS_EXCEPTION : JS_UNDEFINED;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("className", 1, class_name),
    JS_CFUNC_DEF("define", 3, define),
};

int web_install_object(JSContext *ctx, JSValue native) {
    return JS_SetPropertyFunctionList(ctx, native, functions, sizeof functions / sizeof *functions);
}
