/*
 * test_block_damage.c -- payloads made by hand that a block must refuse: rows
 * out of order, sizes that lie or wrap, too many rows, any bytes at all.
 */
#include "lsm/format/block.h"
#include "tests/unit/format_os.h"
#include "tests/unit/orders.h"

static int open_block(struct format_os *f, struct lsm_slice payload, const struct lsm_comparator *cmp,
                      struct lsm_block **block)
{
    return lsm_block_new(&f->os, payload, cmp, "000014.ldb", 56, block);
}

/* A payload made by hand, in its order: start, then what the flags want once, then rows. */
struct hand {
    uint8_t bytes[4096];
    size_t size;
    uint16_t flags;
};

static void hand_bytes(struct hand *h, const void *bytes, size_t size)
{
    memcpy(h->bytes + h->size, bytes, size);
    h->size += size;
}

static void hand_start(struct hand *h, uint32_t count, const char *prefix, uint16_t flags)
{
    memset(h, 0, sizeof(*h));
    lsm_put_u32(h->bytes, count);
    lsm_put_u16(h->bytes + 4, (uint16_t)strlen(prefix));
    lsm_put_u16(h->bytes + 6, flags);
    h->size = 8;
    h->flags = flags;
    hand_bytes(h, prefix, strlen(prefix));
}

static void hand_tag(struct hand *h, uint64_t tag)
{
    lsm_put_be64(h->bytes + h->size, ~tag);
    h->size += 8;
}

static void hand_sizes(struct hand *h, size_t suffix_size, size_t value_size)
{
    h->bytes[h->size++] = (uint8_t)suffix_size;
    h->bytes[h->size++] = (uint8_t)value_size;
}

static void hand_row(struct hand *h, const char *suffix, uint64_t tag, const char *value)
{
    if (!(h->flags & LSM_BLOCK_FIXED))
        hand_sizes(h, strlen(suffix), strlen(value));
    hand_bytes(h, suffix, strlen(suffix));
    if (!(h->flags & LSM_BLOCK_ONE_TAG))
        hand_tag(h, tag);
    hand_bytes(h, value, strlen(value));
}

static int hand_open(const struct hand *h, const struct lsm_comparator *cmp)
{
    uint8_t *exact = malloc(h->size + 1);
    struct lsm_block *block;
    struct format_os f;
    int rc;

    format_os_init(&f);
    memcpy(exact, h->bytes, h->size);
    rc = open_block(&f, lsm_slice(exact, h->size), cmp, &block);
    CHECK((rc == LSM_OK) == (block != NULL));
    CHECK(f.largest <= 256 + 13 * h->size);                 /* whatever the bytes claim */
    lsm_block_free(block);
    CHECK_INT(f.used, 0);
    free(exact);
    return rc;
}

static void two_rows(struct hand *h, const char *a, uint64_t a_tag, const char *b, uint64_t b_tag)
{
    hand_start(h, 2, "pre", 0);
    hand_row(h, a, a_tag, "v1");
    hand_row(h, b, b_tag, "v2");
}

/* Two rows, keys of one size, in the form that `flags` asks for. */
static void two_rows_as(struct hand *h, uint16_t flags, const char *a, const char *b, uint64_t tag)
{
    hand_start(h, 2, "pre", flags);
    if (flags & LSM_BLOCK_ONE_TAG)
        hand_tag(h, tag);
    if (flags & LSM_BLOCK_FIXED)
        hand_sizes(h, (uint32_t)strlen(a), 2);
    hand_row(h, a, tag, "v1");
    hand_row(h, b, tag, "v2");
}

