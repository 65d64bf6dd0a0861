/* A growing byte buffer, and the writers for batches. Its memory does not count for the program's limit but for the host's,
   and it never grows past its cap. */
#include <stdlib.h>
#include "guest.h"

static bool make_room(Bytes *b, size_t size) {
    if (b->failed || b->full) return false;
    if (b->cap && size > b->cap - b->size) {
        b->full = true;
        return false;
    }
    if (size <= b->room - b->size) return true;
    size_t room = b->room ? b->room : 1024;
    while (room - b->size < size) {
        if (room > SIZE_MAX / 2) {
            b->failed = true;
            return false;
        }
        room *= 2;
    }
    uint8_t *data = realloc(b->data, room);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->room = room;
    return true;
}

bool bytes_put(Bytes *b, const void *data, size_t size) {
    if (!size) return !(b->failed || b->full);
    if (!make_room(b, size)) return false;
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return true;
}

bool bytes_text(Bytes *b, const char *text) { return bytes_put(b, text, strlen(text)); }
bool bytes_char(Bytes *b, char c) { return bytes_put(b, &c, 1); }

bool bytes_u32(Bytes *b, uint32_t n) {
    char digits[10];
    int at = 10;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    return bytes_put(b, digits + at, (size_t)(10 - at));
}

/* The shortest text for the same number, as Number.prototype.toString writes it. It is valid JSON. */
bool bytes_double(JSContext *ctx, Bytes *b, double d) {
    if (d != d || d - d != 0) return bytes_text(b, "null");
    JSValue number = JS_NewFloat64(ctx, d);
    size_t size;
    const char *text = JS_ToCStringLen(ctx, &size, number);
    if (!text) {
        JS_FreeValue(ctx, JS_GetException(ctx));
        b->failed = true;
        return false;
    }
    bool ok = bytes_put(b, text, size);
    JS_FreeCString(ctx, text);
    return ok;
}

/* The engine writes a lone surrogate as three bytes ED A0..BF xx, which is not UTF-8. */
static bool is_surrogate(const uint8_t *at, const uint8_t *end) { return end - at >= 3 && at[0] == 0xED && at[1] >= 0xA0; }

bool bytes_json_string(Bytes *b, const char *utf8, size_t size) {
    static const char hex[] = "0123456789abcdef";
    const uint8_t *at = (const uint8_t *)utf8, *end = at + size, *from = at;
    if (!bytes_char(b, '"')) return false;
    while (at < end) {
        uint8_t c = *at;
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0xED) {
            at++;
            continue;
        }
        if (c == 0xED && !is_surrogate(at, end)) {
            at++;
            continue;
        }
        if (!bytes_put(b, from, (size_t)(at - from))) return false;
        if (c == 0xED) {
            if (!bytes_text(b, "\xEF\xBF\xBD")) return false;
            at += 3;
        } else {
            char escape[7] = {'\\', 0};
            switch (c) {
            case '"': case '\\': escape[1] = (char)c; break;
            case '\n': escape[1] = 'n'; break;
            case '\r': escape[1] = 'r'; break;
            case '\t': escape[1] = 't'; break;
            default: memcpy(escape + 1, "u00", 3); escape[4] = hex[c >> 4]; escape[5] = hex[c & 15]; break;
            }
            if (!bytes_text(b, escape)) return false;
            at++;
        }
        from = at;
    }
    return bytes_put(b, from, (size_t)(end - from)) && bytes_char(b, '"');
}

bool bytes_base64(Bytes *b, const uint8_t *data, size_t size) {
    static const char table[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (size > (SIZE_MAX / 4) * 3 - 3 || !make_room(b, (size + 2) / 3 * 4)) return false;
    uint8_t *out = b->data + b->size;
    size_t i = 0;
    for (; i + 2 < size; i += 3) {
        uint32_t n = (uint32_t)data[i] << 16 | (uint32_t)data[i + 1] << 8 | data[i + 2];
        *out++ = table[n >> 18]; *out++ = table[n >> 12 & 63]; *out++ = table[n >> 6 & 63]; *out++ = table[n & 63];
    }
    if (i < size) {
        uint32_t n = (uint32_t)data[i] << 16 | (i + 1 < size ? (uint32_t)data[i + 1] << 8 : 0);
        *out++ = table[n >> 18]; *out++ = table[n >> 12 & 63];
        *out++ = i + 1 < size ? table[n >> 6 & 63] : '=';
        *out++ = '=';
    }
    b->size = (size_t)(out - b->data);
    return true;
}

void bytes_release(Bytes *b) {
    free(b->data);
    *b = (Bytes){0};
}
