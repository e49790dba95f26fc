/*
 * table_store.h -- for tests of tables: a directory of tables with its cache,
 * on a machine that can be made to fail; rows, a table written of them, and
 * what an open table must answer; the bytes of a table, to damage them.
 *
 * One store at a time, one thread.
 */
#ifndef TESTS_UNIT_TABLE_STORE_H
#define TESTS_UNIT_TABLE_STORE_H

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

static inline bool may_allocate(struct machine *m, size_t size)
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

static inline void *machine_alloc(struct lsm_os *os, size_t size)
{
    struct machine *m = (struct machine *)os;
    return may_allocate(m, size) ? m->base->mem_alloc(m->base, size) : NULL;
}

static inline void *machine_realloc(struct lsm_os *os, void *p, size_t size)
{
    struct machine *m = (struct machine *)os;
    return may_allocate(m, size) ? m->base->mem_realloc(m->base, p, size) : NULL;
}

static inline void machine_mem_free(struct lsm_os *os, void *p)
{
    struct machine *m = (struct machine *)os;
    m->base->mem_free(m->base, p);
}

static inline uint64_t machine_mem_used(struct lsm_os *os)
{
    struct machine *m = (struct machine *)os;
    return m->base->mem_used(m->base);
}

static inline int machine_mutex_new(struct lsm_os *os, struct lsm_mutex **mutex)
{
    struct machine *m = (struct machine *)os;
    return m->base->mutex_new(m->base, mutex);
}

static inline int machine_open(struct lsm_dir *dir, const char *name, int flags, uint32_t mode,
                        struct lsm_file **file)
{
    int error;

    if (machine->open_max >= 0 && machine->open_count >= machine->open_max)
        return EMFILE;
    error = machine->mem->file_open(dir, name, flags, mode, file);
    machine->open_count += error == 0;
    return error;
}

static inline void machine_close_file(struct lsm_file *file)
{
    machine->open_count--;
    machine->mem->file_close(file);
}

static inline int machine_read(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got)
{
    if (machine->read_error)
        return machine->read_error;
    return machine->mem->file_read(file, data, size, off, got);
}

static inline int machine_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    if (machine->write_error)
        return machine->write_error;
    return machine->mem->file_write(file, data, size, off);
}

static inline int machine_sync(struct lsm_file *file)
{
    return machine->sync_error ? machine->sync_error : machine->mem->file_sync(file);
}

static inline void machine_init(struct machine *m)
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

static inline void store_open(struct store *s, uint64_t cache_bytes, uint32_t open_max)
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
static inline void store_forget(struct store *s)
{
    lsm_tables_free(s->tables);
    lsm_cache_free(s->cache);
    CHECK_OK(lsm_cache_new(s->os, 1 << 20, &s->cache));
    CHECK_OK(lsm_tables_new(s->os, s->dir, uuid, s->cache, s->pool, 100, &s->tables));
}

static inline void store_close(struct store *s)
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

static inline void rows_add(struct rows *r, const void *key, size_t key_size, uint64_t seq,
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

static inline struct lsm_slice key_of(const struct row *row)
{
    return lsm_slice(row->key, row->key_size);
}

static inline struct lsm_slice value_of(const struct row *row)
{
    return lsm_slice(row->value, row->value_size);
}

static const struct lsm_comparator *sort_cmp;

static inline int compare_rows(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return lsm_ikey_compare(sort_cmp, key_of(x), x->tag, key_of(y), y->tag);
}

/* In order, and no (key, tag) twice. */
static inline void rows_sort(struct rows *r)
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

static inline void rows_clear(struct rows *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->row[i].key);
        free(r->row[i].value);
    }
    free(r->row);
    *r = (struct rows){ 0 };
}

/* Few enough different keys that many have versions; values that compress by half. */
static inline void rows_random(struct rows *r, size_t count, uint64_t keys, size_t value_max)
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

static inline void small_rows(struct rows *r)
{
    char key[16];

    for (int i = 0; i < 24; i++) {
        int n = snprintf(key, sizeof key, "key%03d", i / 2);
        rows_add(r, key, (size_t)n, (uint64_t)(100 - i), i % 5 ? LSM_KIND_PUT : LSM_KIND_DELETE,
                 "the value, the value, the value", i % 5 ? 31 : 0);
    }
    rows_sort(r);
}

static const struct lsm_table_options plain = { 512, 10, LSM_CODEC_NONE, 1, .comparator = NULL };

/* rc of finish. The meta's keys point into the rows. */
static inline int write_table(struct store *s, uint64_t number, const struct lsm_table_options *options,
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

static inline bool is_row(const struct lsm_iter *it, const struct rows *r, size_t i, uint64_t seq_add)
{
    return it->valid && it->tag == r->row[i].tag + (seq_add << 8) &&
           lsm_slice_equal(it->key, key_of(&r->row[i])) &&
           lsm_slice_equal(it->value, value_of(&r->row[i]));
}

/* The first row at or behind (key, tag), with seq_add in the rows' tags. */
static inline size_t model_seek(const struct rows *r, struct lsm_slice key, uint64_t tag, uint64_t seq_add)
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

static inline bool check_get(struct lsm_table *t, const struct rows *r, struct lsm_slice key,
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
static inline bool check_table(struct lsm_table *t, const struct rows *r, uint64_t seq_add, int probes)
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

        if (test_below(2))
            lsm_iter_aim(it, k, tag);
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

        if (test_below(2))
            lsm_iter_aim(it, k, tag);
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

static inline bool check_number(struct store *s, const struct lsm_table_meta *meta, const struct rows *r,
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

/* ---- the bytes of a table ---- */

static inline struct lsm_file *open_file(struct store *s, uint64_t number)
{
    char name[LSM_FILENAME_SIZE];
    struct lsm_file *file;

    lsm_filename(name, LSM_FILE_TABLE, number);
    CHECK_INT(s->os->file_open(s->dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    return file;
}

static inline uint8_t *read_all(struct store *s, uint64_t number, size_t size)
{
    struct lsm_file *file = open_file(s, number);
    uint8_t *data = malloc(size);
    size_t got;

    CHECK_INT(s->os->file_read(file, data, size, 0, &got), 0);
    CHECK_INT(got, size);
    s->os->file_close(file);
    return data;
}

static inline void write_all(struct store *s, uint64_t number, const void *data, size_t size)
{
    struct lsm_file *file = open_file(s, number);

    CHECK_INT(s->os->file_truncate(file, 0), 0);
    CHECK_INT(s->os->file_write(file, data, size, 0), 0);
    s->os->file_close(file);
}

static inline const char *table_name(uint64_t number)
{
    static char name[LSM_FILENAME_SIZE];
    return lsm_filename(name, LSM_FILE_TABLE, number);
}

#endif
