/* test_compress.c -- what was compressed comes back; what was not is refused. */
#include <pthread.h>

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "lsm/format/compress.h"
#include "lsm/util/coding.h"
#include "tests/unit/format_os.h"

static uint8_t *half_random(size_t size)
{
    uint8_t *p = malloc(size + 1);

    for (size_t i = 0; i < size; i++)
        p[i] = i % 100 < 50 ? (uint8_t)test_random() : p[i - 50];
    return p;
}

TEST(compress_roundtrips_at_any_level_and_size)
{
    static const size_t sizes[] = { 1, 2, 20, 100, 4096, 65536, 131072, 131073, 1000000 };
    static const int levels[] = { -5, -1, 1, 3, 9 };
    struct lsm_compressor_pool *pool;
    struct lsm_compressor *c;
    struct format_os f;
    struct lsm_buf out;

    format_os_init(&f);
    if (!CHECK_OK(lsm_compressor_pool_new(&f.os, &pool)) || !CHECK_OK(lsm_compressor_take(pool, &c)))
        return;
    lsm_buf_init(&out, &f.os);
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        uint8_t *raw = half_random(sizes[s]), *back = malloc(sizes[s]);

        for (size_t l = 0; l < sizeof(levels) / sizeof(levels[0]); l++) {
            size_t n;

            lsm_buf_reset(&out);
            lsm_buf_append(&out, "head", 4);
            n = lsm_compress(c, LSM_CODEC_ZSTD, levels[l], lsm_slice(raw, sizes[s]), &out, sizes[s] + 100);
            CHECK(n > 0);
            CHECK_INT(out.size, n + 4);
            CHECK_MEM(out.data, "head", 4);
            CHECK(lsm_decompress(c, LSM_CODEC_ZSTD, lsm_slice(out.data + 4, n), back, sizes[s]));
            CHECK_MEM(back, raw, sizes[s]);
            CHECK(!lsm_decompress(c, LSM_CODEC_ZSTD, lsm_slice(out.data + 4, n), back, sizes[s] - 1));
        }
        free(raw);
        free(back);
    }
    lsm_buf_clear(&out);
    lsm_compressor_put(pool, c);
    lsm_compressor_pool_free(pool);
    CHECK_INT(f.used, 0);
}

TEST(compress_gives_up_at_size_max_and_leaves_out_as_it_was)
{
    struct lsm_compressor_pool *pool;
    struct lsm_compressor *c;
    struct format_os f;
    struct lsm_buf out;
    uint8_t *raw = half_random(10000);
    size_t n;

    format_os_init(&f);
    lsm_compressor_pool_new(&f.os, &pool);
    CHECK_OK(lsm_compressor_take(pool, &c));
    lsm_buf_init(&out, &f.os);
    n = lsm_compress(c, LSM_CODEC_ZSTD, 1, lsm_slice(raw, 10000), &out, 10000);
    CHECK(n > 5000 && n < 6000);
    lsm_buf_reset(&out);
    CHECK_INT(lsm_compress(c, LSM_CODEC_ZSTD, 1, lsm_slice(raw, 10000), &out, n), n);
    for (size_t max = 0; max < n; max += max < 32 ? 1 : 321) {
        lsm_buf_reset(&out);
        CHECK_INT(lsm_compress(c, LSM_CODEC_ZSTD, 1, lsm_slice(raw, 10000), &out, max), 0);
        CHECK_INT(out.size, 0);
        CHECK_OK(out.rc);
    }
    lsm_buf_clear(&out);
    lsm_compressor_put(pool, c);
    lsm_compressor_pool_free(pool);
    free(raw);
}

