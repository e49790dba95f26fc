/*
 * test_parts.c -- a compaction that is divided keeps the same rows as one that is
 * not: random stores with snapshots, range deletes, value logs and orders of their
 * own, against arrays; and what a part that fails leaves behind.
 */
#include <errno.h>

#include "lsm/db/db.h"
#include "lsm/format/filename.h"
#include "tests/unit/listed.h"
#include "tests/unit/one_tree.h"

enum { KEYS = 4000, SNAPSHOTS = 3, VALUE_MAX = 3000 };

/* ---- keys and values ---- */

enum order { BYTES, BACKWARD, WITH_NOISE, ORDER_COUNT };

static enum order order;
static uint64_t random_state;

static uint32_t below(uint32_t n)       /* the same for every run of one seed */
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static int compare_backward(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    return memcmp(b.data, a.data, 4);
}

/* The fifth byte is none of the key's business. */
static int compare_four(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    return memcmp(a.data, b.data, 4);
}

static const struct lsm_comparator backward = { .name = "backward", .compare = compare_backward };
static const struct lsm_comparator four = { .name = "four", .compare = compare_four };
static const struct lsm_comparator *const comparators[] = { &backward, &four };

static struct lsm_slice key_of(uint32_t k, uint8_t buf[5])
{
    memcpy(buf, number(k).data, 4);
    buf[4] = (uint8_t)random_state;
    return (struct lsm_slice){ buf, order == WITH_NOISE ? 5 : 4 };
}

/* Of 40 to 400 bytes; one in 40 goes to a value log. */
static struct lsm_slice value_of(uint32_t key, uint32_t value)
{
    static uint8_t bytes[VALUE_MAX + 8];
    uint64_t x = (uint64_t)value << 32 | key;
    size_t size = (key + value) % 40 ? 40 + (key * 7 + value * 13) % 360 : 1100 + (key * 7 + value) % 1900;

    for (size_t i = 0; i < size; i += 8) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        uint64_t mixed = x ^ x >> 29;
        memcpy(bytes + i, &mixed, 8);
    }
    return (struct lsm_slice){ bytes, size };
}

/* ---- the store and what it should hold ---- */

struct state {
    struct lsm_snapshot *snapshot;      /* NULL: the present, or free */
    uint32_t value[KEYS];               /* 0: no row */
};

static struct state now, seen[SNAPSHOTS];

static bool store_begin(struct one *o)
{
    struct lsm_options options;
    struct lsm_tree_options of_tree;

    o->base = lsm_os_posix_new();
    o->os = lsm_os_mem_new(o->base);
    lsm_options_init(&options);
    options.create_if_missing = options.no_worker = true;
    options.os = o->os;
    options.memory_bytes = 1 << 20;
    options.comparators = comparators;
    options.comparator_count = 2;
    lsm_tree_options_init(&of_tree);
    of_tree.comparator = order == BACKWARD ? &backward : order == WITH_NOISE ? &four : NULL;
    memset(&now, 0, sizeof now);
    memset(seen, 0, sizeof seen);
    return CHECK_OK(lsm_db_open("/db", &options, &o->db)) &&
           CHECK_OK(lsm_tree_create(o->db, (struct lsm_slice){ (const uint8_t *)"t", 1 }, &of_tree, &o->tree));
}

static void put(struct one *o, uint32_t k, uint32_t value)
{
    uint8_t key[5];

    if (value)
        CHECK_OK(lsm_db_put(o->db, o->tree, key_of(k, key), value_of(k, value), false));
    else
        CHECK_OK(lsm_db_delete(o->db, o->tree, key_of(k, key), false));
    now.value[k] = value;
}

