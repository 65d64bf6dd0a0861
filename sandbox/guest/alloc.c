/* malloc for the whole guest: two-level segregated fit (Masmano et al., "TLSF", 2004). It takes constant time, fragments
   little and merges free neighbours at once. The toolchain's malloc rounds every size up to a power of two, which would
   halve the memory that a program can use. A block is a header and a payload; payloads are aligned to 16 bytes. */
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include <malloc.h>
#include <stdlib.h>

#define ALIGN 16u
#define HEADER 8u
#define SUBCLASSES 16u
#define CLASSES 25u
#define FREE 1u
#define LARGEST 0x7FFF0000u
#define WASM_PAGE 65536u

struct block {
    uint32_t before; /* size of the block before this one, 0 for the first */
    uint32_t size;   /* of this block with its header, a multiple of 16; the low bit is set when it is free */
    struct block *next, *previous; /* in a free block only: its neighbours in its list */
};

extern uint8_t __heap_base;

static struct block *lists[CLASSES][SUBCLASSES];
static uint32_t classes, subclasses[CLASSES];
static struct block *last;
static uintptr_t end; /* the end of the last block */

static uint32_t size_of(const struct block *b) { return b->size & ~FREE; }
static void *payload(struct block *b) { return (uint8_t *)b + HEADER; }
static struct block *block_of(void *p) { return (struct block *)((uint8_t *)p - HEADER); }

static struct block *after(struct block *b) {
    uintptr_t at = (uintptr_t)b + size_of(b);
    return at < end ? (struct block *)at : NULL;
}

static void class_of(uint32_t size, uint32_t *class, uint32_t *subclass) {
    if (size < SUBCLASSES * ALIGN) {
        *class = 0;
        *subclass = size / ALIGN;
        return;
    }
    uint32_t top = 31u - (uint32_t)__builtin_clz(size);
    *class = top - 7;
    *subclass = size >> (top - 4) & (SUBCLASSES - 1);
}

static void insert(struct block *b) {
    uint32_t c, s;
    class_of(size_of(b), &c, &s);
    b->size |= FREE;
    b->previous = NULL;
    b->next = lists[c][s];
    if (b->next) b->next->previous = b;
    lists[c][s] = b;
    classes |= 1u << c;
    subclasses[c] |= 1u << s;
}

static void take_out(struct block *b) {
    uint32_t c, s;
    class_of(size_of(b), &c, &s);
    if (b->next) b->next->previous = b->previous;
    if (b->previous) b->previous->next = b->next;
    else if (!(lists[c][s] = b->next) && !(subclasses[c] &= ~(1u << s))) classes &= ~(1u << c);
    b->size &= ~FREE;
}

/* Removes a free block of at least `size` from its list: one of the first 8 of its own class, else one of a higher class,
   where every block fits. */
static struct block *find(uint32_t size) {
    uint32_t c, s, fitting;
    class_of(size, &c, &s);
    struct block *own = lists[c][s];
    for (int tries = 0; own && tries < 8; own = own->next, tries++)
        if (size_of(own) >= size) break;
    if (!own || size_of(own) < size) {
        fitting = s + 1 < SUBCLASSES ? subclasses[c] & (~0u << (s + 1)) : 0;
        if (!fitting) {
            uint32_t higher = classes & (~0u << (c + 1));
            if (!higher) return NULL;
            c = (uint32_t)__builtin_ctz(higher);
            fitting = subclasses[c];
        }
        own = lists[c][__builtin_ctz(fitting)];
    }
    take_out(own);
    return own;
}

static void set_size(struct block *b, uint32_t size) {
    b->size = size;
    struct block *next = after(b);
    if (next) next->before = size;
    else last = b;
}

static void release(struct block *b) {
    struct block *next = after(b), *previous = b->before ? (struct block *)((uint8_t *)b - b->before) : NULL;
    uint32_t size = size_of(b);
    if (next && next->size & FREE) {
        take_out(next);
        size += size_of(next);
    }
    if (previous && previous->size & FREE) {
        take_out(previous);
        size += size_of(previous);
        b = previous;
    }
    set_size(b, size);
    insert(b);
}

/* Cuts a block down to `size` and frees the rest. */
static void trim(struct block *b, uint32_t size) {
    uint32_t rest = size_of(b) - size;
    if (rest < 2 * ALIGN) return;
    struct block *cut = (struct block *)((uint8_t *)b + size);
    struct block *next = after(b);
    b->size = size;
    cut->before = size;
    cut->size = rest;
    if (next) next->before = rest;
    else last = cut;
    release(cut);
}

