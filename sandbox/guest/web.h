/* Native functions for the web globals of prelude/web_*.js. Each unit adds its own to the `native` object. */
#ifndef CODEMODE_WEB_H
#define CODEMODE_WEB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quickjs.h"

/* All of these return 0, or -1 with an exception pending. */
int web_install(JSContext *ctx, JSValue native);
int web_install_object(JSContext *ctx, JSValue native);
int web_install_text(JSContext *ctx, JSValue native);
int web_install_form(JSContext *ctx, JSValue native);
int web_install_url(JSContext *ctx, JSValue native);

typedef struct {
    const char *data; /* from JS_ToCString: free with JS_FreeCString */
    size_t length;
} WebUtf8;

/* ToString(value) as well-formed UTF-8 (WebIDL USVString): a lone surrogate becomes U+FFFD.
   False, with an exception pending, when the conversion throws. */
bool web_usv_string(JSContext *ctx, JSValueConst value, WebUtf8 *out);

/* web_cxx.cpp: reserves the memory for one call of ada. False, with an exception pending, when there is too little. */
bool web_arena_open(JSContext *ctx, size_t size);
void web_arena_close(JSContext *ctx);

/* UTF-8 as a string. Each maximal invalid subpart becomes one U+FFFD; a byte order mark stays. */
JSValue web_utf8_lossy(JSContext *ctx, const uint8_t *bytes, size_t length);

#endif
