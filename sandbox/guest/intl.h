/* `Intl` and the methods that take a locale: a part of the guest that is made at its first touch (intl.c), and the order
   of characters (collate.c). */
#ifndef CODEMODE_INTL_H
#define CODEMODE_INTL_H
#include "guest.h"

int intl_install(JSContext *ctx);

/* A table of the module, by its number, as bytes that js_free frees. NULL with an exception pending: out of memory. */
uint8_t *intl_piece(JSContext *ctx, uint32_t number, size_t *size);

enum { COLLATE_ACCENTS = 1, COLLATE_CASE = 2, COLLATE_ALL = 4, COLLATE_NUMERIC = 8, COLLATE_UPPER_FIRST = 16, COLLATE_LOWER_FIRST = 32,
       COLLATE_SKIP_PUNCTUATION = 64 };
#define COLLATE_USUAL (COLLATE_ACCENTS | COLLATE_ALL)

/* Compares two strings: *order is below, equal to or above 0. Returns false with an exception pending. */
bool collate(JSContext *ctx, JSValueConst a, JSValueConst b, int flags, int *order);
#endif
