/* The application/x-www-form-urlencoded escaping of one name or value (WHATWG URL Standard, section 5). */
#include <string.h>

#include "web.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* formUnescape(text): + is a space, %XX a byte. The bytes are UTF-8: invalid ones become U+FFFD, and a BOM stays. */
static JSValue form_unescape(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    WebUtf8 text;
    if (!web_usv_string(ctx, argv[0], &text))
        return JS_EXCEPTION;
    uint8_t *bytes = js_malloc(ctx, text.length + 1);
    JSValue result = JS_EXCEPTION;
    if (bytes) {
        size_t count = 0;
        for (size_t i = 0; i < text.length; i++) {
            char c = text.data[i];
            if (c == '+') {
                c = ' ';
            } else if (c == '%' && text.length - i > 2) {
                int high = hex_digit(text.data[i + 1]), low = hex_digit(text.data[i + 2]);
                if (high >= 0 && low >= 0) {
                    c = (char)(high << 4 | low);
                    i += 2;
                }
            }
            bytes[count++] = (uint8_t)c;
        }
        result = web_utf8_lossy(ctx, bytes, count);
        js_free(ctx, bytes);
    }
    JS_FreeCString(ctx, text.data);
    return result;
}

static bool stays(uint8_t c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c && strchr("*-._", c));
}

/* formEscape(text): everything but ASCII letters, digits and *-._ as %XX of its UTF-8, a space as + */
static JSValue form_escape(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    static const char digits[] = "0123456789ABCDEF";
    WebUtf8 text;
    if (!web_usv_string(ctx, argv[0], &text))
        return JS_EXCEPTION;
    JSValue result = JS_EXCEPTION;
    size_t size = 0, at = 0;
    for (size_t i = 0; i < text.length; i++)
        size += stays((uint8_t)text.data[i]) || text.data[i] == ' ' ? 1 : 3;
    char *escaped = js_malloc(ctx, size + 1);
    if (escaped) {
        for (size_t i = 0; i < text.length; i++) {
            uint8_t c = (uint8_t)text.data[i];
            if (stays(c) || c == ' ') {
                escaped[at++] = c == ' ' ? '+' : (char)c;
            } else {
                escaped[at++] = '%';
                escaped[at++] = digits[c >> 4];
                escaped[at++] = digits[c & 15];
            }
        }
        result = JS_NewStringLen(ctx, escaped, size);
        js_free(ctx, escaped);
    }
    JS_FreeCString(ctx, text.data);
    return result;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("formEscape", 1, form_escape),
    JS_CFUNC_DEF("formUnescape", 1, form_unescape),
};

int web_install_form(JSContext *ctx, JSValue native) {
    return JS_SetPropertyFunctionList(ctx, native, functions, sizeof functions / sizeof *functions);
}
