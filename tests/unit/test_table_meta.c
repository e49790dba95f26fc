/* test_table_meta.c -- a table's description survives the way to bytes and back. */
#include "lsm/format/table_meta.h"
#include "tests/unit/format_os.h"

static struct lsm_table_meta sample(struct lsm_slice smallest, struct lsm_slice largest)
{
    return (struct lsm_table_meta){
        .number = 42, .tree = 7, .size_bytes = 1u << 21, .raw_bytes = 5000000, .entries = 30000,
        .tombstones = 12, .range_deletes = 3, .seq_add = 1000, .seq_min = 1001, .seq_max = 31000,
        .created_us = UINT64_C(1700000000000000), .smallest = smallest, .largest = largest,
        .refs = lsm_slice("\x05\x02\x40\x09\x01\x08", 6),
    };
}

static bool same(const struct lsm_table_meta *a, const struct lsm_table_meta *b)
{
    return a->number == b->number && a->tree == b->tree && a->size_bytes == b->size_bytes &&
           a->raw_bytes == b->raw_bytes && a->entries == b->entries &&
           a->tombstones == b->tombstones && a->range_deletes == b->range_deletes &&
           a->seq_add == b->seq_add && a->seq_min == b->seq_min && a->seq_max == b->seq_max &&
           a->created_us == b->created_us && lsm_slice_equal(a->smallest, b->smallest) &&
           lsm_slice_equal(a->largest, b->largest) && lsm_slice_equal(a->refs, b->refs);
}

TEST(table_meta_comes_back_whole_at_every_boundary)
{
    static uint8_t key[LSM_KEY_SIZE_MAX];
    struct lsm_table_meta metas[3], got;
    struct format_os f;
    struct lsm_buf out;
    struct lsm_reader r;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    memset(key, 0xab, sizeof(key));
    metas[0] = sample(lsm_slice_str("apple"), lsm_slice_str("zebra"));
    metas[1] = (struct lsm_table_meta){ .smallest = lsm_slice(key, 0) };
    metas[2] = (struct lsm_table_meta){
        UINT64_MAX, UINT32_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
        LSM_SEQ_MAX, LSM_SEQ_MAX, LSM_SEQ_MAX, UINT64_MAX,
        lsm_slice(key, sizeof(key)), lsm_slice(key, sizeof(key)), lsm_slice(key, 0), 0,
    };
    for (int i = 0; i < 3; i++)
        lsm_table_meta_encode(&out, &metas[i]);
    CHECK_OK(out.rc);
    r = lsm_reader(lsm_buf_slice(&out));
    for (int i = 0; i < 3; i++) {
        CHECK(lsm_table_meta_decode(&r, &got));
        CHECK(same(&got, &metas[i]));
    }
    CHECK_INT(lsm_reader_left(&r), 0);
    lsm_buf_clear(&out);
    CHECK_INT(f.used, 0);
}

TEST(table_meta_cut_short_anywhere_is_refused)
{
    struct lsm_table_meta meta = sample(lsm_slice_str("apple"), lsm_slice_str("zebra")), got;
    struct format_os f;
    struct lsm_buf out;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    lsm_table_meta_encode(&out, &meta);
    for (size_t n = 0; n < out.size; n++) {
        uint8_t *copy = malloc(n + 1);          /* an exact end, for ASan */
        struct lsm_reader r = lsm_reader(lsm_slice(copy, n));

        memcpy(copy, out.data, n);
        CHECK(!lsm_table_meta_decode(&r, &got));
        free(copy);
    }
    lsm_buf_clear(&out);
}

/* Eleven numbers and two keys, with number i replaced. */
static bool decodes_with(int i, uint64_t v, size_t smallest_size, size_t largest_size)
{
    static const uint64_t good[11] = { 42, 7, 100, 200, 3, 1, 0, 10, 11, 20, 5 };
    struct format_os f;
    struct lsm_table_meta got;
    struct lsm_buf out;
    struct lsm_reader r;
    uint8_t *key = calloc(1, smallest_size + largest_size + 1);
    bool ok;

    format_os_init(&f);
    lsm_buf_init(&out, &f.os);
    for (int k = 0; k < 11; k++)
        lsm_buf_put_varint(&out, k == i ? v : good[k]);
    lsm_buf_put_bytes(&out, lsm_slice(key, smallest_size));
    lsm_buf_put_bytes(&out, lsm_slice(key, largest_size));
    lsm_buf_put_bytes(&out, lsm_slice(key, 0));
    r = lsm_reader(lsm_buf_slice(&out));
    ok = lsm_table_meta_decode(&r, &got);
    lsm_buf_clear(&out);
    free(key);
    return ok;
}

TEST(table_meta_refuses_numbers_out_of_range)
{
    CHECK(decodes_with(-1, 0, 3, 3));
    CHECK(!decodes_with(1, (uint64_t)UINT32_MAX + 1, 3, 3));       /* tree */
    CHECK(decodes_with(7, LSM_SEQ_MAX, 3, 3));
    CHECK(!decodes_with(7, LSM_SEQ_MAX + 1, 3, 3));
    CHECK(decodes_with(8, 20, 3, 3));
    CHECK(!decodes_with(8, 21, 3, 3));                             /* min above max */
    CHECK(decodes_with(9, LSM_SEQ_MAX, 3, 3));
    CHECK(!decodes_with(9, LSM_SEQ_MAX + 1, 3, 3));
    CHECK(decodes_with(-1, 0, LSM_KEY_SIZE_MAX, LSM_KEY_SIZE_MAX));
    CHECK(!decodes_with(-1, 0, LSM_KEY_SIZE_MAX + 1, 3));
    CHECK(!decodes_with(-1, 0, 3, LSM_KEY_SIZE_MAX + 1));
}

TEST(table_meta_copy_owns_its_keys_and_reports_no_memory)
{
    char smallest[] = "apple", largest[] = "zebra";
    struct lsm_table_meta meta = sample(lsm_slice_str(smallest), lsm_slice_str(largest));
    struct lsm_table_meta *copy;
    struct format_os f;

    format_os_init(&f);
    copy = lsm_table_meta_copy(&f.os, &meta);
    if (!CHECK(copy != NULL))
        return;
    CHECK(same(copy, &meta));
    memset(smallest, 'x', 5);
    memset(largest, 'x', 5);
    CHECK_MEM(copy->smallest.data, "apple", 5);
    CHECK_MEM(copy->largest.data, "zebra", 5);
    lsm_mem_free(&f.os, copy);

    meta.smallest = meta.largest = lsm_slice(NULL, 0);
    copy = lsm_table_meta_copy(&f.os, &meta);
    CHECK(copy && copy->smallest.size == 0 && copy->largest.size == 0);
    lsm_mem_free(&f.os, copy);
    CHECK_INT(f.used, 0);

    f.fail_at = 1;
    CHECK(lsm_table_meta_copy(&f.os, &meta) == NULL);
}
