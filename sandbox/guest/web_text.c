/* UTF-8, UTF-16 and windows-1252 as the WHATWG Encoding Standard decodes them, and UTF-8 as it encodes. */
#include <string.h>

#include "web.h"

enum encoding { UTF_8, UTF_16LE, UTF_16BE, WINDOWS_1252 };
enum flag { FATAL = 1, IGNORE_BOM = 2, STREAM = 4 };

/* The state of a decoder between calls, which JavaScript has in a Uint8Array. */
typedef struct {
    uint8_t pending_length;
    uint8_t pending[4]; /* bytes of a sequence the next chunk may complete */
    uint8_t bom_passed; /* text was decoded before: U+FEFF is no longer a byte order mark */
} DecoderState;

/* The length of the UTF-8 sequence at `bytes`: > 0 when it is complete; 0 when all the bytes are the beginning of one;
   -k when the first k bytes are a maximal subpart that no bytes complete (Unicode 3.9, U+FFFD substitution). */
static int utf8_sequence(const uint8_t *bytes, size_t length) {
    uint8_t lead = bytes[0], low = 0x80, high = 0xbf;
    size_t need;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        need = 2;
    else if (lead >= 0xe0 && lead <= 0xef)
        need = 3;
    else if (lead >= 0xf0 && lead <= 0xf4)
        need = 4;
    else
        return -1;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < need; i++, low = 0x80, high = 0xbf) {
        if (i == length)
            return 0;
        if (bytes[i] < low || bytes[i] > high)
            return -(int)i;
    }
    return (int)need;
}

static JSValue throw_invalid(JSContext *ctx) {
    return JS_ThrowTypeError(ctx, "The encoded data was not valid for this encoding");
}

static void keep_pending(DecoderState *state, const uint8_t *bytes, size_t length) {
    memcpy(state->pending, bytes, length);
    state->pending_length = (uint8_t)length;
}

/* Replaces every maximal invalid subpart by U+FFFD. `repaired` is the exact size of the result. */
static JSValue utf8_repair(JSContext *ctx, const uint8_t *bytes, size_t length, size_t repaired) {
    uint8_t *text = js_malloc(ctx, repaired + 1);
    if (!text)
        return JS_EXCEPTION;
    size_t out = 0;
    for (size_t i = 0; i < length;) {
        int n = utf8_sequence(bytes + i, length - i);
        if (n > 0) {
            memcpy(text + out, bytes + i, (size_t)n);
            i += (size_t)n, out += (size_t)n;
        } else {
            memcpy(text + out, "\xef\xbf\xbd", 3);
            i += n ? (size_t)-n : length - i, out += 3;
        }
    }
    JSValue string = JS_NewStringLen(ctx, (const char *)text, out);
    js_free(ctx, text);
    return string;
}

static JSValue utf8_decode(JSContext *ctx, DecoderState *state, const uint8_t *bytes, size_t length, int flags) {
    size_t repaired = 0;
    bool valid = true;
    for (size_t i = 0; i < length;) {
        int n = utf8_sequence(bytes + i, length - i);
        if (n > 0) {
            i += (size_t)n, repaired += (size_t)n;
        } else if (n == 0 && (flags & STREAM)) {
            keep_pending(state, bytes + i, length - i);
            length = i;
        } else {
            i += n ? (size_t)-n : length - i, repaired += 3;
            valid = false;
        }
    }
    if (!valid && (flags & FATAL))
        return throw_invalid(ctx);
    if (length && !state->bom_passed) {
        state->bom_passed = 1;
        if (!(flags & IGNORE_BOM) && length >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3))
            bytes += 3, length -= 3, repaired -= 3;
    }
    return valid ? JS_NewStringLen(ctx, (const char *)bytes, length) : utf8_repair(ctx, bytes, length, repaired);
}

JSValue web_utf8_lossy(JSContext *ctx, const uint8_t *bytes, size_t length) {
    DecoderState state = {0};
    return utf8_decode(ctx, &state, bytes, length, IGNORE_BOM);
}

static uint16_t utf16_unit(const uint8_t *bytes, int big) {
    return (uint16_t)(big ? bytes[0] << 8 | bytes[1] : bytes[1] << 8 | bytes[0]);
}

static bool is_lead(uint16_t unit) {
    return (unit & 0xfc00) == 0xd800;
}

