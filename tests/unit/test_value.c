/*
 * test_value.c -- a store whose values stand in value logs: against an array,
 * through flushes, compactions, reclaiming, crashes, failures; live bytes are
 * exactly what the tables refer to; files go when the last reader is gone.
 */
#include <stdlib.h>

#include "lsm/db/db.h"
#include "lsm/format/filename.h"
#include "tests/unit/disk.h"

#define KEYS 120

static struct oracle {
    unsigned stamp[KEYS];       /* 0: not there */
    unsigned size[KEYS];
} oracle;

static uint64_t rng;
static unsigned rnd(unsigned n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(rng >> 33) % n;
}

static struct lsm_slice key_of(int i, char buf[16])
{
    return lsm_slice(buf, (size_t)snprintf(buf, 16, "key%05d", i));
}

static struct lsm_slice value_of(unsigned stamp, unsigned size)
{
    static uint8_t bytes[200000];
    uint64_t x = stamp * UINT64_C(0x9e3779b97f4a7c15) + 1;

    for (unsigned i = 0; i < size; i++) {
        if (i % 8 == 0)
            x = x * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = i % 16 < 8 ? (uint8_t)(x >> (i % 8 * 8)) : (uint8_t)stamp;
    }
    return lsm_slice(bytes, size);
}

static unsigned any_size(void)
{
    static const unsigned sizes[] = { 0, 10, 1000, 1023, 1024, 1025, 3000, 9000, 30000, 66000 };
    return sizes[rnd(rnd(3) ? 8 : 10)];
}

/* Gets and both ways of a cursor, values read or passed over. */
static bool agrees(struct store *s, const struct lsm_read *read, const struct oracle *o)
{
    struct lsm_cursor *c;
    struct lsm_slice value;
    char kb[16];
    int at, rc;

    for (int i = 0; i < KEYS; i++) {
        struct lsm_value v;
        rc = lsm_tree_get(s->tree, read, key_of(i, kb), &v);
        if (rc != (o->stamp[i] ? LSM_OK : LSM_NOTFOUND) ||
            (rc == LSM_OK && !lsm_slice_equal(v.bytes, value_of(o->stamp[i], o->size[i])))) {
            printf("key %d: %d %s\n", i, rc, rc ? lsm_error_text() : "another value");
            return false;
        }
        lsm_value_release(&v);
    }
    if (!CHECK_OK(lsm_cursor_open(s->tree, read, &c)))
        return false;
    for (int back = 0; back < 2; back++) {
        at = back ? KEYS : -1;
        for (rc = back ? lsm_cursor_last(c) : lsm_cursor_first(c);; rc = back ? lsm_cursor_prev(c) : lsm_cursor_next(c)) {
            do
                at += back ? -1 : 1;
            while (at >= 0 && at < KEYS && !o->stamp[at]);
            if (rc != LSM_OK || at < 0 || at == KEYS)
                break;
            if (rnd(4) == 0)
                continue;
            if (lsm_cursor_read(c, &value) || !lsm_slice_equal(lsm_cursor_key(c), key_of(at, kb)) ||
                !lsm_slice_equal(value, value_of(o->stamp[at], o->size[at]))) {
                printf("cursor at %d: %s\n", at, lsm_error_text());
                lsm_cursor_close(c);
                return false;
            }
        }
        if (rc != LSM_DONE || (at >= 0 && at < KEYS)) {
            printf("cursor ends at %d with %d %s\n", at, rc, lsm_error_text());
            lsm_cursor_close(c);
            return false;
        }
    }
    lsm_cursor_close(c);
    return true;
}

/* The version's sums against its tables; the directory against the version when nobody reads. */
static bool is_exact(struct store *s, const char *path, bool alone)
{
    const struct lsm_version *v = s->db->view->version;
    bool good = true;

    for (uint32_t i = 0; i < v->vlog_count; i++) {
        uint64_t count = 0, bytes = 0;
        for (uint32_t t = 0; t < v->tree_count; t++)
            for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
                for (uint32_t k = 0; k < v->trees[t]->level[l].count; k++) {
                    struct lsm_reader r = lsm_reader(v->trees[t]->level[l].runs[k]->meta.refs);
                    struct lsm_vlog_ref ref;
                    uint64_t last = 0;
                    while (lsm_vlog_ref_next(&r, &ref, &last))
                        if (ref.id == v->vlogs[i].file->meta.id) {
                            count += ref.count;
                            bytes += ref.bytes;
                        }
                }
        good &= CHECK(count == v->vlogs[i].live_count && bytes == v->vlogs[i].live_bytes && count > 0);
        good &= CHECK(bytes <= v->vlogs[i].file->meta.value_bytes);
    }
    if (alone)
        good &= CHECK_INT(disk_count(path, ".vlog"), v->vlog_count);
    return good && CHECK_OK(lsm_db_check(s->db));       /* refs in metas against rows, and every value */
}

