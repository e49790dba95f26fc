/* test_lz.c -- what lz compressed comes back; any other bytes stay within their buffers. */
#include "lsm/format/lz.h"
#include "lsm/util/coding.h"
#include "tests/test.h"

enum texture { ZEROS, NOISE, ROWS, RAGGED_ROWS, TEXT, TEXTURES };

static uint8_t *make(enum texture texture, size_t size)
{
    static const char *const words[] = { "north", "south", "status=", "active ", "pending ", "note: " };
    uint8_t *p = malloc(size + 1);
    size_t row = 60 + test_below(60), at = 0;

    for (size_t i = 0; i < size; i++) {
        if (texture == RAGGED_ROWS && i == at + row) {
            at = i;
            row = 40 + test_below(100);
        }
        p[i] = texture == ZEROS ? 0
             : texture == NOISE ? (uint8_t)test_random()
             : texture == TEXT ? 0
             : (i - at) % row < row / 2 ? (uint8_t)test_random() : p[i - row / 2];
    }
    for (size_t i = 0; texture == TEXT && i < size;) {
        const char *word = words[test_below(6)];
        size_t n = strlen(word) < size - i ? strlen(word) : size - i;

        memcpy(p + i, word, n);
        i += n;
    }
    return p;
}

/* In memory that is not a byte larger than said. */
static size_t compress(struct lsm_lz *lz, const uint8_t *raw, size_t size, size_t size_max, uint8_t **out)
{
    *out = malloc(size_max ? size_max : 1);
    return lsm_lz_compress(lz, lsm_slice(raw, size), *out, size_max);
}

static bool decompress(const uint8_t *stored, size_t stored_size, const uint8_t *raw, size_t size)
{
    uint8_t *in = malloc(stored_size ? stored_size : 1), *back = malloc(size ? size : 1);
    bool whole;

    memcpy(in, stored, stored_size);
    whole = lsm_lz_decompress(lsm_slice(in, stored_size), back, size);
    if (whole && raw)
        CHECK_MEM(back, raw, size);
    free(in);
    free(back);
    return whole;
}

TEST(lz_roundtrips_any_bytes)
{
    struct lsm_lz *lz = calloc(1, sizeof *lz), *fresh = malloc(sizeof *fresh);

    for (int round = 0; round < 2000; round++) {
        size_t size = round < 1500 ? (size_t)round / 5 : test_below(round % 10 ? 9000 : 400000), n, again;
        uint8_t *raw = make((enum texture)(round % TEXTURES), size), *out, *other;

        n = compress(lz, raw, size, lsm_lz_bound(size), &out);
        if (size)
            CHECK(n > 0 && n <= lsm_lz_bound(size));
        CHECK(decompress(out, n, raw, size));
        memset(fresh, 0, sizeof *fresh);        /* what earlier blocks left makes no difference */
        again = compress(fresh, raw, size, lsm_lz_bound(size), &other);
        CHECK_INT(again, n);
        CHECK_MEM(other, out, n);
        free(raw);
        free(out);
        free(other);
    }
    free(lz);
    free(fresh);
}

TEST(lz_table_is_cleared_before_its_places_wrap)
{
    struct lsm_lz *lz = calloc(1, sizeof *lz);
    uint8_t *raw = make(ROWS, 5000), *out, *other;
    size_t n = compress(lz, raw, 5000, lsm_lz_bound(5000), &out);

    for (uint32_t left = 4990; left < 5010; left++) {
        lz->base = UINT32_MAX - left;
        for (uint32_t i = 0; i < LSM_LZ_TABLE_SIZE; i++)
            lz->table[i] = (uint32_t)test_random() % (UINT32_MAX - left);
        CHECK_INT(compress(lz, raw, 5000, lsm_lz_bound(5000), &other), n);
        CHECK_MEM(other, out, n);
        free(other);
    }
    free(lz);
    free(raw);
    free(out);
}

TEST(lz_gives_up_at_size_max)
{
    struct lsm_lz *lz = calloc(1, sizeof *lz);

    for (int texture = 0; texture < TEXTURES; texture++) {
        uint8_t *raw = make((enum texture)texture, 700), *out;
        size_t n = compress(lz, raw, 700, lsm_lz_bound(700), &out), least = SIZE_MAX;

        free(out);
        for (size_t size_max = 0; size_max <= lsm_lz_bound(700); size_max++) {
            size_t size = compress(lz, raw, 700, size_max, &out);

            CHECK(size == 0 || (size == n && n <= size_max));
            if (size && size_max < least)
                least = size_max;
            free(out);
        }
        CHECK(least <= n + 16);
        free(raw);
    }
    free(lz);
}

