#include "lsm/format/filename.h"
#include "lsm/format/filter.h"
#include "lsm/store/table.h"
#include "lsm/store/table_format.h"
#include "lsm/store/table_writer.h"
#include "lsm/util/hash.h"
#include "tests/test.h"

/* ---- a machine that can be made to fail ---- */

struct machine {
    struct lsm_os os;           /* first */
    struct lsm_os *mem, *base;
    int64_t allocations_left;   /* then one fails, or all; < 0: no limit */
    bool one_fails;
    size_t largest;             /* allocation that was asked for */
    int open_max;               /* files; < 0: no limit */
    int open_count;
    int read_error;             /* given by every read */
    int write_error, sync_error;
};

static struct machine *machine;         /* one at a time: file calls do not name theirs */

static bool may_allocate(struct machine *m, size_t size)
{
    if (size > m->largest)
        m->largest = size;
    if (m->allocations_left < 0)
        return true;
    if (m->allocations_left > 0) {
        m->allocations_left--;
        return true;
    }
    if (m->one_fails)
        m->allocations_left = -1;
    return false;
}

static void *machine_alloc(struct lsm_os *os, size_t size)
{
    struct machine *m = (struct machine *)os;
    return may_allocate(m, size) ? m->base->mem_alloc(m->base, size) : NULL;
}

static void *machine_realloc(struct lsm_os *os, void *p, size_t size)
{
    struct machine *m = (struct machine *)os;
    return may_allocate(m, size) ? m->base->mem_realloc(m->base, p, size) : NULL;
}

static void machine_mem_free(struct lsm_os *os, void *p)
{
    struct machine *m = (struct machine *)os;
    m->base->mem_free(m->base, p);
}

static uint64_t machine_mem_used(struct lsm_os *os)
{
    struct machine *m = (struct machine *)os;
    return m->base->mem_used(m->base);
}

static int machine_mutex_new(struct lsm_os *os, struct lsm_mutex **mutex)
{
    struct machine *m = (struct machine *)os;
    return m->base->mutex_new(m->base, mutex);
}

static int machine_open(struct lsm_dir *dir, const char *name, int flags, uint32_t mode,
                        struct lsm_file **file)
{
    int error;

    if (machine->open_max >= 0 && machine->open_count >= machine->open_max)
        return EMFILE;
    error = machine->mem->file_open(dir, name, flags, mode, file);
    machine->open_count += error == 0;
    return error;
}

static void machine_close_file(struct lsm_file *file)
{
    machine->open_count--;
    machine->mem->file_close(file);
}

static int machine_read(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got)
{
    if (machine->read_error)
        return machine->read_error;
    return machine->mem->file_read(file, data, size, off, got);
}

static int machine_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    if (machine->write_error)
        return machine->write_error;
    return machine->mem->file_write(file, data, size, off);
}

static int machine_sync(struct lsm_file *file)
{
    return machine->sync_error ? machine->sync_error : machine->mem->file_sync(file);
}

static void machine_init(struct machine *m)
{
    m->base = lsm_os_posix_new();
    m->mem = lsm_os_mem_new(m->base);
    m->os = *m->mem;
    m->os.mem_alloc = machine_alloc;
    m->os.mem_realloc = machine_realloc;
    m->os.mem_free = machine_mem_free;
    m->os.mem_used = machine_mem_used;
    m->os.mutex_new = machine_mutex_new;
    m->os.file_open = machine_open;
    m->os.file_close = machine_close_file;
    m->os.file_read = machine_read;
    m->os.file_write = machine_write;
    m->os.file_sync = machine_sync;
    m->allocations_left = -1;
    m->one_fails = false;
    m->largest = 0;
    m->open_max = -1;
    m->open_count = 0;
    m->read_error = m->write_error = m->sync_error = 0;
    machine = m;
}

/* ---- a store of tables ---- */

static const uint8_t uuid[16] = "a store's 16 by";

struct store {
    struct machine m;
    struct lsm_os *os;
    struct lsm_dir *dir;
    struct lsm_cache *cache;
    struct lsm_compressor_pool *pool;
    struct lsm_compressor *compressor;
    struct lsm_tables *tables;
};

static void store_open(struct store *s, uint64_t cache_bytes, uint32_t open_max)
{
    machine_init(&s->m);
    s->os = &s->m.os;
    CHECK_INT(s->m.mem->dir_open(s->m.mem, "/d", true, 0755, NULL, &s->dir), 0);
    CHECK_OK(lsm_cache_new(s->os, cache_bytes, &s->cache));
    CHECK_OK(lsm_compressor_pool_new(s->os, &s->pool));
    CHECK_OK(lsm_compressor_take(s->pool, &s->compressor));
    CHECK_OK(lsm_tables_new(s->os, s->dir, uuid, s->cache, s->pool, open_max, &s->tables));
}

