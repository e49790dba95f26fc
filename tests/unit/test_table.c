/*
 * test_table.c -- a table gives back what its writer was given; what its filter
 * and the cache spare; failures of the machine on the way.
 */
#include "tests/unit/orders.h"
#include "tests/unit/table_store.h"

/* ---- round trips ---- */

TEST(table_gives_back_random_rows_in_both_directions)
{
    struct lsm_table_meta meta;
    uint64_t number = 1;
    struct store s;

    store_open(&s, 256 << 10, 100);
    for (int round = 0; round < 40; round++) {
        struct lsm_table_options o = plain;
        struct rows r = { 0 };

        o.block_bytes = test_below(2) ? 64 + (uint32_t)test_below(500) : 4096;
        o.codec = (int[]){ LSM_CODEC_NONE, LSM_CODEC_ZSTD, LSM_CODEC_LZ }[test_below(3)];
        o.filter_bits = (uint32_t)test_below(3) * 7;
        rows_random(&r, test_below(4000), 1 + test_below(2000), 1 + test_below(200));
        CHECK_OK(write_table(&s, ++number, &o, &r, &meta));
        CHECK_INT(meta.entries, r.count);
        if (!check_number(&s, &meta, &r, 500)) {
            printf("block %u codec %d filter %u rows %zu\n", o.block_bytes, o.codec, o.filter_bits,
                   r.count);
            round = 1000;
        }
        rows_clear(&r);
    }
    store_close(&s);
}

TEST(table_of_many_partitions_agrees_at_every_edge)
{
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct lsm_iter *it;
    struct store s;
    char key[32];
    uint64_t last = 0;

    store_open(&s, 64 << 10, 100);
    for (int i = 0; i < 3000; i++) {            /* two versions each, about two rows a block */
        int n = snprintf(key, sizeof key, "k%07d", i * 2);
        rows_add(&r, key, (size_t)n, 9, LSM_KIND_PUT, key, (size_t)n);
        rows_add(&r, key, (size_t)n, 4, i % 3 ? LSM_KIND_PUT : LSM_KIND_DELETE, key, 0);
    }
    rows_sort(&r);
    CHECK_OK(write_table(&s, 5, &(struct lsm_table_options){ 64, 10, LSM_CODEC_NONE, 0, .comparator = NULL }, &r,
                         &meta));
    CHECK_OK(lsm_tables_get(s.tables, &meta, NULL, &t));
    CHECK_OK(lsm_table_iter_new(t, false, &it));
    for (size_t i = 0; i < r.count; i++) {
        size_t k = model_seek(&r, key_of(&r.row[i]), r.row[i].tag - 1, 0);

        lsm_iter_seek(it, key_of(&r.row[i]), r.row[i].tag);
        CHECK(is_row(it, &r, i, 0));
        lsm_iter_prev(it);
        CHECK(i ? is_row(it, &r, i - 1, 0) : !it->valid);
        lsm_iter_seek(it, key_of(&r.row[i]), r.row[i].tag - 1);
        CHECK(k < r.count ? is_row(it, &r, k, 0) : !it->valid);
        lsm_iter_seek_prev(it, key_of(&r.row[i]), r.row[i].tag + 1);
        if (!CHECK(i ? is_row(it, &r, i - 1, 0) : !it->valid))
            break;
        check_get(t, &r, key_of(&r.row[i]), 9, 0, false);
        check_get(t, &r, key_of(&r.row[i]), 8, 0, false);
        check_get(t, &r, key_of(&r.row[i]), 3, 0, false);
        CHECK(lsm_table_offset_of(t, key_of(&r.row[i])) >= last);
        last = lsm_table_offset_of(t, key_of(&r.row[i]));
    }
    CHECK(last > meta.size_bytes / 2 && last < meta.size_bytes);
    CHECK_INT(lsm_table_offset_of(t, lsm_slice_str("")), LSM_TABLE_HEADER_SIZE);
    CHECK_INT(lsm_table_offset_of(t, lsm_slice_str("z")), meta.size_bytes);
    lsm_iter_close(it);
    CHECK_OK(lsm_table_check(t));
    lsm_table_unref(t);
    rows_clear(&r);
    store_close(&s);
}