static void delete_range(struct one *o, uint32_t from, uint32_t to)
{
    uint8_t lo[5], hi[5];
    struct lsm_txn *txn;

    if (!CHECK_OK(lsm_txn_begin(o->db, NULL, &txn)))
        return;
    CHECK_OK(lsm_txn_delete_range(txn, o->tree, key_of(order == BACKWARD ? to : from, lo),
                                  key_of(order == BACKWARD ? from : to, hi)));
    CHECK_OK(lsm_txn_commit_alone(txn, false));
    for (uint32_t k = from; k < to; k++)        /* backward, the end that is not deleted is the lower one */
        now.value[k + (order == BACKWARD)] = 0;
}

static void take_snapshot(struct one *o)
{
    struct state *s = &seen[below(SNAPSHOTS)];

    lsm_snapshot_close(s->snapshot);
    *s = now;
    CHECK_OK(lsm_snapshot_open(o->db, &s->snapshot));
}

static void close_snapshots(void)
{
    for (int i = 0; i < SNAPSHOTS; i++) {
        lsm_snapshot_close(seen[i].snapshot);
        seen[i].snapshot = NULL;
    }
}

static void fill(struct one *o)
{
    for (uint32_t round = 1; round <= 20; round++) {
        for (uint32_t i = 0; i < KEYS / 6; i++)
            put(o, below(KEYS), below(5) ? round * 1000 + i : 0);
        for (uint32_t i = below(3); i > 0; i--) {
            uint32_t from = below(KEYS - 1), size = 1 + below(below(4) ? 60 : KEYS / 4);
            delete_range(o, from, from + size < KEYS - 1 ? from + size : KEYS - 1);
            put(o, from, 7);
        }
        if (below(3) == 0)
            take_snapshot(o);
        CHECK_OK(lsm_db_flush(o->db));
        int rc = LSM_OK;
        while (rc == LSM_OK && below(3))
            rc = lsm_db_step(o->db);
        CHECK(rc == LSM_OK || rc == LSM_DONE);
    }
}

static bool row_is(struct lsm_cursor *c, uint32_t k, uint32_t value)
{
    struct lsm_slice got, key = lsm_cursor_key(c);

    return CHECK_OK(lsm_cursor_read(c, &got)) && CHECK(memcmp(key.data, number(k).data, 4) == 0) &&
           CHECK(lsm_slice_equal(got, value_of(k, value)));
}

static bool scan_agrees(struct one *o, const struct state *s)
{
    struct lsm_read read = { .snapshot = s->snapshot };
    bool up = order != BACKWARD, ok = true;
    struct lsm_cursor *c;
    uint32_t n = 0;
    int rc;

    if (!CHECK_OK(lsm_cursor_open(o->tree, &read, &c)))
        return false;
    for (rc = lsm_cursor_first(c); ok && rc == LSM_OK; rc = lsm_cursor_next(c), n++) {
        while (n < KEYS && !s->value[up ? n : KEYS - 1 - n])
            n++;
        ok = CHECK(n < KEYS) && row_is(c, up ? n : KEYS - 1 - n, s->value[up ? n : KEYS - 1 - n]);
    }
    while (n < KEYS && !s->value[up ? n : KEYS - 1 - n])
        n++;
    lsm_cursor_close(c);
    return ok && CHECK_INT(rc, LSM_DONE) && CHECK_INT(n, KEYS);
}

static bool gets_agree(struct one *o, const struct state *s)
{
    struct lsm_read read = { .snapshot = s->snapshot };
    uint8_t key[5];

    for (uint32_t k = 0; k < KEYS; k++) {
        struct lsm_value v;
        int rc = lsm_tree_get(o->tree, &read, key_of(k, key), &v);
        bool ok = s->value[k] ? rc == LSM_OK && lsm_slice_equal(v.bytes, value_of(k, s->value[k])) : rc == LSM_NOTFOUND;

        lsm_value_release(&v);
        if (!CHECK(ok)) {
            printf("  key %u: %s, not %u\n", k, lsm_code_name(rc), s->value[k]);
            return false;
        }
    }
    return true;
}

