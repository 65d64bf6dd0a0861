/* The program's log, bounded in lines and bytes. The buffer always has whole lines, and its place is in the layout, so that
   the host can read it even after it has stopped the program. */
#include <stdio.h>
#include "guest.h"

static Bytes logs; /* "[level,text],..." */
static uint32_t lines, bytes, dropped;

static void publish(void) {
    guest_layout.logs = (uint32_t)(uintptr_t)logs.data;
    guest_layout.logs_size = (uint32_t)logs.size;
}

static void append(const char *level, const char *text, size_t size, const char *more) {
    size_t before = logs.size;
    Bytes line = {0};
    bytes_text(&line, before ? ",[\"" : "[\"");
    bytes_text(&line, level);
    bytes_text(&line, "\",");
    bytes_json_string(&line, text, size);
    if (*more) {
        line.size--; /* without the closing quote; `more` is plain ASCII */
        bytes_text(&line, more);
        bytes_char(&line, '"');
    }
    bytes_char(&line, ']');
    if (line.failed || !bytes_put(&logs, line.data, line.size)) {
        logs.size = before;
        logs.failed = false;
        dropped++;
    }
    bytes_release(&line);
    publish();
}

void logs_add(const char *level, const char *text, size_t size) {
    if (lines >= guest_limits.log_lines || bytes >= guest_limits.log_bytes) {
        dropped++;
        return;
    }
    size_t room = guest_limits.log_bytes - bytes, take = size;
    if (take > room) {
        take = room;
        while (take && ((uint8_t)text[take] & 0xC0) == 0x80) take--;
    }
    lines++;
    bytes = take < size ? guest_limits.log_bytes : bytes + (uint32_t)take;
    append(level, text, take, take < size ? " (cut: the log is full)" : "");
}

void logs_take(Bytes *out, bool last) {
    if (last && dropped) {
        char text[64];
        int size = snprintf(text, sizeof text, "%u more log lines were dropped", dropped);
        append("warn", text, (size_t)size, "");
        dropped = 0;
    }
    bytes_char(out, '[');
    bytes_put(out, logs.data, logs.size);
    bytes_char(out, ']');
    bytes_release(&logs);
    publish();
}

static JSValue slice = JS_UNDEFINED; /* String.prototype.slice */

/* Cuts a text that is far longer than the rest of the log, before it is converted. */
static JSValue log_cut(JSContext *ctx, JSValueConst text) {
    int64_t length;
    if (!JS_IsString(text)) return JS_ToString(ctx, text);
    if (JS_GetLength(ctx, text, &length)) return JS_EXCEPTION;
    int64_t room = (int64_t)guest_limits.log_bytes - bytes + 1;
    if (length <= room) return JS_DupValue(ctx, text);
    JSValue range[] = {JS_NewInt32(ctx, 0), JS_NewInt64(ctx, room)};
    return JS_Call(ctx, slice, text, 2, (JSValueConst *)range);
}

/* native.log(level, text) */
static JSValue js_log(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    static const char *const levels[] = {"log", "info", "warn", "error", "debug"};
    const char *wanted = JS_ToCString(ctx, argv[0]), *level = "log";
    if (!wanted) return JS_EXCEPTION;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (!strcmp(wanted, levels[i])) level = levels[i];
    JS_FreeCString(ctx, wanted);
    if (lines >= guest_limits.log_lines || bytes >= guest_limits.log_bytes) {
        dropped++;
        return JS_UNDEFINED;
    }
    size_t size;
    JSValue cut = log_cut(ctx, argv[1]);
    if (JS_IsException(cut)) return cut;
    const char *text = JS_ToCStringLen(ctx, &size, cut);
    JS_FreeValue(ctx, cut);
    if (!text) return JS_EXCEPTION;
    logs_add(level, text, size);
    JS_FreeCString(ctx, text);
    return JS_UNDEFINED;
}

/* native.inspect(value) -> string */
static JSValue js_inspect(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    Bytes text = {.cap = guest_limits.log_bytes - (bytes < guest_limits.log_bytes ? bytes : guest_limits.log_bytes) + 256};
    inspect_value(ctx, &text, argv[0]);
    if (text.full) {
        while (text.size && (text.data[text.size - 1] & 0xC0) == 0x80) text.size--;
        if (text.size && text.data[text.size - 1] >= 0xC0) text.size--;
    }
    JSValue string = JS_NewStringLen(ctx, (const char *)text.data, text.size);
    bytes_release(&text);
    return string;
}

int logs_install(JSContext *ctx, JSValue native) {
    slice = JS_Eval(ctx, "String.prototype.slice", 22, "intrinsics", 0);
    return define_function(ctx, native, "log", js_log, 2) < 0 || define_function(ctx, native, "inspect", js_inspect, 1) < 0
               ? -1 : 0;
}