static void write_some(struct store *s, int count, int span)
{
    int from = rnd(KEYS - (unsigned)span + 1);
    char kb[16];

    for (int i = 0; i < count; i++) {
        int k = from + (int)rnd((unsigned)span);
        if (rnd(5) == 0) {
            CHECK_OK(lsm_db_delete(s->db, s->tree, key_of(k, kb), true));
            oracle.stamp[k] = 0;
        } else {
            oracle.stamp[k] = rnd(1u << 30) + 1;
            oracle.size[k] = any_size();
            CHECK_OK(lsm_db_put(s->db, s->tree, key_of(k, kb), value_of(oracle.stamp[k], oracle.size[k]), true));
        }
    }
}

static bool open_alone(struct store *s, const char *path)
{
    return store_open_as(s, path, true);
}

/* Several logs, all of them with garbage. */
static void fill(struct store *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        write_some(s, 60, KEYS);
        CHECK_OK(lsm_db_flush(s->db));
    }
}

static void begin_test(struct store *s, uint64_t seed)
{
    disk_and_host_begin();
    memset(&oracle, 0, sizeof oracle);
    rng = seed;
    open_alone(s, "s");
}

TEST(value_random_histories_agree_and_live_bytes_are_exact)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct { struct lsm_snapshot *snapshot; struct oracle o; } held[3] = { 0 };
        struct store s;

        begin_test(&s, seed);
        for (int step = 0; step < 60; step++) {
            unsigned slot = rnd(3);
            bool alone = true;

            switch (rnd(8)) {
            case 0: CHECK_OK(lsm_db_flush(s.db)); break;
            case 1: CHECK_OK(lsm_db_compact(s.db, NULL)); break;
            case 2:
                while (lsm_db_step(s.db) == LSM_OK)
                    ;
                break;
            case 3:
                lsm_snapshot_close(held[slot].snapshot);
                CHECK_OK(lsm_snapshot_open(s.db, &held[slot].snapshot));
                held[slot].o = oracle;
                break;
            case 4:
                lsm_snapshot_close(held[slot].snapshot);
                held[slot].snapshot = NULL;
                break;
            case 5:
                if (rnd(3))
                    break;
                for (int i = 0; i < 3; i++) {
                    lsm_snapshot_close(held[i].snapshot);
                    held[i].snapshot = NULL;
                }
                store_close(&s);
                open_alone(&s, "s");
                break;
            default: write_some(&s, 40, (int)rnd(KEYS) + 1);
            }
            if (step % 4 == 0) {
                bool good = agrees(&s, NULL, &oracle) && is_exact(&s, "s", alone);
                for (int i = 0; i < 3; i++)
                    if (held[i].snapshot)
                        good &= agrees(&s, &(struct lsm_read){ .snapshot = held[i].snapshot }, &held[i].o);
                if (!CHECK(good)) {
                    printf("seed %d step %d\n", (int)seed, step);
                    step = 60;
                }
            }
        }
        for (int i = 0; i < 3; i++)
            lsm_snapshot_close(held[i].snapshot);
        store_end(&s);
    }
}

static uint64_t table_numbers(const struct lsm_version *v)
{
    uint64_t sum = 0;

    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        for (uint32_t k = 0; k < v->trees[0]->level[l].count; k++)
            sum = sum * 31 + v->trees[0]->level[l].runs[k]->meta.number;
    return sum;
}

static void put_range(struct store *s, int from, int to, unsigned size)
{
    char kb[16];

    for (int i = from; i < to; i++) {
        oracle.stamp[i] = rnd(1u << 30) + 1;
        oracle.size[i] = size;
        CHECK_OK(lsm_db_put(s->db, s->tree, key_of(i, kb), value_of(oracle.stamp[i], size), false));
    }
}

