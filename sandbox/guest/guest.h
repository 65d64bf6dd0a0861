/* Declarations for the guest's own files. Bytes come in through one buffer; `start`, `resume` or `preload` runs until nothing
   is left to do; one JSON batch is then in the output buffer. There are no imports. */
#ifndef GUEST_H
#define GUEST_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "quickjs.h"

#define GUEST_ABI 4
#define PROGRAM_FILE "program.js"

/* The words through which the host finds everything else. To the host every field is hostile and is bounds-checked. */
struct layout {
    uint32_t abi, input, input_size, output, output_size, logs, logs_size, stopped, heap, end;
};
extern struct layout guest_layout;

struct limits {
    uint32_t memory, stack, calls, arguments, result, log_bytes, log_lines, depth, timers, source;
};
extern struct limits guest_limits;
extern double guest_now;   /* milliseconds since the epoch, the same for a whole slice */
extern double guest_began; /* `guest_now` of the first slice */

/* alloc.c */
uintptr_t alloc_end(void);
void alloc_clear(void);

/* freeze.c: a frozen program is its difference from the initial memory, in blocks of 16 bytes. The input buffer, whose place is
   a multiple of INPUT_ALIGN, is no part of it. */
#define BLOCK 16u
#define INPUT_ALIGN 128u
uint32_t freeze_difference(uint8_t *buffer, uint32_t room, uint32_t whole, uint32_t from);
void freeze_patch(const uint8_t *runs, uint32_t size);

/* Copies of a passive data segment of the module, which are in no memory before. */
#define SEGMENT(name, number)                                                                                               \
    static void name(void *to, uint32_t from, uint32_t size) {                                                              \
        __asm__ volatile("local.get %0\n\tlocal.get %1\n\tlocal.get %2\n\tmemory.init " number ", 0"                        \
                         :                                                                                                  \
                         : "r"(to), "r"(from), "r"(size)                                                                    \
                         : "memory");                                                                                       \
    }

/* memory.c: the engine's allocator, with the limit of the run. */
extern const JSMallocFunctions guest_malloc_functions;
void guest_memory_limit(size_t limit);
size_t guest_memory_used(void);
size_t guest_gc_threshold(size_t size);

/* Whether the engine itself threw this error because it ran out of memory or stack. */
enum { LIMIT_MEMORY, LIMIT_STACK, LIMIT_NONE };
int guest_limit_of(JSValueConst error);

/* output.c: a growing byte buffer. `failed`: out of memory; `full`: `cap` is reached. */
typedef struct {
    uint8_t *data;
    size_t size, room, cap;
    bool failed, full;
} Bytes;
bool bytes_put(Bytes *b, const void *data, size_t size);
bool bytes_text(Bytes *b, const char *text);
bool bytes_char(Bytes *b, char c);
bool bytes_u32(Bytes *b, uint32_t n);
bool bytes_double(JSContext *ctx, Bytes *b, double d);
bool bytes_json_string(Bytes *b, const char *utf8, size_t size);
bool bytes_base64(Bytes *b, const uint8_t *data, size_t size);
void bytes_release(Bytes *b);

/* encode.c: values as JSON. `inspect_value` writes the lenient form, for logs. */
int encode_install(JSContext *ctx);
bool encode_value(JSContext *ctx, Bytes *out, JSValueConst value, const char *root);
bool inspect_value(JSContext *ctx, Bytes *out, JSValueConst value);
JSValue proxied(JSContext *ctx, JSValueConst value);
extern char encode_place[]; /* of a result whose own code threw: `result.items[3]`, else empty */

/* calls.c: host calls and their settlements. */
int calls_install(JSContext *ctx, JSValue native);
uint32_t calls_outstanding(void);
uint32_t calls_made(void);
void calls_take_new(Bytes *out);
void calls_outstanding_ids(Bytes *out);
void calls_settle(JSContext *ctx, uint32_t id, bool ok, const char *json, size_t size);

/* timers.c */
int timers_install(JSContext *ctx, JSValue native);
bool timers_wake_at(double *when);
bool timers_has(uint32_t id);
bool timers_run_next_due(JSContext *ctx, uint32_t made_by, bool *failed);
uint32_t timers_made(void);

/* random.c */
int random_install(JSContext *ctx, JSValue native);
void random_seed(const uint8_t seed[32]);

/* clock.c */
int clock_install(JSContext *ctx);

/* rejections.c: rejected promises without a handler. */
void rejections_install(JSRuntime *rt);
void rejections_ignore(JSContext *ctx, JSValueConst promise);
bool rejections_take(JSValue *reason);
void rejections_report(JSContext *ctx);

/* logs.c */
int logs_install(JSContext *ctx, JSValue native);
void logs_add(const char *level, const char *text, size_t size);
void logs_take(Bytes *out, bool last);

/* failure.c: a thrown value as the failed outcome. */
int failure_install(JSContext *ctx);
JSValue error_stack(JSContext *ctx, JSValueConst error);
uint32_t error_line(JSContext *ctx, JSValueConst error);
void clean_stack_property(JSContext *ctx, JSValueConst error);
void describe_error(JSContext *ctx, JSValueConst error, Bytes *out);
void failure_from_exception(JSContext *ctx, Bytes *out, const char *kind, JSValue thrown);
void failure_plain(Bytes *out, const char *kind, const char *name, const char *message);

/* Ends the run at once: none of the program's code runs after it. */
_Noreturn void guest_stop(JSContext *ctx, const char *kind, const char *name, const char *message);

/* program.c: the three forms a program may have. */
void program_install(JSRuntime *rt);
int program_begin(JSContext *ctx, const char *source, size_t size, const char *names, size_t names_size);
enum progress { PROGRAM_PENDING, PROGRAM_DONE, PROGRAM_FAILED };
enum progress program_progress(JSContext *ctx, JSValue *value);

/* web*.c, where they are compiled in: primitives for the web globals. */
int web_install(JSContext *ctx, JSValue native) __attribute__((weak));

static inline int define_function(JSContext *ctx, JSValueConst object, const char *name, JSCFunction *f, int length) {
    JSValue function = JS_NewCFunction(ctx, f, name, length);
    if (JS_IsException(function)) return -1;
    return JS_DefinePropertyValueStr(ctx, object, name, function, JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
}
#endif