/* Its keys have another prefix, its sequences another addition. */
TEST(table_iter_that_is_reopened_is_as_a_new_one)
{
    struct lsm_table_meta meta[2];
    struct rows r[2] = { { 0 }, { 0 } };
    struct lsm_table *t[2];
    struct lsm_iter *it;
    struct store s;
    char key[300];

    store_open(&s, 64 << 10, 100);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 400; i++) {
            int n = k ? snprintf(key, sizeof key, "%0270d-%05d", 7, i) : snprintf(key, sizeof key, "%08x", i * 7919);
            rows_add(&r[k], key, (size_t)n, (uint64_t)(i % 5 + 1), LSM_KIND_PUT, key, (size_t)n);
        }
        rows_sort(&r[k]);
        CHECK_OK(write_table(&s, 5 + (uint64_t)k, &(struct lsm_table_options){ 512, 10, LSM_CODEC_NONE, 0, .comparator = NULL },
                             &r[k], &meta[k]));
        meta[k].seq_add = k ? 1000 : 0;
        CHECK_OK(lsm_tables_get(s.tables, &meta[k], NULL, &t[k]));
    }
    CHECK_OK(lsm_table_iter_new(t[0], false, &it));
    for (int round = 0; round < 400; round++) {
        int k = (int)test_below(2);
        size_t i = test_below(r[k].count);

        lsm_table_iter_reopen(it, t[k]);
        CHECK(!it->valid && it->rc == LSM_OK);
        lsm_iter_seek(it, key_of(&r[k].row[i]), LSM_TAG_MAX);
        for (int steps = (int)test_below(30); steps > 0 && it->valid; steps--, i++) {
            if (!CHECK(is_row(it, &r[k], i, meta[k].seq_add)))
                break;
            lsm_iter_next(it);
        }
        lsm_table_iter_reopen(it, t[1 - k]);
        lsm_iter_last(it);
        CHECK(is_row(it, &r[1 - k], r[1 - k].count - 1, meta[1 - k].seq_add));
        if (test_below(2))                      /* for a seek in this table that does not come */
            lsm_iter_aim(it, key_of(&r[1 - k].row[test_below(r[1 - k].count)]), LSM_TAG_MAX);
    }
    lsm_table_unref(t[0]);                      /* it holds its own reference, of the one that it reads */
    lsm_table_unref(t[1]);
    lsm_iter_first(it);
    CHECK(it->valid);
    lsm_iter_close(it);
    rows_clear(&r[0]);
    rows_clear(&r[1]);
    store_close(&s);
}

TEST(table_without_rows_and_with_one_row_work)
{
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct store s;

    store_open(&s, 64 << 10, 100);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    CHECK_INT(meta.entries, 0);
    CHECK_INT(meta.seq_min, 0);
    CHECK_INT(meta.smallest.size, 0);
    CHECK(check_number(&s, &meta, &r, 20));
    rows_add(&r, "", 0, 1, LSM_KIND_PUT, "", 0);        /* the empty key and the empty value */
    CHECK_OK(write_table(&s, 6, &plain, &r, &meta));
    CHECK_INT(meta.raw_bytes, 0);
    CHECK(check_number(&s, &meta, &r, 20));
    rows_clear(&r);
    rows_add(&r, "key", 3, LSM_SEQ_MAX, LSM_KIND_DELETE, "", 0);
    CHECK_OK(write_table(&s, 7, &plain, &r, &meta));
    CHECK_INT(meta.tombstones, 1);
    CHECK_INT(meta.seq_min, LSM_SEQ_MAX);
    CHECK(check_number(&s, &meta, &r, 20));
    rows_clear(&r);
    store_close(&s);
}

