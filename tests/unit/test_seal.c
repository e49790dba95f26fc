/* test_seal.c -- a sealed block is exactly what was sealed, where it was sealed, or LSM_CORRUPT. */
#include "lsm/format/seal.h"
#include "lsm/util/coding.h"
#include "lsm/util/hash.h"
#include "tests/unit/format_os.h"

static const uint8_t uuid[16] = "0123456789abcdef";

struct bench {                  /* what a test needs */
    struct format_os f;
    struct lsm_compressor_pool *pool;
    struct lsm_compressor *c;
    struct lsm_buf out, raw;
};

static void set_up(struct bench *b)
{
    format_os_init(&b->f);
    CHECK_OK(lsm_compressor_pool_new(&b->f.os, &b->pool));
    CHECK_OK(lsm_compressor_take(b->pool, &b->c));
    lsm_buf_init(&b->out, &b->f.os);
    lsm_buf_init(&b->raw, &b->f.os);
}

static void tear_down(struct bench *b)
{
    lsm_buf_clear(&b->out);
    lsm_buf_clear(&b->raw);
    lsm_compressor_put(b->pool, b->c);
    lsm_compressor_pool_free(b->pool);
    CHECK_INT(b->f.used, 0);
}

static int unseal(struct bench *b, struct lsm_slice sealed, uint64_t place, struct lsm_slice *payload)
{
    return lsm_unseal(sealed, LSM_BLOCK_DATA, place, b->c, &b->raw, payload, "000014.ldb", 56);
}

/* Give `stored` a trailer with a right sum: what an attacker can do. */
static void forge(struct lsm_buf *out, struct lsm_slice stored, uint8_t codec, uint8_t kind,
                  uint16_t flags, uint64_t place)
{
    lsm_buf_reset(out);
    lsm_buf_append_slice(out, stored);
    lsm_buf_put_u8(out, codec);
    lsm_buf_put_u8(out, kind);
    lsm_buf_put_u16(out, flags);
    lsm_buf_put_u32(out, lsm_hash32(out->data, out->size, place));
}

TEST(seal_roundtrips_with_and_without_compression)
{
    static const size_t sizes[] = { 0, 1, 7, 8, 9, 64, 500, 8192, 70000, 300000 };
    struct bench b;

    set_up(&b);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        uint8_t *bytes = malloc(sizes[s] + 1);

        for (int texture = 0; texture < 3; texture++) {
            for (size_t i = 0; i < sizes[s]; i++)
                bytes[i] = texture == 0 ? 0 : texture == 1 ? (uint8_t)test_random() : (uint8_t)(i % 50);
            for (int codec = LSM_CODEC_NONE; codec <= LSM_CODEC_MAX; codec++) {
                struct lsm_slice payload;

                if (codec == LSM_CODEC_ZSTD_DICT)       /* test_compress.c */
                    continue;
                lsm_buf_reset(&b.out);
                lsm_seal(&b.out, lsm_slice(bytes, sizes[s]), LSM_BLOCK_DATA, codec, 1, b.c, 777);
                CHECK_OK(b.out.rc);
                CHECK(b.out.size <= sizes[s] + LSM_SEAL_TRAILER_SIZE);
                if (!CHECK_OK(unseal(&b, lsm_buf_slice(&b.out), 777, &payload)))
                    continue;
                CHECK_INT(payload.size, sizes[s]);
                CHECK_MEM(payload.data, bytes, sizes[s]);
                if (texture == 1)               /* does not shrink: stored as it is */
                    CHECK(payload.data == b.out.data);
            }
        }
        free(bytes);
    }
    tear_down(&b);
}

