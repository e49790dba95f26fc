/*
 * test_options.c -- what a store may be opened with; paranoid_checks.
 */
#include "lsm/db/db.h"
#include "lsm/format/filename.h"
#include "tests/unit/disk.h"

static int compare_bytes(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int c = n ? memcmp(a.data, b.data, n) : 0;

    (void)ctx;
    return c ? c : a.size < b.size ? -1 : a.size > b.size;
}

static const struct lsm_comparator one = { .name = "one", .compare = compare_bytes };
static const struct lsm_comparator also_one = { .name = "one", .compare = compare_bytes };
static const struct lsm_comparator nameless = { .name = "", .compare = compare_bytes };
static const struct lsm_comparator idle = { .name = "idle" };

static struct lsm_options fresh(void)
{
    struct lsm_options o;

    lsm_options_init(&o);
    o.os = disk.os;
    o.no_worker = true;
    o.create_if_missing = true;
    return o;
}

static void refused(const struct lsm_options *o, const char *path, const char *why)
{
    struct lsm_db *db = (void *)1;

    CHECK_RC(lsm_db_open(path, o, &db), LSM_MISUSE);
    CHECK(!db);
    if (!CHECK(strstr(lsm_error_text(), why)))
        printf("  %s\n", lsm_error_text());
}

