/*
 * test_single.c -- one row a commit without a transaction: it is in the log and seen, or neither; what
 * cannot be done so is done by a transaction.
 */
#include "lsm/db/db.h"
#include "tests/unit/disk.h"

static bool open_alone(struct store *s, const char *path)
{
    return store_open_as(s, path, true);
}

static int put(struct store *s, const char *key, const char *value)
{
    return lsm_db_put(s->db, s->tree, text(key), text(value), false);
}

/* A memtable and a log are begun by the first, which is a transaction. */
static bool open_warm(struct store *s, const char *path)
{
    return open_alone(s, path) && CHECK_OK(put(s, "warm", "v"));
}

static uint64_t singles(const struct store *s)
{
    return atomic_load(&s->db->counters.single_puts) + atomic_load(&s->db->counters.single_deletes);
}

static bool value_is(struct store *s, const char *key, const char *value)
{
    struct lsm_value v;
    bool same;

    if (lsm_tree_get(s->tree, NULL, text(key), &v) != LSM_OK)
        return value == NULL;
    same = value && v.bytes.size == strlen(value) && memcmp(v.bytes.data, value, v.bytes.size) == 0;
    lsm_value_release(&v);
    return same;
}

TEST(single_rows_are_seen_at_once_and_after_a_kill_in_their_order)
{
    char key[16], value[16], latest[50][16] = { "" };
    struct store s, again;

    disk_begin();
    if (!open_warm(&s, "a"))
        return;
    for (int i = 0; i < 2000; i++) {
        unsigned k = (unsigned)test_below(50);

        snprintf(key, sizeof key, "%u", k);
        snprintf(value, sizeof value, "v%d", i);
        if (test_below(3) == 0) {
            latest[k][0] = 0;
            CHECK_OK(lsm_db_delete(s.db, s.tree, text(key), false));
        } else {
            strcpy(latest[k], value);
            CHECK_OK(put(&s, key, value));
        }
        if (!CHECK(value_is(&s, key, latest[k][0] ? latest[k] : NULL)))
            break;
        if (i == 1000)
            CHECK_OK(lsm_db_flush(s.db));
    }
    CHECK(singles(&s) > 1990);
    CHECK_INT(stat_of(s.db, "commits_solo"), 2001);
    CHECK_INT(stat_of(s.db, "puts") + stat_of(s.db, "deletes"), 2001);
    CHECK_INT(stat_of(s.db, "sequence"), 2001);
    disk_kill("a", "b");
    if (open_alone(&again, "b")) {
        for (unsigned k = 0; k < 50; k++) {
            snprintf(key, sizeof key, "%u", k);
            CHECK(value_is(&again, key, latest[k][0] ? latest[k] : NULL));
        }
        CHECK_OK(lsm_db_check(again.db));
        store_close(&again);
    }
    store_close(&s);
    disk_end();
}

/* What makes it cheap. */
TEST(single_row_asks_for_no_memory)
{
    struct store s;
    int refused = 0;

    disk_begin();
    if (!open_warm(&s, "a"))
        return;
    CHECK_OK(put(&s, "k", "v"));        /* scratch buffers */
    disk_fail(DISK_MEMORY, 1, true, NULL);
    for (int i = 0; i < 10; i++)
        refused += put(&s, "k", "v") != LSM_OK;
    disk_heal();
    CHECK_INT(refused, 0);
    CHECK_INT(singles(&s), 11);
    store_close(&s);
    disk_end();
}

/* The memtable's next chunk, the log's buffer: whatever is missing. */
TEST(single_row_without_memory_is_not_there_or_is_there_for_good)
{
    static char value[30000], key[16];
    struct store s, again;
    bool there[200];
    int failed = 0;

    disk_begin();
    memset(value, 'v', sizeof value - 1);
    if (!open_warm(&s, "a"))
        return;
    for (int i = 0; i < 200; i++) {
        int at = 1 + i % 3, rc;

        snprintf(key, sizeof key, "%d", i);
        value[(size_t)i * 100 + 1] = 0;
        disk_fail(DISK_MEMORY, at, i % 2, NULL);
        rc = put(&s, key, value);
        disk_heal();
        value[(size_t)i * 100 + 1] = 'v';
        CHECK(rc == LSM_OK || rc == LSM_NOMEM);
        there[i] = rc == LSM_OK;
        failed += rc != LSM_OK;
        CHECK_INT(has(&s, key), there[i]);
    }
    CHECK(failed > 0 && failed < 100);
    disk_kill("a", "b");
    if (open_alone(&again, "b")) {
        for (int i = 0; i < 200; i++) {
            snprintf(key, sizeof key, "%d", i);
            CHECK_INT(has(&again, key), there[i]);
        }
        store_close(&again);
    }
    store_close(&s);
    disk_end();
}

