/*
 * lz.c -- greedy matching over one hash table, and sequences that repeat earlier ones.
 *
 * The compressor tries, wherever a sequence begins, whether one of the last ones would do
 * again. If so it takes a match that begins before that one's only if it is long: a short one
 * would cost more than the byte that the repetition takes, and put all that follow out of step.
 *
 * The decoder checks once a sequence that all of it fits, with room to spare; then it copies in
 * pieces of fixed size, which may write behind the end of what they are for (never behind the
 * buffers'). Where there is no room to spare it copies byte for byte.
 *
 * Threads: pure.
 */
#include <assert.h>

#include "lsm/format/lz.h"
#include "lsm/util/coding.h"

#define MATCH_MIN 4u
#define RING 16u                        /* earlier sequences that can be repeated */
#define TRIES 8u                        /* of them are looked at */
#define HIGH_LONG 14u
#define HIGH_REPEAT 15u
#define LOW_LONG 15u
#define OFFSET_MAX 0xffffu
#define TAIL 8u                         /* of a block: no search begins there, eight bytes are read */
#define SKIP_SHIFT 5u                   /* bytes without a match: the search steps wider */
#define LONG_MATCH 16u                  /* is taken in spite of a repetition behind it */
#define PIECE 32u                       /* of a copy; one piece may be written or read in vain */
#define LONG 256u                       /* literals and matches of this size are left to memcpy */

struct sequence {
    uint32_t literals, match, offset;
};

/* ---- compressing ---- */

static inline uint32_t hash(const uint8_t *p)
{
    return (uint32_t)((lsm_get_u64(p) << 24) * 889523592379u >> 52);       /* of five bytes */
}

_Static_assert(LSM_LZ_TABLE_SIZE == 1u << (64 - 52), "the hash fits the table");

/* How many bytes from p on equal those from q < p on, both before end. */
static inline size_t common_size(const uint8_t *p, const uint8_t *q, const uint8_t *end)
{
    const uint8_t *from = p;

    while ((size_t)(end - p) >= 8) {
        uint64_t diff = lsm_get_u64(p) ^ lsm_get_u64(q);

        if (diff)
            return (size_t)(p - from) + (size_t)__builtin_ctzll(diff) / 8;
        p += 8;
        q += 8;
    }
    while (p < end && *p == *q) {
        p++;
        q++;
    }
    return (size_t)(p - from);
}

/* The sequence s would do at `anchor`, too. */
static inline bool is_repeat(const struct sequence *s, const uint8_t *start, const uint8_t *anchor,
                             const uint8_t *end)
{
    const uint8_t *p;

    if (s->literals + s->match > (size_t)(end - anchor))
        return false;
    p = anchor + s->literals;
    return s->offset <= (size_t)(p - start) && lsm_get_u32(p) == lsm_get_u32(p - s->offset) &&
           common_size(p, p - s->offset, p + s->match) == s->match;
}

/*
 * Which earlier sequence to repeat at `anchor`: 0, or 1 + how long ago it was. The one that is as
 * long ago as `last` is not compared with others if its match is long: so it is in rows of one size.
 */
static inline uint32_t find_repeat(const struct sequence *ring, uint32_t count, uint32_t last,
                                   const uint8_t *start, const uint8_t *anchor, const uint8_t *end)
{
    const struct sequence *s = &ring[(count - last) % RING];
    uint32_t best = 0, best_match = 0;

    if (s->match >= LONG_MATCH && is_repeat(s, start, anchor, end))
        return last;
    for (uint32_t ago = 1; ago <= TRIES; ago++) {
        s = &ring[(count - ago) % RING];
        if (s->match > best_match && is_repeat(s, start, anchor, end)) {
            best = ago;
            best_match = s->match;
        }
    }
    return best;
}

struct out {
    uint8_t *at, *end;
};

