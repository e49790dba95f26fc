/*
 * test_train.c -- whatever the samples are, zstd takes the dictionary that is made of them,
 * for writing and for reading, and small values of their kind become smaller by its tables.
 */
#include "lsm/format/compress.h"
#include "lsm/format/train.h"
#include "tests/unit/format_os.h"

#define SAMPLES_MAX 4000
#define BYTES_MAX (200u << 10)

static uint8_t bytes[BYTES_MAX];
static size_t sizes[SAMPLES_MAX], count, total;

static void add(const void *data, size_t size)
{
    if (count == SAMPLES_MAX || size > BYTES_MAX - total)
        return;
    memcpy(bytes + total, data, size);
    total += size;
    sizes[count++] = size;
}

static void add_document(int i)
{
    static const char *const names[] = { "Ada", "Grace", "Edsger", "Barbara", "Donald", "Leslie" };
    char text[400];
    int n = snprintf(text, sizeof text,
                     "{\"id\":%u,\"name\":\"%s\",\"email\":\"%s%u@example.com\",\"age\":%u,\"tags\":[\"new\",\"%s\"],"
                     "\"city\":\"M\xc3\xbcnchen\",\"created\":\"2026-%02u-%02uT%02u:00:00Z\"}",
                     (unsigned)test_below(1000000), names[test_below(6)], names[test_below(6)],
                     (unsigned)test_below(1000), (unsigned)test_below(90), i % 3 ? "vip" : "gift",
                     (unsigned)test_below(12) + 1, (unsigned)test_below(28) + 1, (unsigned)test_below(24));
    add(text, (size_t)n);
}

/* All samples, and other bytes, through the dictionary and back; bytes of all samples compressed. */
static size_t through(struct format_os *f, struct lsm_slice dict, bool has_tables)
{
    struct lsm_compressor_pool *pool;
    struct lsm_compressor *c;
    struct lsm_dict *writer, *reader;
    struct lsm_buf out;
    static uint8_t back[BYTES_MAX];
    size_t sum = 0, at = 0;

    CHECK_OK(lsm_compressor_pool_new(&f->os, &pool));
    CHECK_OK(lsm_compressor_take(pool, &c));
    lsm_buf_init(&out, &f->os);
    if (CHECK_OK(lsm_dict_new_writer(&f->os, dict, has_tables, 1, &writer)) &&
        CHECK_OK(lsm_dict_new_reader(&f->os, dict, has_tables, &reader))) {
        for (size_t i = 0; i < count; at += sizes[i], i++) {
            size_t n;

            lsm_buf_reset(&out);
            lsm_compressor_set_dict(c, writer);
            n = lsm_compress(c, LSM_CODEC_ZSTD_DICT, 1, lsm_slice(bytes + at, sizes[i]), &out, sizes[i] + 1000);
            CHECK(n > 0);
            sum += n;
            lsm_compressor_set_dict(c, reader);
            if (!CHECK(lsm_decompress(c, LSM_CODEC_ZSTD_DICT, lsm_buf_slice(&out), back, sizes[i])) ||
                !CHECK_MEM(back, bytes + at, sizes[i]))
                break;
        }
        lsm_dict_free(reader);
    }
    lsm_dict_free(writer);
    lsm_buf_clear(&out);
    lsm_compressor_put(pool, c);
    lsm_compressor_pool_free(pool);
    return sum;
}

TEST(trained_dictionary_makes_small_values_smaller_than_its_bytes_alone)
{
    struct format_os f;
    struct lsm_buf dict;
    size_t alone, trained;

    format_os_init(&f);
    lsm_buf_init(&dict, &f.os);
    count = total = 0;
    for (int i = 0; i < 400; i++)
        add_document(i);
    lsm_train(&dict, lsm_slice(bytes, 8192), bytes, sizes, count);
    CHECK_OK(dict.rc);
    CHECK(dict.size < 8192 + 250);
    count = total = 0;
    for (int i = 0; i < 400; i++)               /* others */
        add_document(i);
    alone = through(&f, lsm_slice(dict.data + dict.size - 8192, 8192), false);
    trained = through(&f, lsm_buf_slice(&dict), true);
    printf("  %zu bytes: %zu with bytes alone, %zu with tables\n", total, alone, trained);
    CHECK(trained < alone * 9 / 10);
    lsm_buf_clear(&dict);
    CHECK_INT(f.used, 0);
}

