/*
 * test_destroy.c -- a store is removed, and nothing else: not what is called the same, not another's store.
 */
#include "tests/unit/disk.h"

static struct lsm_options options;

static void write_to(struct lsm_dir *dir, const char *name, const void *bytes, size_t size)
{
    struct lsm_file *file;

    if (disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0644, &file) &&
        !CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file), 0))
        return;
    CHECK_INT(disk.os->file_write(file, bytes, size, 0), 0);
    disk.os->file_close(file);
}

static void put_file(const char *path, const char *name, const char *bytes)
{
    struct lsm_dir *dir;
    bool created;

    CHECK_INT(disk.os->dir_open(disk.os, path, true, 0755, &created, &dir), 0);
    write_to(dir, name, bytes, strlen(bytes));
    disk.os->dir_close(dir);
}

static void begin_test(void)
{
    disk_and_host_begin();
    lsm_options_init(&options);
    options.os = disk.os;
}

/* Tables, logs, a value log, more than one MANIFEST. */
static void make_store(const char *path)
{
    static char value[3000];
    struct store s;

    memset(value, 'v', sizeof value - 1);
    for (int life = 0; life < 2; life++) {
        if (!store_open_as(&s, path, true))
            return;
        for (int i = 0; i < 3; i++) {
            CHECK_OK(lsm_db_put(s.db, s.tree, text(i ? "a" : "b"), text(value), false));
            CHECK_OK(lsm_db_flush(s.db));
        }
        CHECK_OK(lsm_db_put(s.db, s.tree, text("c"), text("1"), true));
        store_close(&s);
    }
    CHECK(disk_count(path, ".ldb") > 0 && disk_count(path, ".vlog") > 0 && disk_count(path, ".log") > 0);
}

TEST(destroy_removes_a_store_and_its_directory)
{
    struct lsm_db *db;

    begin_test();
    make_store("s");
    CHECK_OK(lsm_db_destroy("s", &options));
    CHECK_INT(disk_count("s", ""), 0);
    CHECK_RC(lsm_db_open("s", &options, &db), LSM_NOTFOUND);
    CHECK_RC(lsm_db_destroy("s", &options), LSM_NOTFOUND);
    disk_end();
}

TEST(destroy_of_a_directory_without_a_store_removes_nothing_whatever_the_names)
{
    static const char *const theirs[] = {
        "CURRENT", "LOG", "LOG.old", "MANIFEST-000002", "000003.log", "000004.ldb", "000005.vlog", "000006.tmp"
    };
    struct lsm_dir *dir;
    bool created;
    uint64_t sum;

    begin_test();
    CHECK_INT(disk.os->dir_open(disk.os, "empty", true, 0755, &created, &dir), 0);
    disk.os->dir_close(dir);
    CHECK_RC(lsm_db_destroy("empty", &options), LSM_NOTFOUND);
    CHECK_INT(disk.os->dir_open(disk.os, "empty", false, 0, &created, &dir), 0);        /* it is there */
    disk.os->dir_close(dir);
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) {
        put_file("level", theirs[i], i % 3 ? "of another program, and it is long enough" : "");
        sum = disk_sum("level");
        CHECK_RC(lsm_db_destroy("level", &options), LSM_NOTFOUND);
        CHECK_INT(disk_count("level", ""), (int)i + 1);         /* no LOCK came, either */
        CHECK(disk_sum("level") == sum);
    }
    disk_end();
}

TEST(destroy_of_another_store_than_was_meant_removes_nothing)
{
    struct store s;
    uint8_t uuid[16];
    uint64_t sum;
    int count;

    begin_test();
    make_store("s");
    CHECK(store_open_as(&s, "s", true));
    lsm_db_uuid(s.db, uuid);
    CHECK_RC(lsm_db_destroy("s", &options), LSM_BUSY);
    store_close(&s);
    sum = disk_sum("s");
    count = disk_count("s", "");
    uuid[3] ^= 1;
    options.uuid = uuid;
    CHECK_RC(lsm_db_destroy("s", &options), LSM_MISMATCH);
    CHECK_INT(disk_count("s", ""), count);
    CHECK(disk_sum("s") == sum);
    uuid[3] ^= 1;
    CHECK_OK(lsm_db_destroy("s", &options));
    disk_end();
}

