/* Random numbers from ChaCha20 (RFC 8439, section 2.3) with the 32 seed bytes of the run as key: deterministic with the seed,
   unpredictable without it. */
#include "guest.h"

static uint32_t state[16];
static uint8_t block[64];
static unsigned left;

static uint32_t rotate(uint32_t v, int n) { return v << n | v >> (32 - n); }

static void quarter(uint32_t *x, int a, int b, int c, int d) {
    x[a] += x[b]; x[d] = rotate(x[d] ^ x[a], 16);
    x[c] += x[d]; x[b] = rotate(x[b] ^ x[c], 12);
    x[a] += x[b]; x[d] = rotate(x[d] ^ x[a], 8);
    x[c] += x[d]; x[b] = rotate(x[b] ^ x[c], 7);
}

static void refill(void) {
    uint32_t x[16];
    memcpy(x, state, sizeof x);
    for (int round = 0; round < 10; round++) {
        quarter(x, 0, 4, 8, 12); quarter(x, 1, 5, 9, 13); quarter(x, 2, 6, 10, 14); quarter(x, 3, 7, 11, 15);
        quarter(x, 0, 5, 10, 15); quarter(x, 1, 6, 11, 12); quarter(x, 2, 7, 8, 13); quarter(x, 3, 4, 9, 14);
    }
    for (int i = 0; i < 16; i++) x[i] += state[i];
    memcpy(block, x, sizeof block);
    left = sizeof block;
    if (!++state[12]) state[13]++;
}

static void random_bytes(uint8_t *out, size_t size) {
    while (size) {
        if (!left) refill();
        size_t take = size < left ? size : left;
        memcpy(out, block + sizeof block - left, take);
        left -= (unsigned)take;
        out += take;
        size -= take;
    }
}

void random_seed(const uint8_t seed[32]) {
    static const uint32_t constants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memset(state, 0, sizeof state);
    memcpy(state, constants, sizeof constants);
    memcpy(state + 4, seed, 32);
    left = 0;
}

static JSValue js_math_random(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    uint64_t bits;
    random_bytes((uint8_t *)&bits, sizeof bits);
    return JS_NewFloat64(ctx, (double)(bits >> 11) * 0x1p-53);
}

/* native.random(size) -> Uint8Array */
static JSValue js_random(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    uint32_t size;
    if (JS_ToUint32(ctx, &size, argv[0])) return JS_EXCEPTION;
    if (size > 65536) return JS_ThrowRangeError(ctx, "at most 65536 random bytes at a time");
    uint8_t *bytes = js_malloc(ctx, size ? size : 1);
    if (!bytes) return JS_EXCEPTION;
    random_bytes(bytes, size);
    JSValue array = JS_NewUint8ArrayCopy(ctx, bytes, size);
    js_free(ctx, bytes);
    return array;
}

int random_install(JSContext *ctx, JSValue native) {
    static const uint8_t unseeded[32];
    random_seed(unseeded);
    JSValue global = JS_GetGlobalObject(ctx), math = JS_GetPropertyStr(ctx, global, "Math");
    int failed = define_function(ctx, math, "random", js_math_random, 0) < 0;
    JS_FreeValue(ctx, math);
    JS_FreeValue(ctx, global);
    return failed || define_function(ctx, native, "random", js_random, 1) < 0 ? -1 : 0;
}