TEST(table_codes_literals_where_that_saves_bytes_and_nowhere_else)
{
    static const struct { bool first, second; int percent_min, percent_max; } cases[] = {
        { false, false, 90, 96 },       /* random bytes, repeated: lz finds all there is, in fewer bytes */
        { true, true, 0, 80 },          /* letters of 16: half of each byte */
        { false, true, 80, 92 }, { true, false, 80, 92 },       /* what the data turns to is noticed */
    };

    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct lsm_table_meta light, full;
        struct lsm_table_options o = plain;
        struct rows r = { 0 };
        struct store s;

        store_open(&s, 1 << 20, 100);
        for (uint64_t i = 0; i < 20000; i++) {
            uint8_t key[8], value[100];
            bool letters = i < 10000 ? cases[c].first : cases[c].second;

            lsm_put_be64(key, i);
            for (size_t k = 0; k < 50; k++)
                value[k] = value[k + 50] = (uint8_t)(letters ? 'a' + test_below(16) : test_random());
            rows_add(&r, key, 8, i, LSM_KIND_PUT, value, sizeof value);
        }
        o.codec = LSM_CODEC_ZSTD;
        o.level = -1;
        CHECK_OK(write_table(&s, 5, &o, &r, &light));
        o.level = 1;
        CHECK_OK(write_table(&s, 6, &o, &r, &full));
        CHECK(check_number(&s, &full, &r, 20));
        if (!CHECK(full.size_bytes * 100 <= light.size_bytes * (uint64_t)cases[c].percent_max) ||
            !CHECK(full.size_bytes * 100 >= light.size_bytes * (uint64_t)cases[c].percent_min))
            printf("  case %zu: %llu of %llu bytes\n", c, (unsigned long long)full.size_bytes,
                   (unsigned long long)light.size_bytes);
        rows_clear(&r);
        store_close(&s);
    }
}

TEST(table_holds_keys_of_65535_bytes_and_values_of_a_megabyte)
{
    static uint8_t key[65535], value[1 << 20];
    struct lsm_table_options o = plain;
    struct lsm_table_meta meta;
    struct store s;

    store_open(&s, 1 << 20, 100);
    for (uint64_t round = 0; round < 3; round++) {
        struct rows r = { 0 };

        o.codec = round == 0 ? LSM_CODEC_NONE : LSM_CODEC_ZSTD;
        memset(key, 'k', sizeof key);
        for (size_t i = 0; i < sizeof value; i++)
            value[i] = round == 2 ? 0 : (uint8_t)test_random();
        for (int i = 0; i < 8; i++) {
            key[sizeof key - 1] = (uint8_t)(i * 3);
            rows_add(&r, key, sizeof key, 5, LSM_KIND_PUT, value, test_below(100));
            rows_add(&r, key, test_below(sizeof key), 5, LSM_KIND_PUT, value,
                     sizeof value >> (i & 3));
            rows_add(&r, key + 65000, 100 + (size_t)i, 7, LSM_KIND_PUT, "small", 5);
        }
        rows_sort(&r);
        CHECK_OK(write_table(&s, 10 + round, &o, &r, &meta));
        CHECK(check_number(&s, &meta, &r, 200));
        rows_clear(&r);
    }
    store_close(&s);
}

TEST(table_assembles_long_keys_behind_a_common_prefix)
{
    static uint8_t key[6000];
    struct lsm_table_options o = plain;
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct store s;

    store_open(&s, 1 << 20, 100);
    memcpy(key, "common", 6);
    for (int i = 0; i < 200; i++) {
        for (size_t k = 6; k < sizeof key; k++)
            key[k] = (uint8_t)test_random();
        rows_add(&r, key, 6 + test_below(test_below(2) ? 40 : sizeof key - 6), 5, LSM_KIND_PUT, "v",
                 1);
    }
    rows_sort(&r);
    o.block_bytes = 60000;
    CHECK_OK(write_table(&s, 5, &o, &r, &meta));
    CHECK(check_number(&s, &meta, &r, 300));
    rows_clear(&r);
    store_close(&s);
}