TEST(destroy_keeps_what_is_of_others_and_names_it)
{
    struct lsm_dir *dir, *other;
    struct lsm_file *file;
    uint8_t bytes[200];
    bool created;
    size_t got;
    int tables;

    begin_test();
    make_store("s");
    make_store("o");
    put_file("s", "000999.ldb", "a table of another program, which has the same names");
    put_file("s", "notes.txt", "mine");
    CHECK_INT(disk.os->dir_open(disk.os, "s", false, 0, &created, &dir), 0);
    CHECK_INT(disk.os->dir_open(disk.os, "o", false, 0, &created, &other), 0);
    write_to(dir, "000888.log", "", 0);         /* a log of which a crash left the name */
    /* A log of another store. */
    for (int i = 0; i < DISK_NAMES; i++)
        if (disk.live[i].file >= 0 && disk.live[i].dir == disk_path_id("o") && strstr(disk.live[i].name, ".log")) {
            CHECK_INT(disk.os->file_open(other, disk.live[i].name, LSM_OPEN_READ, 0, &file), 0);
            CHECK_INT(disk.os->file_read(file, bytes, sizeof bytes, 0, &got), 0);
            disk.os->file_close(file);
            write_to(dir, "000777.log", bytes, got);
            break;
        }
    disk.os->dir_close(dir);
    disk.os->dir_close(other);
    tables = disk_count("o", "");
    CHECK_RC(lsm_db_destroy("s", &options), LSM_EXISTS);
    CHECK(strstr(lsm_error_text(), "notes.txt"));
    CHECK_INT(disk_count("s", ""), 3);
    CHECK_INT(disk_count("s", "000999.ldb") + disk_count("s", "notes.txt") + disk_count("s", "000777.log"), 3);
    CHECK_INT(disk_count("o", ""), tables);
    disk_end();
}

TEST(destroy_removes_a_store_that_no_open_takes_any_more)
{
    struct lsm_dir *dir;
    bool created;

    for (int how = 0; how < 3; how++) {
        begin_test();
        make_store("s");
        CHECK_INT(disk.os->dir_open(disk.os, "s", false, 0, &created, &dir), 0);
        CHECK_INT(disk.os->file_remove(dir, "CURRENT"), 0);
        for (int i = 0; i < DISK_NAMES && how; i++)
            if (disk.live[i].file >= 0 && strstr(disk.live[i].name, "MANIFEST")) {
                if (how == 1)
                    CHECK_INT(disk.os->file_remove(dir, disk.live[i].name), 0);
                else
                    write_to(dir, disk.live[i].name, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32);
            }
        disk.os->dir_close(dir);
        CHECK_OK(lsm_db_destroy("s", &options));
        CHECK_INT(disk_count("s", ""), 0);
        disk_end();
    }
}

/* Of a store that was repaired into another directory the old one has to go, whatever is damaged in it. */
TEST(destroy_removes_what_the_store_names_where_its_beginning_is_damaged)
{
    static const char *const kinds[] = { "MANIFEST", ".ldb", ".vlog", ".log" };
    struct lsm_dir *dir;
    bool created;

    for (int kind = 0; kind < 4; kind++) {
        begin_test();
        make_store("s");
        CHECK_INT(disk.os->dir_open(disk.os, "s", false, 0, &created, &dir), 0);
        for (int i = 0; i < DISK_NAMES; i++)
            if (disk.live[i].file >= 0 && strstr(disk.live[i].name, kinds[kind])) {
                write_to(dir, disk.live[i].name, "these are sixty-four bytes of nothing that any store would have.", 64);
                break;
            }
        disk.os->dir_close(dir);
        CHECK_OK(lsm_db_destroy("s", &options));
        CHECK_INT(disk_count("s", ""), 0);
        disk_end();
    }
}

TEST(destroy_that_is_cut_short_leaves_what_no_open_takes_and_can_be_ended)
{
    int states = 0;

    for (int at = 1;; at++) {
        struct lsm_db *db;
        int rc;

        begin_test();
        make_store("s");
        disk_fail(DISK_REMOVE | DISK_DIR_SYNC, at, true, NULL);
        rc = lsm_db_destroy("s", &options);
        disk_heal();
        if (rc == LSM_OK) {
            disk_end();
            break;
        }
        states++;
        disk_kill("s", "killed");
        rc = lsm_db_open("killed", &options, &db);
        if (rc == LSM_OK) {                     /* nothing went yet, but perhaps CURRENT */
            CHECK(at <= 2);
            CHECK_OK(lsm_db_check(db));
            CHECK_OK(lsm_db_close(db));
        }
        rc = lsm_db_destroy("killed", &options);
        if (rc == LSM_NOTFOUND)
            CHECK_INT(disk_count("killed", ".ldb") + disk_count("killed", "MANIFEST"), 0);
        else
            CHECK_OK(rc);
        disk_end();
    }
    CHECK(states > 8);
}

static bool manifest_goes, is_synced;
static int (*real_remove)(struct lsm_dir *dir, const char *name);
static int (*real_sync)(struct lsm_dir *dir);

static int noted_remove(struct lsm_dir *dir, const char *name)
{
    if (strstr(name, "MANIFEST") || strstr(name, "CURRENT")) {
        manifest_goes = true;
        is_synced = false;
    } else {
        CHECK(manifest_goes && is_synced);
    }
    return real_remove(dir, name);
}

static int noted_sync(struct lsm_dir *dir)
{
    is_synced = true;
    return real_sync(dir);
}

/* A power cut keeps names and loses names in any order. */
TEST(destroy_syncs_the_directory_between_the_manifest_and_the_tables)
{
    begin_test();
    make_store("s");
    manifest_goes = is_synced = false;
    real_remove = disk.os->file_remove;
    real_sync = disk.os->dir_sync;
    disk.os->file_remove = noted_remove;
    disk.os->dir_sync = noted_sync;
    CHECK_OK(lsm_db_destroy("s", &options));
    disk.os->file_remove = real_remove;
    disk.os->dir_sync = real_sync;
    disk_end();
}