TEST(single_row_whose_write_fails_never_comes_back)
{
    struct store s, again;

    disk_begin();
    if (!open_warm(&s, "a"))
        return;
    CHECK_OK(put(&s, "before", "v"));
    disk_fail(DISK_WRITE, 1, false, ".log");
    CHECK_RC(put(&s, "lost", "v"), LSM_IOERR);
    disk_heal();
    CHECK(!has(&s, "lost"));
    CHECK(strcmp(lsm_db_state(s.db, NULL), "HEALTHY") == 0);
    disk_kill("a", "b");
    CHECK_OK(put(&s, "after", "v"));
    CHECK_OK(put(&s, "more", "v"));
    CHECK(has(&s, "before") && has(&s, "after") && has(&s, "more"));
    disk_kill("a", "c");
    for (int i = 0; i < 2; i++) {
        if (!open_alone(&again, i ? "c" : "b"))
            break;
        CHECK(has(&again, "before") && !has(&again, "lost"));
        CHECK_INT(has(&again, "after") && has(&again, "more"), i);
        CHECK_OK(lsm_db_check(again.db));
        store_close(&again);
    }
    store_close(&s);
    disk_end();
}

/* No fresh log can be made, and the old one cannot be cut: nobody knows what a crash would show. */
TEST(single_row_that_cannot_be_taken_back_leaves_the_store_read_only)
{
    struct store s;

    disk_begin();
    if (!open_warm(&s, "a"))
        return;
    disk_fail(DISK_WRITE | DISK_SYNC | DISK_TRUNCATE | DISK_CREATE, 1, true, NULL);
    CHECK_RC(put(&s, "lost", "v"), LSM_IOERR);
    CHECK(strstr(lsm_error_text(), ".log") != NULL);
    disk_heal();
    CHECK(strcmp(lsm_db_state(s.db, NULL), "READ_ONLY") == 0);
    CHECK(!has(&s, "lost"));
    CHECK_RC(put(&s, "next", "v"), LSM_READONLY);
    CHECK_RC(lsm_db_delete(s.db, s.tree, text("warm"), false), LSM_READONLY);
    CHECK(has(&s, "warm"));
    lsm_db_close(s.db);
    disk_end();
}

TEST(single_row_that_is_refused_says_why)
{
    static uint8_t large[LSM_MEMTABLE_EXPECT_MAX + 1];
    struct lsm_slice long_key = { large, LSM_KEY_SIZE_MAX + 1 }, long_value = { large, sizeof large };
    struct store s, other;
    struct lsm_tree *gone;

    disk_begin();
    if (!open_warm(&s, "a") || !open_warm(&other, "b"))
        return;
    CHECK_RC(lsm_db_put(s.db, other.tree, text("k"), text("v"), false), LSM_MISUSE);
    CHECK_RC(lsm_db_put(s.db, s.tree, long_key, text("v"), false), LSM_TOOBIG);
    CHECK_RC(lsm_db_delete(s.db, s.tree, long_key, false), LSM_TOOBIG);
    CHECK_OK(lsm_db_put(s.db, s.tree, text("large"), long_value, false));
    CHECK_INT(singles(&s), 0);
    CHECK_OK(lsm_tree_create(s.db, text("gone"), NULL, &gone));
    CHECK_OK(lsm_tree_drop(s.db, gone));
    CHECK_RC(lsm_db_put(s.db, gone, text("k"), text("v"), false), LSM_NOTFOUND);
    store_close(&other);
    store_close(&s);
    disk_end();
}

/* Its record would be older than the prepared one's in the log, and newer for readers. */
TEST(single_row_waits_for_a_transaction_that_is_prepared)
{
    const struct lsm_prepare how = { .kind = LSM_PREPARE_SOLO, .sync = true };
    struct lsm_token token;
    struct lsm_txn *txn;
    struct store s;

    disk_begin();
    if (!open_warm(&s, "a"))
        return;
    CHECK_OK(lsm_txn_begin(s.db, NULL, &txn));
    CHECK_OK(lsm_txn_put(txn, s.tree, text("k"), text("prepared")));
    CHECK_OK(lsm_txn_prepare(txn, &how, &token));
    CHECK_RC(put(&s, "k", "single"), LSM_BUSY);
    lsm_txn_commit(txn, true);
    CHECK(value_is(&s, "k", "prepared"));
    CHECK_OK(put(&s, "k", "single"));
    CHECK(value_is(&s, "k", "single"));
    store_close(&s);
    disk_end();
}

/* A reader that began before does not see it, whatever the memtable holds by then. */
TEST(single_row_is_not_seen_by_an_older_snapshot)
{
    struct lsm_snapshot *snapshot;
    struct lsm_read read = { 0 };
    struct store s;

    disk_begin();
    if (!open_warm(&s, "a"))
        return;
    CHECK_OK(lsm_snapshot_open(s.db, &snapshot));
    read.snapshot = snapshot;
    CHECK_OK(put(&s, "k", "v"));
    CHECK_OK(lsm_db_delete(s.db, s.tree, text("warm"), false));
    CHECK(has_at(&s, &read, "warm") && !has_at(&s, &read, "k"));
    CHECK(!has(&s, "warm") && has(&s, "k"));
    lsm_snapshot_close(snapshot);
    store_close(&s);
    disk_end();
}
