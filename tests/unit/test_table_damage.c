/*
 * test_table_damage.c -- bytes of a table that changed, went or came from
 * elsewhere are told by the file's name, and no row is believed that is wrong.
 */
#include "tests/unit/table_store.h"

/* Read everything; LSM_OK only if all rows are right. Failures must name the file. */
static int verdict(struct store *s, const struct lsm_table_meta *meta, const struct rows *r,
                   int *check_rc)
{
    struct lsm_table *t;
    struct lsm_iter *it;
    size_t i;
    int rc = lsm_tables_get(s->tables, meta, NULL, &t);

    *check_rc = rc;
    if (rc) {
        CHECK(strstr(lsm_error_text(), table_name(meta->number)) != NULL);
        return rc;
    }
    CHECK_OK(lsm_table_iter_new(t, false, &it));
    for (lsm_iter_first(it), i = 0; it->valid; lsm_iter_next(it), i++)
        CHECK(i < r->count && is_row(it, r, i, 0));     /* rows before the damage are right, too */
    if (it->rc)
        CHECK(strstr(lsm_error_text(), table_name(meta->number)) != NULL);
    else
        CHECK_INT(i, r->count);
    rc = it->rc;
    lsm_iter_first(it);                         /* inert after a failure */
    CHECK(!rc || !it->valid);
    lsm_iter_close(it);

    CHECK_OK(lsm_table_iter_new(t, false, &it));
    for (lsm_iter_last(it), i = r->count; it->valid; lsm_iter_prev(it), i--)
        CHECK(i > 0 && is_row(it, r, i - 1, 0));
    CHECK_RC(it->rc, rc);
    lsm_iter_close(it);
    for (i = 0; i < r->count; i++) {
        struct lsm_table_pin pin;
        struct lsm_slice value;
        uint64_t tag;
        int get_rc = lsm_table_get(t, key_of(&r->row[i]), lsm_filter_hash(key_of(&r->row[i])),
                                   lsm_tag_seq(r->row[i].tag), false, &tag, &value, &pin);

        if (get_rc == LSM_OK)
            CHECK(tag == r->row[i].tag && lsm_slice_equal(value, value_of(&r->row[i])));
        else if (!CHECK_RC(get_rc, rc))
            CHECK(get_rc != LSM_NOTFOUND);
        lsm_table_unpin(&pin);
    }
    *check_rc = lsm_table_check(t);
    lsm_table_unref(t);
    return rc;
}

/* B-01 */
TEST(table_every_flipped_byte_is_detected_or_harmless_and_check_finds_all)
{
    static const uint8_t flips[] = { 0x01, 0x80, 0xff };
    struct lsm_tables_stats stats;
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct store s;
    int detected = 0, harmless = 0, check_rc;

    store_open(&s, 1 << 20, 100);
    small_rows(&r);
    for (uint64_t number = 5; number < 7; number++) {
        struct lsm_table_options o = plain;
        uint64_t faults = 0;
        uint8_t *data;

        o.block_bytes = 100;
        o.codec = number == 5 ? LSM_CODEC_NONE : LSM_CODEC_ZSTD;
        CHECK_OK(write_table(&s, number, &o, &r, &meta));
        data = read_all(&s, number, meta.size_bytes);
        for (size_t i = 0; i < meta.size_bytes; i++) {
            for (size_t f = 0; f < sizeof flips; f++) {
                data[i] ^= flips[f];
                write_all(&s, number, data, meta.size_bytes);
                data[i] ^= flips[f];
                store_forget(&s);
                if (verdict(&s, &meta, &r, &check_rc))
                    detected++;
                else
                    harmless++;
                if (!CHECK(check_rc == LSM_CORRUPT || check_rc == LSM_FORMAT))
                    printf("byte %zu of %zu\n", i, (size_t)meta.size_bytes);
                lsm_tables_stats(s.tables, &stats);
                faults += stats.filter_faults;
            }
        }
        CHECK(faults > 0);
        free(data);
    }
    printf("%d flips detected by reading, %d harmless to it\n", detected, harmless);
    CHECK(detected > 0 && harmless > 0);
    rows_clear(&r);
    store_close(&s);
}

