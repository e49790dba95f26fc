/*
 * test_backup.c -- a copy of a store is of one moment, opens by itself, and is
 * whole or not there.
 */
#include <errno.h>

#include "lsm/db/db.h"
#include "tests/unit/disk.h"

static void put(struct store *s, const char *key)
{
    CHECK_OK(lsm_db_put(s->db, s->tree, text(key), text("value"), false));
}

static void put_many(struct store *s, int from, int to)
{
    struct lsm_txn *txn;
    char key[32], value[128];

    CHECK_OK(lsm_txn_begin(s->db, NULL, &txn));
    memset(value, 'v', sizeof value);
    for (int i = from; i < to; i++) {
        struct lsm_slice v = { (const uint8_t *)value, sizeof value };
        snprintf(key, sizeof key, "%08d", i);
        CHECK_OK(lsm_txn_put(txn, s->tree, text(key), v));
    }
    CHECK_OK(lsm_txn_commit_alone(txn, true));
}

TEST(backup_has_what_is_in_tables_and_what_is_in_the_log_and_opens_by_itself)
{
    struct store s, copy;
    struct lsm_backup_info info;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    put_many(&s, 0, 1000);
    CHECK_OK(lsm_db_flush(s.db));
    put(&s, "late");
    CHECK_OK(lsm_db_backup(s.db, "b", &info));
    CHECK(info.tables > 0);
    CHECK_INT(info.linked, info.tables);
    CHECK_INT(info.copied, 0);
    put(&s, "later");
    if (!store_open_as(&copy, "b", true))
        return;
    CHECK_INT(count_at(&copy, NULL), 1001);
    CHECK(has(&copy, "late"));
    CHECK(!has(&copy, "later"));
    CHECK_OK(lsm_db_check(copy.db));
    /* What the copy writes and compacts is not the original's. */
    put_many(&copy, 2000, 3000);
    CHECK_OK(lsm_db_compact(copy.db, NULL));
    store_close(&copy);
    CHECK_INT(count_at(&s, NULL), 1002);
    CHECK_OK(lsm_db_check(s.db));
    put_many(&s, 5000, 9000);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    store_close(&s);
    if (!store_open_as(&copy, "b", true))
        return;
    CHECK_INT(count_at(&copy, NULL), 2001);
    CHECK_OK(lsm_db_check(copy.db));
    store_end(&copy);
}

TEST(backup_survives_a_power_cut_the_moment_it_returns)
{
    struct store s, copy;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    put_many(&s, 0, 1000);
    CHECK_OK(lsm_db_flush(s.db));
    put(&s, "not synced");
    CHECK_OK(lsm_db_backup(s.db, "b", NULL));
    disk_power_cut("b", "c");
    if (!store_open_as(&copy, "c", true))
        return;
    CHECK_INT(count_at(&copy, NULL), 1001);
    CHECK_OK(lsm_db_check(copy.db));
    store_close(&copy);
    store_end(&s);
}