TEST(seal_compresses_only_what_saves_an_eighth)
{
    uint8_t bytes[8000];
    struct bench b;

    set_up(&b);
    for (size_t n = 0; n <= sizeof(bytes); n += 200) {      /* n bytes of noise, the rest zeros */
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = i < n ? (uint8_t)test_random() : 0;
        lsm_buf_reset(&b.out);
        lsm_seal(&b.out, lsm_slice(bytes, sizeof(bytes)), LSM_BLOCK_DATA, LSM_CODEC_ZSTD, 1, b.c, 1);
        if (b.out.data[b.out.size - 8] == LSM_CODEC_ZSTD)
            CHECK(b.out.size - 8 <= 7000);
        else
            CHECK(n > 6800 && b.out.size == 8008);
        if (n <= 6800)
            CHECK_INT(b.out.data[b.out.size - 8], LSM_CODEC_ZSTD);
    }
    tear_down(&b);
}

TEST(seal_every_bit_flip_and_every_cut_is_detected)
{
    char text[300];
    struct bench b;

    set_up(&b);
    memset(text, 'x', sizeof(text));
    memcpy(text + 100, "a small block", 13);
    for (int codec = LSM_CODEC_NONE; codec <= LSM_CODEC_MAX; codec++) {
        struct lsm_slice payload;

        if (codec == LSM_CODEC_ZSTD_DICT)
            continue;
        lsm_buf_reset(&b.out);
        lsm_seal(&b.out, lsm_slice(text, sizeof(text)), LSM_BLOCK_DATA, codec, 1, b.c, 99);
        CHECK_INT(b.out.data[b.out.size - 8], codec);
        for (size_t bit = 0; bit < b.out.size * 8; bit++) {
            b.out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK_RC(unseal(&b, lsm_buf_slice(&b.out), 99, &payload), LSM_CORRUPT);
            CHECK(payload.data == NULL);
            b.out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t n = 0; n < b.out.size; n++) {
            uint8_t *copy = malloc(n + 1);

            memcpy(copy, b.out.data, n);
            CHECK_RC(unseal(&b, lsm_slice(copy, n), 99, &payload), LSM_CORRUPT);
            free(copy);
        }
        CHECK_OK(unseal(&b, lsm_buf_slice(&b.out), 99, &payload));
    }
    tear_down(&b);
}

/* B-11 */
TEST(seal_in_the_wrong_place_file_or_store_is_corrupt)
{
    uint64_t place = lsm_seal_seed(uuid, 14) + 4096;
    struct lsm_slice payload;
    uint8_t other[16];
    struct bench b;

    set_up(&b);
    lsm_seal(&b.out, lsm_slice_str("a block"), LSM_BLOCK_DATA, LSM_CODEC_NONE, 1, b.c, place);
    CHECK_OK(unseal(&b, lsm_buf_slice(&b.out), place, &payload));
    for (uint64_t off = 0; off < 20000; off++)
        if (off != 4096)
            CHECK_RC(unseal(&b, lsm_buf_slice(&b.out), lsm_seal_seed(uuid, 14) + off, &payload),
                     LSM_CORRUPT);
    for (uint64_t number = 0; number < 1000; number++)
        if (number != 14)
            CHECK_RC(unseal(&b, lsm_buf_slice(&b.out), lsm_seal_seed(uuid, number) + 4096, &payload),
                     LSM_CORRUPT);
    for (size_t bit = 0; bit < 128; bit++) {
        memcpy(other, uuid, 16);
        other[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_RC(unseal(&b, lsm_buf_slice(&b.out), lsm_seal_seed(other, 14) + 4096, &payload),
                 LSM_CORRUPT);
    }
    tear_down(&b);
}

TEST(seal_error_names_file_offset_and_reason)
{
    struct lsm_slice payload;
    struct bench b;

    set_up(&b);
    CHECK_RC(unseal(&b, lsm_slice_str("short"), 1, &payload), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), "000014.ldb") && strstr(lsm_error_text(), "56"));
    tear_down(&b);
}