/* Forget every block and open table: the next read is the first. */
static void store_forget(struct store *s)
{
    lsm_tables_free(s->tables);
    lsm_cache_free(s->cache);
    CHECK_OK(lsm_cache_new(s->os, 1 << 20, &s->cache));
    CHECK_OK(lsm_tables_new(s->os, s->dir, uuid, s->cache, s->pool, 100, &s->tables));
}

static void store_close(struct store *s)
{
    struct lsm_cache_stats stats;

    lsm_cache_stats(s->cache, &stats);
    lsm_tables_free(s->tables);
    CHECK_INT(machine->open_count, 0);                  /* no descriptor is left */
    lsm_cache_stats(s->cache, &stats);
    CHECK_INT(stats.pinned_bytes, 0);
    lsm_cache_free(s->cache);
    lsm_compressor_put(s->pool, s->compressor);
    lsm_compressor_pool_free(s->pool);
    s->m.mem->dir_close(s->dir);
    lsm_os_mem_free(s->m.mem);
    CHECK_INT(s->m.base->mem_used(s->m.base), 0);
    lsm_os_posix_free(s->m.base);
}

/* ---- rows ---- */

struct row {
    uint8_t *key, *value;
    size_t key_size, value_size;
    uint64_t tag;
};

struct rows {
    struct row *row;
    size_t count, cap;
    const struct lsm_comparator *cmp;
};

static void rows_add(struct rows *r, const void *key, size_t key_size, uint64_t seq,
                     enum lsm_kind kind, const void *value, size_t value_size)
{
    struct row *row;

    if (r->count == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 64;
        r->row = realloc(r->row, r->cap * sizeof *r->row);
    }
    row = &r->row[r->count++];
    row->key = malloc(key_size + 1);
    row->value = malloc(value_size + 1);
    memcpy(row->key, key, key_size);
    memcpy(row->value, value, value_size);
    row->key_size = key_size;
    row->value_size = value_size;
    row->tag = lsm_tag(seq, kind);
}

static struct lsm_slice key_of(const struct row *row)
{
    return lsm_slice(row->key, row->key_size);
}

static struct lsm_slice value_of(const struct row *row)
{
    return lsm_slice(row->value, row->value_size);
}

static const struct lsm_comparator *sort_cmp;

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return lsm_ikey_compare(sort_cmp, key_of(x), x->tag, key_of(y), y->tag);
}

/* In order, and no (key, tag) twice. */
static void rows_sort(struct rows *r)
{
    size_t n = 0;

    sort_cmp = r->cmp;
    qsort(r->row, r->count, sizeof *r->row, compare_rows);
    for (size_t i = 0; i < r->count; i++) {
        if (n && compare_rows(&r->row[n - 1], &r->row[i]) == 0) {
            free(r->row[i].key);
            free(r->row[i].value);
        } else {
            r->row[n++] = r->row[i];
        }
    }
    r->count = n;
}

static void rows_clear(struct rows *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->row[i].key);
        free(r->row[i].value);
    }
    free(r->row);
    *r = (struct rows){ 0 };
}

/* Few enough different keys that many have versions; values that compress by half. */
static void rows_random(struct rows *r, size_t count, uint64_t keys, size_t value_max)
{
    uint8_t *value = malloc(value_max + 1);
    char key[64];

    for (size_t i = 0; i < count; i++) {
        size_t size = test_below(value_max + 1);
        enum lsm_kind kind = test_below(5) == 0 ? LSM_KIND_DELETE : LSM_KIND_PUT;
        int n = snprintf(key, sizeof key, "table/%06" PRIu64, test_below(keys) * 7);

        for (size_t k = 0; k < size; k++)
            value[k] = k % 2 ? 'v' : (uint8_t)test_random();
        rows_add(r, key, (size_t)n - test_below(3), 1 + test_below(100000), kind, value,
                 kind == LSM_KIND_DELETE ? 0 : size);
    }
    free(value);
    rows_sort(r);
}

static const struct lsm_table_options plain = { 512, 10, LSM_CODEC_NONE, 1, .comparator = NULL };