static bool agrees(struct one *o)
{
    bool ok = scan_agrees(o, &now) && gets_agree(o, &now);

    for (int i = 0; i < SNAPSHOTS && ok; i++)
        ok = !seen[i].snapshot || (scan_agrees(o, &seen[i]) && gets_agree(o, &seen[i]));
    return ok && CHECK_OK(lsm_db_check(o->db));
}

struct counts {
    uint64_t entries, tombstones, files, range_deletes;
};

static struct counts count(struct one *o)
{
    struct lsm_tree_stats stats;
    struct counts c = { 0 };

    CHECK_OK(lsm_tree_stats(o->tree, &stats));
    for (uint32_t i = 0; i < stats.level_count; i++) {
        c.entries += stats.level[i].entries;
        c.tombstones += stats.level[i].tombstones;
        c.files += stats.level[i].files;
        c.range_deletes += stats.level[i].range_deletes;
    }
    return c;
}

static void divide(struct one *o, uint32_t parts)
{
    o->db->max_subcompactions = parts;  /* as if it had been opened so: snapshots outlive no open */
}

/* ---- results ---- */

TEST(parts_keep_the_rows_that_the_whole_compaction_keeps)
{
    uint32_t divided[ORDER_COUNT] = { 0 };

    for (int seed = 0; seed < (test_long() ? 100 : 4) && !test_state.failures; seed++)
        for (order = 0; order < ORDER_COUNT; order++) {
            uint64_t start = test_below(UINT32_MAX);
            struct counts whole = { 0 };

            for (uint32_t parts = 1; parts <= 5 && !test_state.failures; parts += 2) {
                struct counts c;
                struct one o;

                random_state = start;
                if (!store_begin(&o))
                    return;
                fill(&o);                               /* the same for all */
                divide(&o, parts);
                CHECK_OK(lsm_db_compact(o.db, NULL));
                if (parts > 1)
                    divided[order] += stat_of(o.db, "subcompactions") > 1;
                c = count(&o);
                if (parts == 1)
                    whole = c;
                CHECK_INT(c.entries, whole.entries);
                CHECK_INT(c.tombstones, whole.tombstones);
                if (!agrees(&o))
                    printf("  order %d, %u parts, start %llu\n", order, parts, (unsigned long long)start);
                close_snapshots();
                fill(&o);                               /* its own jobs are divided, too */
                agrees(&o);
                close_snapshots();
                CHECK_OK(lsm_db_compact(o.db, NULL));
                agrees(&o);
                c = count(&o);
                CHECK_INT(c.tombstones + c.range_deletes, 0);
                one_end(&o);
            }
        }
    printf("  %u, %u, %u were divided\n", divided[0], divided[1], divided[2]);
    CHECK(divided[BYTES] > 2);
}

/* ---- failures ---- */

static struct fail {
    struct one *one;
    enum { CREATE, WRITE, SYNC, MEMORY, KIND_COUNT } kind;
    uint32_t at, seen;                  /* the at-th such call fails; 0: none */
    struct lsm_os real;
    struct lsm_file *file[32];          /* tables and value logs that are written */
} fail;

static bool hits(int kind)
{
    return fail.at && fail.kind == (unsigned)kind && ++fail.seen == fail.at;
}

static bool is_output(const struct lsm_file *file)
{
    for (int i = 0; i < 32; i++)
        if (file && fail.file[i] == file)
            return true;
    return false;
}

static int fail_open(struct lsm_dir *dir, const char *name, int flags, uint32_t mode, struct lsm_file **file)
{
    enum lsm_file_kind kind;
    uint64_t n;
    bool is_new = (flags & LSM_OPEN_CREATE) && lsm_filename_parse(name, &kind, &n) &&
                  (kind == LSM_FILE_TABLE || kind == LSM_FILE_VLOG);
    int error = is_new && hits(CREATE) ? ENOSPC : fail.real.file_open(dir, name, flags, mode, file);

    for (int i = 0; is_new && !error && i < 32; i++)
        if (!fail.file[i]) {
            fail.file[i] = *file;
            break;
        }
    return error;
}