/* H-08 */
TEST(block_rows_out_of_order_are_corrupt)
{
    const uint64_t put1 = lsm_tag(1, LSM_KIND_PUT), put2 = lsm_tag(2, LSM_KIND_PUT);
    struct hand h;

    two_rows(&h, "a", put1, "b", put1);
    CHECK_OK(hand_open(&h, NULL));
    CHECK_RC(hand_open(&h, &reverse), LSM_CORRUPT);
    two_rows(&h, "b", put1, "a", put1);
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    CHECK_OK(hand_open(&h, &reverse));
    two_rows(&h, "a", put2, "a", put1);                     /* newest first */
    CHECK_OK(hand_open(&h, NULL));
    CHECK_OK(hand_open(&h, &reverse));
    two_rows(&h, "a", put1, "a", put2);
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    CHECK_RC(hand_open(&h, &reverse), LSM_CORRUPT);
    two_rows(&h, "a", put1, "a", put1);                     /* twice */
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    CHECK_RC(hand_open(&h, &reverse), LSM_CORRUPT);
    two_rows(&h, "ab", put1, "a", put2);                    /* a prefix comes first */
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    two_rows(&h, "eightbytZ", put1, "eightbytA", put2);     /* equal in the first eight bytes */
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    two_rows(&h, "eightbytA", put1, "eightbytZ", put2);
    CHECK_OK(hand_open(&h, NULL));
    for (uint16_t flags = 0; flags < 4; flags++) {
        static const char *const keys[][2] = { { "a", "b" }, { "a-longer-", "b-longer-" }, { "longer-0a", "longer-0b" } };

        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            two_rows_as(&h, flags, keys[i][0], keys[i][1], put1);
            CHECK_OK(hand_open(&h, NULL));
            CHECK_RC(hand_open(&h, &reverse), LSM_CORRUPT);
            two_rows_as(&h, flags, keys[i][1], keys[i][0], put1);
            CHECK_OK(hand_open(&h, &reverse));
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
            CHECK(strstr(lsm_error_text(), "000014.ldb") && strstr(lsm_error_text(), "order"));
            two_rows_as(&h, flags, keys[i][0], keys[i][0], put1);   /* twice */
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
            CHECK_RC(hand_open(&h, &reverse), LSM_CORRUPT);
        }
    }
}

TEST(block_kinds_that_no_table_has_are_corrupt)
{
    struct hand h;

    for (int kind = 0; kind < 256; kind++) {
        int rc = kind <= LSM_KIND_RANGE_DELETE ? LSM_OK : LSM_CORRUPT;

        for (uint16_t flags = 0; flags < 4; flags++) {
            static const char *const keys[][2] = { { "a", "b" }, { "a-longer-", "b-longer-" } };

            for (size_t i = 0; i < 2; i++) {
                two_rows_as(&h, flags, keys[i][0], keys[i][1], lsm_tag(5, (enum lsm_kind)kind));
                CHECK_RC(hand_open(&h, NULL), rc);
                CHECK_RC(hand_open(&h, &by_size), rc);
                for (size_t bad = 0; bad < 2 && !(flags & LSM_BLOCK_ONE_TAG); bad++) {
                    hand_start(&h, 2, "pre", flags);
                    if (flags & LSM_BLOCK_FIXED)
                        hand_sizes(&h, strlen(keys[i][0]), 2);
                    for (size_t row = 0; row < 2; row++)
                        hand_row(&h, keys[i][row], lsm_tag(5, row == bad ? (enum lsm_kind)kind : LSM_KIND_PUT), "vv");
                    CHECK_RC(hand_open(&h, NULL), rc);
                }
            }
        }
    }
}

