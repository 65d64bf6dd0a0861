/* A frozen program as its difference from the memory that every instance begins with. That memory is a passive data segment
   of the module, `size u32 | bytes`. What lies behind it the host copies as it is.

   A run is `offset u32 | size u32 | bytes` of whole blocks, each byte the exclusive or of the two memories: most of a changed
   block has not changed, and zeros compress to nothing. The host reads no run. It hands them to a fresh guest, which can
   write nowhere but into itself. */
#include "guest.h"

#define PIECE 4096u
#define STRIDE 128u
#define HEAD 8u /* bytes before those of a run */

SEGMENT(read_initial, "2")

extern uint8_t __stack_high; /* the end of the stack: nothing in it is alive between two calls of the host */

static const uint64_t *words(uint32_t at) { return (const uint64_t *)(uintptr_t)at; }

static bool is_equal(const uint64_t *a, const uint64_t *b, uint32_t size) {
    uint64_t differs = 0;
    for (uint32_t i = 0; i < size / 8; i++) differs |= a[i] ^ b[i];
    return !differs;
}

/* Writes `size u32`, four zeros and the runs to the begin of `buffer`; the rest of its first `room` bytes is for pieces of
   the initial memory. The `whole` buffer is left out. Returns the address of the first block that was not looked at. */
uint32_t freeze_difference(uint8_t *buffer, uint32_t room, uint32_t whole, uint32_t from) {
    uint8_t *piece = buffer + room - PIECE, *out = buffer + HEAD;
    uint32_t *run = NULL, low = (uint32_t)(uintptr_t)&__stack_high, own = (uint32_t)(uintptr_t)buffer, loaded = 0, end;
    read_initial(&end, 0, sizeof end);
    uint32_t at = from < low ? low : from & ~(BLOCK - 1);
    while (at < end) {
        if ((at & ~(PIECE - 1)) != loaded) {
            loaded = at & ~(PIECE - 1);
            read_initial(piece, 4 + loaded, PIECE);
        }
        const uint64_t *ours = words(at), *initial = (const uint64_t *)(piece + (at - loaded));
        /* Most of the memory has not changed: this is the loop that takes the time. */
        if (at % STRIDE == 0 && (at - own < whole || is_equal(ours, initial, STRIDE))) {
            run = NULL;
            at += STRIDE;
            continue;
        }
        if (is_equal(ours, initial, BLOCK)) {
            run = NULL;
            at += BLOCK;
            continue;
        }
        if ((uint32_t)(piece - out) < BLOCK + (run ? 0 : HEAD)) break;
        if (!run) {
            run = (uint32_t *)out;
            run[0] = at;
            run[1] = 0;
            out += HEAD;
        }
        for (uint32_t i = 0; i < BLOCK / 8; i++) ((uint64_t *)out)[i] = ours[i] ^ initial[i];
        run[1] += BLOCK;
        out += BLOCK;
        at += BLOCK;
    }
    ((uint32_t *)buffer)[0] = (uint32_t)(out - buffer) - HEAD;
    ((uint32_t *)buffer)[1] = 0;
    return at;
}

/* Applies the runs to this memory. What lies outside of it is a trap. */
void freeze_patch(const uint8_t *runs, uint32_t size) {
    const uint8_t *end = runs + size;
    while (end - runs >= HEAD) {
        uint32_t at = ((const uint32_t *)runs)[0], length = ((const uint32_t *)runs)[1];
        runs += HEAD;
        if (length > (size_t)(end - runs) || length % BLOCK || at % BLOCK) __builtin_trap();
        uint64_t *to = (uint64_t *)(uintptr_t)at;
        for (uint32_t i = 0; i < length / 8; i++) to[i] ^= ((const uint64_t *)runs)[i];
        runs += length;
    }
}
