/* test_machine.c -- a store on a machine that is full, locks nothing, starts no thread, removes nothing. */
#include "lsm/db/db.h"
#include "tests/unit/disk.h"

static int put_all(struct store *s, int from, int to)
{
    static char value[2000];
    int rc = LSM_OK;
    char key[16];

    memset(value, 'v', sizeof value);
    for (int i = from; i < to && rc == LSM_OK; i++) {
        snprintf(key, sizeof key, "%06d", i);
        rc = lsm_db_put(s->db, s->tree, text(key), (struct lsm_slice){ (uint8_t *)value, sizeof value },
                        i % 10 == 0);
    }
    return rc;
}

TEST(I_03_a_store_that_crashed_on_a_full_disk_is_read_on_it_and_written_when_there_is_room)
{
    struct store s;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    CHECK_OK(put_all(&s, 0, 200));
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_OK(put_all(&s, 200, 300));
    CHECK_OK(lsm_db_sync(s.db));
    disk_fail(DISK_WRITE | DISK_CREATE | DISK_TRUNCATE, 1, true, NULL);
    CHECK(put_all(&s, 300, 400) != LSM_OK);
    disk_heal();
    disk_kill("a", "b");
    store_close(&s);
    if (!store_open_as(&s, "b", true))  /* makes LOCK there */
        return;
    store_close(&s);

    disk_fail(DISK_WRITE | DISK_CREATE | DISK_TRUNCATE, 1, true, NULL);
    for (int i = 0; i < 3; i++) {       /* no crash loop: each of them leaves it as it was */
        uint64_t sum = disk_sum("b");
        int count;

        if (!CHECK(store_open_as(&s, "b", true)))
            return;
        count = count_at(&s, NULL);
        CHECK(count == 300 || count == 301);
        CHECK(put_all(&s, 500, 501) != LSM_OK);
        CHECK_INT(count_at(&s, NULL), count);
        if (i < 2)
            lsm_db_close(s.db);
        CHECK(disk_sum("b") == sum);
    }
    disk_heal();
    CHECK_OK(put_all(&s, 500, 600));
    CHECK_OK(lsm_db_flush(s.db));
    store_close(&s);
    if (CHECK(store_open_as(&s, "b", true))) {
        CHECK(count_at(&s, NULL) >= 400);
        CHECK_OK(lsm_db_check(s.db));
        store_close(&s);
    }
    disk_end();
}

TEST(I_03_a_full_disk_says_the_way_out_and_with_room_the_store_goes_on_without_an_open)
{
    static const char *const files[] = { ".log", ".ldb", "MANIFEST", NULL };

    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        const char *why;
        struct store s;
        int rc, count;

        disk_begin();
        if (!store_open_as(&s, "a", true))
            return;
        CHECK_OK(put_all(&s, 0, 200));
        CHECK_OK(lsm_db_flush(s.db));
        CHECK_OK(put_all(&s, 200, 250));
        disk_fail(DISK_WRITE, 1, true, files[f]);
        disk.fail_error = ENOSPC;
        rc = put_all(&s, 250, 300);
        if (rc == LSM_OK)
            rc = lsm_db_flush(s.db);
        CHECK_RC(rc, LSM_FULL);
        CHECK(strstr(lsm_error_text(), "No space left on device (make room and try again; what was committed is kept)"));
        count = count_at(&s, NULL);
        CHECK(count >= 250);
        CHECK_RC(lsm_db_flush(s.db), LSM_FULL);
        disk_heal();
        CHECK_OK(put_all(&s, 300, 400));
        CHECK_OK(lsm_db_flush(s.db));
        CHECK_OK(lsm_db_compact(s.db, NULL));
        CHECK_STR(lsm_db_state(s.db, &why), "HEALTHY");
        CHECK_INT(count_at(&s, NULL), count + 100);
        CHECK_OK(lsm_db_check(s.db));
        store_close(&s);
        if (CHECK(store_open_as(&s, "a", true))) {
            CHECK_INT(count_at(&s, NULL), count + 100);
            store_close(&s);
        }
        disk_end();
    }
}

/* I-04: what a full disk had no room for is cut off, so that the log goes on: a fresh one would need room for all that
   it holds, and then nothing could be deleted. A flush that fails is tried again without another log. */