static bool is_trail(uint16_t unit) {
    return (unit & 0xfc00) == 0xdc00;
}

/* Decodes into `units`, which has room for length / 2 + 1. Returns how many, or -1 for invalid data in fatal mode. */
static ptrdiff_t utf16_units(DecoderState *state, const uint8_t *bytes, size_t length, int big, int flags,
                             uint16_t *units) {
    size_t count = 0, i = 0;
    bool valid = true;
    while (i < length) {
        size_t left = length - i;
        uint16_t unit = left < 2 ? 0 : utf16_unit(bytes + i, big);
        bool lead = left >= 2 && is_lead(unit);
        if ((flags & STREAM) && (left < 2 || (lead && left < 4))) {
            keep_pending(state, bytes + i, left);
            break;
        }
        uint16_t next = left < 4 ? 0 : utf16_unit(bytes + i + 2, big);
        if (lead && is_trail(next)) {
            units[count++] = unit, units[count++] = next;
            i += 4;
            continue;
        }
        bool broken = left < 2 || lead || is_trail(unit);
        valid = valid && !broken;
        units[count++] = broken ? 0xfffd : unit;
        /* A lead surrogate followed by one stray byte at the end is a single error. */
        i += left < 2 || (lead && left == 3) ? left : 2;
    }
    return valid || !(flags & FATAL) ? (ptrdiff_t)count : -1;
}

static JSValue utf16_decode(JSContext *ctx, DecoderState *state, const uint8_t *bytes, size_t length, int big,
                            int flags) {
    uint16_t *units = js_malloc(ctx, (length / 2 + 1) * sizeof *units);
    if (!units)
        return JS_EXCEPTION;
    ptrdiff_t count = utf16_units(state, bytes, length, big, flags, units);
    JSValue string;
    if (count < 0) {
        string = throw_invalid(ctx);
    } else {
        bool mark = count && !state->bom_passed && !(flags & IGNORE_BOM) && units[0] == 0xfeff;
        state->bom_passed |= count > 0;
        string = JS_NewStringUTF16(ctx, units + mark, (size_t)count - mark);
    }
    js_free(ctx, units);
    return string;
}

static JSValue windows_1252_decode(JSContext *ctx, const uint8_t *bytes, size_t length) {
    static const uint16_t upper[32] = {
        0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0x008d, 0x017d, 0x008f, 0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178,
    };
    uint16_t *units = js_malloc(ctx, (length + 1) * sizeof *units);
    if (!units)
        return JS_EXCEPTION;
    for (size_t i = 0; i < length; i++)
        units[i] = bytes[i] >= 0x80 && bytes[i] < 0xa0 ? upper[bytes[i] - 0x80] : bytes[i];
    JSValue string = JS_NewStringUTF16(ctx, units, length);
    js_free(ctx, units);
    return string;
}

/* The bytes of an ArrayBuffer, SharedArrayBuffer or typed array. The pointer is valid until JavaScript runs. False, with an
   exception pending, for any other value and for a detached buffer. */
static bool view_bytes(JSContext *ctx, JSValueConst value, const uint8_t **bytes, size_t *length) {
    size_t offset = 0, view_length = 0, buffer_length = 0;
    bool typed = JS_GetTypedArrayType(value) >= 0;
    JSValue buffer = typed ? JS_GetTypedArrayBuffer(ctx, value, &offset, &view_length, NULL) : JS_DupValue(ctx, value);
    if (JS_IsException(buffer))
        return false;
    const uint8_t *data = JS_GetArrayBuffer(ctx, &buffer_length, buffer);
    JS_FreeValue(ctx, buffer); /* `value` keeps it alive */
    if (!data && JS_HasException(ctx))
        return false;
    if (!typed)
        view_length = buffer_length;
    if (!data || offset > buffer_length)
        offset = view_length = 0;
    else if (view_length > buffer_length - offset)
        view_length = buffer_length - offset;
    *bytes = data ? data + offset : (const uint8_t *)"";
    *length = view_length;
    return true;
}