TEST(options_that_contradict_each_other_are_refused_with_a_reason)
{
    const struct lsm_comparator *twice[2] = { &one, &also_one }, *same[2] = { &one, &one };
    const struct lsm_comparator *bad[3] = { &nameless, &idle, NULL };
    const struct lsm_host no_settle = { .ctx = NULL };
    struct lsm_options o;
    struct lsm_db *db;
    bool created;
    struct lsm_dir *dir;

    disk_begin();
    o = fresh(), o.read_only = true;
    refused(&o, "a", "read_only and create_if_missing");
    o.create_if_missing = false;
    refused(&o, NULL, "stay empty");
    o = fresh(), o.create_if_missing = false, o.error_if_exists = true;
    refused(&o, "a", "error_if_exists without create_if_missing");
    o = fresh(), o.memory_bytes = 1000;
    refused(&o, "a", "memory_bytes 1000");
    o = fresh(), o.max_subcompactions = 17;
    refused(&o, "a", "max_subcompactions 17 is above the most, 16");
    o = fresh(), o.file_mode = 04755;
    refused(&o, "a", "file_mode 4755");
    o = fresh(), o.host = &no_settle;
    refused(&o, "a", "settle function");
    o = fresh(), o.comparators = twice, o.comparator_count = 2;
    refused(&o, "a", "two comparators are named \"one\"");
    o.comparators = NULL;
    refused(&o, "a", "comparator_count");
    for (int i = 0; i < 3; i++) {
        o.comparators = &bad[i];
        o.comparator_count = 1;
        refused(&o, "a", "compare function and a name");
    }
    o = fresh();
    refused(&o, "", "path is empty");
    CHECK(disk.real.dir_open(disk.os, "a", false, 0, &created, &dir) != 0);    /* nothing was made */

    o = fresh(), o.comparators = same, o.comparator_count = 2;
    CHECK_OK(lsm_db_open("a", &o, &db));
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

TEST(options_create_if_missing_error_if_exists_and_read_only_do_what_they_say)
{
    struct lsm_options o;
    struct lsm_db *db;
    struct lsm_tree *tree;

    disk_begin();
    o = fresh(), o.create_if_missing = false;
    CHECK_RC(lsm_db_open("a", &o, &db), LSM_NOTFOUND);
    o = fresh(), o.error_if_exists = true;
    CHECK_OK(lsm_db_open("a", &o, &db));
    CHECK_OK(lsm_tree_create(db, text("t"), NULL, &tree));
    CHECK_OK(lsm_db_put(db, tree, text("k"), text("v"), true));
    CHECK_OK(lsm_db_close(db));
    CHECK_RC(lsm_db_open("a", &o, &db), LSM_EXISTS);
    uint64_t sum = disk_sum("a");
    o = fresh(), o.create_if_missing = false, o.read_only = true;
    CHECK_OK(lsm_db_open("a", &o, &db));
    CHECK_OK(lsm_tree_find(db, text("t"), &tree));
    CHECK_RC(lsm_db_put(db, tree, text("l"), text("v"), true), LSM_READONLY);
    CHECK_RC(lsm_tree_create(db, text("u"), NULL, &tree), LSM_READONLY);
    CHECK_RC(lsm_db_flush(db), LSM_READONLY);
    CHECK_RC(lsm_db_sync(db), LSM_READONLY);
    CHECK_OK(lsm_db_close(db));
    CHECK_INT(disk_sum("a"), sum);
    disk_end();
}

/* Somebody else's directory: nothing is left in it. */
TEST(options_create_if_missing_where_other_files_are_leaves_nothing_there)
{
    struct lsm_file *file;
    struct lsm_options o;
    struct lsm_dir *dir;
    struct lsm_db *db;
    bool created;

    disk_begin();
    CHECK_INT(disk.os->dir_open(disk.os, "a", true, 0755, &created, &dir), 0);
    CHECK_INT(disk.os->file_open(dir, "letter.txt", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file), 0);
    disk.os->file_close(file);
    o = fresh();
    CHECK_RC(lsm_db_open("a", &o, &db), LSM_EXISTS);
    CHECK_INT(disk.os->file_open(dir, "LOCK", LSM_OPEN_READ, 0, &file), ENOENT);
    disk.os->dir_close(dir);
    disk_end();
}

static int open_in_no_directory(struct lsm_dir *dir, const char *name, int flags, uint32_t mode, struct lsm_file **file)
{
    if ((flags & LSM_OPEN_CREATE) && strncmp(name, "MANIFEST", 8) == 0)
        return ENOENT;
    return disk_open(dir, name, flags, mode, file);
}

TEST(options_create_if_missing_in_a_directory_that_somebody_removes_says_so)
{
    struct lsm_options o;
    struct lsm_db *db;

    disk_begin();
    disk.os->file_open = open_in_no_directory;
    o = fresh();
    CHECK_RC(lsm_db_open("a", &o, &db), LSM_CANTOPEN);
    CHECK(strstr(lsm_error_text(), "a: ") && strstr(lsm_error_text(), "removed"));
    disk_end();
}

static void said(const char *what)
{
    if (!CHECK(strstr(lsm_error_text(), what)))
        printf("  %s\n", lsm_error_text());
}

TEST(options_a_store_that_is_not_there_or_open_already_is_named_with_what_to_do)
{
    struct lsm_options o = fresh();
    struct lsm_db *db, *other;
    struct lsm_tree *tree;
    bool created;
    struct lsm_dir *dir;
    struct lsm_file *file;
    static const char dead[] = "process 4711, since 2026-01-01 00:00:00 UTC\n";

    disk_begin();
    o = fresh(), o.create_if_missing = false;
    CHECK_RC(lsm_db_open("a", &o, &db), LSM_NOTFOUND);
    said("a: there is no store here (create_if_missing would make one)");
    CHECK_INT(disk.real.dir_open(disk.os, "empty", true, 0755, &created, &dir), 0);
    disk.real.dir_close(dir);
    CHECK_RC(lsm_db_open("empty", &o, &db), LSM_NOTFOUND);
    said("empty: there is no store in this directory (create_if_missing would make one)");
    o.read_only = true;
    CHECK_RC(lsm_db_open("a", &o, &db), LSM_NOTFOUND);
    said("a: there is no store here");
    CHECK(!strstr(lsm_error_text(), "create_if_missing"));     /* which contradicts read_only */

    o = fresh();
    CHECK_OK(lsm_db_open("a", &o, &db));
    CHECK_RC(lsm_db_open("a", &o, &other), LSM_BUSY);
    said("a: this process has the store open already (process ");
    CHECK_RC(lsm_db_destroy("a", &o), LSM_BUSY);
    said("a: this process has the store open already (process ");
    CHECK_RC(lsm_tree_find(db, text("fruit"), &tree), LSM_NOTFOUND);
    said("a: there is no tree \"fruit\"");
    CHECK_OK(lsm_tree_create(db, text("fruit"), NULL, &tree));
    CHECK_RC(lsm_tree_create(db, text("fruit"), NULL, &tree), LSM_EXISTS);
    said("a: there is a tree \"fruit\" already");
    CHECK_OK(lsm_db_close(db));

    /* A reader leaves no name; that of a writer who closed would be nobody's. */
    o.read_only = true, o.create_if_missing = false;
    CHECK_OK(lsm_db_open("a", &o, &db));
    o = fresh();
    CHECK_RC(lsm_db_open("a", &o, &other), LSM_BUSY);
    said("a: a process that only reads has the store open, this one or another");
    CHECK_OK(lsm_db_close(db));

    /* Nor does one that died take its name with it. */
    CHECK_INT(disk.real.dir_open(disk.os, "a", false, 0, &created, &dir), 0);
    CHECK_INT(disk.real.file_open(dir, "LOCK", LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.real.file_write(file, dead, sizeof dead - 1, 0), 0);
    disk.real.file_close(file);
    disk.real.dir_close(dir);
    o.read_only = true, o.create_if_missing = false;
    CHECK_OK(lsm_db_open("a", &o, &db));
    o = fresh();
    CHECK_RC(lsm_db_open("a", &o, &other), LSM_BUSY);
    said("a: another process has the store open (process 4711, since 2026-01-01 00:00:00 UTC; if that one is gone, "
         "one that only reads)");
    CHECK_OK(lsm_db_close(db));

    CHECK_RC(lsm_db_destroy("nowhere", &o), LSM_NOTFOUND);
    said("nowhere: there is no such directory; nothing was removed");
    CHECK_RC(lsm_db_repair("nowhere", "new", &o, NULL, NULL), LSM_NOTFOUND);
    said("nowhere: there is no such directory; what is repaired is the directory of a store, or a copy of it");
    disk_end();
}

/* A memtable is made for its share: that of a budget beyond the machine must fit in one all the same. */
TEST(options_a_budget_without_a_bound_still_takes_writes)
{
    struct lsm_options o;
    struct lsm_value value;
    struct lsm_tree *tree;
    struct lsm_db *db;

    disk_begin();
    o = fresh(), o.memory_bytes = UINT64_MAX;
    CHECK_OK(lsm_db_open("a", &o, &db));
    CHECK(db->memtable_bytes <= UINT64_C(2) << 30 && db->batch_bytes <= UINT64_C(2) << 30);
    CHECK_OK(lsm_tree_create(db, text("t"), NULL, &tree));
    CHECK_OK(lsm_db_put(db, tree, text("k"), text("v"), true));
    CHECK_OK(lsm_db_flush(db));
    CHECK_OK(lsm_tree_get(tree, NULL, text("k"), &value));
    lsm_value_release(&value);
    CHECK_OK(lsm_db_set_memory(db, UINT64_MAX - 1));
    CHECK_OK(lsm_db_put(db, tree, text("k"), text("w"), true));
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

TEST(options_of_a_tree_that_are_out_of_range_are_refused_with_a_reason)
{
    static const struct { uint32_t block, filter; int32_t level, level_3; const char *why; } bad[] = {
        { 511, 0, 0, 0, "block size 511" }, { (1 << 20) + 1, 0, 0, 0, "block size 1048577" },
        { 0, 33, 0, 0, "33 filter bits" }, { 0, 0, 23, 0, "compression level 23" },
        { 0, 0, -8, 0, "compression level -8" }, { 0, 0, 0, 99, "compression level 99" },
    };
    struct lsm_tree_options t;
    struct lsm_tree *tree;
    struct store s;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lsm_tree_options_init(&t);
        t.block_bytes = bad[i].block;
        t.filter_bits = bad[i].filter;
        t.compression_level = bad[i].level;
        t.level_compression[3] = bad[i].level_3;
        CHECK_RC(lsm_tree_create(s.db, text("bad"), &t, &tree), LSM_MISUSE);
        CHECK(!tree && strstr(lsm_error_text(), bad[i].why));
    }
    lsm_tree_options_init(&t);
    t.comparator = &one;
    t.filter_bits = 12;
    CHECK_RC(lsm_tree_create(s.db, text("bad"), &t, &tree), LSM_MISUSE);
    CHECK(strstr(lsm_error_text(), "hash"));
    t.filter_bits = LSM_FILTER_NONE;
    CHECK_OK(lsm_tree_create(s.db, text("good"), &t, &tree));
    CHECK_RC(lsm_tree_find(s.db, text("bad"), &tree), LSM_NOTFOUND);
    store_end(&s);
}

/* ---- paranoid_checks ---- */

static struct lsm_db *open_paranoid(const char *path, int rc)
{
    struct lsm_options o = fresh();
    struct lsm_db *db;

    o.paranoid_checks = true;
    o.memory_bytes = 1 << 20;
    CHECK_RC(lsm_db_open(path, &o, &db), rc);
    return db;
}

static int (*sane_write)(struct lsm_file *file, const void *data, size_t size, uint64_t off);
static bool rotten;

/* A device that keeps something else than it was given. */
static int rotten_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    int error = sane_write(file, data, size, off);

    if (rotten && error == 0 && strstr(disk_open_name(file), ".ldb") && size > 100) {
        uint8_t byte = (uint8_t)(((const uint8_t *)data)[size / 3] ^ 4);
        sane_write(file, &byte, 1, off + size / 3);
    }
    return error;
}

static bool fill(struct lsm_db *db, struct lsm_tree *tree, int from)
{
    static uint8_t value[500];

    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "%06d", from + i);
        for (size_t b = 0; b < sizeof value; b++)
            value[b] = (uint8_t)test_random();
        if (!CHECK_OK(lsm_db_put(db, tree, text(key), (struct lsm_slice){ value, sizeof value }, false)))
            return false;
    }
    return true;
}