/* Sizes and bytes of every kind: one symbol, a code that would be too long, no match, only matches, nothing. */
TEST(trained_dictionary_is_good_whatever_the_samples)
{
    struct format_os f;
    struct lsm_buf dict;

    format_os_init(&f);
    lsm_buf_init(&dict, &f.os);
    for (int round = 0; round < 60; round++) {
        static uint8_t sample[20000];
        size_t samples = round % 12 == 11 ? 0 : 1 + test_below(round % 5 ? 100 : 1000), content;

        count = total = 0;
        for (size_t i = 0; i < samples; i++) {
            size_t size = round % 7 == 6 ? test_below(sizeof sample) : test_below(300);
            for (size_t k = 0; k < size; k++) {
                uint64_t x = test_random();
                int fib = 0;
                switch (round % 6) {
                case 0: sample[k] = (uint8_t)x; break;
                case 1: sample[k] = 0; break;
                case 2:                         /* each symbol half as frequent as the one before */
                    while (x & 1 && fib < 60)
                        x >>= 1, fib++;
                    sample[k] = (uint8_t)(fib * 4);
                    break;
                case 3: sample[k] = (uint8_t)('a' + k % 7); break;
                case 4: sample[k] = k % 8 < 6 ? 'x' : (uint8_t)x; break;
                default: sample[k] = (uint8_t)(200 + x % 56); break;
                }
            }
            add(sample, size);
        }
        if (total < 64)
            memset(bytes, 'z', 64);
        content = total < 64 ? 8 + test_below(56) : 8 + test_below(total < 8192 ? total - 8 : 8184);
        lsm_buf_reset(&dict);
        lsm_train(&dict, lsm_slice(bytes, content), bytes, sizes, count);
        CHECK_OK(dict.rc);
        through(&f, lsm_buf_slice(&dict), true);
    }
    lsm_buf_clear(&dict);
    CHECK_INT(f.used, 0);
}

TEST(dictionary_of_malformed_tables_is_refused)
{
    struct format_os f;
    struct lsm_dict *d;
    struct lsm_buf dict;
    int refused = 0;

    format_os_init(&f);
    lsm_buf_init(&dict, &f.os);
    count = total = 0;
    for (int i = 0; i < 100; i++)
        add_document(i);
    lsm_train(&dict, lsm_slice(bytes, 1000), bytes, sizes, count);
    for (size_t at = 0; at < dict.size - 1000; at++) {
        dict.data[at] ^= 0x55;
        int rc = lsm_dict_new_reader(&f.os, lsm_buf_slice(&dict), true, &d);
        CHECK(rc == LSM_OK || (rc == LSM_CORRUPT && !d));
        refused += rc != LSM_OK;
        lsm_dict_free(d);
        dict.data[at] ^= 0x55;
    }
    CHECK(refused > 20);
    CHECK_RC(lsm_dict_new_reader(&f.os, lsm_slice(bytes, 1000), true, &d), LSM_CORRUPT);
    lsm_buf_clear(&dict);
    CHECK_INT(f.used, 0);
}

TEST(train_latches_no_memory)
{
    struct format_os f;
    struct lsm_buf dict;

    count = total = 0;
    for (int i = 0; i < 20; i++)
        add_document(i);
    for (int n = 1; n < 4; n++) {
        format_os_init(&f);
        lsm_buf_init(&dict, &f.os);
        f.fail_at = n;
        lsm_train(&dict, lsm_slice(bytes, 1000), bytes, sizes, count);
        CHECK_RC(dict.rc, LSM_NOMEM);
        lsm_buf_clear(&dict);
        CHECK_INT(f.used, 0);
    }
}