/* decode(encoding, state, bytes, flags) */
static JSValue decode(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    int encoding, flags;
    size_t state_length, length;
    const uint8_t *bytes;
    if (JS_ToInt32(ctx, &encoding, argv[0]) || JS_ToInt32(ctx, &flags, argv[3]))
        return JS_EXCEPTION;
    DecoderState *state = (DecoderState *)JS_GetUint8Array(ctx, &state_length, argv[1]);
    if (!state || state_length < sizeof *state)
        return JS_ThrowTypeError(ctx, "not a decoder state");
    if (!view_bytes(ctx, argv[2], &bytes, &length))
        return JS_EXCEPTION;
    uint8_t *joined = NULL;
    if (state->pending_length) {
        size_t before = state->pending_length;
        joined = js_malloc(ctx, before + length);
        if (!joined)
            return JS_EXCEPTION;
        memcpy(joined, state->pending, before);
        memcpy(joined + before, bytes, length);
        bytes = joined, length += before;
        state->pending_length = 0;
    }
    JSValue string;
    if (encoding == UTF_8)
        string = utf8_decode(ctx, state, bytes, length, flags);
    else if (encoding == WINDOWS_1252)
        string = windows_1252_decode(ctx, bytes, length);
    else
        string = utf16_decode(ctx, state, bytes, length, encoding == UTF_16BE, flags);
    js_free(ctx, joined);
    if (!(flags & STREAM) || JS_IsException(string))
        memset(state, 0, sizeof *state);
    return string;
}

bool web_usv_string(JSContext *ctx, JSValueConst value, WebUtf8 *out) {
    out->data = JS_ToCStringLen(ctx, &out->length, value);
    if (!out->data)
        return false;
    /* The engine writes a lone surrogate as ED A0..BF xx, as long as the EF BF BD that replaces it. Such a string is
       never ASCII, so the buffer is the conversion's own copy and may be written. */
    uint8_t *text = (uint8_t *)out->data;
    for (size_t i = 0; i + 2 < out->length; i++)
        if (text[i] == 0xed && text[i + 1] >= 0xa0)
            memcpy(text + i, "\xef\xbf\xbd", 3);
    return true;
}

/* encode(string) -> Uint8Array */
static JSValue encode(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    WebUtf8 text;
    if (!web_usv_string(ctx, argv[0], &text))
        return JS_EXCEPTION;
    JSValue bytes = JS_NewUint8ArrayCopy(ctx, (const uint8_t *)text.data, text.length);
    JS_FreeCString(ctx, text.data);
    return bytes;
}

/* encodeInto(string, uint8Array) -> {read, written}: whole code points only; `read` counts UTF-16 units. */
static JSValue encode_into(JSContext *ctx, JSValueConst this_value, int argc, JSValueConst *argv) {
    (void)this_value, (void)argc;
    size_t room, read = 0, written = 0;
    WebUtf8 text;
    if (JS_GetTypedArrayType(argv[1]) != JS_TYPED_ARRAY_UINT8)
        return JS_ThrowTypeError(ctx, "TextEncoder.encodeInto: the destination must be a Uint8Array");
    if (!web_usv_string(ctx, argv[0], &text))
        return JS_EXCEPTION;
    uint8_t *destination = JS_GetUint8Array(ctx, &room, argv[1]);
    if (!destination && JS_HasException(ctx)) {
        JS_FreeCString(ctx, text.data);
        return JS_EXCEPTION;
    }
    while (written < text.length) {
        int n = utf8_sequence((const uint8_t *)text.data + written, text.length - written);
        if (n <= 0 || (size_t)n > room - written)
            break;
        memcpy(destination + written, text.data + written, (size_t)n);
        written += (size_t)n;
        read += n == 4 ? 2 : 1;
    }
    JS_FreeCString(ctx, text.data);
    JSValue result = JS_NewObject(ctx);
    if (JS_IsException(result))
        return JS_EXCEPTION;
    if (JS_DefinePropertyValueStr(ctx, result, "read", JS_NewInt64(ctx, (int64_t)read), JS_PROP_C_W_E) < 0 ||
        JS_DefinePropertyValueStr(ctx, result, "written", JS_NewInt64(ctx, (int64_t)written), JS_PROP_C_W_E) < 0) {
        JS_FreeValue(ctx, result);
        return JS_EXCEPTION;
    }
    return result;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("decode", 4, decode),
    JS_CFUNC_DEF("encode", 1, encode),
    JS_CFUNC_DEF("encodeInto", 2, encode_into),
};

int web_install_text(JSContext *ctx, JSValue native) {
    return JS_SetPropertyFunctionList(ctx, native, functions, sizeof functions / sizeof *functions);
}