/* Adds memory behind the last block: at least `size` bytes, and a sixteenth of a large heap. */
static int grow(uint32_t size) {
    if (!end) {
        uintptr_t base = ((uintptr_t)&__heap_base + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1);
        end = base + ALIGN - HEADER; /* a header begins 8 bytes before a multiple of 16 */
    }
    uintptr_t limit = (uintptr_t)__builtin_wasm_memory_size(0) * WASM_PAGE;
    uint32_t have = limit > end ? (uint32_t)(limit - end) & ~(ALIGN - 1) : 0;
    if (have < size) {
        uint32_t pages = (size - have + ALIGN + WASM_PAGE - 1) / WASM_PAGE, generous = (uint32_t)(end / 16 / WASM_PAGE);
        if (generous > pages && __builtin_wasm_memory_grow(0, generous) != (size_t)-1) pages = generous;
        else if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return 0;
        have = (uint32_t)((uintptr_t)__builtin_wasm_memory_size(0) * WASM_PAGE - end) & ~(ALIGN - 1);
    }
    struct block *fresh = (struct block *)end;
    fresh->before = last ? size_of(last) : 0;
    end += have;
    set_size(fresh, have);
    release(fresh);
    return 1;
}

static uint32_t block_size(size_t size) { return ((uint32_t)size + HEADER + ALIGN - 1) & ~(ALIGN - 1); }

void *malloc(size_t size) {
    if (size > LARGEST) return NULL;
    uint32_t needed = block_size(size);
    struct block *b = find(needed);
    if (!b) {
        if (!grow(needed)) return NULL;
        b = find(needed);
        if (!b) return NULL;
    }
    trim(b, needed);
    return payload(b);
}

void free(void *p) {
    if (p) release(block_of(p));
}

/* no_builtin: the compiler would turn malloc and memset into a call of calloc, which is this function. */
__attribute__((no_builtin)) void *calloc(size_t count, size_t size) {
    if (size && count > LARGEST / size) return NULL;
    void *p = malloc(count * size);
    return p ? memset(p, 0, count * size) : NULL;
}

/* Merges `b` with the free block behind it, and grows the memory if it is the last block. Returns whether `needed` fits. */
static int extend(struct block *b, uint32_t needed) {
    struct block *next = after(b);
    uint32_t have = size_of(b) + (next && next->size & FREE ? size_of(next) : 0);
    int at_end = b == last || (next == last && next->size & FREE);
    if (have < needed && (!at_end || !grow(needed - have))) return 0;
    next = after(b);
    take_out(next);
    set_size(b, size_of(b) + size_of(next));
    return 1;
}

void *realloc(void *p, size_t size) {
    if (!p) return malloc(size);
    if (size > LARGEST) return NULL;
    struct block *b = block_of(p);
    uint32_t needed = block_size(size);
    if (size_of(b) >= needed || extend(b, needed)) {
        trim(b, needed);
        return p;
    }
    void *moved = malloc(size);
    if (!moved) return NULL;
    memcpy(moved, p, size_of(b) - HEADER);
    free(p);
    return moved;
}

/* The end of the memory that was ever allocated; the rest was never used. */
uintptr_t alloc_end(void);
uintptr_t alloc_end(void) { return end; }

size_t malloc_usable_size(void *p) { return p ? size_of(block_of(p)) - HEADER : 0; }

void *aligned_alloc(size_t alignment, size_t size) { return alignment <= ALIGN ? malloc(size) : NULL; }

int posix_memalign(void **out, size_t alignment, size_t size) {
    *out = aligned_alloc(alignment, size);
    return *out ? 0 : 12; /* ENOMEM */
}

/* Zeros the memory that is free, all but the pointers in it: it would be bytes of every image and frozen program. It is read
   first, because a page that was never touched stays out of the machine's memory. The lists of a forged program may have no
   end. */
void alloc_clear(void);
void alloc_clear(void) {
    uintptr_t left = end;
    for (uint32_t c = 0; c < CLASSES; c++)
        for (uint32_t s = 0; s < SUBCLASSES; s++)
            for (struct block *b = lists[c][s]; b; b = b->next) {
                uint32_t size = size_of(b);
                if (size < sizeof *b || size > left) __builtin_trap();
                left -= size;
                for (uint64_t *at = (uint64_t *)(b + 1), *stop = at + (size - sizeof *b) / 8; at < stop; at++)
                    if (*at) *at = 0;
            }
}
