/* The order of characters: the Unicode Collation Algorithm (UTS 10) over the table of CLDR's root locale, which is the order
   of English, German, French, Italian, Dutch and Portuguese. A character that is not in the table is refused, not guessed. */
#include "intl.h"
#include "libunicode.h"

enum { ORDER_TABLE = 1 };

static struct {
    uint8_t *bytes; /* NULL before the first use */
    const uint8_t *first, *count, *low, *high, *secondary, *tertiary; /* columns, see `_order` in intl_tables.py */
    uint16_t ranges, characters, elements, last_punctuation;
    uint16_t *place, *start; /* of each character its first element; of each range its first character's index */
} table;

static uint32_t u16(const uint8_t *at) { return at[0] | (uint32_t)at[1] << 8; }
static uint32_t u32(const uint8_t *at) { return u16(at) | u16(at + 2) << 16; }

static bool load_table(JSContext *ctx) {
    if (table.bytes) return true;
    size_t size;
    uint8_t *bytes = intl_piece(ctx, ORDER_TABLE, &size);
    if (!bytes) return false;
    table.ranges = u16(bytes), table.characters = u16(bytes + 2), table.elements = u16(bytes + 4);
    table.last_punctuation = u16(bytes + 6);
    uint16_t *place = js_malloc(ctx, 2 * ((size_t)table.characters + table.ranges));
    if (!place) {
        js_free(ctx, bytes);
        return false;
    }
    table.first = bytes + 8;
    table.count = table.first + 4 * table.ranges;
    const uint8_t *elements = table.count + 2 * table.ranges;
    table.low = elements + table.characters;
    table.high = table.low + table.elements;
    table.secondary = table.high + table.elements;
    table.tertiary = table.secondary + table.elements;
    table.place = place;
    table.start = place + table.characters;
    uint16_t at = 0;
    for (uint16_t i = 0; i < table.characters; at += elements[i++]) place[i] = at;
    at = 0;
    for (uint16_t i = 0; i < table.ranges; at += u16(table.count + 2 * i++)) table.start[i] = at;
    table.bytes = bytes;
    return true;
}

/* The index of a character in the table, -1 when it is not carried. */
static int32_t find(uint32_t c) {
    uint32_t low = 0, high = table.ranges;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (u32(table.first + 4 * middle) <= c) low = middle;
        else high = middle;
    }
    uint32_t first = u32(table.first + 4 * low);
    return c >= first && c - first < u16(table.count + 2 * low) ? (int32_t)(table.start[low] + (c - first)) : -1;
}

struct text { uint32_t *characters; size_t size; };

/* A string as composed code points (NFC): the table has an own entry for a composed character where its order is its own. */
static bool take_text(JSContext *ctx, JSValueConst value, struct text *out) {
    size_t size;
    const uint16_t *units = JS_ToCStringLenUTF16(ctx, &size, value);
    if (!units) return false;
    uint32_t *characters = js_malloc(ctx, (size + 1) * sizeof *characters);
    size_t count = 0;
    bool compose = false;
    for (size_t i = 0; characters && i < size; i++) {
        uint32_t c = units[i];
        if (c >= 0xD800 && c < 0xDC00 && i + 1 < size && units[i + 1] >= 0xDC00 && units[i + 1] < 0xE000)
            c = 0x10000 + ((c - 0xD800) << 10) + (units[++i] - 0xDC00);
        compose |= c >= 0x300;
        characters[count++] = c;
    }
    JS_FreeCStringUTF16(ctx, units);
    *out = (struct text){characters, count};
    if (!characters || !compose) return characters != NULL;
    uint32_t *composed;
    int length = unicode_normalize(&composed, characters, (int)count, UNICODE_NFC, ctx, (void *(*)(void *, void *, size_t))js_realloc);
    js_free(ctx, characters);
    *out = (struct text){length < 0 ? NULL : composed, length < 0 ? 0 : (size_t)length};
    if (length < 0) JS_ThrowOutOfMemory(ctx);
    return length >= 0;
}

/* Reads the elements of a text. */
struct reader {
    const struct text *text;
    size_t at;
    int flags;
    uint32_t element, end;         /* those of the last character that are still to come */
    uint32_t jamo[2], jamos;       /* the rest of a Hangul syllable, last first */
    uint32_t digits, digit_count;  /* of a number: so many digits are still to come; their count, until it was read */
    bool skipping;                 /* a mark behind punctuation that is passed over is passed over too */
    uint32_t refused;              /* the character that is not carried, 0 for none */
};

struct weights { uint32_t primary, secondary, tertiary; };

/* Primary weights outside the table: counts and digits of numbers are compared only with each other; Han characters come
   after the whole table. */
enum { COUNT = 1, HAN = 0x20000 };

static bool is_digit(uint32_t c) { return c >= '0' && c <= '9'; }

static bool is_other_digit(uint32_t c) {
    return (c >= 0x660 && c <= 0x669) || (c >= 0x6F0 && c <= 0x6F9) || (c >= 0xFF10 && c <= 0xFF19);
}

static struct weights weights_of(uint32_t element) {
    uint32_t primary = table.low[element] | (uint32_t)table.high[element] << 8;
    return (struct weights){primary, table.secondary[element], table.tertiary[element]};
}

static uint32_t element_of(uint32_t c) {
    int32_t index = find(c);
    return index < 0 ? 0 : table.place[index];
}

static void begin_number(struct reader *r) {
    const struct text *text = r->text;
    while (r->at + 1 < text->size && text->characters[r->at] == '0' && is_digit(text->characters[r->at + 1])) r->at++;
    while (r->at + r->digits < text->size && is_digit(text->characters[r->at + r->digits])) r->digits++;
    r->digit_count = r->digits;
}

