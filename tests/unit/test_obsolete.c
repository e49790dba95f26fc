/*
 * test_obsolete.c -- files that nothing refers to: the worker is woken for them only when a sweep
 * would remove one, and then it is not forgotten.
 */
#include "lsm/db/db.h"
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