/* As a writer leaves it that is in the middle of a record, while the next one's sync has been promised. */
TEST(backup_reads_nothing_of_a_log_behind_the_moment_of_begin)
{
    struct lsm_backup *backup;
    struct lsm_log_end end;
    char name[LSM_FILENAME_SIZE];
    struct lsm_file *file;
    struct store s, copy;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    put_many(&s, 0, 10);
    CHECK_OK(lsm_backup_begin(s.db, NULL, &backup));
    end = lsm_log_end(&s.db->log);
    put_many(&s, 10, 20);
    put_many(&s, 20, 30);
    lsm_filename(name, LSM_FILE_LOG, end.number);
    CHECK_INT(disk.os->file_open(s.db->dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    CHECK_INT(disk.os->file_write(file, "not yet", 8, end.size + 100), 0);
    disk.os->file_close(file);
    CHECK_OK(lsm_backup_write(backup, "b", NULL));
    lsm_backup_end(backup);
    if (store_open_as(&copy, "b", true)) {
        CHECK_INT(count_at(&copy, NULL), 10);
        store_close(&copy);
    }
    store_end(&s);
}

static struct lsm_db *flushing;
static char names[64][LSM_FILENAME_SIZE];
static int name_count;

static int keep_name(void *ctx, const char *name)
{
    (void)ctx;
    if (name_count < 64)
        snprintf(names[name_count++], sizeof names[0], "%s", name);
    return 0;
}

/* While the directory is read a flush makes the next log and gives it up. */
static int list_slowly(struct lsm_dir *dir, int (*fn)(void *ctx, const char *name), void *ctx)
{
    struct lsm_db *db = flushing;
    int error;

    flushing = NULL;
    if (db)
        lsm_write_prepare_next(db);
    name_count = 0;
    error = disk.real.dir_list(dir, keep_name, NULL);
    if (db)
        lsm_write_discard_next(db);
    for (int i = 0; i < name_count && error == 0; i++)
        error = fn(ctx, names[i]);
    return error;
}

TEST(backup_and_check_look_for_no_log_that_a_flush_gave_up_meanwhile)
{
    struct store s;

    disk_and_host_begin();
    disk.os->dir_list = list_slowly;
    if (!store_open_as(&s, "a", true))
        return;
    put_many(&s, 0, 10);
    flushing = s.db;
    CHECK_OK(lsm_db_backup(s.db, "b", NULL));
    CHECK(!flushing);
    flushing = s.db;
    CHECK_OK(lsm_db_check(s.db));
    CHECK(!flushing);
    lsm_write_prepare_next(s.db);       /* it was there before */
    CHECK_OK(lsm_db_check(s.db));
    lsm_write_discard_next(s.db);
    store_end(&s);
}

TEST(backup_copies_tables_that_cannot_be_linked)
{
    static const int errors[] = { EXDEV, EPERM, EMLINK, EOPNOTSUPP };

    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct store s, copy;
        struct lsm_backup_info info;

        disk_and_host_begin();
        if (!store_open_as(&s, "a", true))
            return;
        put_many(&s, 0, 5000);
        CHECK_OK(lsm_db_flush(s.db));
        disk.link_error = errors[i];
        CHECK_OK(lsm_db_backup(s.db, "b", &info));
        CHECK_INT(info.linked, 0);
        CHECK_INT(info.copied, info.tables);
        CHECK(info.bytes_written >= info.bytes);
        disk_power_cut("b", "c");
        store_close(&s);
        if (!store_open_as(&copy, "c", true))
            return;
        CHECK_INT(count_at(&copy, NULL), 5000);
        CHECK_OK(lsm_db_check(copy.db));
        store_end(&copy);
    }
}

TEST(backup_is_of_the_moment_of_begin_whatever_is_written_flushed_and_compacted_meanwhile)
{
    struct store s, copy;
    struct lsm_backup *b;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    put_many(&s, 0, 2000);
    CHECK_OK(lsm_db_flush(s.db));
    put(&s, "in the log");
    CHECK_OK(lsm_backup_begin(s.db, NULL, &b));
    put(&s, "after");
    for (int i = 0; i < 4; i++) {
        put_many(&s, i * 1000, 4000 + i * 1000);
        CHECK_OK(lsm_db_compact(s.db, NULL));
    }
    CHECK_OK(lsm_tree_drop(s.db, s.tree));
    CHECK_RC(lsm_db_close(s.db), LSM_MISUSE);
    CHECK_OK(lsm_backup_write(b, "b", NULL));
    lsm_backup_end(b);
    CHECK(disk_count("a", ".log") > 1); /* held until now; the next sweep takes them */
    CHECK_OK(lsm_db_close(s.db));
    CHECK_INT(disk_count("a", ".log"), 1);
    if (!store_open_as(&copy, "b", true))
        return;
    CHECK_INT(count_at(&copy, NULL), 2001);
    CHECK(has(&copy, "in the log"));
    CHECK(!has(&copy, "after"));
    CHECK_OK(lsm_db_check(copy.db));
    store_end(&copy);
}

TEST(backup_of_a_hosts_store_has_what_the_token_proves_and_nothing_else)
{
    struct store s, copy;
    struct lsm_token k1, k2, t;
    struct lsm_txn *open;
    struct lsm_backup *b;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    solo(&s, k1, "s1", true);
    abandoned(&s, k1, "x");
    k2 = joint(&s, k1, "k2", true);
    open = begin_put(&s, &k2, "prepared");
    CHECK_OK(prepare_joint(open, &t));
    CHECK_RC(lsm_backup_begin(s.db, &k1, &b), LSM_STALE);
    CHECK_OK(lsm_backup_begin(s.db, &k2, &b));
    lsm_txn_commit(open, true);
    CHECK_OK(lsm_backup_write(b, "b", NULL));
    lsm_backup_end(b);
    store_close(&s);

    /* The host's copy shows k2. */
    if (!store_open_at(&copy, "b", &k2))
        return;
    CHECK(has(&copy, "k1") && has(&copy, "s1") && has(&copy, "k2"));
    CHECK_INT(count_at(&copy, NULL), 3);
    /* Decided and settled there: a solo is allowed at once. */
    open = begin(&copy, &k2);
    CHECK(open && lsm_txn_may_be_solo(open));
    lsm_txn_abort(open);
    solo(&copy, k2, "s2", true);
    store_close(&copy);

    /* The original's host, or an older copy of it, is told that this is not its store. */
    if (!store_open(&copy, "b"))
        return;
    CHECK_RC(lsm_db_publish(copy.db, &t), LSM_STALE);
    CHECK_RC(lsm_db_publish(copy.db, &k1), LSM_STALE);
    store_end(&copy);
}

TEST(backup_waits_for_no_solo_on_its_own_thread)
{
    struct store s;
    struct lsm_token t;
    struct lsm_txn *txn;
    struct lsm_backup *b;

    if (!store_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "s");
    CHECK_OK(prepare_solo(txn, true, &t));
    CHECK_RC(lsm_backup_begin(s.db, &no_token, &b), LSM_BUSY);
    CHECK(!b);
    lsm_txn_commit(txn, true);
    CHECK_OK(lsm_backup_begin(s.db, &no_token, &b));
    CHECK_OK(lsm_backup_write(b, "b", NULL));
    lsm_backup_end(b);
    store_close(&s);
    CHECK(shows_at("b", &no_token, "s"));
    disk_end();
}

TEST(backup_has_the_private_tables_of_a_transaction_that_is_only_in_the_log)
{
    struct store s, copy;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    put_many(&s, 0, 20000);             /* spills: the budget is 1 MiB */
    CHECK(disk_count("a", ".ldb") > 0);
    CHECK_OK(lsm_db_backup(s.db, "b", NULL));
    store_close(&s);
    if (!store_open_as(&copy, "b", true))
        return;
    CHECK_INT(count_at(&copy, NULL), 20000);
    CHECK_OK(lsm_db_check(copy.db));
    store_end(&copy);
}

TEST(backup_of_a_backup_is_the_same_store)
{
    struct store s;
    char from[2] = "a", to[2] = "b";

    disk_and_host_begin();
    if (!store_open_as(&s, from, true))
        return;
    put_many(&s, 0, 3000);
    for (int i = 0; i < 4; i++, from[0]++, to[0]++) {
        char key[2] = { (char)('A' + i), 0 };
        put(&s, key);
        CHECK_OK(lsm_db_backup(s.db, to, NULL));
        store_close(&s);
        if (!store_open_as(&s, to, true))
            return;
        CHECK_INT(count_at(&s, NULL), 3001 + i);
        if (i % 2)
            CHECK_OK(lsm_db_flush(s.db));
    }
    CHECK_OK(lsm_db_check(s.db));
    store_end(&s);
}

TEST(backup_of_a_store_that_is_only_read_writes_nothing_in_it)
{
    struct lsm_options o;
    struct store s, copy;
    uint64_t sum;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    put_many(&s, 0, 3000);
    CHECK_OK(lsm_db_flush(s.db));
    put(&s, "k");
    store_close(&s);
    sum = disk_sum("a");
    lsm_options_init(&o);
    o.os = disk.os;
    o.read_only = true;
    if (!CHECK_OK(lsm_db_open("a", &o, &s.db)))
        return;
    CHECK_OK(lsm_db_backup(s.db, "b", NULL));
    store_close(&s);
    CHECK(disk_sum("a") == sum);
    if (!store_open_as(&copy, "b", true))
        return;
    CHECK_INT(count_at(&copy, NULL), 3001);
    store_end(&copy);
}

TEST(backup_overwrites_nothing)
{
    struct store s, other;
    uint64_t sum;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true) || !store_open_as(&other, "b", true))
        return;
    put(&s, "a");
    put(&other, "b");
    store_close(&other);
    sum = disk_sum("b");
    CHECK_RC(lsm_db_backup(s.db, "b", NULL), LSM_EXISTS);
    CHECK_RC(lsm_db_backup(s.db, "a", NULL), LSM_EXISTS);
    CHECK(disk_sum("b") == sum);
    CHECK(has(&s, "a"));
    store_end(&s);
}