static void delete_range(struct store *s, int from, int to)
{
    char kb[16];

    for (int i = from; i < to; i++) {
        oracle.stamp[i] = 0;
        CHECK_OK(lsm_db_delete(s->db, s->tree, key_of(i, kb), false));
    }
}

TEST(value_log_below_half_is_rewritten_without_touching_the_tables)
{
    struct store s;
    const struct lsm_version *v;
    struct lsm_vlog_meta before;
    uint64_t tables;
    int rc;

    begin_test(&s, 7);
    put_range(&s, 0, 100, 2000);
    CHECK_OK(lsm_db_flush(s.db));
    v = s.db->view->version;
    CHECK_INT(v->vlog_count, 1);
    before = v->vlogs[0].file->meta;
    CHECK_INT(before.value_count, 100);
    CHECK_INT(v->vlogs[0].live_bytes, before.value_bytes);
    delete_range(&s, 10, 59);           /* a little less than half */
    CHECK_OK(lsm_db_compact(s.db, NULL));
    v = s.db->view->version;
    CHECK_INT(v->vlogs[0].live_count, 51);
    CHECK_INT(v->vlogs[0].file->meta.number, before.number);
    delete_range(&s, 59, 65);
    CHECK_OK(lsm_db_flush(s.db));
    do                                  /* compactions and no more: one step each */
        rc = lsm_db_step(s.db);
    while (rc == LSM_OK && s.db->view->version->vlogs[0].live_count != 45);
    if (s.db->view->version->vlogs[0].live_count != 45)         /* one run in level 0 is not due */
        CHECK_OK(lsm_db_compact(s.db, NULL));
    v = s.db->view->version;
    CHECK_INT(v->vlog_count, 1);
    CHECK(v->vlogs[0].file->meta.number > before.number);
    CHECK_INT(v->vlogs[0].file->meta.id, before.id);
    CHECK_INT(v->vlogs[0].file->meta.value_count, 45);
    CHECK_INT(v->vlogs[0].live_bytes, v->vlogs[0].file->meta.value_bytes);
    tables = table_numbers(v);
    CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));

    /* Again, from the rewritten file; by a step this time. */
    delete_range(&s, 0, 10);
    delete_range(&s, 70, 90);
    CHECK_OK(lsm_db_flush(s.db));
    /* Hold it back, to see that the tables stay. */
    atomic_store(&s.db->view->version->vlogs[0].file->is_damaged, true);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    atomic_store(&s.db->view->version->vlogs[0].file->is_damaged, false);
    tables = table_numbers(s.db->view->version);
    CHECK_INT(s.db->view->version->vlogs[0].file->meta.value_count, 45);
    CHECK_OK(lsm_db_step(s.db));
    CHECK_INT(s.db->view->version->vlogs[0].file->meta.value_count, 15);
    CHECK_INT(table_numbers(s.db->view->version), tables);
    CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));
    CHECK_INT(lsm_db_step(s.db), LSM_DONE);
    store_close(&s);
    open_alone(&s, "s");
    CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));

    /* The last ones: the log is gone. */
    delete_range(&s, 0, KEYS);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(s.db->view->version->vlog_count, 0);
    CHECK_INT(disk_count("s", ".vlog"), 0);
    CHECK(agrees(&s, NULL, &oracle));
    store_end(&s);
}

TEST(value_log_of_garbage_is_rewritten_though_compactions_are_due_all_the_time)
{
    struct store s;
    struct lsm_vlog_meta before;

    begin_test(&s, 8);
    put_range(&s, 0, 60, 5000);
    CHECK_OK(lsm_db_flush(s.db));
    before = s.db->view->version->vlogs[0].file->meta;
    delete_range(&s, 0, 40);
    atomic_store(&s.db->view->version->vlogs[0].file->is_damaged, true);        /* not yet */
    CHECK_OK(lsm_db_compact(s.db, NULL));
    atomic_store(&s.db->view->version->vlogs[0].file->is_damaged, false);
    CHECK_INT(s.db->view->version->vlogs[0].file->meta.number, before.number);
    for (int round = 0; round < 8; round++) {
        while (lsm_version_tree(s.db->view->version, s.tree->id)->level[0].count < 8) {
            put_range(&s, 60, 100, 20);
            CHECK_OK(lsm_db_flush(s.db));
        }
        CHECK_OK(lsm_db_step(s.db));
    }
    CHECK(s.db->view->version->vlogs[0].file->meta.number > before.number);
    CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));
    store_end(&s);
}