/* B-10 */
TEST(table_of_any_other_length_is_corrupt)
{
    struct lsm_table_meta meta, claimed;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct store s;
    uint8_t *data;

    store_open(&s, 1 << 20, 100);
    small_rows(&r);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    data = read_all(&s, 5, meta.size_bytes);
    data = realloc(data, meta.size_bytes + 100);
    memset(data + meta.size_bytes, 0, 100);
    for (size_t size = 0; size < meta.size_bytes + 100; size++) {
        if (size == meta.size_bytes)
            continue;
        write_all(&s, 5, data, size);
        CHECK_RC(lsm_tables_get(s.tables, &meta, NULL, &t), LSM_CORRUPT);
        claimed = meta;                                 /* a MANIFEST that knows no better */
        claimed.size_bytes = size;
        CHECK_RC(lsm_tables_get(s.tables, &claimed, NULL, &t), LSM_CORRUPT);
        CHECK(t == NULL);
    }
    free(data);
    rows_clear(&r);
    store_close(&s);
}

TEST(table_that_shrinks_while_it_is_open_is_corrupt)
{
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct lsm_iter *it;
    struct lsm_file *file;
    struct store s;

    store_open(&s, 1 << 20, 100);
    small_rows(&r);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    CHECK_OK(lsm_tables_get(s.tables, &meta, NULL, &t));
    file = open_file(&s, 5);
    CHECK_INT(s.os->file_truncate(file, 60), 0);
    s.os->file_close(file);
    CHECK_OK(lsm_table_iter_new(t, false, &it));
    lsm_iter_first(it);
    CHECK(!it->valid);
    CHECK_RC(it->rc, LSM_CORRUPT);
    lsm_iter_close(it);
    CHECK_RC(lsm_table_check(t), LSM_CORRUPT);
    lsm_table_unref(t);
    rows_clear(&r);
    store_close(&s);
}

/* B-09 */
TEST(table_of_another_place_is_corrupt_and_named)
{
    struct lsm_table_meta meta, meta6, wrong;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct store s;
    uint8_t *data;

    store_open(&s, 1 << 20, 100);
    small_rows(&r);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    CHECK_OK(write_table(&s, 6, &plain, &r, &meta6));
    CHECK_INT(meta.size_bytes, meta6.size_bytes);
    data = read_all(&s, 6, meta.size_bytes);
    write_all(&s, 5, data, meta.size_bytes);            /* swapped files */
    CHECK_RC(lsm_tables_get(s.tables, &meta, NULL, &t), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), "000005.ldb") != NULL);
    CHECK(strstr(lsm_error_text(), "another number") != NULL);

    wrong = meta6;
    wrong.tree = 4;
    CHECK_RC(lsm_tables_get(s.tables, &wrong, NULL, &t), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), "another tree") != NULL);
    wrong = meta6;
    wrong.number = 99;
    CHECK_RC(lsm_tables_get(s.tables, &wrong, NULL, &t), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), "000099.ldb") != NULL);
    CHECK(strstr(lsm_error_text(), "missing") != NULL);

    lsm_tables_free(s.tables);
    CHECK_OK(lsm_tables_new(s.os, s.dir, (const uint8_t *)"some other store", s.cache, s.pool, 10,
                            &s.tables));
    CHECK_RC(lsm_tables_get(s.tables, &meta6, NULL, &t), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), "another store") != NULL);
    CHECK(strstr(lsm_error_text(), "000006.ldb") != NULL);
    free(data);
    rows_clear(&r);
    store_close(&s);
}

/* A data block with a right sum, from another place of the same file. */
TEST(table_blocks_that_changed_places_are_corrupt)
{
    struct lsm_table_options o = plain;
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct store s;
    uint8_t *data, *copy;
    int check_rc, swapped = 0;
    char key[16];

    store_open(&s, 1 << 20, 100);
    for (int i = 0; i < 40; i++) {              /* blocks of the same size */
        snprintf(key, sizeof key, "key%03d", i);
        rows_add(&r, key, 6, 5, LSM_KIND_PUT, "0123456789", 10);
    }
    o.block_bytes = 64;
    CHECK_OK(write_table(&s, 5, &o, &r, &meta));
    data = read_all(&s, 5, meta.size_bytes);
    copy = malloc(meta.size_bytes);
    for (size_t size = 40; size < 90; size++) {
        memcpy(copy, data, meta.size_bytes);
        memcpy(copy + 56, data + 56 + size, size);
        memcpy(copy + 56 + size, data + 56, size);
        write_all(&s, 5, copy, meta.size_bytes);
        store_forget(&s);
        swapped += verdict(&s, &meta, &r, &check_rc) == LSM_CORRUPT;
        CHECK_RC(check_rc, LSM_CORRUPT);
    }
    CHECK_INT(swapped, 50);
    free(copy);
    free(data);
    rows_clear(&r);
    store_close(&s);
}

