/* test_filter.c -- no false negative, few false positives, one answer on every machine. */
#include "lsm/format/filter.h"
#include "lsm/util/coding.h"
#include "tests/unit/format_os.h"

static uint64_t hash_of(uint64_t n)
{
    return lsm_filter_hash(lsm_slice(&n, sizeof(n)));
}

/* The format as its header states it, written a second time. */
static bool as_the_format_says(const uint8_t *filter, uint32_t lines, uint64_t hash)
{
    static const uint32_t c[6] = {
        0x00000001, 0x9e3779b9, 0xe35e67b1, 0x734297e9, 0x35fbe861, 0xdeb7c719
    };
    const uint8_t *line = filter + 64 * (((hash >> 32) * lines) >> 32);

    for (int i = 0; i < 6; i++) {
        uint32_t b = (uint32_t)((uint64_t)(uint32_t)hash * c[i] % (UINT64_C(1) << 32) >> 23);

        if (!(line[b / 8] & (1 << b % 8)))
            return false;
    }
    return true;
}

static struct lsm_buf build(struct format_os *f, size_t count, uint32_t bits)
{
    uint64_t *hashes = malloc((count + 1) * sizeof(*hashes));
    struct lsm_buf out;

    for (size_t i = 0; i < count; i++)
        hashes[i] = hash_of(i);
    lsm_buf_init(&out, &f->os);
    lsm_filter_build(&out, hashes, count, bits);
    free(hashes);
    return out;
}

TEST(filter_takes_the_lines_its_bits_need)
{
    struct format_os f;

    format_os_init(&f);
    for (uint32_t bits = 1; bits <= 32; bits++) {
        struct lsm_buf filter = build(&f, 1024, bits);

        CHECK_INT(lsm_filter_line_count(lsm_buf_slice(&filter)), 2 * bits);
        lsm_buf_clear(&filter);
    }
    CHECK_INT(f.used, 0);
}

TEST(filter_never_denies_a_key_it_has)
{
    static const size_t counts[] = { 1, 2, 50, 51, 52, 1000, 12345, 200000 };
    struct format_os f;

    format_os_init(&f);
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        for (uint32_t bits = 1; bits <= 30; bits += bits < 12 ? 3 : 8) {
            struct lsm_buf filter = build(&f, counts[c], bits);

            CHECK_OK(filter.rc);
            for (size_t i = 0; i < counts[c]; i++)
                if (!CHECK(lsm_filter_may_contain(lsm_buf_slice(&filter), hash_of(i))))
                    break;
            lsm_buf_clear(&filter);
        }
    }
    CHECK_INT(f.used, 0);
}

TEST(filter_is_wrong_at_most_three_times_in_two_hundred_at_10_bits)
{
    static const size_t counts[] = { 5000, 100000, 1000000 };
    struct format_os f;

    format_os_init(&f);
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        struct lsm_buf filter = build(&f, counts[c], 10);
        size_t wrong = 0, asked = 400000;

        CHECK(filter.size <= counts[c] * 10 / 8 + 64 + 8);
        for (size_t i = 0; i < asked; i++)
            wrong += lsm_filter_may_contain(lsm_buf_slice(&filter), hash_of(counts[c] + i));
        printf("%zu keys: %.3f %% false positives\n", counts[c], 100.0 * (double)wrong / (double)asked);
        CHECK(wrong * 1000 <= asked * 15);
        lsm_buf_clear(&filter);
    }
}

/* Lines of random bits, dense enough that probes meet both answers. */
TEST(filter_fast_and_scalar_and_the_format_agree)
{
    uint8_t *bytes = malloc(64 * 33 + 8 + 64);
    size_t yes = 0, no = 0;

    for (size_t shift = 0; shift < 64; shift += 7) {        /* at any alignment */
        uint8_t *filter = bytes + shift;
        uint32_t lines = (uint32_t)(1 + test_below(33));

        for (size_t i = 0; i < lines * 64; i++)
            filter[i] = (uint8_t)(test_random() | test_random() | test_random());
        lsm_put_u32(filter + lines * 64, lines);
        lsm_put_u32(filter + lines * 64 + 4, 6);
        for (int i = 0; i < 20000; i++) {
            uint64_t hash = test_random();
            struct lsm_slice s = lsm_slice(filter, lines * 64 + 8);
            bool expected = as_the_format_says(filter, lines, hash);

            if (!CHECK(lsm_filter_may_contain(s, hash) == expected) ||
                !CHECK(lsm_filter_may_contain_scalar(s, hash) == expected))
                goto out;
            yes += expected;
            no += !expected;
        }
    }
    CHECK(yes > 10000);
    CHECK(no > 10000);
out:
    free(bytes);
}