/* C-26, G-02 */
TEST(value_readers_keep_the_old_file_until_they_are_gone)
{
    struct store s;
    struct lsm_cursor *c;
    struct lsm_snapshot *snapshot;
    struct oracle then;
    struct lsm_slice value;
    int i = 0;

    begin_test(&s, 9);
    put_range(&s, 0, 100, 1500);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_OK(lsm_snapshot_open(s.db, &snapshot));
    then = oracle;
    CHECK_OK(lsm_cursor_open(s.tree, NULL, &c));
    CHECK_OK(lsm_cursor_first(c));
    delete_range(&s, 0, 80);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK(agrees(&s, &(struct lsm_read){ .snapshot = snapshot }, &then));      /* its rows are kept */
    lsm_snapshot_close(snapshot);
    delete_range(&s, 80, 81);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(s.db->view->version->vlogs[0].file->meta.value_count, 19);
    CHECK_INT(disk_count("s", ".vlog"), 2);
    do {
        CHECK_OK(lsm_cursor_read(c, &value));
        CHECK(lsm_slice_equal(value, value_of(then.stamp[i], then.size[i])));
        i++;
    } while (lsm_cursor_next(c) == LSM_OK);
    CHECK_INT(i, 100);
    lsm_cursor_close(c);
    CHECK_OK(lsm_db_flush(s.db));
    put_range(&s, 0, 1, 10);
    CHECK_OK(lsm_db_flush(s.db));       /* sweeps */
    CHECK_INT(disk_count("s", ".vlog"), 1);
    CHECK(agrees(&s, NULL, &oracle));
    store_end(&s);
}

TEST(value_logs_go_with_their_tree)
{
    struct store s;
    struct lsm_tree *other;
    char kb[16];

    begin_test(&s, 11);
    fill(&s, 3);
    CHECK_OK(lsm_tree_create(s.db, text("other"), NULL, &other));
    for (int i = 0; i < 60; i++)
        CHECK_OK(lsm_db_put(s.db, other, key_of(i, kb), value_of(5, 2000), false));
    CHECK_OK(lsm_db_flush(s.db));
    int all = disk_count("s", ".vlog");
    CHECK_OK(lsm_tree_drop(s.db, other));
    put_range(&s, 0, 1, 10);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(disk_count("s", ".vlog"), all - 1);
    CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));
    store_end(&s);
}

TEST(value_tree_option_says_from_which_size_on)
{
    struct store s;
    struct lsm_tree_options o;
    struct lsm_tree *t[3];
    static const uint32_t sizes[3] = { 64, 5000, LSM_VALUE_LOG_NONE };
    static const uint64_t counts[3] = { 80, 40, 0 };
    char kb[16];

    begin_test(&s, 13);
    lsm_tree_options_init(&o);
    for (int i = 0; i < 3; i++) {
        o.value_log_bytes = sizes[i];
        CHECK_OK(lsm_tree_create(s.db, lsm_slice(&"xyz"[i], 1), &o, &t[i]));
    }
    o.value_log_bytes = 63;
    struct lsm_tree *refused;
    CHECK_INT(lsm_tree_create(s.db, text("no"), &o, &refused), LSM_MISUSE);
    for (int reopened = 0; reopened < 2; reopened++) {
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 80; k++)
                CHECK_OK(lsm_db_put(s.db, t[i], key_of(k, kb), value_of(1, k % 2 ? 5000 : 64), false));
        CHECK_OK(lsm_db_flush(s.db));
        CHECK_OK(lsm_db_compact(s.db, NULL));
        for (int i = 0; i < 3; i++) {
            const struct lsm_version *v = s.db->view->version;
            uint64_t live = 0;
            for (uint32_t k = 0; k < v->vlog_count; k++)
                if (v->vlogs[k].file->meta.tree == t[i]->id)
                    live += v->vlogs[k].live_count;
            CHECK_INT(live, counts[i]);
        }
        store_close(&s);
        open_alone(&s, "s");
        for (int i = 0; i < 3; i++)
            CHECK_OK(lsm_tree_find(s.db, lsm_slice(&"xyz"[i], 1), &t[i]));
    }
    store_end(&s);
}