TEST(paranoid_a_table_that_cannot_be_read_back_is_never_referred_to)
{
    struct lsm_db *db;
    struct lsm_tree *tree;
    struct lsm_tree_stats stats;

    disk_begin();
    sane_write = disk.os->file_write;
    disk.os->file_write = rotten_write;
    db = open_paranoid("a", LSM_OK);
    if (!db || !CHECK_OK(lsm_tree_create(db, text("t"), NULL, &tree)) || !fill(db, tree, 0))
        return;
    CHECK_OK(lsm_db_flush(db));
    fill(db, tree, 100);
    rotten = true;
    CHECK_RC(lsm_db_flush(db), LSM_CORRUPT);
    CHECK_OK(lsm_tree_stats(tree, &stats));
    CHECK_INT(stats.level[0].files + stats.level[1].files + stats.level[2].files, 1);
    rotten = false;
    CHECK_OK(lsm_db_flush(db));         /* the rows are in memory and in the log: nothing was lost */
    rotten = true;
    CHECK_RC(lsm_db_compact(db, tree), LSM_CORRUPT);
    rotten = false;
    CHECK_OK(lsm_db_compact(db, tree));
    CHECK_OK(lsm_db_check(db));
    CHECK_OK(lsm_tree_stats(tree, &stats));
    CHECK_INT(stats.entries, 300);
    CHECK_INT(disk_count("a", ".ldb"), stats.level[1].files + stats.level[2].files);
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

TEST(paranoid_a_spilled_table_that_cannot_be_read_back_fails_the_write)
{
    static uint8_t value[4000];
    struct lsm_txn *txn;
    struct lsm_db *db;
    struct lsm_tree *tree;
    int rc = LSM_OK;

    disk_begin();
    sane_write = disk.os->file_write;
    disk.os->file_write = rotten_write;
    db = open_paranoid("a", LSM_OK);
    if (!db || !CHECK_OK(lsm_tree_create(db, text("t"), NULL, &tree)))
        return;
    for (int round = 0; round < 2; round++) {
        rotten = round == 0;
        CHECK_OK(lsm_txn_begin(db, NULL, &txn));
        rc = LSM_OK;
        for (int i = 0; i < 100 && rc == LSM_OK; i++) {
            char key[16];
            snprintf(key, sizeof key, "%06d", i);
            rc = lsm_txn_put(txn, tree, text(key), (struct lsm_slice){ value, sizeof value });
        }
        CHECK_INT(rc, rotten ? LSM_CORRUPT : LSM_OK);
        rotten = false;
        CHECK_OK(rc ? lsm_txn_abort(txn) : lsm_txn_commit_alone(txn, true));
    }
    CHECK_OK(lsm_db_check(db));
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

TEST(paranoid_open_reads_every_table_that_the_MANIFEST_names)
{
    struct lsm_db *db;
    struct lsm_tree *tree;
    struct lsm_dir *dir;
    struct lsm_options o = fresh();
    bool created;

    disk_begin();
    o.os = disk.os;
    db = open_paranoid("a", LSM_OK);
    if (!db || !CHECK_OK(lsm_tree_create(db, text("t"), NULL, &tree)) || !fill(db, tree, 0))
        return;
    CHECK_OK(lsm_db_flush(db));
    CHECK_OK(lsm_db_close(db));
    db = open_paranoid("a", LSM_OK);
    CHECK_OK(lsm_db_close(db));
    CHECK_INT(disk.real.dir_open(disk.os, "a", false, 0, &created, &dir), 0);
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && strstr(disk.live[i].name, ".ldb"))
            CHECK_INT(disk.real.file_remove(dir, disk.live[i].name), 0);
    disk.real.dir_close(dir);
    CHECK(!open_paranoid("a", LSM_CORRUPT));
    CHECK_OK(lsm_db_open("a", &o, &db));        /* without, tables are opened when they are needed */
    CHECK_RC(lsm_db_check(db), LSM_CORRUPT);
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

static char warning[LSM_ERROR_TEXT_SIZE];

static void keep_warning(void *ctx, const struct lsm_event *event)
{
    (void)ctx;
    if (event->kind == LSM_EVENT_WARNING)
        snprintf(warning, sizeof warning, "%s", event->text);
}

static void damage_log(const char *path, const char *name, uint64_t off)
{
    struct lsm_file *file;
    struct lsm_dir *dir;
    bool created;

    CHECK_INT(disk.os->dir_open(disk.os, path, false, 0, &created, &dir), 0);
    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.os->file_write(file, "damage", 6, off), 0);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
}

/* The newest sync stands in no record: a log that is damaged in front of it looks as a power cut leaves one. */
TEST(paranoid_open_takes_no_log_that_breaks_off_in_front_of_whole_records)
{
    char name[LSM_FILENAME_SIZE];
    uint64_t middle = 0, last = 0;
    struct lsm_options o;
    struct lsm_tree *tree;
    struct lsm_db *db;

    disk_begin();
    o = fresh();
    o.event = keep_warning;
    if (!CHECK_OK(lsm_db_open("a", &o, &db)) || !CHECK_OK(lsm_tree_create(db, text("t"), NULL, &tree)))
        return;
    for (int i = 0; i < 9; i++) {
        if (i == 4)
            middle = lsm_log_end(&db->log).size;
        last = i ? lsm_log_end(&db->log).size : 0;
        CHECK_OK(lsm_db_put(db, tree, text("key"), text("a value of some bytes"), i == 8));
    }
    lsm_filename(name, LSM_FILE_LOG, db->log.number);
    disk_kill("a", "torn");
    disk_kill("a", "hole");
    CHECK_OK(lsm_db_close(db));

    damage_log("torn", name, last + 30);
    db = open_paranoid("torn", LSM_OK);
    CHECK_OK(lsm_db_close(db));

    damage_log("hole", name, middle + 30);
    CHECK(!open_paranoid("hole", LSM_CORRUPT));
    warning[0] = 0;
    CHECK_OK(lsm_db_open("hole", &o, &db));
    CHECK(strstr(warning, name) && strstr(warning, "4 whole records behind it are left out"));
    CHECK_OK(lsm_db_close(db));
    disk_end();
}
