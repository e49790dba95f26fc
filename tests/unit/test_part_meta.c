/*
 * test_part_meta.c -- what the properties say of a partition.
 */
#include "lsm/format/part_meta.h"

#include "lsm/format/vlog_meta.h"
#include "lsm/os/os.h"
#include "tests/test.h"

static bool same(const struct lsm_part_meta *a, const struct lsm_part_meta *b)
{
    return a->raw_bytes == b->raw_bytes && a->older == b->older && a->value_max == b->value_max &&
           lsm_slice_equal(a->refs, b->refs);
}

TEST(part_meta_comes_back_as_it_was_and_no_part_of_it_does)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_vlog_refs refs;
    struct lsm_buf out, encoded;

    lsm_vlog_refs_init(&refs, os);
    lsm_buf_init(&out, os);
    lsm_buf_init(&encoded, os);
    for (int round = 0; round < 500; round++) {
        struct lsm_part_meta meta = { test_random() >> test_below(64), test_random() >> test_below(64),
                                      test_random() >> test_below(64), { NULL, 0 } }, got;
        struct lsm_reader r;

        lsm_buf_reset(&refs.list);
        for (uint64_t n = test_below(4); n > 0; n--)
            lsm_vlog_refs_add(&refs, 1 + test_below(5), 30 + test_below(1000));
        lsm_buf_reset(&encoded);
        lsm_vlog_refs_encode(&refs, &encoded);
        meta.refs = lsm_buf_slice(&encoded);
        lsm_buf_reset(&out);
        lsm_part_meta_encode(&out, &meta);
        r = lsm_reader(lsm_buf_slice(&out));
        CHECK(lsm_part_meta_decode(&r, &got) && lsm_reader_left(&r) == 0 && same(&meta, &got));
        for (size_t size = 0; size < out.size; size++) {
            r = lsm_reader(lsm_slice(out.data, size));
            CHECK(!lsm_part_meta_decode(&r, &got));
        }
    }
    lsm_buf_clear(&out);
    lsm_buf_clear(&encoded);
    lsm_vlog_refs_clear(&refs);
    lsm_os_posix_free(os);
}

TEST(part_meta_with_refs_that_are_none_is_malformed)
{
    static const uint8_t bytes[] = { 10, 0, 5, 3, 0, 1, 9 };    /* a log 0 */
    struct lsm_reader r = lsm_reader(lsm_slice(bytes, sizeof bytes));
    struct lsm_part_meta got;

    CHECK(!lsm_part_meta_decode(&r, &got));
}

TEST(vlog_refs_that_are_added_up_are_as_if_they_had_been_counted_one_by_one)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_vlog_refs some, sum, all;
    struct lsm_buf a, b;

    lsm_vlog_refs_init(&some, os);
    lsm_vlog_refs_init(&sum, os);
    lsm_vlog_refs_init(&all, os);
    lsm_buf_init(&a, os);
    lsm_buf_init(&b, os);
    for (int part = 0; part < 50; part++) {
        lsm_buf_reset(&some.list);
        for (uint64_t n = test_below(20); n > 0; n--) {
            uint64_t id = 1 + test_below(9), bytes = 8 + test_below(100);
            lsm_vlog_refs_add(&some, id, bytes);
            lsm_vlog_refs_add(&all, id, bytes);
        }
        lsm_buf_reset(&a);
        lsm_vlog_refs_encode(&some, &a);
        lsm_vlog_refs_add_all(&sum, lsm_buf_slice(&a));
    }
    lsm_buf_reset(&a);
    lsm_vlog_refs_encode(&sum, &a);
    lsm_vlog_refs_encode(&all, &b);
    CHECK(a.size > 0 && lsm_slice_equal(lsm_buf_slice(&a), lsm_buf_slice(&b)));
    lsm_buf_clear(&a);
    lsm_buf_clear(&b);
    lsm_vlog_refs_clear(&some);
    lsm_vlog_refs_clear(&sum);
    lsm_vlog_refs_clear(&all);
    lsm_os_posix_free(os);
}