/* H-06 */
TEST(block_header_that_lies_is_corrupt)
{
    const uint64_t put = lsm_tag(1, LSM_KIND_PUT);
    struct hand good, h;

    for (uint16_t flags = 0; flags < 4; flags++) {
        two_rows_as(&good, flags, "a", "b", put);
        CHECK_OK(hand_open(&good, NULL));
        for (int bit = 0; bit < 16; bit++) {                /* flags: another form, or unknown */
            h = good;
            h.bytes[6 + bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
        for (uint32_t n = 0; n < 70000; n += n < 300 ? 1 : 997) {
            h = good;
            lsm_put_u32(h.bytes, n);                        /* count */
            if (n != 2)
                CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
            h = good;
            lsm_put_u16(h.bytes + 4, (uint16_t)n);          /* prefix size */
            if ((uint16_t)n != 3)
                CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
        h = good;
        lsm_put_u32(h.bytes, UINT32_MAX);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        for (size_t n = 0; n < good.size; n++) {            /* cut short */
            h = good;
            h.size = n;
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
        for (size_t n = 1; n < 200; n++) {                  /* bytes too many */
            h = good;
            h.size += n;
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
    }
}

TEST(block_without_rows_that_has_anything_is_corrupt)
{
    struct hand h;

    hand_start(&h, 0, "", 0);
    CHECK_OK(hand_open(&h, NULL));
    hand_start(&h, 0, "p", 0);
    CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    for (uint16_t flags = 1; flags < 4; flags++) {
        hand_start(&h, 0, "", flags);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        if (flags & LSM_BLOCK_ONE_TAG)
            hand_tag(&h, lsm_tag(1, LSM_KIND_PUT));
        if (flags & LSM_BLOCK_FIXED)
            hand_sizes(&h, 1, 1);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    }
}

TEST(block_row_sizes_that_lie_are_corrupt)
{
    struct hand good, h;

    for (uint16_t flags = 0; flags < 4; flags++) {
        size_t sizes = 11 + (flags & LSM_BLOCK_ONE_TAG ? 8u : 0u);

        two_rows_as(&good, flags, "a", "b", lsm_tag(1, LSM_KIND_PUT));
        CHECK_INT(good.bytes[sizes], 1);
        CHECK_INT(good.bytes[sizes + 1], 2);
        for (int v = 0; v < 256; v++) {
            h = good;
            h.bytes[sizes] = (uint8_t)v;
            if (v != 1)
                CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
            h = good;
            h.bytes[sizes + 1] = (uint8_t)v;
            if (v != 2)
                CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
        h = good;                                           /* the last value, one byte on */
        if (!(flags & LSM_BLOCK_FIXED)) {
            h.bytes[h.size - 4 - (flags & LSM_BLOCK_ONE_TAG ? 0 : 8)]++;
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
    }
}

/* The bytes of one row's sizes, then `behind` bytes of suffix, tag and value. */
static int open_sizes(uint16_t flags, const char *sizes, size_t size, size_t behind)
{
    struct hand h;

    hand_start(&h, 1, "", flags);
    if (flags & LSM_BLOCK_ONE_TAG)
        hand_tag(&h, lsm_tag(1, LSM_KIND_PUT));
    hand_bytes(&h, sizes, size);
    h.size += behind;
    memset(h.bytes + h.size - behind, 0xfe, behind);        /* a put, wherever the tag is */
    return hand_open(&h, NULL);
}

TEST(block_sizes_of_bad_form_are_corrupt)
{
    for (uint16_t flags = 0; flags < 4; flags++) {
        size_t tag = flags & LSM_BLOCK_ONE_TAG ? 0 : 8;

        CHECK_OK(open_sizes(flags, "\1\1", 2, 2 + tag));
        CHECK_RC(open_sizes(flags, "\x81\0\1", 3, 2 + tag), LSM_CORRUPT);      /* longer than it needs */
        CHECK_RC(open_sizes(flags, "\1\x81\0", 3, 2 + tag), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\1\x81\x80\0", 4, 2 + tag), LSM_CORRUPT);
        CHECK_OK(open_sizes(flags, "\1\x80\1", 3, 1 + 128 + tag));
        CHECK_OK(open_sizes(flags, "\1\xff\1", 3, 1 + 255 + tag));
        CHECK_OK(open_sizes(flags, "\x80\1\1", 3, 128 + 1 + tag));
        CHECK_RC(open_sizes(flags, "\1\x80\1", 3, 1 + 127 + tag), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\1\x80\1", 3, 1 + 129 + tag), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 12, 0),
                 LSM_CORRUPT);                              /* to the end */
        CHECK_RC(open_sizes(flags, "\0\x80", 2, 0), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\0", 1, 0), LSM_CORRUPT);
    }
}

static int bytes_compare(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    return lsm_slice_compare(a, b);
}

/* Nearly all blocks of tables are walked a short way, those of a tree with a comparator never. */
TEST(block_the_short_walk_refuses_what_the_long_one_refuses)
{
    static const struct lsm_comparator by_bytes = { .name = "bytes", .compare = bytes_compare };
    static const size_t suffix_size[] = { 8, 9, 16, 127, 15, 128, 8 }, value_size[] = { 0, 1, 127, 128, 300, 5, 40 };
    int refused = 0, taken = 0;

    for (uint16_t flags = 0; flags < 2; flags++) {
        struct hand good, h;

        hand_start(&good, 7, "", flags);
        if (flags & LSM_BLOCK_ONE_TAG)
            hand_tag(&good, lsm_tag(1, LSM_KIND_PUT));
        for (int i = 0; i < 7; i++) {
            char text[301];

            hand_sizes(&good, suffix_size[i], value_size[i]);
            if (suffix_size[i] >= 128) {
                good.bytes[good.size - 2] = 0x80;
                good.bytes[good.size - 1] = 1;
                good.bytes[good.size++] = (uint8_t)value_size[i];
            }
            if (value_size[i] >= 128) {
                good.bytes[good.size - 1] = (uint8_t)(value_size[i] | 0x80);
                good.bytes[good.size++] = (uint8_t)(value_size[i] >> 7);
            }
            memset(text, 0xfe, sizeof(text));
            text[0] = (char)('a' + i);
            hand_bytes(&good, text, suffix_size[i]);
            if (!(flags & LSM_BLOCK_ONE_TAG))
                hand_tag(&good, lsm_tag(7, LSM_KIND_PUT));
            hand_bytes(&good, text, value_size[i]);
        }
        CHECK_OK(hand_open(&good, NULL));
        CHECK_OK(hand_open(&good, &by_bytes));
        for (size_t at = 0; at < good.size; at++)
            for (int bit = 0; bit < 9; bit++) {
                int rc;

                h = good;
                h.bytes[at] = (uint8_t)(bit < 8 ? h.bytes[at] ^ 1 << bit : 0);
                rc = hand_open(&h, NULL);
                CHECK_INT(rc, hand_open(&h, &by_bytes));
                refused += rc != LSM_OK;
                taken += rc == LSM_OK;
            }
        for (size_t cut = 1; cut < good.size; cut++) {
            h = good;
            h.size -= cut;
            CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
        }
    }
    CHECK(refused > 300 && taken > 10000);
}

/* Sizes whose sums come out right in 32 or 64 bits. */
TEST(block_row_sizes_that_wrap_are_corrupt)
{
    for (uint16_t flags = 0; flags < 4; flags++) {
        size_t tag = flags & LSM_BLOCK_ONE_TAG ? 0 : 8;

        CHECK_RC(open_sizes(flags, "\0\xfd\xff\xff\xff\xff\xff\xff\xff\xff\1", 11, 5), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\xfd\xff\xff\xff\xff\xff\xff\xff\xff\1\0", 11, 5), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\3\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 11, 2 + tag),
                 LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\x83\x80\x80\x80\x10\2", 6, 5 + tag), LSM_CORRUPT);
        CHECK_RC(open_sizes(flags, "\1\x84\x80\x80\x80\x10", 6, 5 + tag), LSM_CORRUPT);
    }
    {                               /* a value of -1 bytes: the second row would begin in the first */
        struct hand h;

        hand_start(&h, 2, "", LSM_BLOCK_ONE_TAG);
        hand_tag(&h, lsm_tag(1, LSM_KIND_PUT));
        hand_bytes(&h, "\3\xff\xff\xff\xff\xff\xff\xff\xff\xff\1" "aa\1\0z", 16);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    }
}

TEST(block_rows_of_one_size_must_fill_it)
{
    const uint64_t put = lsm_tag(1, LSM_KIND_PUT);
    struct hand h;

    hand_start(&h, 1, "key", LSM_BLOCK_FIXED);              /* one row: allowed, though not written */
    hand_sizes(&h, 0, 0);
    hand_row(&h, "", put, "");
    CHECK_OK(hand_open(&h, NULL));
    for (uint32_t count = 1; count < 5; count++) {          /* rows without a byte */
        hand_start(&h, count, "key", LSM_BLOCK_FIXED | LSM_BLOCK_ONE_TAG);
        hand_tag(&h, put);
        hand_sizes(&h, 0, 0);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    }
    hand_start(&h, 3, "", LSM_BLOCK_FIXED | LSM_BLOCK_ONE_TAG);
    hand_tag(&h, put);
    hand_sizes(&h, 1, 3);
    for (const char *c = "abc"; *c; c++)
        hand_row(&h, (char[]){ *c, 0 }, put, "val");
    CHECK_OK(hand_open(&h, NULL));
    for (int bit = 2; bit < 32; bit++) {                    /* 30, 31: count * size wraps to the room */
        lsm_put_u32(h.bytes, 3 | UINT32_C(1) << bit);
        CHECK_RC(hand_open(&h, NULL), LSM_CORRUPT);
    }
}

/* H-05: Prefix and suffix are fine alone and too long together. */
TEST(block_key_over_the_limit_is_corrupt)
{
    size_t prefix = 65000;

    for (size_t round = 0; round < 6; round++) {
        size_t suffix = 534 + round / 2;
        struct lsm_block *block;
        struct format_os f;
        struct lsm_buf out;

        format_os_init(&f);
        lsm_buf_init(&out, &f.os);
        lsm_buf_put_u32(&out, 1);
        lsm_buf_put_u16(&out, (uint16_t)prefix);
        lsm_buf_put_u16(&out, LSM_BLOCK_FIXED * (round & 1));
        for (size_t i = 0; i < prefix; i++)
            lsm_buf_put_u8(&out, 'p');
        lsm_buf_put_varint(&out, suffix);
        lsm_buf_put_varint(&out, 0);
        for (size_t i = 0; i < suffix; i++)
            lsm_buf_put_u8(&out, 's');
        lsm_buf_put_u64(&out, __builtin_bswap64(~lsm_tag(1, LSM_KIND_PUT)));
        CHECK_RC(open_block(&f, lsm_buf_slice(&out), NULL, &block),
                 prefix + suffix <= LSM_KEY_SIZE_MAX ? LSM_OK : LSM_CORRUPT);
        lsm_block_free(block);
        CHECK_RC(open_block(&f, lsm_buf_slice(&out), &by_size, &block),
                 prefix + suffix <= LSM_KEY_SIZE_MAX ? LSM_OK : LSM_CORRUPT);
        lsm_block_free(block);
        lsm_buf_clear(&out);
        CHECK_INT(f.used, 0);
    }
}

TEST(block_claiming_many_rows_allocates_nothing)
{
    struct lsm_block *block;
    struct format_os f;
    uint8_t bytes[100] = { 0 };

    format_os_init(&f);
    for (uint32_t i = 0; i < 32 * 4; i++) {
        lsm_put_u32(bytes, i < 4 ? UINT32_MAX : UINT32_C(1) << i / 4);
        lsm_put_u16(bytes + 6, i % 4);
        if (i / 4 > 0 && i / 4 < 7)                         /* 2 to 64 may be there */
            continue;
        CHECK_RC(open_block(&f, lsm_slice(bytes, sizeof(bytes)), NULL, &block), LSM_CORRUPT);
    }
    memset(bytes, 0xff, sizeof(bytes));                     /* rows that need no byte: a tag, no sizes */
    lsm_put_u16(bytes + 4, 0);
    lsm_put_u16(bytes + 6, LSM_BLOCK_ONE_TAG | LSM_BLOCK_FIXED);
    lsm_put_u16(bytes + 16, 0);
    CHECK_RC(open_block(&f, lsm_slice(bytes, 18), NULL, &block), LSM_CORRUPT);
    CHECK_INT(f.largest, 0);
}

TEST(block_any_bytes_are_refused_or_hold_together)
{
    struct hand h;

    for (int round = 0; round < 60000; round++) {
        two_rows_as(&h, round % 4, "a", "b", lsm_tag(1, LSM_KIND_PUT));
        for (uint64_t n = 1 + test_below(3); n; n--)
            h.bytes[test_below(h.size)] = (uint8_t)test_random();
        hand_open(&h, test_below(2) ? NULL : &by_size);     /* ASan judges */
    }
}