static void fail_close(struct lsm_file *file)
{
    for (int i = 0; i < 32; i++)
        if (fail.file[i] == file)
            fail.file[i] = NULL;
    fail.real.file_close(file);
}

static int fail_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    return is_output(file) && hits(WRITE) ? ENOSPC : fail.real.file_write(file, data, size, off);
}

static int fail_sync(struct lsm_file *file)
{
    return is_output(file) && hits(SYNC) ? EIO : fail.real.file_sync(file);
}

static void *fail_alloc(struct lsm_os *os, size_t size)
{
    return hits(MEMORY) ? NULL : fail.real.mem_alloc(os, size);
}

static void *fail_realloc(struct lsm_os *os, void *p, size_t size)
{
    return hits(MEMORY) ? NULL : fail.real.mem_realloc(os, p, size);
}

static void fail_begin(struct one *o)
{
    fail = (struct fail){ .one = o, .real = *o->os };
    o->os->file_open = fail_open;
    o->os->file_close = fail_close;
    o->os->file_write = fail_write;
    o->os->file_sync = fail_sync;
    o->os->mem_alloc = fail_alloc;
    o->os->mem_realloc = fail_realloc;
}

static void fail_anywhere(uint32_t parts)
{
    static const uint32_t steps[KIND_COUNT] = { 1, 2, 1, 37 };
    uint64_t start = test_below(UINT32_MAX);
    int failed[KIND_COUNT] = { 0 };

    order = BYTES;
    for (int kind = 0; kind < KIND_COUNT; kind++)
        for (uint32_t at = 1, hit = true; hit && !test_state.failures;
             at += test_long() ? 1 : 1 + (uint32_t)test_below(2 * steps[kind])) {
            struct listed l = { 0 };
            struct one o;
            int rc;

            random_state = start;
            if (!store_begin(&o))
                return;
            fill(&o);
            divide(&o, parts);
            fail_begin(&o);
            fail.kind = (unsigned)kind;
            fail.at = at;
            rc = lsm_db_compact(o.db, NULL);
            hit = fail.seen >= at;
            fail.at = 0;
            failed[kind] += rc != LSM_OK;
            CHECK(rc == LSM_OK || rc == (kind == MEMORY ? LSM_NOMEM : kind == SYNC ? LSM_FSYNC : LSM_FULL));
            if (rc)
                CHECK(lsm_error_text()[0] && !strstr(lsm_error_text(), "another part"));
            agrees(&o);
            close_snapshots();
            rc = LSM_OK;
            while (rc == LSM_OK)
                rc = lsm_db_step(o.db);
            CHECK_INT(rc, LSM_DONE);
            CHECK_INT(o.os->dir_list(o.db->dir, count_file, &l), 0);
            if (kind != MEMORY) {       /* an edit may be in the MANIFEST that could not be told so: its files stay */
                CHECK_INT(l.tables, count(&o).files);
                CHECK_INT(l.logs, stat_of(o.db, "value_logs"));
            }
            CHECK_OK(lsm_db_compact(o.db, NULL));
            agrees(&o);
            if (test_state.failures)
                printf("  kind %d at %u, start %llu\n", kind, at, (unsigned long long)start);
            one_end(&o);
        }
    printf("  creations %d, writes %d, syncs %d, allocations %d\n", failed[0], failed[1], failed[2], failed[3]);
    for (int kind = 0; kind < KIND_COUNT; kind++)
        CHECK(failed[kind] > 0);
}

TEST(parts_of_which_there_is_one_leave_nothing_behind_when_it_fails)
{
    fail_anywhere(1);
}

TEST(parts_of_which_one_fails_leave_nothing_behind)
{
    fail_anywhere(3);
}