TEST(decompress_refuses_all_but_one_frame_of_that_size)
{
    struct lsm_compressor_pool *pool;
    struct lsm_compressor *c;
    struct format_os f;
    struct lsm_buf out;
    uint8_t *raw = half_random(1000), back[3000];
    size_t n;

    format_os_init(&f);
    lsm_compressor_pool_new(&f.os, &pool);
    CHECK_OK(lsm_compressor_take(pool, &c));
    lsm_buf_init(&out, &f.os);
    n = lsm_compress(c, LSM_CODEC_ZSTD, 1, lsm_slice(raw, 1000), &out, 2000);

    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *copy = malloc(cut + 1);

        memcpy(copy, out.data, cut);
        CHECK(!lsm_decompress(c, LSM_CODEC_ZSTD, lsm_slice(copy, cut), back, 1000));
        free(copy);
    }
    CHECK(!lsm_decompress(c, LSM_CODEC_ZSTD, lsm_slice(out.data, n), back, 1001));
    CHECK(!lsm_decompress(c, LSM_CODEC_ZSTD, lsm_slice(out.data, n), back, 0));

    lsm_buf_append(&out, "\0\0\0", 3);                         /* zeros may follow */
    CHECK(lsm_decompress(c, LSM_CODEC_ZSTD, lsm_buf_slice(&out), back, 1000));
    out.data[n + 1] = 1;                                        /* nothing else */
    CHECK(!lsm_decompress(c, LSM_CODEC_ZSTD, lsm_buf_slice(&out), back, 1000));

    out.size = n;                                               /* a second frame */
    lsm_compress(c, LSM_CODEC_ZSTD, 1, lsm_slice(raw, 1000), &out, 2000);
    CHECK(!lsm_decompress(c, LSM_CODEC_ZSTD, lsm_buf_slice(&out), back, 1000));
    CHECK(!lsm_decompress(c, LSM_CODEC_ZSTD, lsm_buf_slice(&out), back, 2000));

    lsm_buf_reset(&out);                                        /* a skippable frame first */
    lsm_buf_put_u32(&out, ZSTD_MAGIC_SKIPPABLE_START);
    lsm_buf_put_u32(&out, 0);
    lsm_compress(c, LSM_CODEC_ZSTD, 1, lsm_slice(raw, 1000), &out, 2000);
    CHECK(!lsm_decompress(c, LSM_CODEC_ZSTD, lsm_buf_slice(&out), back, 1000));

    out.size = 8;                                               /* and nothing else */
    CHECK(!lsm_decompress(c, LSM_CODEC_ZSTD, lsm_buf_slice(&out), back, 0));

    for (uint32_t legacy = 0xfd2fb522; legacy < 0xfd2fb528; legacy++) {
        lsm_buf_reset(&out);
        n = lsm_compress(c, LSM_CODEC_ZSTD, 1, lsm_slice(raw, 1000), &out, 2000);
        lsm_put_u32(out.data, legacy);
        CHECK(!lsm_decompress(c, LSM_CODEC_ZSTD, lsm_buf_slice(&out), back, 1000));
    }

    {                                                           /* a frame that hides its size */
        ZSTD_CCtx *cctx = ZSTD_createCCtx();
        uint8_t stored[2000];
        size_t size;

        ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0);
        size = ZSTD_compress2(cctx, stored, sizeof(stored), raw, 1000);
        CHECK(!ZSTD_isError(size));
        CHECK(!lsm_decompress(c, LSM_CODEC_ZSTD, lsm_slice(stored, size), back, 1000));
        ZSTD_freeCCtx(cctx);
    }
    lsm_buf_clear(&out);
    lsm_compressor_put(pool, c);
    lsm_compressor_pool_free(pool);
    free(raw);
    CHECK_INT(f.used, 0);
}

TEST(compressor_survives_no_memory_at_every_request)
{
    uint8_t raw[5000];
    bool done = false;

    memset(raw, 'a', sizeof(raw));
    for (long n = 1; n < 100 && !done; n++) {
        struct lsm_compressor_pool *pool = NULL;
        struct lsm_compressor *c = NULL;
        struct format_os f;
        struct lsm_buf out;
        size_t size = 0;
        int rc;

        format_os_init(&f);
        f.fail_at = n;
        lsm_buf_init(&out, &f.os);
        rc = lsm_compressor_pool_new(&f.os, &pool);
        if (rc == LSM_OK)
            rc = lsm_compressor_take(pool, &c);
        if (rc == LSM_OK) {
            size = lsm_compress(c, LSM_CODEC_ZSTD, 1, lsm_slice(raw, sizeof(raw)), &out, sizeof(raw));
            done = size > 0;
        } else {
            CHECK_RC(rc, LSM_NOMEM);
            CHECK(c == NULL);
        }
        if (size) {                             /* decompressing never asks for memory */
            uint8_t back[sizeof(raw)];

            f.fail_at = 1;
            CHECK(lsm_decompress(c, LSM_CODEC_ZSTD, lsm_slice(out.data, size), back, sizeof(back)));
            CHECK_MEM(back, raw, sizeof(raw));
        }
        lsm_buf_clear(&out);
        if (pool)
            lsm_compressor_put(pool, c);
        lsm_compressor_pool_free(pool);
        CHECK_INT(f.used, 0);
    }
    CHECK(done);
}