TEST(unseal_refuses_right_sums_over_wrong_fields)
{
    struct lsm_slice payload, text = lsm_slice_str("some bytes that were stored");
    struct bench b;

    set_up(&b);
    forge(&b.out, text, LSM_CODEC_NONE, LSM_BLOCK_DATA, 0, 5);
    CHECK_OK(unseal(&b, lsm_buf_slice(&b.out), 5, &payload));
    for (int kind = 0; kind < 256; kind++) {
        forge(&b.out, text, LSM_CODEC_NONE, (uint8_t)kind, 0, 5);
        CHECK_RC(unseal(&b, lsm_buf_slice(&b.out), 5, &payload),
                 kind == LSM_BLOCK_DATA ? LSM_OK : LSM_CORRUPT);
    }
    for (int codec = 1; codec < 256; codec++) {
        forge(&b.out, text, (uint8_t)codec, LSM_BLOCK_DATA, 0, 5);
        CHECK_RC(unseal(&b, lsm_buf_slice(&b.out), 5, &payload), LSM_CORRUPT);
    }
    /* lz is for data only, and needs no compressor; zstd does. */
    {
        struct lsm_slice rows = lsm_slice("\x04\0\0\0\x40" "rows", 9);

        forge(&b.out, rows, LSM_CODEC_LZ, LSM_BLOCK_DATA, 0, 5);
        CHECK_OK(lsm_unseal(lsm_buf_slice(&b.out), LSM_BLOCK_DATA, 5, NULL, &b.raw, &payload, "f", 0));
        CHECK_MEM(payload.data, "rows", payload.size);
        forge(&b.out, rows, LSM_CODEC_LZ, LSM_BLOCK_INDEX, 0, 5);
        CHECK_RC(lsm_unseal(lsm_buf_slice(&b.out), LSM_BLOCK_INDEX, 5, b.c, &b.raw, &payload, "f", 0), LSM_CORRUPT);
    }
    for (int bit = 0; bit < 16; bit++) {
        forge(&b.out, text, LSM_CODEC_NONE, LSM_BLOCK_DATA, (uint16_t)(1 << bit), 5);
        CHECK_RC(unseal(&b, lsm_buf_slice(&b.out), 5, &payload), LSM_CORRUPT);
    }
    for (size_t n = 0; n <= 4; n++) {           /* compressed, but with no room for it */
        forge(&b.out, lsm_slice("\0\0\0\0", n), LSM_CODEC_ZSTD, LSM_BLOCK_DATA, 0, 5);
        b.f.largest = 0;
        CHECK_RC(unseal(&b, lsm_buf_slice(&b.out), 5, &payload), LSM_CORRUPT);
        CHECK_INT(b.f.largest, 0);
    }
    tear_down(&b);
}

/* H-04 */
TEST(unseal_allocates_nothing_for_a_bomb)
{
    static const uint32_t claims[] = { 100 * LSM_BLOCK_RATIO_MAX + LSM_BLOCK_RATIO_MAX, 1u << 30,
                                       LSM_BLOCK_RAW_SIZE_MAX, UINT32_MAX };
    uint8_t stored[104] = { 0 };
    struct lsm_slice payload;
    struct bench b;

    set_up(&b);
    lsm_buf_reserve(&b.out, 4096);
    for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
        lsm_put_u32(stored, claims[i]);
        forge(&b.out, lsm_slice(stored, sizeof(stored)), LSM_CODEC_ZSTD, LSM_BLOCK_DATA, 0, 5);
        b.f.largest = 0;
        CHECK_RC(unseal(&b, lsm_buf_slice(&b.out), 5, &payload), LSM_CORRUPT);
        CHECK_INT(b.f.largest, 0);
    }
    tear_down(&b);
}