/* False: it does not fit. `ago`: see find_repeat. match 0: the last one. */
static bool put_sequence(struct out *out, const uint8_t *literals, const struct sequence *s, uint32_t ago)
{
    uint32_t high = s->literals < HIGH_LONG ? s->literals : HIGH_LONG, low = 0;
    uint8_t *p = out->at;

    if ((size_t)(out->end - p) < (size_t)s->literals + 16)
        return false;
    if (ago) {
        *p++ = (uint8_t)(HIGH_REPEAT << 4 | (ago - 1));
    } else {
        if (s->match)
            low = s->match - MATCH_MIN < LOW_LONG ? s->match - MATCH_MIN : LOW_LONG;
        *p++ = (uint8_t)(high << 4 | low);
        if (high == HIGH_LONG)
            p += lsm_varint_put(p, s->literals - HIGH_LONG);
        if (s->match) {
            lsm_put_u16(p, (uint16_t)s->offset);
            p += 2;
        }
        if (low == LOW_LONG)
            p += lsm_varint_put(p, s->match - MATCH_MIN - LOW_LONG);
    }
    if (s->literals)
        memcpy(p, literals, s->literals);
    out->at = p + s->literals;
    return true;
}

size_t lsm_lz_compress(struct lsm_lz *lz, struct lsm_slice raw, uint8_t *to, size_t size_max)
{
    const uint8_t *start = raw.data, *end = start + raw.size, *anchor = start, *p = start;
    struct sequence ring[RING] = { { 0, 0, 0 } }, last;
    struct out out = { to, to + size_max };
    uint32_t count = 0, last_ago = 1, base;

    assert(raw.size <= INT32_MAX);
    if (lz->base > UINT32_MAX - (uint32_t)raw.size - 1) {
        memset(lz->table, 0, sizeof lz->table);
        lz->base = 0;
    }
    base = lz->base + 1;                /* an entry of 0 is none */
    lz->base = base + (uint32_t)raw.size;

    while ((size_t)(end - anchor) > TAIL) {
        const uint8_t *search_end = end - TAIL;
        uint32_t ago = find_repeat(ring, count, last_ago, start, anchor, end), misses = 0;
        struct sequence s = { 0, 0, 0 };
        size_t match_min = MATCH_MIN;

        if (ago) {
            s = ring[(count - ago) % RING];
            match_min = s.match < LONG_MATCH ? s.match + 3 : LONG_MATCH;
            misses = s.match < LONG_MATCH ? 0 : 3 << SKIP_SHIFT;
            last_ago = ago;
            if (anchor + s.literals < search_end)
                search_end = anchor + s.literals;
        }
        for (p = anchor; p < search_end; p += 1 + (misses++ >> SKIP_SHIFT)) {
            uint32_t *entry = &lz->table[hash(p)], at = *entry;
            const uint8_t *q, *from = p;
            size_t match;

            *entry = base + (uint32_t)(p - start);
            if (at < base || *entry - at > OFFSET_MAX)
                continue;
            q = start + (at - base);
            if (lsm_get_u32(p) != lsm_get_u32(q))
                continue;
            match = common_size(p, q, end);
            while (from > anchor && q > start && from[-1] == q[-1]) {
                from--;
                q--;
                match++;
            }
            if (match >= match_min) {
                s = (struct sequence){ (uint32_t)(from - anchor), (uint32_t)match, (uint32_t)(from - q) };
                ago = 0;
                break;
            }
        }
        if (s.match == 0)
            break;
        if (!put_sequence(&out, anchor, &s, ago))
            return 0;
        ring[count++ % RING] = s;
        anchor += s.literals + s.match;
        if (anchor - start >= 2 && end - anchor >= 6)
            lz->table[hash(anchor - 2)] = base + (uint32_t)(anchor - 2 - start);
    }
    last = (struct sequence){ (uint32_t)(end - anchor), 0, 0 };
    if (last.literals && !put_sequence(&out, anchor, &last, 0))
        return 0;
    return (size_t)(out.at - to);
}

