/*
 * test_obsolete.c -- files that nothing refers to: the worker is woken for them only when a sweep
 * would remove one, and then it is not forgotten.
 */
#include "lsm/db/db.h"
#include "lsm/format/filename.h"
#include "tests/unit/disk.h"

static void steps(struct store *s)
{
    while (lsm_db_step(s->db) == LSM_OK)
        ;
}

/* Two flushes and their compaction, so that the MANIFEST names tables that went. */
static void grow(struct store *s)
{
    CHECK_OK(lsm_db_put(s->db, s->tree, text("a"), text("1"), false));
    CHECK_OK(lsm_db_flush(s->db));
    CHECK_OK(lsm_db_put(s->db, s->tree, text("a"), text("2"), false));
    CHECK_OK(lsm_db_compact(s->db, NULL));
}

static void open_and_close_a_cursor(struct store *s)
{
    struct lsm_cursor *c;

    CHECK_OK(lsm_cursor_open(s->tree, NULL, &c));
    CHECK_OK(lsm_cursor_first(c));
    lsm_cursor_close(c);
}

TEST(obsolete_of_a_life_before_wakes_nobody_before_the_first_write)
{
    struct store s;

    disk_and_host_begin();
    store_open_as(&s, "s", true);
    grow(&s);
    store_close(&s);
    store_open_as(&s, "s", true);
    open_and_close_a_cursor(&s);
    CHECK(s.db->obsolete_count > 0);
    CHECK(!lsm_obsolete_waits(s.db));
    CHECK_OK(lsm_db_put(s.db, s.tree, text("b"), text("1"), false));
    CHECK(lsm_obsolete_waits(s.db));
    steps(&s);
    CHECK_INT(s.db->obsolete_count, 0);
    CHECK(!lsm_obsolete_waits(s.db));
    store_end(&s);
}

static int count_file(void *ctx, const char *name)
{
    enum lsm_file_kind kind;
    uint64_t number;

    *(uint32_t *)ctx += lsm_filename_parse(name, &kind, &number) && (kind == LSM_FILE_TABLE || kind == LSM_FILE_VLOG);
    return 0;
}

static uint32_t count_files(struct store *s)
{
    uint32_t count = 0;

    CHECK_INT(disk.os->dir_list(s->db->dir, count_file, &count), 0);
    return count;
}

/* An edit whose append failed may be on disk, and so its files stay. But where no new MANIFEST can be begun nothing
   names what came later: if it stayed, each try would take more of a disk that is full. */
TEST(obsolete_is_what_was_written_while_no_MANIFEST_can_be_begun)
{
    static const char long_value[5000];
    struct store s;
    uint32_t before, at_first;

    disk_and_host_begin();
    store_open_as(&s, "s", true);
    grow(&s);
    for (uint8_t i = 0; i < 40; i++)
        CHECK_OK(lsm_db_put(s.db, s.tree, lsm_slice(&i, 1), lsm_slice(long_value, sizeof long_value), false));
    at_first = count_files(&s);
    disk_fail(DISK_WRITE, 1, true, "MANIFEST");
    CHECK(lsm_db_flush(s.db) != LSM_OK);
    before = count_files(&s);
    CHECK(before > at_first);
    for (int i = 0; i < 3; i++) {
        CHECK(lsm_db_flush(s.db) != LSM_OK);
        CHECK_INT(count_files(&s), before);
    }
    disk_fail(0, 0, false, NULL);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_OK(lsm_db_put(s.db, s.tree, text("a"), text("3"), false));
    CHECK_OK(lsm_db_flush(s.db));
    disk_fail(DISK_WRITE, 1, true, "MANIFEST");
    CHECK(lsm_db_compact(s.db, NULL) != LSM_OK);
    before = count_files(&s);
    for (int i = 0; i < 3; i++) {
        CHECK(lsm_db_compact(s.db, NULL) != LSM_OK);
        CHECK_INT(count_files(&s), before);
    }
    disk_fail(0, 0, false, NULL);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_OK(lsm_db_check(s.db));
    store_end(&s);
}

TEST(obsolete_file_waits_from_the_moment_on_when_its_last_reader_goes)
{
    struct store s;
    struct lsm_cursor *c;

    disk_and_host_begin();
    store_open_as(&s, "s", true);
    grow(&s);
    CHECK_OK(lsm_cursor_open(s.tree, NULL, &c));
    CHECK_OK(lsm_db_put(s.db, s.tree, text("a"), text("3"), false));
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(disk_count("s", ".ldb"), 2);
    CHECK(!lsm_obsolete_waits(s.db));
    lsm_cursor_close(c);
    CHECK(lsm_obsolete_waits(s.db));
    steps(&s);
    CHECK_INT(disk_count("s", ".ldb"), 1);
    CHECK(!lsm_obsolete_waits(s.db));
    store_end(&s);
}

/* A private table that became a table of the version, and went from there, while a reader still has it as
   what it was: a sweep that passes it over says no more that one is due, until the reader goes. */
TEST(obsolete_file_of_a_unit_waits_when_the_unit_goes)
{
    struct store s;
    struct lsm_cursor *c;
    struct lsm_txn *txn;
    struct lsm_ingest *ingest;

    disk_and_host_begin();
    store_open_as(&s, "s", true);
    CHECK_OK(lsm_txn_begin(s.db, NULL, &txn));
    CHECK_OK(lsm_ingest_begin(txn, s.tree, &ingest));
    CHECK_OK(lsm_ingest_add(ingest, text("a"), text("1")));
    CHECK_OK(lsm_ingest_finish(ingest));
    CHECK_OK(lsm_txn_commit_alone(txn, false));
    CHECK_OK(lsm_cursor_open(s.tree, NULL, &c));
    CHECK_OK(lsm_cursor_first(c));
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_OK(lsm_db_put(s.db, s.tree, text("a"), text("2"), false));
    CHECK_OK(lsm_db_compact(s.db, NULL));
    steps(&s);
    CHECK_INT(s.db->obsolete_count, 1);
    CHECK_INT(disk_count("s", ".ldb"), 2);
    CHECK(!lsm_obsolete_waits(s.db));
    lsm_cursor_close(c);
    CHECK(lsm_obsolete_waits(s.db));
    steps(&s);
    CHECK_INT(s.db->obsolete_count, 0);
    CHECK_INT(disk_count("s", ".ldb"), 1);
    store_end(&s);
}