/* Each call that can fail, one after the other. */
TEST(backup_that_fails_leaves_nothing_and_the_next_one_works)
{
    static const unsigned kinds[] = { DISK_WRITE, DISK_SYNC, DISK_DIR_SYNC, DISK_CREATE, DISK_MEMORY };

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        bool failed = true;
        for (int at = 1; failed && at < 400; at++) {
            struct store s, copy;
            struct lsm_options o;
            int rc;

            disk_and_host_begin();
            if (!store_open_as(&s, "a", true))
                return;
            put_many(&s, 0, 500);
            CHECK_OK(lsm_db_flush(s.db));
            put(&s, "k");
            disk.link_error = at % 2 ? 0 : EXDEV;
            disk_fail(kinds[k], at, false, NULL);
            rc = lsm_db_backup(s.db, "b", NULL);
            failed = rc != LSM_OK;
            disk_heal();
            if (failed) {
                lsm_options_init(&o);
                o.os = disk.os;
                CHECK_RC(lsm_db_open("b", &o, &copy.db), LSM_NOTFOUND);
                CHECK_INT(disk_count("b", ""), 0);
                CHECK_OK(lsm_db_backup(s.db, "b", NULL));
            }
            if (store_open_as(&copy, "b", true)) {
                CHECK_INT(count_at(&copy, NULL), 501);
                CHECK_OK(lsm_db_check(copy.db));
                store_close(&copy);
            }
            store_end(&s);
            if (test_state.failures) {
                printf("  kind %zu, call %d\n", k, at);
                return;
            }
        }
        CHECK(!failed);
    }
}