static const struct lsm_comparator backwards = { .name = "backwards", .compare = compare_reverse };
static const struct lsm_comparator sideways = { .name = "sideways", .compare = compare_reverse };

TEST(table_follows_a_comparator_and_checks_its_name)
{
    struct lsm_table_meta meta;
    struct rows r = { .cmp = &backwards };
    struct lsm_table *t;
    struct store s;

    store_open(&s, 1 << 20, 100);
    rows_random(&r, 3000, 1000, 40);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    CHECK(check_number(&s, &meta, &r, 1000));
    store_forget(&s);
    CHECK_OK(lsm_tables_get(s.tables, &meta, &sideways, &t));
    CHECK_RC(lsm_table_check(t), LSM_CORRUPT);
    lsm_table_unref(t);
    rows_clear(&r);
    store_close(&s);
}

TEST(table_adds_seq_add_to_every_sequence)
{
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct store s;

    store_open(&s, 1 << 20, 100);
    rows_random(&r, 2000, 300, 40);
    for (size_t i = 0; i < r.count; i++)                /* a tag of 0 exists, too */
        if (i % 10 == 0 && (i + 1 == r.count ||
                            !lsm_slice_equal(key_of(&r.row[i]), key_of(&r.row[i + 1]))))
            r.row[i].tag = 0;
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    CHECK(check_number(&s, &meta, &r, 500));
    meta.seq_add = 70000;
    meta.seq_min += meta.seq_add;
    meta.seq_max += meta.seq_add;
    CHECK(check_number(&s, &meta, &r, 2000));           /* beside the one without it */
    meta.seq_add = LSM_SEQ_MAX - 100;
    CHECK_RC(lsm_tables_get(s.tables, &meta, NULL, &t), LSM_CORRUPT);
    meta.seq_add = LSM_SEQ_MAX + 1;
    CHECK_RC(lsm_tables_get(s.tables, &meta, NULL, &t), LSM_CORRUPT);
    rows_clear(&r);
    store_close(&s);
}

/* ---- filters and cache ---- */

TEST(table_damaged_filter_is_counted_once_and_the_row_is_found)
{
    struct lsm_tables_stats stats;
    struct lsm_table_options o = plain;
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct store s;
    uint8_t *data;

    store_open(&s, 1 << 20, 100);
    small_rows(&r);
    CHECK_OK(write_table(&s, 5, &(struct lsm_table_options){ 512, 0, LSM_CODEC_NONE, 0, .comparator = NULL }, &r,
                         &meta));
    o.block_bytes = 1 << 16;                    /* one block: the filter comes right behind it */
    CHECK_OK(write_table(&s, 6, &o, &r, &meta));
    data = read_all(&s, 6, meta.size_bytes);
    CHECK_OK(lsm_tables_get(s.tables, &meta, NULL, &t));
    for (size_t i = LSM_TABLE_HEADER_SIZE; i < meta.size_bytes; i++) {
        data[i] ^= 4;
        write_all(&s, 6, data, meta.size_bytes);
        data[i] ^= 4;
        lsm_table_unref(t);
        store_forget(&s);
        if (lsm_tables_get(s.tables, &meta, NULL, &t) != LSM_OK) {
            t = NULL;
            continue;
        }
        for (int round = 0; round < 3; round++) {
            struct lsm_table_pin pin;
            struct lsm_slice value;
            uint64_t tag;
            int rc = lsm_table_get(t, key_of(&r.row[0]), lsm_filter_hash(key_of(&r.row[0])),
                                   LSM_SEQ_MAX, false, &tag, &value, &pin);
            CHECK(rc == LSM_OK || rc == LSM_CORRUPT);
            lsm_tables_stats(s.tables, &stats);
            if (stats.filter_faults) {
                CHECK_RC(rc, LSM_OK);
                CHECK_INT(stats.filter_faults, 1);
            }
            lsm_table_unpin(&pin);
        }
    }
    lsm_table_unref(t);
    free(data);
    rows_clear(&r);
    store_close(&s);
}