/* Of all logs. */
static void damage(const char *path, bool cut)
{
    struct lsm_dir *dir;
    struct lsm_file *file;
    bool created;
    int id = disk_path_id(path);

    CHECK_INT(disk.os->dir_open(disk.os, path, false, 0, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && disk.live[i].dir == id && strstr(disk.live[i].name, ".vlog")) {
            CHECK_INT(disk.os->file_open(dir, disk.live[i].name, LSM_OPEN_WRITE, 0, &file), 0);
            if (cut)
                CHECK_INT(disk.os->file_truncate(file, 1000), 0);
            else                        /* in the first value */
                CHECK_INT(disk.os->file_write(file, "x", 1, 70), 0);
            disk.os->file_close(file);
        }
    disk.os->dir_close(dir);
}

/* B-04 */
TEST(value_damaged_is_corrupt_for_its_row_and_the_others_are_read)
{
    for (int cut = 0; cut < 2; cut++) {
        struct store s;
        struct lsm_cursor *c;
        struct lsm_slice value;
        struct lsm_value v;
        char kb[16];
        int bad = 0, rc;

        begin_test(&s, 17);
        put_range(&s, 0, 100, 1500);
        put_range(&s, 100, 110, 50);
        CHECK_OK(lsm_db_flush(s.db));
        store_close(&s);
        damage("s", cut);
        open_alone(&s, "s");
        for (int i = 0; i < 110; i++) {
            rc = lsm_tree_get(s.tree, NULL, key_of(i, kb), &v);
            CHECK(rc == LSM_CORRUPT ? strstr(lsm_error_text(), ".vlog") != NULL && v.bytes.data == NULL :
                  rc == LSM_OK && lsm_slice_equal(v.bytes, value_of(oracle.stamp[i], oracle.size[i])));
            bad += rc != LSM_OK;
            lsm_value_release(&v);
        }
        CHECK_INT(bad, cut ? 100 : 1);
        CHECK_INT(lsm_db_check(s.db), LSM_CORRUPT);
        /* A cursor passes over it, but does not give a wrong value, and stops once it was asked. */
        CHECK_INT(count_at(&s, NULL), 110);
        CHECK_OK(lsm_cursor_open(s.tree, NULL, &c));
        CHECK_OK(lsm_cursor_first(c));
        CHECK(lsm_cursor_value(c).data == NULL);
        CHECK_INT(lsm_cursor_read(c, &value), LSM_CORRUPT);
        CHECK_INT(lsm_cursor_next(c), LSM_CORRUPT);
        lsm_cursor_close(c);
        /* Reclaiming leaves it alone and the store works. */
        delete_range(&s, 40, 100);
        CHECK_OK(lsm_db_compact(s.db, NULL));
        put_range(&s, 105, 106, 20);
        CHECK_OK(lsm_tree_get(s.tree, NULL, key_of(105, kb), &v));
        lsm_value_release(&v);
        CHECK_INT(lsm_tree_get(s.tree, NULL, key_of(0, kb), &v), LSM_CORRUPT);
        CHECK_OK(lsm_tree_get(s.tree, NULL, key_of(105, kb), &v));
        lsm_value_release(&v);
        store_end(&s);
    }
}

TEST(value_logs_that_are_damaged_are_each_tried_once)
{
    struct store s;

    begin_test(&s, 19);
    for (int i = 0; i < 3; i++) {
        put_range(&s, 30 * i, 30 * i + 30, 1500);
        CHECK_OK(lsm_db_flush(s.db));
    }
    CHECK_INT(s.db->view->version->vlog_count, 3);
    store_close(&s);
    damage("s", false);
    open_alone(&s, "s");
    for (int i = 0; i < 3; i++)
        delete_range(&s, 30 * i + 5, 30 * i + 30);
    CHECK_OK(lsm_db_compact(s.db, NULL));       /* and comes to an end */
    CHECK_INT(s.db->view->version->vlog_count, 3);
    CHECK_INT(lsm_db_step(s.db), LSM_DONE);
    store_end(&s);
}

/* ---- crashes: at every sync of a file, in what a kill and what a power cut leaves ---- */

static int crash_at, crash_seen;
static bool crash_power;

static void crash_hook(const char *name)
{
    void (*hook)(const char *) = disk.hook;

    (void)name;
    if (++crash_seen != crash_at)
        return;
    disk.hook = NULL;
    if (crash_power)
        disk_power_cut("s", "crashed");
    else
        disk_kill("s", "crashed");
    disk.hook = hook;
}

/* C-24 */
TEST(value_nothing_committed_is_lost_in_a_crash_at_any_sync)
{
    int states = 0;

    for (int power = 0; power < 2; power++)
        for (crash_at = 1;; crash_at++) {
            struct store s, after;
            char kb[16];

            begin_test(&s, 23);
            fill(&s, 3);
            CHECK_OK(lsm_db_compact(s.db, NULL));
            delete_range(&s, 0, KEYS / 3 * 2);
            oracle.stamp[0] = 1;
            oracle.size[0] = 10;                /* syncs all of it */
            CHECK_OK(lsm_db_put(s.db, s.tree, key_of(0, kb), value_of(1, 10), true));
            crash_seen = 0;
            crash_power = power;
            disk.hook = crash_hook;
            CHECK_OK(lsm_db_compact(s.db, NULL));
            disk.hook = NULL;
            CHECK(s.db->counters.vlog_rewrites > 0);
            bool crashed = crash_seen >= crash_at;
            if (crashed) {
                states++;
                open_alone(&after, "crashed");
                CHECK(agrees(&after, NULL, &oracle));
                CHECK_OK(lsm_db_check(after.db));
                CHECK_OK(lsm_db_compact(after.db, NULL));
                CHECK(agrees(&after, NULL, &oracle) && is_exact(&after, "crashed", true));
                store_close(&after);
            }
            store_end(&s);
            if (!crashed)
                break;
        }
    CHECK(states >= 10);
}

/* C-25 */
TEST(value_a_call_that_fails_loses_nothing_and_leaves_no_stray_log)
{
    for (int at = 1, failed = true; failed; at++) {
        struct store s;
        char kb[16];

        begin_test(&s, 29);
        fill(&s, 2);
        CHECK_OK(lsm_db_compact(s.db, NULL));
        delete_range(&s, 0, KEYS / 2);
        put_range(&s, KEYS / 2, KEYS / 2 + 30, 1800);
        CHECK_OK(lsm_db_put(s.db, s.tree, key_of(0, kb), value_of(3, 2500), true));
        oracle.stamp[0] = 3;
        oracle.size[0] = 2500;
        disk_fail(DISK_WRITE | DISK_SYNC | DISK_CREATE | DISK_DIR_SYNC, at, false, NULL);
        lsm_db_compact(s.db, NULL);
        failed = disk.fail_seen >= at;
        disk_heal();
        CHECK(agrees(&s, NULL, &oracle));
        lsm_db_close(s.db);
        open_alone(&s, "s");
        CHECK(agrees(&s, NULL, &oracle));
        CHECK_OK(lsm_db_compact(s.db, NULL));
        CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));
        store_end(&s);
    }
}

