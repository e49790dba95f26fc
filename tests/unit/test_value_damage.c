/*
 * test_value_damage.c -- value logs through what goes wrong: damaged values, a crash at any sync, calls
 * that fail; and what a repair makes of them.
 */
#include "tests/unit/values.h"

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

/* To each log. */
static void append_to_all(const char *path)
{
    struct lsm_file_info info;
    struct lsm_dir *dir;
    struct lsm_file *file;
    bool created;
    int id = disk_path_id(path);

    CHECK_INT(disk.os->dir_open(disk.os, path, false, 0, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && disk.live[i].dir == id && strstr(disk.live[i].name, ".vlog")) {
            CHECK_INT(disk.os->file_open(dir, disk.live[i].name, LSM_OPEN_WRITE, 0, &file), 0);
            CHECK_INT(disk.os->file_info(file, &info), 0);
            CHECK_INT(disk.os->file_write(file, disk.live[i].name, 10, info.size), 0);
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
    for (int grown = 0; grown < 2; grown++) {   /* the MANIFEST knows where the foot was, which leads to the dictionary */
        if (grown)
            append_to_all("s");
        CHECK_OK(lsm_db_repair("s", grown ? "c" : "b", &o, &how, &repaired));
        CHECK_INT(repaired.values_lost, 0);
        if (open_alone(&s, grown ? "c" : "b")) {
            CHECK_INT(count_documents(&s, COUNT), COUNT / 4);
            CHECK_OK(lsm_db_check(s.db));
            store_close(&s);
        }
    }
    disk_end();
}