TEST(seal_of_a_million_zeros_is_small_and_no_bomb)
{
    size_t size = 20u << 20;
    uint8_t *zeros = calloc(1, size);
    struct lsm_slice payload;
    struct bench b;

    set_up(&b);
    lsm_seal(&b.out, lsm_slice(zeros, size), LSM_BLOCK_DATA, LSM_CODEC_ZSTD, 1, b.c, 5);
    CHECK_INT(b.out.data[b.out.size - 8], LSM_CODEC_ZSTD);
    CHECK(b.out.size < size / 4000);
    CHECK_OK(unseal(&b, lsm_buf_slice(&b.out), 5, &payload));
    CHECK_INT(payload.size, size);
    CHECK_MEM(payload.data, zeros, size);

    b.out.data[b.out.size - 9] = 1;             /* the zeros behind the frame are checked */
    {
        struct lsm_buf forged;

        lsm_buf_init(&forged, &b.f.os);
        forge(&forged, lsm_slice(b.out.data, b.out.size - 8), LSM_CODEC_ZSTD, LSM_BLOCK_DATA, 0, 5);
        CHECK_RC(unseal(&b, lsm_buf_slice(&forged), 5, &payload), LSM_CORRUPT);
        lsm_buf_clear(&forged);
    }
    tear_down(&b);
    free(zeros);
}

TEST(unseal_without_a_compressor_refuses_compressed_blocks)
{
    struct lsm_slice payload;
    char text[1000] = "";
    struct bench b;

    set_up(&b);
    lsm_seal(&b.out, lsm_slice(text, sizeof(text)), LSM_BLOCK_INDEX, LSM_CODEC_ZSTD, 1, b.c, 5);
    CHECK_RC(lsm_unseal(lsm_buf_slice(&b.out), LSM_BLOCK_INDEX, 5, NULL, &b.raw, &payload, "f", 0),
             LSM_CORRUPT);
    CHECK_OK(lsm_unseal(lsm_buf_slice(&b.out), LSM_BLOCK_INDEX, 5, b.c, &b.raw, &payload, "f", 0));
    tear_down(&b);
}

TEST(seal_and_unseal_report_no_memory_as_that)
{
    struct lsm_slice payload;
    static char text[100000];
    bool done = false;
    struct bench b;

    set_up(&b);
    lsm_seal(&b.out, lsm_slice(text, sizeof(text)), LSM_BLOCK_DATA, LSM_CODEC_ZSTD, 1, b.c, 5);
    b.f.fail_at = 1;
    CHECK_RC(unseal(&b, lsm_buf_slice(&b.out), 5, &payload), LSM_NOMEM);
    b.f.fail_at = 0;
    for (long n = 1; n < 50 && !done; n++) {
        lsm_buf_clear(&b.out);
        b.f.fail_at = n;
        lsm_seal(&b.out, lsm_slice(text, sizeof(text)), LSM_BLOCK_DATA, LSM_CODEC_ZSTD, 1, b.c, 5);
        b.f.fail_at = 0;
        if (b.out.rc == LSM_OK) {
            done = true;
            CHECK_OK(unseal(&b, lsm_buf_slice(&b.out), 5, &payload));
            CHECK_MEM(payload.data, text, sizeof(text));
        } else {
            CHECK_RC(b.out.rc, LSM_NOMEM);
        }
    }
    CHECK(done);
    tear_down(&b);
}

TEST(seal_refuses_what_unseal_would)
{
    struct bench b;

    set_up(&b);
    /* The size alone is looked at. */
    lsm_seal(&b.out, lsm_slice("x", (size_t)LSM_BLOCK_RAW_SIZE_MAX + 1), LSM_BLOCK_DATA,
             LSM_CODEC_NONE, 1, b.c, 5);
    CHECK_RC(b.out.rc, LSM_TOOBIG);
    CHECK_INT(b.out.size, 0);
    /* A row of the largest key and value fits. */
    CHECK((uint64_t)LSM_BLOCK_RAW_SIZE_MAX >= (uint64_t)LSM_VALUE_SIZE_MAX + LSM_KEY_SIZE_MAX + 64);
    tear_down(&b);
}