static size_t deepest(const struct lsm_version *v)
{
    size_t deepest = 0;

    for (uint32_t l = 1; l < LSM_LEVEL_COUNT_MAX; l++)
        for (uint32_t k = 0; k < v->trees[0]->level[l].count; k++) {
            struct lsm_reader r = lsm_reader(v->trees[0]->level[l].runs[k]->meta.refs);
            struct lsm_vlog_ref ref;
            uint64_t last = 0;
            size_t n = 0;
            while (lsm_vlog_ref_next(&r, &ref, &last))
                n++;
            deepest = n > deepest ? n : deepest;
        }
    return deepest;
}

TEST(value_logs_of_many_flushes_are_merged_and_a_damaged_value_does_not_stop_it)
{
    for (int hurt = 0; hurt < 2; hurt++) {
        struct store s;
        struct lsm_value v;
        char kb[16];

        begin_test(&s, 31);
        for (int round = 0; round < 40; round++) {
            for (int k = round % 3; k < KEYS; k += 3)   /* all over the keys */
                put_range(&s, k, k + 1, 1100);
            CHECK_OK(lsm_db_flush(s.db));
            if (hurt && round == 1) {
                store_close(&s);
                damage("s", false);
                open_alone(&s, "s");
            }
            if (!hurt)
                while (lsm_db_step(s.db) == LSM_OK)
                    ;
            else if (round == 2)
                for (int i = 0; i < 14; i++) {          /* values nobody overwrites, in many logs */
                    CHECK_OK(lsm_db_put(s.db, s.tree, lsm_slice(kb, (size_t)snprintf(kb, 16, "other%d", i)),
                                        value_of(1, 9000), false));
                    CHECK_OK(lsm_db_flush(s.db));
                }
            if (hurt && round == 2)
                break;
        }
        if (hurt) {
            int bad = 0;
            CHECK_OK(lsm_db_compact(s.db, NULL));
            CHECK(s.db->health < LSM_HEALTH_READ_ONLY);
            for (int i = 0; i < KEYS; i++) {
                int rc = lsm_tree_get(s.tree, NULL, key_of(i, kb), &v);
                CHECK(rc == LSM_CORRUPT || rc == LSM_OK);
                if (rc == LSM_OK)
                    CHECK(lsm_slice_equal(v.bytes, value_of(oracle.stamp[i], oracle.size[i])));
                bad += rc != LSM_OK;
                lsm_value_release(&v);
            }
            CHECK(bad >= 1 && bad <= 2);
        } else {
            CHECK(deepest(s.db->view->version) <= 12);
            CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));
        }
        store_end(&s);
    }
}

