#include "lsm/util/coding.h"
#include "tests/test.h"

TEST(coding_varint_round_trips_at_every_width)
{
    uint8_t bytes[LSM_VARINT_SIZE_MAX];

    for (int bit = 0; bit < 64; bit++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t v = ((uint64_t)1 << bit) + (uint64_t)(int64_t)delta, got = 0;
            size_t n = lsm_varint_put(bytes, v);

            CHECK_INT(lsm_varint_size(v), n);
            CHECK_INT(lsm_varint_get(bytes, bytes + n, &got), n);
            CHECK(got == v);
        }
    }
    CHECK_INT(lsm_varint_size(0), 1);
    CHECK_INT(lsm_varint_size(UINT64_MAX), LSM_VARINT_SIZE_MAX);
}

TEST(coding_varint_random_numbers_round_trip)
{
    uint8_t bytes[LSM_VARINT_SIZE_MAX];

    for (int i = 0; i < 100000; i++) {
        uint64_t v = test_random() >> test_below(64), got = 0;
        size_t n = lsm_varint_put(bytes, v);

        if (!CHECK_INT(lsm_varint_get(bytes, bytes + n, &got), n) || !CHECK(got == v))
            return;
    }
}

TEST(coding_varint_cut_short_is_refused_at_every_length)
{
    uint8_t bytes[LSM_VARINT_SIZE_MAX];
    uint64_t got;
    size_t n = lsm_varint_put(bytes, UINT64_MAX);

    for (size_t cut = 0; cut < n; cut++)
        CHECK_INT(lsm_varint_get(bytes, bytes + cut, &got), 0);
}

TEST(coding_varint_has_one_form_only)
{
    static const struct {
        uint8_t bytes[11];
        size_t size;
    } bad[] = {
        { { 0x80, 0x00 }, 2 },                          /* 0, too long */
        { { 0xff, 0x00 }, 2 },                          /* 127, too long */
        { { 0x80, 0x80, 0x00 }, 3 },
        { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 }, 10 },    /* bit 64 */
        { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x00 }, 11 },
        { { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00 }, 10 },
    };
    uint64_t got;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_INT(lsm_varint_get(bad[i].bytes, bad[i].bytes + bad[i].size, &got), 0);
}

TEST(coding_fixed_numbers_are_little_endian_and_be64_sorts)
{
    uint8_t a[8], b[8];

    lsm_put_u32(a, 0x01020304);
    CHECK_INT(a[0], 4);
    CHECK_INT(lsm_get_u32(a), 0x01020304);
    lsm_put_u16(a, 0x0102);
    CHECK_INT(a[0], 2);
    lsm_put_u64(a, 0x0102030405060708);
    CHECK_INT(a[0], 8);
    CHECK(lsm_get_u64(a) == 0x0102030405060708);

    for (int i = 0; i < 1000; i++) {
        uint64_t x = test_random(), y = test_random() >> test_below(64);
        lsm_put_be64(a, x);
        lsm_put_be64(b, y);
        CHECK((memcmp(a, b, 8) < 0) == (x < y));
        CHECK(lsm_get_be64(a) == x);
    }
}

TEST(coding_reader_reads_what_was_put)
{
    static const uint8_t bytes[] = { 7, 1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8,
                                     0xac, 0x02, 9, 'a', 'b', 2, 'c', 'd' };
    struct lsm_reader r = lsm_reader(lsm_slice(bytes, sizeof(bytes)));

    CHECK_INT(lsm_read_u8(&r), 7);
    CHECK_INT(lsm_read_u16(&r), 0x0201);
    CHECK_INT(lsm_read_u32(&r), 0x04030201);
    CHECK(lsm_read_u64(&r) == 0x0807060504030201);
    CHECK_INT(lsm_read_varint(&r), 300);
    CHECK_INT(lsm_read_varint32(&r), 9);
    CHECK(lsm_slice_equal(lsm_read_fixed(&r, 2), lsm_slice_str("ab")));
    CHECK(lsm_slice_equal(lsm_read_bytes(&r), lsm_slice_str("cd")));
    CHECK(!r.bad);
    CHECK_INT(lsm_reader_left(&r), 0);
}

TEST(coding_reader_latches_bad_at_the_first_read_past_the_end)
{
    static const uint8_t bytes[] = { 1, 2, 3 };
    struct lsm_reader r = lsm_reader(lsm_slice(bytes, sizeof(bytes)));

    CHECK_INT(lsm_read_u32(&r), 0);
    CHECK(r.bad);
    CHECK_INT(lsm_read_u8(&r), 0);              /* there is one, but the way to it was wrong */
    CHECK_INT(lsm_read_varint(&r), 0);
    CHECK_INT(lsm_read_u16(&r), 0);
    CHECK(lsm_read_u64(&r) == 0);
    CHECK_INT(lsm_read_fixed(&r, 0).size, 0);
    CHECK_INT(lsm_read_bytes(&r).size, 0);
}

/* H-02 */
TEST(coding_reader_refuses_sizes_beyond_what_is_left)
{
    static const uint8_t sizes[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'x' };
    static const uint8_t big[] = { 0x80, 0x80, 0x80, 0x80, 0x10 };
    struct lsm_reader r = lsm_reader(lsm_slice(sizes, sizeof(sizes)));
    struct lsm_slice s = lsm_read_bytes(&r);

    CHECK(r.bad);
    CHECK_INT(s.size, 0);

    r = lsm_reader(lsm_slice(big, sizeof(big)));
    CHECK_INT(lsm_read_varint32(&r), 0);        /* 2^32 */
    CHECK(r.bad);
}

TEST(coding_reader_of_nothing_is_bad_only_when_asked_for_something)
{
    struct lsm_reader r = lsm_reader(lsm_slice(NULL, 0));

    CHECK_INT(lsm_read_fixed(&r, 0).size, 0);
    CHECK(!r.bad);
    CHECK_INT(lsm_read_varint(&r), 0);
    CHECK(r.bad);
}

TEST(coding_reader_survives_random_bytes)
{
    uint8_t bytes[64];

    for (int i = 0; i < 20000; i++) {
        size_t size = test_below(sizeof(bytes) + 1);
        for (size_t k = 0; k < size; k++)
            bytes[k] = (uint8_t)test_random();
        struct lsm_reader r = lsm_reader(lsm_slice(bytes, size));
        while (!r.bad && lsm_reader_left(&r)) {
            size_t left = lsm_reader_left(&r);
            struct lsm_slice s = test_below(2) ? lsm_read_bytes(&r)
                                               : lsm_read_fixed(&r, test_below(12));
            if (s.size)
                CHECK(s.data >= bytes && s.data + s.size <= bytes + size);
            lsm_read_varint(&r);
            CHECK(r.bad || lsm_reader_left(&r) < left);
        }
    }
}