TEST(table_says_that_it_may_hold_blocks_of_lz)
{
    static const struct { int codec, level; unsigned incompat; } cases[] = {
        { LSM_CODEC_NONE, 0, 0 }, { LSM_CODEC_ZSTD, 3, 0 }, { LSM_CODEC_ZSTD, 1, LSM_TABLE_INCOMPAT_LZ },
        { LSM_CODEC_LZ, 0, LSM_TABLE_INCOMPAT_LZ }
    };
    struct rows r = { 0 };

    small_rows(&r);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lsm_table_options o = plain;
        struct lsm_table_meta meta;
        struct store s;
        uint8_t *data;

        o.codec = cases[i].codec;
        o.level = cases[i].level;
        store_open(&s, 1 << 20, 100);
        CHECK_OK(write_table(&s, 5, &o, &r, &meta));
        data = read_all(&s, 5, meta.size_bytes);
        CHECK_INT(lsm_get_u16(data + 12), cases[i].incompat);
        CHECK_INT(lsm_get_u16(data + meta.size_bytes - LSM_TABLE_HEADER_SIZE + 12), cases[i].incompat);
        free(data);
        store_close(&s);
    }
    rows_clear(&r);
}

/* Change bytes of header or footer and make the sums right again. */
static void refit(uint8_t *data, size_t size)
{
    uint8_t *foot = data + size - LSM_TABLE_FOOTER_SIZE;

    lsm_put_u64(data + LSM_TABLE_HEADER_SIZE - 8, lsm_hash64(data, LSM_TABLE_HEADER_SIZE - 8, 0));
    lsm_put_u64(foot + LSM_TABLE_FOOTER_SIZE - 8, lsm_hash64(foot, LSM_TABLE_FOOTER_SIZE - 8, 0));
}

TEST(table_of_a_newer_format_is_refused_as_such)
{
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct store s;
    uint8_t *data, *head, *again;

    store_open(&s, 1 << 20, 100);
    small_rows(&r);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    data = head = read_all(&s, 5, meta.size_bytes);
    again = data + meta.size_bytes - LSM_TABLE_HEADER_SIZE;

    lsm_put_u16(head + 12, 0x40);                       /* incompat */
    lsm_put_u16(again + 12, 0x40);
    refit(data, meta.size_bytes);
    write_all(&s, 5, data, meta.size_bytes);
    CHECK_RC(lsm_tables_get(s.tables, &meta, NULL, &t), LSM_FORMAT);
    CHECK(strstr(lsm_error_text(), "000005.ldb") && strstr(lsm_error_text(), "0x40"));

    lsm_put_u16(head + 12, 0);                          /* in one of the two only */
    refit(data, meta.size_bytes);
    write_all(&s, 5, data, meta.size_bytes);
    CHECK_RC(lsm_tables_get(s.tables, &meta, NULL, &t), LSM_FORMAT);

    lsm_put_u16(again + 12, 0);                         /* compat bits that a reader may not know */
    lsm_put_u16(head + 8, 0x11);
    lsm_put_u16(again + 8, 0x11);
    lsm_put_u16(head + 10, 0x22);
    lsm_put_u16(again + 10, 0x22);
    refit(data, meta.size_bytes);
    write_all(&s, 5, data, meta.size_bytes);
    CHECK(check_number(&s, &meta, &r, 10));
    store_forget(&s);

    lsm_put_u16(head + 8, 0x10);
    refit(data, meta.size_bytes);
    write_all(&s, 5, data, meta.size_bytes);
    CHECK_RC(lsm_tables_get(s.tables, &meta, NULL, &t), LSM_CORRUPT);   /* the two differ */
    lsm_put_u16(head + 8, 0x11);

    lsm_put_u64(data + meta.size_bytes - LSM_TABLE_FOOTER_SIZE + 24, 56);
    lsm_put_u32(data + meta.size_bytes - LSM_TABLE_FOOTER_SIZE + 32, 20);
    refit(data, meta.size_bytes);
    write_all(&s, 5, data, meta.size_bytes);
    CHECK_RC(lsm_tables_get(s.tables, &meta, NULL, &t), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), "range deletes") != NULL);
    free(data);
    rows_clear(&r);
    store_close(&s);
}

