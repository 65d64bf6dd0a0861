/* URL parsing (WHATWG URL Standard) by ada. Every native function takes and returns the serialised URL. So no object of ada
   outlives a call, and all memory that a program holds counts for its limit. */
#include "ada_c.h"
#include "web.h"

#define MAX_LENGTH (1 << 20) /* bytes of a URL, before and after serialising */

enum field { HREF, ORIGIN, PROTOCOL, USERNAME, PASSWORD, HOST, HOSTNAME, PORT, PATHNAME, SEARCH, HASH };

/* The text arguments of one native function, and the memory for ada. */
typedef struct {
    WebUtf8 input, other; /* `other`: the base or the new value; its data is NULL for undefined */
} Call;

static bool begin(JSContext *ctx, Call *call, JSValueConst input, JSValueConst other) {
    call->other = (WebUtf8){NULL, 0};
    if (!web_usv_string(ctx, input, &call->input))
        return false;
    if (JS_IsUndefined(other) || web_usv_string(ctx, other, &call->other)) {
        size_t length = call->input.length + call->other.length;
        if (length > 2 * MAX_LENGTH)
            length = 2 * MAX_LENGTH; /* ada reads no more than that */
        if (web_arena_open(ctx, 16 * length + 16384))
            return true;
    }
    JS_FreeCString(ctx, call->other.data);
    JS_FreeCString(ctx, call->input.data);
    return false;
}

static void end(JSContext *ctx, Call *call) {
    web_arena_close(ctx);
    JS_FreeCString(ctx, call->other.data);
    JS_FreeCString(ctx, call->input.data);
}

static JSValue text(JSContext *ctx, ada_string part) {
    return JS_NewStringLen(ctx, part.data, part.length);
}

/* urlParse(input, base | undefined) -> href, or undefined when it is not a URL */
static JSValue url_parse(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    Call call;
    if (!begin(ctx, &call, argv[0], argv[1]))
        return JS_EXCEPTION;
    WebUtf8 input = call.input, base = call.other;
    ada_url url = base.data ? ada_parse_with_base(input.data, input.length, base.data, base.length)
                            : ada_parse(input.data, input.length);
    ada_string serialised = ada_get_href(url); /* empty when it is not valid */
    JSValue href = JS_UNDEFINED;
    if (serialised.length && serialised.length <= MAX_LENGTH)
        href = text(ctx, serialised);
    ada_free(url);
    end(ctx, &call);
    return href;
}

static JSValue get(JSContext *ctx, ada_url url, enum field field) {
    switch (field) {
    case ORIGIN: {
        ada_owned_string origin = ada_get_origin(url);
        JSValue value = JS_NewStringLen(ctx, origin.data, origin.length);
        ada_free_owned_string(origin);
        return value;
    }
    case PROTOCOL: return text(ctx, ada_get_protocol(url));
    case USERNAME: return text(ctx, ada_get_username(url));
    case PASSWORD: return text(ctx, ada_get_password(url));
    case HOST: return text(ctx, ada_get_host(url));
    case HOSTNAME: return text(ctx, ada_get_hostname(url));
    case PORT: return text(ctx, ada_get_port(url));
    case PATHNAME: return text(ctx, ada_get_pathname(url));
    case SEARCH: return text(ctx, ada_get_search(url));
    case HASH: return text(ctx, ada_get_hash(url));
    default: return text(ctx, ada_get_href(url));
    }
}

/* urlGet(href, field) -> text */
static JSValue url_get(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    int field;
    Call call;
    if (JS_ToInt32(ctx, &field, argv[1]) || !begin(ctx, &call, argv[0], JS_UNDEFINED))
        return JS_EXCEPTION;
    ada_url url = ada_parse(call.input.data, call.input.length);
    JSValue value = get(ctx, url, (enum field)field);
    ada_free(url);
    end(ctx, &call);
    return value;
}

static void set(ada_url url, enum field field, const char *data, size_t length) {
    switch (field) {
    case PROTOCOL: ada_set_protocol(url, data, length); break;
    case USERNAME: ada_set_username(url, data, length); break;
    case PASSWORD: ada_set_password(url, data, length); break;
    case HOST: ada_set_host(url, data, length); break;
    case HOSTNAME: ada_set_hostname(url, data, length); break;
    case PORT: ada_set_port(url, data, length); break;
    case PATHNAME: ada_set_pathname(url, data, length); break;
    case SEARCH: ada_set_search(url, data, length); break;
    case HASH: ada_set_hash(url, data, length); break;
    default: break;
    }
}

/* urlSet(href, field, value) -> the new href, or the old one when the value is invalid */
static JSValue url_set(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    int field;
    Call call;
    if (JS_ToInt32(ctx, &field, argv[1]) || !begin(ctx, &call, argv[0], argv[2]))
        return JS_EXCEPTION;
    ada_url url = ada_parse(call.input.data, call.input.length);
    if (call.other.length <= MAX_LENGTH)
        set(url, (enum field)field, call.other.data, call.other.length);
    ada_string serialised = ada_get_href(url);
    JSValue href = serialised.length <= MAX_LENGTH ? text(ctx, serialised) : JS_DupValue(ctx, argv[0]);
    ada_free(url);
    end(ctx, &call);
    return href;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("urlParse", 2, url_parse),
    JS_CFUNC_DEF("urlGet", 2, url_get),
    JS_CFUNC_DEF("urlSet", 3, url_set),
    JS_PROP_INT32_DEF("urlMaxLength", MAX_LENGTH, 0),
};

int web_install_url(JSContext *ctx, JSValue native) {
    ada_set_max_input_length(MAX_LENGTH);
    return JS_SetPropertyFunctionList(ctx, native, functions, sizeof functions / sizeof *functions);
}