TEST(value_logs_are_in_a_backup_and_the_original_may_go_on)
{
    struct store s, copy;
    struct oracle then;
    struct lsm_backup_info info;

    begin_test(&s, 37);
    fill(&s, 4);
    then = oracle;
    CHECK_OK(lsm_db_backup(s.db, "copy", &info));
    delete_range(&s, 0, KEYS);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(disk_count("s", ".vlog"), 0);
    oracle = then;
    open_alone(&copy, "copy");
    CHECK(copy.db->view->version->vlog_count > 0);
    CHECK(agrees(&copy, NULL, &oracle) && is_exact(&copy, "copy", false));
    CHECK_OK(lsm_db_compact(copy.db, NULL));
    CHECK(agrees(&copy, NULL, &oracle) && is_exact(&copy, "copy", false));
    store_close(&copy);
    store_end(&s);
}

/* ---- repair ---- */

static struct lsm_repair_info repaired;
static int lines;

static void count_line(void *ctx, const char *line)
{
    (void)ctx;
    (void)line;
    lines++;
}

/* "s" is closed; the new store is "b", and open. */
static bool repair(struct store *s)
{
    struct lsm_repair how = { .report = count_line };
    struct lsm_options o;

    lsm_options_init(&o);
    o.os = disk.os;
    lines = 0;
    return CHECK_OK(lsm_db_repair("s", "b", &o, &how, &repaired)) && open_alone(s, "b") &&
           CHECK_OK(lsm_db_check(s->db));
}