/* ---- decompressing ---- */

static bool all_zero(const uint8_t *p, const uint8_t *end)
{
    uint8_t any = 0;

    for (; p < end; p++)
        any |= *p;
    return any == 0;
}

/* `size` bytes in pieces; up to PIECE - 1 more are read and written. */
static inline void copy_pieces(uint8_t *to, const uint8_t *from, size_t size)
{
    const uint8_t *end = to + size;

    do {
        memcpy(to, from, PIECE);
        to += PIECE;
        from += PIECE;
    } while (to < end);
}

/* What was copied can be copied again: each time twice as much. */
static inline void copy_match(uint8_t *to, size_t offset, size_t size)
{
    const uint8_t *from = to - offset, *end = to + size;

    if (size < LONG) {
        for (; to < end; to++)
            *to = *from++;
        return;
    }
    for (; size > offset; offset *= 2) {
        memcpy(to, from, offset);
        to += offset;
        size -= offset;
    }
    memcpy(to, from, size);
}

/* A varint of good form: false, or *more behind *p. */
static inline bool get_more(const uint8_t **p, const uint8_t *end, uint32_t *sum)
{
    uint64_t more;
    size_t n;

    if (*p < end && **p < 0x80) {
        *sum += *(*p)++;
        return true;
    }
    n = lsm_varint_get(*p, end, &more);
    if (n == 0 || more > INT32_MAX)
        return false;
    *p += n;
    *sum += (uint32_t)more;
    return true;
}

bool lsm_lz_decompress(struct lsm_slice stored, uint8_t *raw, size_t raw_size)
{
    const uint8_t *p = stored.data, *end = p + stored.size;
    uint8_t *to = raw, *to_end = raw + raw_size;
    struct sequence ring[RING] = { { 0, 0, 0 } };
    uint32_t count = 0;

    while (to < to_end) {
        size_t room = (size_t)(to_end - to), left;
        struct sequence *s = &ring[count % RING];
        uint32_t token;

        if (p == end)
            return false;
        token = *p++;
        if (token >= HIGH_REPEAT << 4) {
            *s = ring[(count - 1 - (token & 15)) % RING];
            if (s->match == 0)
                return false;           /* there were not so many */
        } else {
            s->literals = token >> 4;
            if (s->literals == HIGH_LONG && !get_more(&p, end, &s->literals))
                return false;
            if (s->literals < room) {
                if (end - p < 2)
                    return false;
                s->offset = lsm_get_u16(p);
                p += 2;
                s->match = MATCH_MIN + (token & 15);
                if ((token & 15) == LOW_LONG && !get_more(&p, end, &s->match))
                    return false;
            } else if (token & 15) {
                return false;
            }
        }
        left = (size_t)(end - p);
        if (s->literals > left || s->literals > room)
            return false;
        if (s->literals == room) {      /* the last one */
            memcpy(to, p, room);
            return all_zero(p + room, end);
        }
        if (s->match > room - s->literals || s->offset == 0 ||
            s->offset > (size_t)(to - raw) + s->literals)
            return false;
        if (s->literals >= LONG || s->match >= LONG) {
            memcpy(to, p, s->literals);
            to += s->literals;
            copy_match(to, s->offset, s->match);
        } else if (left - s->literals >= PIECE && room - s->literals - s->match >= PIECE) {
            copy_pieces(to, p, s->literals);
            to += s->literals;
            if (s->offset <= s->literals && s->match <= s->offset)
                copy_pieces(to, p + s->literals - s->offset, s->match);
            else if (s->offset >= PIECE)
                copy_pieces(to, to - s->offset, s->match);
            else
                copy_match(to, s->offset, s->match);
        } else {
            memcpy(to, p, s->literals);
            to += s->literals;
            copy_match(to, s->offset, s->match);
        }
        p += s->literals;
        to += s->match;
        count++;
    }
    return all_zero(p, end);
}
