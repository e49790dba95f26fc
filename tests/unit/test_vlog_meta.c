/* test_vlog_meta.c -- handles, refs and metas of value logs, as bytes and back. */
#include "lsm/format/seal.h"
#include "lsm/format/vlog_meta.h"
#include "tests/unit/format_os.h"

TEST(vlog_handle_comes_back_and_nothing_else_is_one)
{
    static const struct lsm_vlog_handle handles[] = {
        { 1, 64, 8, 0 }, { 7, 64, 1032, 1024 }, { UINT64_MAX, UINT64_MAX, UINT32_MAX, LSM_VALUE_SIZE_MAX },
    };
    uint8_t p[LSM_VLOG_HANDLE_SIZE_MAX + 1];
    struct lsm_vlog_handle got;

    for (size_t i = 0; i < 3; i++) {
        size_t n = lsm_vlog_handle_encode(p, &handles[i]);

        CHECK(n <= LSM_VLOG_HANDLE_SIZE_MAX);
        CHECK(lsm_vlog_handle_decode(lsm_slice(p, n), &got));
        CHECK(got.id == handles[i].id && got.off == handles[i].off && got.size == handles[i].size &&
              got.raw_size == handles[i].raw_size);
        for (size_t k = 0; k < n; k++)
            CHECK(!lsm_vlog_handle_decode(lsm_slice(p, k), &got));
        p[n] = 0;
        CHECK(!lsm_vlog_handle_decode(lsm_slice(p, n + 1), &got));
    }
    CHECK(!lsm_vlog_handle_decode(lsm_slice("\x00\x40\x10\x08", 4), &got));    /* id 0 */
    CHECK(!lsm_vlog_handle_decode(lsm_slice("\x01\x40\x07\x08", 4), &got));    /* below a trailer */
    CHECK(!lsm_vlog_handle_decode(lsm_slice("\x01\x40\x10\xff\xff\xff\xff\x0f", 8), &got));
}

TEST(vlog_refs_are_counted_by_log_in_any_order_and_come_back_ascending)
{
    struct format_os f;
    struct lsm_vlog_refs refs;
    struct lsm_vlog_ref ref;
    struct lsm_buf out;
    struct lsm_reader r;
    uint64_t last = 0;

    format_os_init(&f);
    lsm_vlog_refs_init(&refs, &f.os);
    lsm_buf_init(&out, &f.os);
    for (int round = 0; round < 3; round++) {
        lsm_vlog_refs_add(&refs, 9, 100);
        lsm_vlog_refs_add(&refs, 3, 8);
        lsm_vlog_refs_add(&refs, 3, 8);
        lsm_vlog_refs_add(&refs, 300, 1000);
        lsm_vlog_refs_add(&refs, 5, 50);
    }
    lsm_vlog_refs_encode(&refs, &out);
    CHECK_OK(out.rc);
    CHECK(lsm_vlog_refs_are_good(lsm_buf_slice(&out)));
    r = lsm_reader(lsm_buf_slice(&out));
    static const struct lsm_vlog_ref expected[] = { { 3, 6, 48 }, { 5, 3, 150 }, { 9, 3, 300 }, { 300, 3, 3000 } };
    for (int i = 0; i < 4; i++) {
        CHECK(lsm_vlog_ref_next(&r, &ref, &last));
        CHECK(ref.id == expected[i].id && ref.count == expected[i].count && ref.bytes == expected[i].bytes);
    }
    CHECK(!lsm_vlog_ref_next(&r, &ref, &last) && !r.bad);
    for (size_t n = 1; n < out.size; n++)
        CHECK_INT(lsm_vlog_refs_are_good(lsm_slice(out.data, n)), n == 3 || n == 7 || n == 11);
    lsm_vlog_refs_clear(&refs);
    lsm_buf_clear(&out);
    CHECK_INT(f.used, 0);
    CHECK(lsm_vlog_refs_are_good(lsm_slice(NULL, 0)));
    CHECK(!lsm_vlog_refs_are_good(lsm_slice("\x05\x01\x08\x05\x01\x08", 6)));  /* not ascending */
    CHECK(!lsm_vlog_refs_are_good(lsm_slice("\x05\x00\x08", 3)));              /* no value */
    CHECK(!lsm_vlog_refs_are_good(lsm_slice("\x05\x02\x0f", 3)));              /* below two trailers */
    CHECK(!lsm_vlog_refs_are_good(lsm_slice("\x00\x01\x08", 3)));              /* id 0 */
}

TEST(vlog_meta_comes_back_whole_and_cut_short_is_refused)
{
    const struct lsm_vlog_meta meta = { 5, 9, 3, 5000, 10, 4800, 100000, 1234567 };
    struct lsm_vlog_meta got;
    struct format_os f;
    struct lsm_buf out;
    struct lsm_reader r;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    lsm_vlog_meta_encode(&out, &meta);
    r = lsm_reader(lsm_buf_slice(&out));
    CHECK(lsm_vlog_meta_decode(&r, &got) && lsm_reader_left(&r) == 0);
    CHECK(got.id == 5 && got.number == 9 && got.tree == 3 && got.size_bytes == 5000 &&
          got.value_count == 10 && got.value_bytes == 4800 && got.end == 100000 && got.created_us == 1234567);
    for (size_t n = 0; n < out.size; n++) {
        r = lsm_reader(lsm_slice(out.data, n));
        CHECK(!lsm_vlog_meta_decode(&r, &got));
    }
    static const struct lsm_vlog_meta wrong[] = {
        { 0, 9, 3, 5000, 10, 4800, 100000, 1 }, { 5, 4, 3, 5000, 10, 4800, 100000, 1 },
        { 5, 9, 3, 5000, 10, 5001, 100000, 1 }, { 5, 9, 3, 5000, 601, 4800, 100000, 1 },
    };
    for (int i = 0; i < 4; i++) {
        lsm_buf_reset(&out);
        lsm_vlog_meta_encode(&out, &wrong[i]);
        r = lsm_reader(lsm_buf_slice(&out));
        CHECK(!lsm_vlog_meta_decode(&r, &got));
    }
    lsm_buf_clear(&out);
}