TEST(dictionaries_survive_no_memory_at_every_request)
{
    static uint8_t bytes[8192];
    struct format_os f;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i >> 3);
    format_os_init(&f);
    for (int is_reader = 0; is_reader < 2; is_reader++) {
        int rc = LSM_NOMEM;

        for (int n = 1; n < 20 && rc != LSM_OK; n++) {
            struct lsm_dict *dict;

            f.fail_at = n;
            rc = is_reader ? lsm_dict_new_reader(&f.os, lsm_slice(bytes, sizeof bytes), false, &dict)
                           : lsm_dict_new_writer(&f.os, lsm_slice(bytes, sizeof bytes), false, 1, &dict);
            f.fail_at = 0;
            CHECK(rc == LSM_OK || (rc == LSM_NOMEM && n < 10 && !dict));
            CHECK(rc != LSM_OK || lsm_dict_memory(dict) > sizeof bytes);
            lsm_dict_free(dict);
            CHECK_INT(f.used, 0);
        }
        CHECK_OK(rc);
    }
}

TEST(compressor_pool_gives_back_what_it_got_and_keeps_few)
{
    struct lsm_compressor *c[40], *again;
    struct lsm_compressor_pool *pool;
    uint64_t all, kept;
    struct format_os f;

    format_os_init(&f);
    lsm_compressor_pool_new(&f.os, &pool);
    CHECK_OK(lsm_compressor_take(pool, &c[0]));
    lsm_compressor_put(pool, c[0]);
    CHECK_OK(lsm_compressor_take(pool, &again));
    CHECK(again == c[0]);
    for (int i = 1; i < 40; i++)
        CHECK_OK(lsm_compressor_take(pool, &c[i]));
    all = f.used;
    for (int i = 0; i < 40; i++)
        lsm_compressor_put(pool, c[i]);
    kept = f.used;
    CHECK(kept <= all * 16 / 40 + 1024);
    lsm_compressor_put(pool, NULL);
    lsm_compressor_pool_free(pool);
    lsm_compressor_pool_free(NULL);
    CHECK_INT(f.used, 0);
}

static void *work(void *arg)
{
    struct lsm_compressor_pool *pool = arg;
    uint8_t raw[3000], back[3000], stored[3000];

    for (int i = 0; i < 300; i++) {
        struct lsm_compressor *c;
        struct format_os f;
        struct lsm_buf out;
        size_t n;

        for (size_t k = 0; k < sizeof(raw); k++)
            raw[k] = (uint8_t)(k * (size_t)i >> 6);
        if (!CHECK_OK(lsm_compressor_take(pool, &c)))
            break;
        format_os_init(&f);
        lsm_buf_init(&out, &f.os);
        n = lsm_compress(c, LSM_CODEC_ZSTD, 1, lsm_slice(raw, sizeof(raw)), &out, sizeof(stored));
        CHECK(n > 0);
        CHECK(lsm_decompress(c, LSM_CODEC_ZSTD, lsm_slice(out.data, n), back, sizeof(back)));
        CHECK_MEM(raw, back, sizeof(raw));
        lsm_buf_clear(&out);
        lsm_compressor_put(pool, c);
    }
    return NULL;
}

TEST(compressor_pool_serves_many_threads)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_compressor_pool *pool;
    pthread_t threads[4];

    if (!CHECK_OK(lsm_compressor_pool_new(os, &pool)))
        return;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, work, pool);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    lsm_compressor_pool_free(pool);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

TEST(compress_library_is_named_with_its_version)
{
    CHECK(strncmp(lsm_compress_library(), "zstd 1.", 7) == 0);
}