TEST(I_04_on_a_full_disk_what_is_small_enough_goes_to_the_same_log)
{
    struct store s;
    uint64_t number;
    int logs;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    CHECK_OK(put_all(&s, 0, 100));
    logs = disk_count("a", ".log");
    number = s.db->log.number;
    for (int i = 0; i < 3; i++) {
        disk_fail(DISK_WRITE, 1, false, ".log");
        disk.fail_error = ENOSPC;
        CHECK_RC(put_all(&s, 100 + i, 101 + i), LSM_FULL);
        CHECK(strstr(lsm_error_text(), "make room and try again"));
        CHECK_OK(put_all(&s, 200 + i, 201 + i));
        CHECK_INT(disk_count("a", ".log"), logs);
    }
    CHECK_INT(count_at(&s, NULL), 103);

    for (int i = 0; i < 3; i++) {       /* no room for the next log's header */
        disk_fail(DISK_WRITE, 1, false, ".log");
        disk.fail_error = ENOSPC;
        CHECK_RC(lsm_db_flush(s.db), LSM_FULL);
        CHECK_OK(put_all(&s, 200 + i, 201 + i));
        CHECK_INT(disk_count("a", ".log"), logs);
        CHECK_INT(s.db->log.number, number);
    }

    for (int i = 0; i < 3; i++) {
        disk_fail(DISK_WRITE, 1, true, ".ldb");
        disk.fail_error = ENOSPC;
        CHECK_RC(lsm_db_flush(s.db), LSM_FULL);
        CHECK_INT(disk_count("a", ".log"), logs + 1);
    }
    disk_heal();
    disk_kill("a", "b");
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(count_at(&s, NULL), 103);
    CHECK_OK(lsm_db_check(s.db));
    store_close(&s);
    if (!CHECK(store_open_as(&s, "b", true)))
        return;
    CHECK_INT(count_at(&s, NULL), 103);
    CHECK_OK(lsm_db_check(s.db));
    store_close(&s);
    disk_end();
}

/* C-13, I-13: what a compaction replaced cannot be removed; it stays, is removed later, and no number comes twice. */
TEST(C_13_I_13_files_that_could_not_be_removed_go_with_the_first_write_after_the_next_open)
{
    struct store s;
    int left;

    disk_begin();
    if (!store_open_as(&s, "a", true))
        return;
    for (int i = 0; i < 4; i++) {
        CHECK_OK(put_all(&s, i * 20, 100));
        CHECK_OK(lsm_db_flush(s.db));
    }
    left = disk_count("a", ".ldb");
    disk_fail(DISK_REMOVE, 1, true, NULL);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK(disk_count("a", ".ldb") > left);
    CHECK_INT(count_at(&s, NULL), 100);
    disk_heal();
    disk_kill("a", "b");
    store_close(&s);

    if (!CHECK(store_open_as(&s, "b", true)))
        return;
    CHECK(disk_count("b", ".ldb") > left);
    CHECK_OK(put_all(&s, 100, 101));
    CHECK_INT(disk_count("b", ".ldb"), (int)stat_of(s.db, "tables"));
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_OK(put_all(&s, 0, 50));
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(count_at(&s, NULL), 101);
    CHECK_OK(lsm_db_check(s.db));
    store_end(&s);
}

static int no_lock(struct lsm_file *file)
{
    (void)file;
    return ENOLCK;
}

TEST(I_17_a_file_system_without_locks_is_refused)
{
    struct lsm_options o;
    struct lsm_db *db = NULL;

    disk_begin();
    disk.os->file_lock = no_lock;
    lsm_options_init(&o);
    o.os = disk.os;
    o.create_if_missing = true;
    CHECK_RC(lsm_db_open("a", &o, &db), LSM_CANTOPEN);
    CHECK(strstr(lsm_error_text(), "lock"));
    CHECK(db == NULL);
    disk_end();
}

static int no_thread(struct lsm_os *os, void (*fn)(void *), void *ctx, struct lsm_thread **out)
{
    (void)os, (void)fn, (void)ctx;
    *out = NULL;
    return EAGAIN;
}

TEST(M_06_without_a_thread_the_writers_do_the_maintenance)
{
    struct lsm_options o;
    struct store s;

    disk_begin();
    disk.os->thread_start = no_thread;
    lsm_options_init(&o);
    o.os = disk.os;
    o.create_if_missing = true;
    o.memory_bytes = 1 << 20;
    if (CHECK_OK(lsm_db_open("a", &o, &s.db)) && CHECK_OK(lsm_tree_create(s.db, text("t"), NULL, &s.tree))) {
        CHECK_OK(put_all(&s, 0, 1500));
        CHECK(stat_of(s.db, "flushes") > 1);
        CHECK_INT(count_at(&s, NULL), 1500);
        store_close(&s);
    }
    disk_end();
}