/* rc of finish. The meta's keys point into the rows. */
static int write_table(struct store *s, uint64_t number, const struct lsm_table_options *options,
                       const struct rows *r, struct lsm_table_meta *meta)
{
    struct lsm_table_options o = *options;
    struct lsm_table_writer *w;
    int rc;

    o.comparator = r->cmp;
    rc = lsm_table_writer_open(s->os, s->dir, uuid, number, 3, &o, s->compressor, 0644, &w);
    if (rc)
        return rc;
    for (size_t i = 0; i < r->count; i++)
        lsm_table_writer_add(w, key_of(&r->row[i]), r->row[i].tag, value_of(&r->row[i]));
    rc = lsm_table_writer_finish(w, meta);
    CHECK(rc || lsm_table_writer_entries(w) == r->count);
    if (rc == LSM_OK && r->count) {
        CHECK(lsm_slice_equal(meta->smallest, key_of(&r->row[0])));
        CHECK(lsm_slice_equal(meta->largest, key_of(&r->row[r->count - 1])));
        meta->smallest = key_of(&r->row[0]);
        meta->largest = key_of(&r->row[r->count - 1]);
    } else {
        meta->smallest = meta->largest = lsm_slice("", 0);
    }
    lsm_table_writer_close(w);
    return rc;
}

/* ---- comparing a table with its rows ---- */

static bool is_row(const struct lsm_iter *it, const struct rows *r, size_t i, uint64_t seq_add)
{
    return it->valid && it->tag == r->row[i].tag + (seq_add << 8) &&
           lsm_slice_equal(it->key, key_of(&r->row[i])) &&
           lsm_slice_equal(it->value, value_of(&r->row[i]));
}