TEST(table_filter_that_denies_a_key_is_found_by_check)
{
    struct lsm_slice suffix, value;
    struct lsm_table_options o = plain;
    struct lsm_table_footer footer;
    struct lsm_table_meta meta;
    struct lsm_block *top;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct lsm_reader reader;
    struct store s;
    uint64_t tag, off, size;
    uint8_t *data;

    store_open(&s, 1 << 20, 100);
    small_rows(&r);
    o.block_bytes = 1 << 16;
    CHECK_OK(write_table(&s, 6, &o, &r, &meta));
    data = read_all(&s, 6, meta.size_bytes);
    lsm_table_footer_decode(data + meta.size_bytes - LSM_TABLE_FOOTER_SIZE, &footer);
    CHECK_OK(lsm_block_new(s.os, lsm_slice(data + footer.top_off,
                                           footer.top_size - LSM_SEAL_TRAILER_SIZE),
                           NULL, "top", 0, &top));
    lsm_block_row(top, 0, &suffix, &tag, &value);
    reader = lsm_reader(value);
    lsm_read_varint(&reader);
    lsm_read_varint(&reader);
    off = lsm_read_varint(&reader);
    size = lsm_read_varint(&reader);
    lsm_block_free(top);
    memset(data + off, 0, 64);                  /* a line without bits, and its sum made right */
    lsm_put_u32(data + off + size - 4,
                lsm_hash32(data + off, size - 4, lsm_seal_seed(uuid, 6) + off));
    write_all(&s, 6, data, meta.size_bytes);
    CHECK_OK(lsm_tables_get(s.tables, &meta, NULL, &t));
    CHECK_RC(lsm_table_check(t), LSM_CORRUPT);
    CHECK(strstr(lsm_error_text(), "denies") != NULL);
    lsm_table_unref(t);
    free(data);
    rows_clear(&r);
    store_close(&s);
}

TEST(table_filter_spares_the_blocks_of_missing_keys)
{
    struct lsm_cache_stats before, after;
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct store s;
    int false_positives = 0;

    store_open(&s, 4 << 20, 100);
    rows_random(&r, 20000, 100000, 20);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    CHECK_OK(lsm_tables_get(s.tables, &meta, NULL, &t));
    check_table(t, &r, 0, 500);                 /* filters and indexes are kept by now, mostly */
    lsm_cache_stats(s.cache, &before);
    for (int i = 0; i < 10000; i++) {
        struct lsm_table_pin pin;
        struct lsm_slice value, key;
        char text[32];
        uint64_t tag;

        key = lsm_slice(text, (size_t)snprintf(text, sizeof text, "table/%06dx", i * 11));
        CHECK_RC(lsm_table_get(t, key, lsm_filter_hash(key), LSM_SEQ_MAX, false, &tag, &value,
                               &pin), LSM_NOTFOUND);
        lsm_table_unpin(&pin);
    }
    lsm_cache_stats(s.cache, &after);
    false_positives = (int)(after.hits + after.misses - before.hits - before.misses);
    printf("%d of 10000 missing keys touched the cache\n", false_positives);
    CHECK(false_positives < 400);
    lsm_table_unref(t);
    rows_clear(&r);
    store_close(&s);
}

