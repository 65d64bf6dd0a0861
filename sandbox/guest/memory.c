/* The engine's allocator: malloc (alloc.c) with the limit of the run, in usable bytes; the engine's own limit is not used.
   When it is reached, a small reserve opens for the error, so that the program gets a proper Error to catch. */
#include <malloc.h>
#include <stdlib.h>
#include "guest.h"

#define OVERHEAD 8
#define RESERVE (64 * 1024)
#define STEP (1 << 20)

static size_t used, limit = SIZE_MAX - RESERVE;
static bool reserve_open;

static bool fits(size_t size) {
    size_t ceiling = reserve_open ? limit + RESERVE : limit;
    return used <= ceiling && size <= ceiling - used;
}

static void *guest_malloc(void *opaque, size_t size) {
    if (!fits(size)) return NULL;
    void *block = malloc(size);
    if (block) used += malloc_usable_size(block) + OVERHEAD;
    return block;
}

static void *guest_calloc(void *opaque, size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return NULL;
    if (!fits(count * size)) return NULL;
    void *block = calloc(count, size);
    if (block) used += malloc_usable_size(block) + OVERHEAD;
    return block;
}

static void guest_free(void *opaque, void *block) {
    if (!block) return;
    used -= malloc_usable_size(block) + OVERHEAD;
    free(block);
}

static void *guest_realloc(void *opaque, void *block, size_t size) {
    if (!block) return size ? guest_malloc(opaque, size) : NULL;
    if (!size) {
        guest_free(opaque, block);
        return NULL;
    }
    size_t before = malloc_usable_size(block);
    if (size > before && !fits(size - before)) return NULL;
    void *moved = realloc(block, size);
    if (moved) used = used - before + malloc_usable_size(moved);
    return moved;
}

static size_t usable(const void *block) { return malloc_usable_size((void *)block); }

const JSMallocFunctions guest_malloc_functions = {guest_calloc, guest_malloc, guest_free, guest_realloc, usable};

void guest_memory_limit(size_t bytes) { limit = bytes < SIZE_MAX - RESERVE ? bytes : SIZE_MAX - RESERVE; }
size_t guest_memory_used(void) { return used; }

/* The size at which to collect next, with `size` bytes alive: half as much again, but below the limit while there is room. */
size_t guest_gc_threshold(size_t size) {
    size_t next = size + size / 2, ceiling = limit - limit / 8, step = size + STEP;
    return next < ceiling ? next : step > ceiling ? step : ceiling;
}

/* Called from the edited places of the engine (EDITS in build.py). The last errors of each kind are stored: while one is
   thrown, Error.prepareStackTrace can cause another. */
#define ERRORS 8
static JSValue limit_errors[2][ERRORS];
static uint32_t limit_count[2];

void guest_limit_begin(void);
void guest_limit_end(JSContext *ctx, int which);

void guest_limit_begin(void) { reserve_open = true; }

void guest_limit_end(JSContext *ctx, int which) {
    reserve_open = false;
    if (!JS_HasException(ctx)) return;
    JSValue error = JS_GetException(ctx), *slot = &limit_errors[which][limit_count[which]++ % ERRORS];
    if (limit_count[which] > ERRORS) JS_FreeValue(ctx, *slot);
    *slot = JS_DupValue(ctx, error);
    JS_Throw(ctx, error);
}

int guest_limit_of(JSValueConst error) {
    if (!JS_IsObject(error)) return LIMIT_NONE;
    for (int which = 0; which < 2; which++) {
        for (uint32_t i = 0; i < ERRORS && i < limit_count[which]; i++) {
            JSValueConst stored = limit_errors[which][i];
            if (JS_IsObject(stored) && JS_VALUE_GET_PTR(stored) == JS_VALUE_GET_PTR(error)) return which;
        }
    }
    return LIMIT_NONE;
}