/* The next element. False at the end, and at a character that is not carried. A number is the element of 0, the count of its
   digits, then the digits: so a longer one is the greater. */
static bool next_element(struct reader *r, struct weights *out) {
    const struct text *text = r->text;
    for (;;) {
        if (r->element < r->end) {
            *out = weights_of(r->element++);
            return true;
        }
        if (r->digit_count) {
            *out = (struct weights){COUNT + r->digit_count, 0, 0};
            r->digit_count = 0;
            return true;
        }
        if (r->digits) {
            r->digits--;
            *out = (struct weights){COUNT + text->characters[r->at++] - '0', 0, 0};
            return true;
        }
        if (!r->jamos && r->at >= text->size) return false;
        uint32_t c = r->jamos ? r->jamo[--r->jamos] : text->characters[r->at++];
        if (r->flags & COLLATE_NUMERIC && (is_digit(c) || is_other_digit(c))) {
            if (is_other_digit(c)) break;
            r->at--;
            begin_number(r);
            *out = weights_of(element_of('0'));
            return true;
        }
        if (c >= 0x4E00 && c <= 0x9FFF) {
            *out = (struct weights){HAN + c, weights_of(element_of('a')).secondary, 2};
            return true;
        }
        if (c >= 0xAC00 && c <= 0xD7A3) { /* Unicode, section 3.12 */
            uint32_t syllable = c - 0xAC00, trailing = syllable % 28;
            r->jamos = 0;
            if (trailing) r->jamo[r->jamos++] = 0x11A7 + trailing;
            r->jamo[r->jamos++] = 0x1161 + syllable / 28 % 21;
            c = 0x1100 + syllable / 588;
        }
        /* Catalan's l with a middle dot has the order of its single character. */
        if ((c == 'l' || c == 'L') && r->at < text->size && (text->characters[r->at] == 0xB7 || text->characters[r->at] == 0x387)) {
            r->at++;
            c = c == 'l' ? 0x140 : 0x13F;
        }
        int32_t index = find(c);
        r->refused = c;
        if (index < 0) return false;
        r->refused = 0;
        r->element = table.place[index];
        r->end = index + 1 < table.characters ? table.place[index + 1] : table.elements;
    }
    r->refused = text->characters[r->at - 1];
    return false;
}

enum level { PRIMARY, SECONDARY, TERTIARY, CASES };

/* Whether a tertiary weight is that of a capital letter (UTS 10, section 9.2). */
static bool is_capital(uint32_t weight) {
    return (weight >= 0x08 && weight <= 0x0C) || weight == 0x0E || weight == 0x11 || weight == 0x12 || weight == 0x1D;
}

/* The next weight of a level that is not 0; 0 at the end, or at a character that is not carried. */
static uint32_t next_weight(struct reader *r, enum level level) {
    struct weights w;
    while (next_element(r, &w)) {
        if (r->flags & COLLATE_SKIP_PUNCTUATION) {
            if (w.primary) r->skipping = w.primary <= table.last_punctuation && w.secondary;
            if (r->skipping) continue;
        }
        uint32_t weight = level == PRIMARY ? w.primary : level == SECONDARY ? w.secondary : w.tertiary;
        bool capital = is_capital(w.tertiary);
        if (level == CASES) weight = w.primary && w.tertiary ? 1 + (capital != !!(r->flags & COLLATE_UPPER_FIRST)) : 0;
        if (level == TERTIARY && weight && r->flags & (COLLATE_UPPER_FIRST | COLLATE_LOWER_FIRST))
            weight |= capital == !!(r->flags & COLLATE_UPPER_FIRST) ? 0x100 : 0x200;
        if (weight) return weight;
    }
    return 0;
}

static bool compare_level(JSContext *ctx, const struct text *a, const struct text *b, int flags, enum level level, int *order) {
    struct reader left = {.text = a, .flags = flags}, right = {.text = b, .flags = flags};
    uint32_t x, y;
    do {
        x = next_weight(&left, level);
        y = next_weight(&right, level);
    } while (x && x == y);
    uint32_t refused = left.refused ? left.refused : right.refused;
    if (level == PRIMARY && x != y && x > HAN && y > HAN) refused = x - HAN; /* their order is that of radicals and strokes */
    *order = x < y ? -1 : x > y;
    if (!refused) return true;
    JS_ThrowRangeError(ctx,
                       "the order of the character U+%04X is not carried in this environment: compare such text with < and >, "
                       "as in sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))",
                       refused);
    return false;
}

static bool compare_texts(JSContext *ctx, const struct text *a, const struct text *b, int flags, int *order) {
    if (!compare_level(ctx, a, b, flags, PRIMARY, order)) return false;
    if (!*order && flags & COLLATE_ACCENTS && !compare_level(ctx, a, b, flags, SECONDARY, order)) return false;
    if (!*order && flags & COLLATE_CASE && !compare_level(ctx, a, b, flags, CASES, order)) return false;
    if (!*order && flags & COLLATE_ALL && !compare_level(ctx, a, b, flags, TERTIARY, order)) return false;
    return true;
}

bool collate(JSContext *ctx, JSValueConst a, JSValueConst b, int flags, int *order) {
    *order = 0;
    if (JS_IsStrictEqual(ctx, a, b)) return true;
    struct text left = {0}, right = {0};
    bool ok = load_table(ctx) && take_text(ctx, a, &left) && take_text(ctx, b, &right) &&
              compare_texts(ctx, &left, &right, flags, order);
    js_free(ctx, left.characters);
    js_free(ctx, right.characters);
    return ok;
}