TEST(table_kept_indexes_and_filters_stay_below_half_of_the_cache)
{
    struct lsm_tables_stats kept;
    struct lsm_cache_stats stats;
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct store s;

    store_open(&s, 40 << 10, 100);
    rows_random(&r, 20000, 100000, 20);
    CHECK_OK(write_table(&s, 5, &(struct lsm_table_options){ 128, 10, LSM_CODEC_ZSTD, 1, .comparator = NULL }, &r,
                         &meta));
    CHECK_OK(lsm_tables_get(s.tables, &meta, NULL, &t));
    CHECK(check_table(t, &r, 0, 2000));
    lsm_tables_stats(s.tables, &kept);
    lsm_cache_stats(s.cache, &stats);
    CHECK(kept.kept_bytes > 0 && kept.kept_bytes <= 20 << 10);
    CHECK(stats.used_bytes <= stats.capacity_bytes);
    CHECK(lsm_tables_memory(s.tables) > 0);
    lsm_table_unref(t);
    lsm_tables_forget(s.tables, 5);
    lsm_cache_stats(s.cache, &stats);
    CHECK_INT(stats.used_bytes, 0);
    CHECK_INT(lsm_tables_memory(s.tables), 0);
    rows_clear(&r);
    store_close(&s);
}

/* ---- failures ---- */

/* Open, scan, get, check; the first failure. What is read must be right. */
static int use_table(struct store *s, const struct lsm_table_meta *meta, const struct rows *r)
{
    struct lsm_table *t;
    struct lsm_iter *it;
    size_t i = 0;
    int rc = lsm_tables_get(s->tables, meta, NULL, &t);

    if (rc)
        return rc;
    rc = lsm_table_iter_new(t, false, &it);
    if (rc == LSM_OK) {
        for (lsm_iter_first(it); it->valid; lsm_iter_next(it), i++)
            if (!is_row(it, r, i, 0))
                CHECK(false);
        rc = it->rc;
    }
    lsm_iter_close(it);
    for (i = 0; i < r->count && rc == LSM_OK; i += 7) {
        struct lsm_table_pin pin;
        struct lsm_slice value;
        uint64_t tag;
        rc = lsm_table_get(t, key_of(&r->row[i]), lsm_filter_hash(key_of(&r->row[i])),
                           lsm_tag_seq(r->row[i].tag), false, &tag, &value, &pin);
        if (rc == LSM_OK)
            CHECK(tag == r->row[i].tag && lsm_slice_equal(value, value_of(&r->row[i])));
        lsm_table_unpin(&pin);
    }
    if (rc == LSM_OK)
        rc = lsm_table_check(t);
    lsm_table_unref(t);
    return rc;
}

/* LSM_OK or LSM_NOMEM; true when the allocations sufficed. */
static bool is_enough(int rc)
{
    bool enough = machine->allocations_left > 0;

    machine->allocations_left = -1;
    CHECK_RC(rc, enough || rc == LSM_OK ? LSM_OK : LSM_NOMEM);
    return enough;
}

static void fail_allocations(bool one_fails)
{
    struct lsm_table_meta meta, written;
    struct rows r = { 0 };
    struct lsm_file *file;
    struct store s;
    bool done = false;
    int rc, failed = 0;

    store_open(&s, 1 << 20, 100);
    machine->one_fails = one_fails;
    rows_random(&r, 300, 100, 40);
    CHECK_OK(write_table(&s, 5, &(struct lsm_table_options){ 128, 10, LSM_CODEC_ZSTD, 1, .comparator = NULL }, &r,
                         &meta));
    for (int64_t n = 0; !done && n < 5000; n++) {
        store_forget(&s);
        machine->allocations_left = n;
        rc = use_table(&s, &meta, &r);
        failed += rc == LSM_NOMEM;
        done = is_enough(rc);
    }
    CHECK(done && failed > 20);
    done = false;
    for (int64_t n = 0; !done && n < 5000; n++) {
        machine->allocations_left = n;
        rc = write_table(&s, 6, &plain, &r, &written);
        done = is_enough(rc);
        if (rc)                                         /* nothing is left of it */
            CHECK_INT(s.os->file_open(s.dir, "000006.ldb", LSM_OPEN_READ, 0, &file), ENOENT);
        else
            CHECK_INT(s.os->file_remove(s.dir, "000006.ldb"), 0);
    }
    CHECK(done);
    rows_clear(&r);
    store_close(&s);
}