TEST(lz_rows_of_one_size_take_a_byte_a_sequence)
{
    struct lsm_lz *lz = calloc(1, sizeof *lz);
    enum { ROW = 100, COUNT = 40 };
    uint8_t raw[ROW * COUNT], *out;
    size_t n;

    for (size_t i = 0; i < sizeof raw; i++)             /* 60 of noise, the first 40 of them again */
        raw[i] = i % ROW < 60 ? (uint8_t)test_random() : raw[i - 60];
    n = compress(lz, raw, sizeof raw, lsm_lz_bound(sizeof raw), &out);
    CHECK(decompress(out, n, raw, sizeof raw));
    CHECK(n <= COUNT * 61 + 20);
    free(out);
    free(lz);
}

TEST(lz_cuts_other_sizes_and_what_follows_are_refused)
{
    struct lsm_lz *lz = calloc(1, sizeof *lz);

    for (int round = 0; round < 100; round++) {
        size_t size = 1 + test_below(1200);
        uint8_t *raw = make((enum texture)(round % TEXTURES), size), *out;
        size_t n = compress(lz, raw, size, lsm_lz_bound(size), &out);

        for (size_t cut = 0; cut < n; cut++)
            CHECK(!decompress(out, cut, NULL, size));
        for (size_t other = 0; other < size + 40; other++)
            if (other != size)
                CHECK(!decompress(out, n, NULL, other));
        out = realloc(out, n + 9);
        memset(out + n, 0, 9);
        CHECK(decompress(out, n + 9, raw, size));       /* zeros may follow (seal.h) */
        out[n + test_below(9)] = 1;
        CHECK(!decompress(out, n + 9, raw, size));
        free(raw);
        free(out);
    }
    free(lz);
}

TEST(lz_damaged_bytes_stay_within_their_buffers)
{
    struct lsm_lz *lz = calloc(1, sizeof *lz);

    for (int round = 0; round < 400; round++) {
        size_t size = 1 + test_below(3000);
        uint8_t *raw = make((enum texture)(round % TEXTURES), size), *out;
        size_t n = compress(lz, raw, size, lsm_lz_bound(size), &out);

        for (int i = 0; i < 50; i++) {
            uint8_t *bad = malloc(n);

            memcpy(bad, out, n);
            for (size_t k = 1 + test_below(3); k > 0; k--)
                bad[test_below(n)] = (uint8_t)(test_below(3) ? test_random() : 0xff);
            decompress(bad, n, NULL, size);
            free(bad);
        }
        free(raw);
        free(out);
    }
    free(lz);
}

#define HAND(bytes_, raw_size_) decompress((const uint8_t *)bytes_, sizeof bytes_ - 1, NULL, raw_size_)

TEST(lz_sequences_made_by_hand)
{
    CHECK(HAND("", 0));
    CHECK(!HAND("", 1));
    CHECK(HAND("\x30" "abc", 3));                       /* literals to the end */
    CHECK(!HAND("\x31" "abc", 3));                      /* with a match */
    CHECK(!HAND("\x40" "abcd", 3));
    CHECK(HAND("\x30\x03\x00" "abc", 7));               /* abcabca */
    CHECK(!HAND("\x30\x03\x00" "abc", 6));              /* one byte too many */
    CHECK(!HAND("\x30\x00\x00" "abc", 7));              /* nowhere */
    CHECK(!HAND("\x30\x04\x00" "abc", 7));              /* before the beginning */
    CHECK(!HAND("\x30\x03", 7));
    CHECK(!HAND("\x30\x03\x00" "ab", 7));
    CHECK(HAND("\x11\x01\x00" "a\x10" "b", 7));         /* aaaaaab */
    CHECK(HAND("\x10\x01\x00" "a\xf0" "b\x10" "c", 11));
    CHECK(!HAND("\xf0" "a", 5));                        /* the one before this: there is none */
    CHECK(!HAND("\x10\x01\x00" "a\xf1" "b\x10" "c", 11));
    CHECK(!HAND("\x10\x01\x00" "a\xf0" "b", 9));        /* no room for its match */
    CHECK(HAND("\x10\x01\x00" "a\xf0" "b", 6));         /* its literals are the last */
    CHECK(HAND("\xe0\x01" "0123456789abcde", 15));
    CHECK(!HAND("\xe0\x81\x00" "0123456789abcde", 15)); /* a varint that is too long */
    CHECK(!HAND("\xe0\xff\xff\xff\xff\x7f" "0123456789abcde", 15));
    CHECK(HAND("\x1f\x01\x00\x05" "a", 25));
    CHECK(!HAND("\x1f\x01\x00\xff\xff\xff\xff\xff\x7f" "a", 25));
}