/* The first row at or behind (key, tag), with seq_add in the rows' tags. */
static size_t model_seek(const struct rows *r, struct lsm_slice key, uint64_t tag, uint64_t seq_add)
{
    size_t lo = 0, hi = r->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (lsm_ikey_compare(r->cmp, key_of(&r->row[mid]), r->row[mid].tag + (seq_add << 8), key,
                             tag) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool check_get(struct lsm_table *t, const struct rows *r, struct lsm_slice key,
                      uint64_t seq_max, uint64_t seq_add, bool no_cache)
{
    uint64_t tag = 0, from = seq_max > LSM_SEQ_MAX ? LSM_TAG_MAX : lsm_tag(seq_max, 0xff);
    size_t i = model_seek(r, key, from, seq_add);
    bool exists = i < r->count && lsm_key_compare(r->cmp, key_of(&r->row[i]), key) == 0, ok = true;
    struct lsm_table_pin pin;
    struct lsm_slice value;
    int rc = lsm_table_get(t, key, lsm_filter_hash(key), seq_max, no_cache, &tag, &value, &pin);

    ok &= CHECK_RC(rc, exists ? LSM_OK : LSM_NOTFOUND);
    if (ok && exists) {
        ok &= CHECK_INT(tag, r->row[i].tag + (seq_add << 8));
        ok &= CHECK(lsm_slice_equal(value, value_of(&r->row[i])));
    }
    lsm_table_unpin(&pin);
    return ok;
}

/* Scans, seeks, gets, turns. False at the first difference. */
static bool check_table(struct lsm_table *t, const struct rows *r, uint64_t seq_add, int probes)
{
    struct lsm_iter *it;
    bool ok = true;
    size_t i;

    CHECK_OK(lsm_table_iter_new(t, test_below(2), &it));
    for (lsm_iter_first(it), i = 0; it->valid && ok; lsm_iter_next(it), i++)
        ok &= CHECK(i < r->count) && CHECK(is_row(it, r, i, seq_add));
    ok &= CHECK_RC(it->rc, LSM_OK) && CHECK_INT(i, r->count);
    for (lsm_iter_last(it), i = r->count; it->valid && ok; lsm_iter_prev(it), i--)
        ok &= CHECK(i > 0) && CHECK(is_row(it, r, i - 1, seq_add));
    ok &= CHECK_RC(it->rc, LSM_OK) && CHECK_INT(i, 0);

    for (int n = 0; n < probes && ok; n++) {
        /* A key that exists, or one close to it; a tag of it, or any. */
        static const char *const strange[] = { "", "table/", "table/~", "zzz", "\xff\xff" };
        const char *far = strange[test_below(5)];
        const struct row *row = r->count ? &r->row[test_below(r->count)] : NULL;
        size_t size = row ? row->key_size : 0;
        uint8_t *key = malloc(size + 8);
        struct lsm_slice k = lsm_slice(key, size);
        uint64_t tag = row ? row->tag + (seq_add << 8) : 0;

        if (row)
            memcpy(key, row->key, size);
        switch (test_below(6)) {
        case 0:
            key[k.size++] = (uint8_t)test_random();
            break;
        case 1:
            if (k.size)
                k.size--;
            break;
        case 2:
            if (k.size)
                key[k.size - 1] += (uint8_t)(test_below(3) - 1);
            break;
        case 3:
            if (test_below(8) == 0)
                k = lsm_slice_str(far);
            break;
        }
        switch (test_below(5)) {
        case 0:
            tag = LSM_TAG_MAX;
            break;
        case 1:
            tag = 0;
            break;
        case 2:
            tag += test_below(600) - 300;
            break;
        case 3:
            tag = test_random() % ((100000 + seq_add) << 8);
            break;
        }

        lsm_iter_seek(it, k, tag);
        i = model_seek(r, k, tag, seq_add);
        ok &= CHECK(i < r->count ? is_row(it, r, i, seq_add) : !it->valid);
        for (int steps = (int)test_below(20); ok && it->valid && steps > 0; steps--) {
            if (test_below(3)) {
                lsm_iter_next(it);
                i++;
            } else if (i == 0) {
                break;
            } else {
                lsm_iter_prev(it);
                i--;
            }
            ok &= CHECK(i < r->count ? is_row(it, r, i, seq_add) : !it->valid);
        }

        lsm_iter_seek_prev(it, k, tag);
        i = model_seek(r, k, tag, seq_add);
        if (i < r->count && lsm_ikey_compare(r->cmp, key_of(&r->row[i]),
                                             r->row[i].tag + (seq_add << 8), k, tag) == 0)
            i++;
        ok &= CHECK(i > 0 ? is_row(it, r, i - 1, seq_add) : !it->valid);
        ok &= CHECK_RC(it->rc, LSM_OK);

        ok &= check_get(t, r, k, test_below(4) ? lsm_tag_seq(tag) : LSM_SEQ_MAX, seq_add,
                        test_below(2));
        free(key);
    }
    lsm_iter_close(it);
    return ok;
}

static bool check_number(struct store *s, const struct lsm_table_meta *meta, const struct rows *r,
                         int probes)
{
    struct lsm_table *t;
    bool ok;

    if (!CHECK_OK(lsm_tables_get(s->tables, meta, r->cmp, &t)))
        return false;
    ok = check_table(t, r, meta->seq_add, probes) && CHECK_OK(lsm_table_check(t));
    lsm_table_unref(t);
    return ok;
}

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
        o.codec = test_below(2) ? LSM_CODEC_ZSTD : LSM_CODEC_NONE;
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
        { false, false, 100, 100 },     /* random bytes, repeated: matches are all there is to find */
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

static int compare_backwards(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    return lsm_slice_compare(b, a);
}

static const struct lsm_comparator backwards = { .name = "backwards", .compare = compare_backwards };
static const struct lsm_comparator sideways = { .name = "sideways", .compare = compare_backwards };

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

/* ---- damage ---- */

static struct lsm_file *open_file(struct store *s, uint64_t number)
{
    char name[LSM_FILENAME_SIZE];
    struct lsm_file *file;

    lsm_filename(name, LSM_FILE_TABLE, number);
    CHECK_INT(s->os->file_open(s->dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    return file;
}

static uint8_t *read_all(struct store *s, uint64_t number, size_t size)
{
    struct lsm_file *file = open_file(s, number);
    uint8_t *data = malloc(size);
    size_t got;

    CHECK_INT(s->os->file_read(file, data, size, 0, &got), 0);
    CHECK_INT(got, size);
    s->os->file_close(file);
    return data;
}

static void write_all(struct store *s, uint64_t number, const void *data, size_t size)
{
    struct lsm_file *file = open_file(s, number);

    CHECK_INT(s->os->file_truncate(file, 0), 0);
    CHECK_INT(s->os->file_write(file, data, size, 0), 0);
    s->os->file_close(file);
}

static const char *table_name(uint64_t number)
{
    static char name[LSM_FILENAME_SIZE];
    return lsm_filename(name, LSM_FILE_TABLE, number);
}

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

static void small_rows(struct rows *r)
{
    char key[16];

    for (int i = 0; i < 24; i++) {
        int n = snprintf(key, sizeof key, "key%03d", i / 2);
        rows_add(r, key, (size_t)n, (uint64_t)(100 - i), i % 5 ? LSM_KIND_PUT : LSM_KIND_DELETE,
                 "the value, the value, the value", i % 5 ? 31 : 0);
    }
    rows_sort(r);
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

/* ---- open tables ---- */

TEST(tables_keeps_open_max_files_and_closes_the_least_recently_used)
{
    struct lsm_tables_stats stats;
    struct lsm_table_meta meta[8];
    struct rows r = { 0 };
    struct lsm_table *t, *held[8];
    struct store s;

    store_open(&s, 1 << 20, 3);
    small_rows(&r);
    for (uint64_t i = 0; i < 8; i++)
        CHECK_OK(write_table(&s, 10 + i, &plain, &r, &meta[i]));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(lsm_tables_get(s.tables, &meta[i], NULL, &t));
        lsm_table_unref(t);
    }
    CHECK_OK(lsm_tables_get(s.tables, &meta[0], NULL, &t));     /* used again: 1 is the oldest */
    lsm_table_unref(t);
    CHECK_OK(lsm_tables_get(s.tables, &meta[3], NULL, &t));
    lsm_table_unref(t);
    CHECK_INT(machine->open_count, 3);
    lsm_tables_stats(s.tables, &stats);
    CHECK_INT(stats.opens, 4);
    for (int i = 0; i < 4; i++) {
        if (i == 1)
            continue;
        CHECK_OK(lsm_tables_get(s.tables, &meta[i], NULL, &t));
        lsm_table_unref(t);
    }
    lsm_tables_stats(s.tables, &stats);
    CHECK_INT(stats.opens, 4);                                  /* all but 1 were still open */

    for (int i = 0; i < 8; i++)                                 /* in use: may pass the bound */
        CHECK_OK(lsm_tables_get(s.tables, &meta[i], NULL, &held[i]));
    CHECK_INT(machine->open_count, 8);
    for (int i = 0; i < 8; i++)
        lsm_table_unref(held[i]);
    CHECK_INT(machine->open_count, 3);
    rows_clear(&r);
    store_close(&s);
}

/* I-12 */
TEST(tables_without_descriptors_closes_others_and_tries_again)
{
    struct lsm_table_meta meta[40];
    struct rows r = { 0 };
    struct lsm_table *t, *held[5];
    struct store s;

    store_open(&s, 1 << 20, 1000);
    small_rows(&r);
    for (uint64_t i = 0; i < 40; i++)
        CHECK_OK(write_table(&s, 10 + i, &plain, &r, &meta[i]));
    machine->open_max = 5;
    for (int i = 0; i < 40; i++) {
        CHECK_OK(lsm_tables_get(s.tables, &meta[i], NULL, &t));
        lsm_table_unref(t);
        CHECK(machine->open_count <= 5);
    }
    for (int i = 0; i < 5; i++)
        CHECK_OK(lsm_tables_get(s.tables, &meta[i], NULL, &held[i]));
    CHECK(lsm_tables_get(s.tables, &meta[9], NULL, &t) != LSM_OK);      /* all are in use */
    CHECK(strstr(lsm_error_text(), "000019.ldb") != NULL);
    for (int i = 0; i < 5; i++)
        lsm_table_unref(held[i]);
    CHECK_OK(lsm_tables_get(s.tables, &meta[9], NULL, &t));
    lsm_table_unref(t);
    rows_clear(&r);
    store_close(&s);
}

TEST(tables_forgotten_table_lives_as_long_as_its_iterator)
{
    struct lsm_cache_stats stats;
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct lsm_iter *it;
    struct store s;
    size_t i;

    store_open(&s, 1 << 20, 10);
    rows_random(&r, 2000, 1000, 20);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    CHECK_OK(lsm_tables_get(s.tables, &meta, NULL, &t));
    CHECK_OK(lsm_table_iter_new(t, false, &it));
    lsm_table_unref(t);
    lsm_iter_first(it);
    lsm_tables_forget(s.tables, 5);
    CHECK_INT(s.os->file_remove(s.dir, "000005.ldb"), 0);
    for (i = 0; it->valid; lsm_iter_next(it), i++)
        CHECK(is_row(it, &r, i, 0));
    CHECK_INT(i, r.count);
    CHECK_RC(lsm_tables_get(s.tables, &meta, NULL, &t), LSM_CORRUPT);   /* it is not found again */
    CHECK_INT(machine->open_count, 1);
    lsm_iter_close(it);
    CHECK_INT(machine->open_count, 0);
    lsm_cache_stats(s.cache, &stats);
    CHECK_INT(stats.used_bytes, 0);
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