TEST(backup_of_a_store_in_memory_is_on_disk)
{
    struct store s, copy;
    struct lsm_options o;

    disk_and_host_begin();
    lsm_options_init(&o);
    o.os = disk.os;
    o.no_worker = true;
    o.memory_bytes = 1 << 20;
    if (!CHECK_OK(lsm_db_open(NULL, &o, &s.db)) ||
        !CHECK_OK(lsm_tree_create(s.db, text("t"), NULL, &s.tree)))
        return;
    put_many(&s, 0, 3000);
    CHECK_OK(lsm_db_flush(s.db));
    put(&s, "k");
    CHECK_OK(lsm_db_backup(s.db, "b", NULL));
    store_close(&s);
    if (!store_open_as(&copy, "b", true))
        return;
    CHECK_INT(count_at(&copy, NULL), 3001);
    store_end(&copy);
}

static struct store *flushed_meanwhile;

static int reserve(struct lsm_file *file, uint64_t size)
{
    return disk.real.file_truncate(file, size);
}

/* Between the look at a log's size and its bytes a flush begins the next one. */
static int read_late(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got)
{
    struct store *s = flushed_meanwhile;

    if (s && strstr(disk_open_name(file), ".log")) {
        flushed_meanwhile = NULL;
        CHECK_OK(lsm_db_flush(s->db));
    }
    return disk.real.file_read(file, data, size, off, got);
}

TEST(backup_reads_a_log_whose_reserved_room_a_flush_would_give_back)
{
    struct store s, copy;

    disk_and_host_begin();
    disk.os->file_allocate = reserve;
    disk.os->file_read = read_late;
    if (!store_open_as(&s, "a", true))
        return;
    put_many(&s, 0, 10);
    put_many(&s, 10, 20);
    CHECK(s.db->log.reserved > s.db->log.size);
    flushed_meanwhile = &s;
    CHECK_OK(lsm_db_backup(s.db, "b", NULL));
    CHECK(!flushed_meanwhile);
    store_close(&s);
    if (store_open_as(&copy, "b", true)) {
        CHECK_INT(count_at(&copy, NULL), 20);
        store_close(&copy);
    }
    disk_end();
}
