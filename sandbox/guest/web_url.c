/* URL parsing (WHATWG URL Standard) by ada. A URL is its serialisation: every native takes and returns text, so nothing
   of ada outlives a call and everything a program keeps is counted by the engine's own memory limit. */
#include <stdlib.h>

#include "ada_c.h"
#include "web.h"

enum field { HREF, ORIGIN, PROTOCOL, USERNAME, PASSWORD, HOST, HOSTNAME, PORT, PATHNAME, SEARCH, HASH };

/* ada allocates with malloc and cannot report failure. It needs at most a few copies of its percent-encoded input, so
   room for that is tried first and its absence becomes the engine's ordinary out-of-memory error. */
static bool room_for(JSContext *ctx, size_t length) {
    void *probe = malloc(12 * length + 16384);
    free(probe);
    if (!probe)
        JS_ThrowOutOfMemory(ctx);
    return probe != NULL;
}

/* Parses argv[0], against argv[1] unless that is undefined. NULL with no exception pending when it is not a URL. */
static ada_url parse(JSContext *ctx, JSValueConst input, JSValueConst base) {
    WebUtf8 text, base_text = {NULL, 0};
    ada_url url = NULL;
    if (!web_usv_string(ctx, input, &text))
        return NULL;
    bool has_base = !JS_IsUndefined(base);
    if ((!has_base || web_usv_string(ctx, base, &base_text)) && room_for(ctx, text.length + base_text.length)) {
        url = has_base ? ada_parse_with_base(text.data, text.length, base_text.data, base_text.length)
                       : ada_parse(text.data, text.length);
        if (!ada_is_valid(url)) {
            ada_free(url);
            url = NULL;
        }
    }
    JS_FreeCString(ctx, text.data);
    JS_FreeCString(ctx, base_text.data);
    return url;
}

static JSValue href_of(JSContext *ctx, ada_url url) {
    ada_string href = ada_get_href(url);
    return JS_NewStringLen(ctx, href.data, href.length);
}

/* urlParse(input, base | undefined) -> href, or undefined when it is not a URL */
static JSValue url_parse(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    ada_url url = parse(ctx, argv[0], argv[1]);
    if (!url)
        return JS_HasException(ctx) ? JS_EXCEPTION : JS_UNDEFINED;
    JSValue href = href_of(ctx, url);
    ada_free(url);
    return href;
}

static ada_string get(ada_url url, enum field field) {
    switch (field) {
    case PROTOCOL: return ada_get_protocol(url);
    case USERNAME: return ada_get_username(url);
    case PASSWORD: return ada_get_password(url);
    case HOST: return ada_get_host(url);
    case HOSTNAME: return ada_get_hostname(url);
    case PORT: return ada_get_port(url);
    case PATHNAME: return ada_get_pathname(url);
    case SEARCH: return ada_get_search(url);
    case HASH: return ada_get_hash(url);
    default: return ada_get_href(url);
    }
}

/* urlGet(href, field) -> text */
static JSValue url_get(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    int field;
    if (JS_ToInt32(ctx, &field, argv[1]))
        return JS_EXCEPTION;
    ada_url url = parse(ctx, argv[0], JS_UNDEFINED);
    if (!url)
        return JS_HasException(ctx) ? JS_EXCEPTION : JS_NewStringLen(ctx, "", 0);
    JSValue text;
    if (field == ORIGIN) {
        ada_owned_string origin = ada_get_origin(url);
        text = JS_NewStringLen(ctx, origin.data, origin.length);
        ada_free_owned_string(origin);
    } else {
        ada_string part = get(url, (enum field)field);
        text = JS_NewStringLen(ctx, part.data, part.length);
    }
    ada_free(url);
    return text;
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

/* urlSet(href, field, value) -> the new href; the old one when the value is refused */
static JSValue url_set(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    int field;
    WebUtf8 value;
    if (JS_ToInt32(ctx, &field, argv[1]))
        return JS_EXCEPTION;
    ada_url url = parse(ctx, argv[0], JS_UNDEFINED);
    if (!url)
        return JS_HasException(ctx) ? JS_EXCEPTION : JS_DupValue(ctx, argv[0]);
    JSValue href = JS_EXCEPTION;
    if (web_usv_string(ctx, argv[2], &value)) {
        if (room_for(ctx, ada_get_href(url).length + value.length)) {
            set(url, (enum field)field, value.data, value.length);
            href = href_of(ctx, url);
        }
        JS_FreeCString(ctx, value.data);
    }
    ada_free(url);
    return href;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("urlParse", 2, url_parse),
    JS_CFUNC_DEF("urlGet", 2, url_get),
    JS_CFUNC_DEF("urlSet", 3, url_set),
};

int web_install_url(JSContext *ctx, JSValue native) {
    return JS_SetPropertyFunctionList(ctx, native, functions, sizeof functions / sizeof *functions);
}