TEST(filter_one_missing_bit_is_seen_by_every_form)
{
    uint8_t filter[64 + 8];
    struct lsm_slice s = lsm_slice(filter, sizeof(filter));

    lsm_put_u32(filter + 64, 1);
    lsm_put_u32(filter + 68, 6);
    for (uint32_t missing = 0; missing < 512; missing++) {
        memset(filter, 0xff, 64);
        filter[missing / 8] &= (uint8_t)~(1 << missing % 8);
        for (int i = 0; i < 300; i++) {
            uint64_t hash = test_random();
            bool expected = as_the_format_says(filter, 1, hash);

            if (!CHECK(lsm_filter_may_contain(s, hash) == expected) ||
                !CHECK(lsm_filter_may_contain_scalar(s, hash) == expected))
                return;
        }
    }
}

TEST(filter_without_keys_refuses_all)
{
    struct format_os f;
    struct lsm_buf filter;

    format_os_init(&f);
    filter = build(&f, 0, 10);
    CHECK_INT(filter.size, 64 + 8);
    for (uint64_t i = 0; i < 1000; i++)
        CHECK(!lsm_filter_may_contain(lsm_buf_slice(&filter), hash_of(i)));
    lsm_buf_clear(&filter);
}

TEST(filter_that_is_malformed_matches_everything)
{
    struct format_os f;
    struct lsm_buf filter;
    uint64_t absent = 0;

    format_os_init(&f);
    filter = build(&f, 500, 10);
    while (lsm_filter_may_contain(lsm_buf_slice(&filter), hash_of(1000 + absent)))
        absent++;
    absent = hash_of(1000 + absent);

    for (size_t n = 0; n < filter.size; n++) {              /* cut short */
        uint8_t *copy = malloc(n + 1);

        memcpy(copy, filter.data, n);
        CHECK(lsm_filter_may_contain(lsm_slice(copy, n), absent));
        free(copy);
    }
    for (size_t bit = 0; bit < 64; bit++) {                 /* line count, probes, zeros */
        uint8_t *at = filter.data + filter.size - 8 + bit / 8;

        *at ^= (uint8_t)(1 << bit % 8);
        CHECK(lsm_filter_may_contain(lsm_buf_slice(&filter), absent));
        CHECK(lsm_filter_may_contain_scalar(lsm_buf_slice(&filter), absent));
        *at ^= (uint8_t)(1 << bit % 8);
    }
    CHECK(!lsm_filter_may_contain(lsm_buf_slice(&filter), absent));
    CHECK(lsm_filter_may_contain(lsm_slice(NULL, 0), absent));
    lsm_buf_clear(&filter);
}

TEST(filter_build_appends_and_latches_no_memory)
{
    struct format_os f;
    struct lsm_buf out;
    uint64_t hash = hash_of(1);

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    lsm_buf_append(&out, "before", 6);
    lsm_filter_build(&out, &hash, 1, 10);
    CHECK_INT(out.size, 6 + 64 + 8);
    CHECK_MEM(out.data, "before", 6);
    CHECK(lsm_filter_may_contain(lsm_slice(out.data + 6, 72), hash));
    lsm_buf_clear(&out);

    f.fail_at = 1;
    lsm_filter_build(&out, &hash, 1, 10);
    CHECK_RC(out.rc, LSM_NOMEM);
    CHECK_INT(out.size, 0);
    lsm_buf_clear(&out);
}

TEST(filter_hash_is_that_of_the_format_for_ever)
{
    CHECK(lsm_filter_hash(lsm_slice(NULL, 0)) == UINT64_C(0x2d06800538d394c2));   /* XXH3("") */
}