static void remove_manifests(const char *path)
{
    struct lsm_dir *dir;
    bool created;
    int id = disk_path_id(path);

    CHECK_INT(disk.os->dir_open(disk.os, path, false, 0, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && disk.live[i].dir == id && (strstr(disk.live[i].name, "MANIFEST") ||
                                                                 strstr(disk.live[i].name, "CURRENT")))
            CHECK_INT(disk.os->file_remove(dir, disk.live[i].name), 0);
    disk.os->dir_close(dir);
}

/* Values in several logs, one of them rewritten, some rows still in memory. */
static void make_damaged(struct store *s, uint64_t seed)
{
    begin_test(s, seed);
    put_range(s, 0, 100, 9000);
    CHECK_OK(lsm_db_compact(s->db, NULL));
    put_range(s, 0, 60, 3000);
    delete_range(s, 60, 70);
    CHECK_OK(lsm_db_compact(s->db, NULL));
    put_range(s, 100, 110, 5000);
    store_close(s);
}

TEST(value_logs_are_repaired_with_their_store)
{
    for (int without = 0; without < 2; without++) {
        struct store s;

        make_damaged(&s, 77);
        if (without)
            remove_manifests("s");
        if (repair(&s)) {
            CHECK(agrees(&s, NULL, &oracle));
            CHECK_INT(repaired.values_lost, 0);
            CHECK(is_exact(&s, "b", true));
            CHECK_INT(lines > 0, without);
        }
        store_end(&s);
    }
}

TEST(value_log_without_header_and_footer_is_read_where_rows_say)
{
    struct store s;
    struct lsm_dir *dir;
    struct lsm_file *file;
    bool created;

    begin_test(&s, 78);
    put_range(&s, 0, 100, 9000);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    store_close(&s);
    CHECK_INT(disk.os->dir_open(disk.os, "s", false, 0, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && strstr(disk.live[i].name, ".vlog")) {
            struct lsm_file_info info;
            CHECK_INT(disk.os->file_open(dir, disk.live[i].name, LSM_OPEN_WRITE, 0, &file), 0);
            CHECK_INT(disk.os->file_info(file, &info), 0);
            CHECK_INT(disk.os->file_truncate(file, info.size - 50), 0);
            CHECK_INT(disk.os->file_write(file, "damaged", 7, 0), 0);
            disk.os->file_close(file);
        }
    disk.os->dir_close(dir);
    if (repair(&s)) {
        CHECK(agrees(&s, NULL, &oracle));
        CHECK_INT(repaired.values_lost, 0);
        CHECK(lines > 0);
    }
    store_end(&s);
}

TEST(value_that_is_lost_takes_its_row_along_and_no_older_one_comes_back)
{
    struct store s;
    struct lsm_value v;
    char kb[16];

    begin_test(&s, 79);
    put_range(&s, 0, 100, 500);         /* in the tables themselves */
    CHECK_OK(lsm_db_compact(s.db, NULL));
    put_range(&s, 0, 100, 9000);
    CHECK_OK(lsm_db_flush(s.db));
    store_close(&s);
    damage("s", false);
    if (repair(&s)) {
        CHECK_INT(repaired.values_lost, 1);
        CHECK_INT(lsm_tree_get(s.tree, NULL, key_of(0, kb), &v), LSM_NOTFOUND);
        oracle.stamp[0] = 0;
        CHECK(agrees(&s, NULL, &oracle));
    }
    store_end(&s);
}

/* ---- dictionaries ---- */

static struct lsm_slice document_of(int i)
{
    static char text[1600];
    size_t n = (size_t)snprintf(text, sizeof text, "{\"number\":%d,\"rows\":[", i);

    while (n < 1200)
        n += (size_t)snprintf(text + n, sizeof text - n, "{\"description\":\"a row of %d\",\"price\":%d.%02d},",
                              i * 31 % 1000, i % 100, (int)(n * 7 % 100));
    return lsm_slice(text, n);
}

static int count_documents(struct store *s, int count)
{
    int found = 0;

    for (int i = 0; i < count; i++) {
        struct lsm_value v;
        char key[16];

        snprintf(key, sizeof key, "%06d", i);
        if (lsm_tree_get(s->tree, NULL, text(key), &v) == LSM_OK) {
            found += lsm_slice_equal(v.bytes, document_of(i)) ? 1 : -10000;
            lsm_value_release(&v);
        }
    }
    return found;
}

TEST(values_compressed_with_a_dictionary_survive_reclaiming_and_repair)
{
    enum { COUNT = 600 };
    struct lsm_repair how = { .report = count_line };
    struct lsm_options o;
    struct store s;
    uint64_t bytes = 0;
    char key[16];

    begin_test(&s, 80);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "%06d", i);
        CHECK_OK(lsm_db_put(s.db, s.tree, text(key), document_of(i), false));
    }
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(count_documents(&s, COUNT), COUNT);
    for (uint32_t i = 0; i < s.db->view->version->vlog_count; i++)
        bytes += s.db->view->version->vlogs[i].file->meta.size_bytes;
    CHECK(bytes > 0 && bytes < COUNT * 1200 / 4);
    for (int i = 0; i < COUNT; i++)
        if (i % 4) {
            snprintf(key, sizeof key, "%06d", i);
            CHECK_OK(lsm_db_delete(s.db, s.tree, text(key), false));
        }
    CHECK_OK(lsm_db_compact(s.db, NULL));       /* most is garbage now: rewritten */
    CHECK(atomic_load(&s.db->counters.vlog_rewrites) > 0);
    CHECK_INT(count_documents(&s, COUNT), COUNT / 4);
    CHECK_OK(lsm_db_check(s.db));
    store_close(&s);
    lsm_options_init(&o);
    o.os = disk.os;
    CHECK_OK(lsm_db_repair("s", "b", &o, &how, &repaired));
    CHECK_INT(repaired.values_lost, 0);
    if (open_alone(&s, "b")) {
        CHECK_INT(count_documents(&s, COUNT), COUNT / 4);
        CHECK_OK(lsm_db_check(s.db));
        store_close(&s);
    }
    disk_end();
}