TEST(table_survives_the_failure_of_any_allocation)
{
    fail_allocations(true);
}

TEST(table_survives_the_failure_of_all_further_allocations)
{
    fail_allocations(false);
}

TEST(table_writer_reports_what_the_system_refuses_and_leaves_nothing)
{
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct lsm_file *file;
    struct store s;

    store_open(&s, 1 << 20, 100);
    rows_random(&r, 3000, 1000, 400);
    machine->write_error = ENOSPC;
    CHECK_RC(write_table(&s, 6, &plain, &r, &meta), LSM_FULL);
    CHECK(strstr(lsm_error_text(), "000006.ldb") != NULL);
    CHECK_INT(s.os->file_open(s.dir, "000006.ldb", LSM_OPEN_READ, 0, &file), ENOENT);
    machine->write_error = EIO;
    CHECK_RC(write_table(&s, 6, &plain, &r, &meta), LSM_IOERR);
    machine->write_error = 0;
    machine->sync_error = EIO;
    CHECK_RC(write_table(&s, 6, &plain, &r, &meta), LSM_FSYNC);
    CHECK(strstr(lsm_error_text(), "000006.ldb") != NULL);
    CHECK_INT(s.os->file_open(s.dir, "000006.ldb", LSM_OPEN_READ, 0, &file), ENOENT);
    machine->sync_error = ENOSPC;
    CHECK_RC(write_table(&s, 6, &plain, &r, &meta), LSM_FULL);
    machine->sync_error = 0;
    CHECK_OK(write_table(&s, 6, &plain, &r, &meta));
    CHECK(write_table(&s, 6, &plain, &r, &meta) != LSM_OK);     /* a number is used once */
    rows_clear(&r);
    store_close(&s);
}

TEST(table_writer_refuses_rows_out_of_order)
{
    struct lsm_table_meta meta;
    struct lsm_table_writer *w;
    struct store s;

    store_open(&s, 1 << 20, 100);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(lsm_table_writer_open(s.os, s.dir, uuid, 7, 1, &plain, s.compressor, 0644, &w));
        lsm_table_writer_add(w, lsm_slice_str("b"), lsm_tag(5, LSM_KIND_PUT), lsm_slice_str("x"));
        lsm_table_writer_add(w, lsm_slice_str(i == 0 ? "a" : "b"),
                             lsm_tag(i == 1 ? 5 : i == 2 ? 6 : 4,
                                     i == 3 ? LSM_KIND_VOID : LSM_KIND_PUT),
                             lsm_slice_str("x"));
        lsm_table_writer_add(w, lsm_slice_str("c"), lsm_tag(5, LSM_KIND_PUT), lsm_slice_str("x"));
        CHECK_RC(lsm_table_writer_finish(w, &meta), LSM_MISUSE);
        lsm_table_writer_close(w);
    }
    store_close(&s);
}

/* I-10 */
TEST(table_read_errors_are_reported_and_not_cached)
{
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct lsm_iter *it;
    struct store s;

    store_open(&s, 1 << 20, 100);
    small_rows(&r);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    machine->read_error = EIO;
    CHECK_RC(lsm_tables_get(s.tables, &meta, NULL, &t), LSM_IOERR);
    machine->read_error = 0;
    CHECK_OK(lsm_tables_get(s.tables, &meta, NULL, &t));
    machine->read_error = EIO;
    CHECK_OK(lsm_table_iter_new(t, false, &it));
    lsm_iter_first(it);
    CHECK_RC(it->rc, LSM_IOERR);
    lsm_iter_close(it);
    CHECK_RC(lsm_table_check(t), LSM_IOERR);
    machine->read_error = 0;
    CHECK(check_table(t, &r, 0, 100));
    lsm_table_unref(t);
    rows_clear(&r);
    store_close(&s);
}