/* H-03, H-07 */
TEST(table_footer_with_hostile_sizes_allocates_nothing_for_them)
{
    static const uint64_t hostile[] = { 0, 1, 7, 8, 55, 56, 57, 0x7fffffff, 0xffffffff,
                                        UINT64_C(1) << 32, UINT64_MAX - 55, UINT64_MAX };
    const size_t n = sizeof hostile / sizeof *hostile;
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct store s;
    uint64_t properties_off;
    uint8_t *data, *foot;
    int check_rc;

    store_open(&s, 1 << 20, 100);
    small_rows(&r);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    data = read_all(&s, 5, meta.size_bytes);
    foot = data + meta.size_bytes - LSM_TABLE_FOOTER_SIZE;
    properties_off = lsm_get_u64(foot + 12);
    for (size_t field = 0; field < 2; field++) {
        for (size_t i = 0; i < n * n; i++) {
            uint64_t off = lsm_get_u64(foot + 12 * field);
            uint32_t size = lsm_get_u32(foot + 12 * field + 8);
            uint64_t end = field == 0 ? meta.size_bytes - LSM_TABLE_FOOTER_SIZE : lsm_get_u64(foot);

            if (i % n)
                lsm_put_u32(foot + 12 * field + 8, (uint32_t)hostile[i % n]);
            if (i / n == n - 1)                 /* the end is right when it wraps around */
                lsm_put_u64(foot + 12 * field, end - lsm_get_u32(foot + 12 * field + 8));
            else if (i / n)
                lsm_put_u64(foot + 12 * field, hostile[i / n]);
            if (field == 0 && i / n == n - 1)   /* and what is told by it, too */
                lsm_put_u64(foot + 12, lsm_get_u64(foot) - lsm_get_u32(foot + 20));
            s.m.largest = 0;
            refit(data, meta.size_bytes);
            write_all(&s, 5, data, meta.size_bytes);
            store_forget(&s);
            verdict(&s, &meta, &r, &check_rc);
            CHECK_RC(check_rc, lsm_get_u64(foot + 12 * field) == off &&
                                       lsm_get_u32(foot + 12 * field + 8) == size
                                   ? LSM_OK
                                   : LSM_CORRUPT);
            CHECK(s.m.largest <= 64 << 10);
            lsm_put_u64(foot + 12, properties_off);
            lsm_put_u64(foot + 12 * field, off);
            lsm_put_u32(foot + 12 * field + 8, size);
        }
    }
    free(data);
    rows_clear(&r);
    store_close(&s);
}

TEST(table_with_a_wrong_meta_is_found_by_check)
{
    struct lsm_table_meta meta, wrong;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct store s;

    store_open(&s, 1 << 20, 100);
    rows_random(&r, 500, 200, 20);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    for (int i = 0; i < 9; i++) {
        wrong = meta;
        switch (i) {
        case 0: wrong.entries++; break;
        case 1: wrong.tombstones--; break;
        case 2: wrong.raw_bytes++; break;
        case 3: wrong.seq_min--; break;
        case 4: wrong.seq_max++; break;
        case 5: wrong.smallest = wrong.largest; break;
        case 6: wrong.largest.size--; break;
        case 7: wrong.range_deletes = 1; break;
        case 8: wrong.refs = lsm_slice("\x05\x01\x40", 3); break;
        }
        store_forget(&s);
        if (i == 7) {           /* readers need to know: seen at once */
            CHECK_RC(lsm_tables_get(s.tables, &wrong, NULL, &t), LSM_CORRUPT);
            continue;
        }
        CHECK_OK(lsm_tables_get(s.tables, &wrong, NULL, &t));
        CHECK_RC(lsm_table_check(t), LSM_CORRUPT);
        lsm_table_unref(t);
    }
    rows_clear(&r);
    store_close(&s);
}
