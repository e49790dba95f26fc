/*
 * test_carry_taken.c -- what the next open takes from the host's area, and what it leaves (commit.md R11, R15, R16):
 * each rule by its number and by the crash that it prevents.
 */
#include "tests/unit/carry.h"

/* ---- R11 ---- */

TEST(R11_records_taken_from_rows_are_copied_before_the_rows_go)
{
    struct store s, again;
    struct lsm_token k1, k2;

    if (!carry_begin(&s))
        return;
    k1 = carried(&s, no_token, "k1", &area);
    disk_power_cut("a", "b");
    store_close(&s);
    if (!open_with(&again, "b", &k1, &area))
        return;
    k2 = carried(&again, k1, "k2", &area);      /* over k1's row */
    disk_kill("b", "c");
    disk_power_cut("b", "d");
    store_close(&again);
    CHECK(shows_with("c", &k2, &area, "k1 k2"));
    CHECK(shows_with("d", &k2, &area, "k1 k2"));
    disk_end();
}

/* It shows them from memory and can write no log: a copy of its logs would lack them. */
TEST(R11_one_that_only_reads_makes_no_backup_without_what_was_taken)
{
    struct lsm_options o;
    struct lsm_backup *backup = NULL;
    struct store s, again = { 0 };
    struct lsm_token k1;

    if (!carry_begin(&s))
        return;
    k1 = carried(&s, no_token, "k1", &area);
    disk_power_cut("a", "b");
    store_close(&s);
    o = small_options(NULL);
    o.host = &the_host;
    o.wait_for_token = o.read_only = true;
    o.create_if_missing = false;
    if (!CHECK_OK(lsm_db_open("b", &o, &again.db)) || !CHECK_RC(lsm_db_publish(again.db, &k1), LSM_STALE))
        return;
    CHECK_OK(lsm_db_redo(again.db, &k1, area_slice(&area)));
    CHECK_RC(lsm_backup_begin(again.db, &k1, &backup), LSM_READONLY);
    CHECK(strstr(lsm_error_text(), "a power cut took"));
    lsm_backup_end(backup);
    store_close(&again);
    if (!open_with(&again, "b", &k1, &area))
        return;
    CHECK_OK(lsm_backup_begin(again.db, &k1, &backup));
    lsm_backup_end(backup);
    store_close(&again);
    disk_end();
}

TEST(R11_a_fresh_log_that_failed_keeps_what_was_taken_from_rows)
{
    struct store s, again;
    struct lsm_token k1, k2;
    struct lsm_txn *txn;
    int failed = 0;

    for (int kind = 0; kind < 3; kind++)
        for (int at = 1; at < 12; at++) {
            static const unsigned kinds[] = { DISK_SYNC, DISK_WRITE, DISK_DIR_SYNC };
            if (!carry_begin(&s))
                return;
            k1 = carried(&s, no_token, "k1", &area);
            disk_power_cut("a", "b");
            store_close(&s);
            if (!open_with(&again, "b", &k1, &area))
                return;
            txn = begin_put(&again, &k1, "x");
            disk_fail(kinds[kind], at, false, kinds[kind] == DISK_DIR_SYNC ? NULL : "0");
            if (prepare_joint(txn, &k2) != LSM_OK)
                failed++;
            disk_heal();
            lsm_txn_abort(txn);
            k2 = carried(&again, k1, "k2", &area);
            disk_power_cut("b", "c");
            store_close(&again);
            CHECK(shows_with("c", &k2, &area, "k1 k2 !x"));
            disk_end();
        }
    CHECK(failed > 6);
}

TEST(R11_what_is_taken_when_there_is_a_log_already_is_copied_too)
{
    struct store s, again;
    struct lsm_token k1, k2, k3;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    solo(&s, k1, "s", true);            /* says that k1 is decided */
    k2 = carried(&s, k1, "k2", &area);
    disk_power_cut("a", "b");
    store_close(&s);
    /* A reader of an older state has it flushed, which begins a log. */
    if (!open_with(&again, "b", &k1, &area))
        return;
    CHECK_OK(lsm_db_flush(again.db));
    CHECK_RC(lsm_db_publish(again.db, &k2), LSM_STALE);
    CHECK_OK(lsm_db_redo(again.db, &k2, area_slice(&area)));
    k3 = carried(&again, k2, "k3", &area);      /* over k2's row */
    disk_power_cut("b", "c");
    store_close(&again);
    CHECK_INT(count_with("c", &k3, &area), 4);
    disk_end();
}

TEST(R16_what_is_taken_may_make_the_log_suspect)
{
    struct store s, again;
    struct lsm_token k1, k2;
    struct lsm_txn *txn;

    if (!carry_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "k1");
    CHECK_OK(prepare_carried(txn, ROOM, &k1));
    CHECK(area_write(&area, txn));
    CHECK_OK(lsm_txn_abort(txn));       /* the host reported a failure, and shows it */
    k2 = carried(&s, k1, "k2", &area);
    disk_power_cut("a", "b");
    store_close(&s);
    host.suspect_calls = 0;
    if (!open_with(&again, "b", &k2, &area))
        return;
    txn = begin(&again, &k2);
    CHECK(!lsm_txn_may_be_solo(txn));   /* nothing says that k2 is decided */
    lsm_txn_abort(txn);
    joint(&again, k2, "k3", false);
    CHECK_OK(lsm_db_flush(again.db));
    CHECK_INT(host.suspect_calls, 1);
    store_end(&again);
}

/* ---- what is taken, and what is not (after R15) ---- */

TEST(R15_only_rows_on_the_chain_above_the_root_are_taken)
{
    static struct area old;
    struct store s, again;
    struct lsm_token first, k1, k2;

    if (!carry_begin(&s))
        return;
    first = k1 = carried(&s, no_token, "k1", &area);
    old = area;
    k2 = carried(&s, k1, "k2", &area);
    CHECK_OK(lsm_db_flush(s.db));
    struct lsm_txn *txn = begin(&s, &k2);
    CHECK_OK(lsm_txn_delete(txn, s.tree, text("k1")));
    struct lsm_token t;
    CHECK_OK(prepare_solo(txn, true, &t));
    lsm_txn_commit(txn, true);
    disk_power_cut("a", "b");
    store_close(&s);

    /* The flushed record's row is ignored: it would hide the solo on it. */
    if (!open_with(&again, "b", &k2, &area))
        return;
    CHECK_OK(lsm_db_redo(again.db, &k2, area_slice(&area)));
    CHECK(!has(&again, "k1") && has(&again, "k2"));
    k1 = joint(&again, k2, "k3", true);
    CHECK_OK(lsm_db_redo(again.db, &k2, area_slice(&old)));     /* published: nothing is lacking */
    CHECK_INT(stat_of(again.db, "records_carried"), 0);
    store_close(&again);
    /* An older database's row does not bring back what it proves. */
    if (!store_open(&again, "b"))
        return;
    CHECK_RC(lsm_db_publish(again.db, &first), LSM_STALE);
    CHECK_RC(lsm_db_redo(again.db, &first, area_slice(&old)), LSM_STALE);
    CHECK_RC(lsm_db_publish(again.db, &first), LSM_STALE);
    store_end(&again);
}

TEST(R15_a_chain_with_a_gap_is_not_taken_in_part)
{
    static struct area first, none;
    struct store s, again;
    struct lsm_token k1, k2, k3;

    if (!carry_begin(&s))
        return;
    k1 = carried(&s, no_token, "k1", &area);
    first = area;
    k2 = carried(&s, k1, "k2", &area);
    k3 = carried(&s, k2, "k3", &area);
    disk_power_cut("a", "b");
    store_close(&s);

    memset(area.bytes + first.size, 0, LSM_REDO_ALIGN);         /* k2's head */
    if (!store_open(&again, "b"))
        return;
    CHECK_RC(lsm_db_redo(again.db, &k3, area_slice(&area)), LSM_STALE);
    CHECK_RC(lsm_db_redo(again.db, &k3, area_slice(&none)), LSM_STALE);
    CHECK_RC(lsm_db_publish(again.db, &k3), LSM_STALE);
    CHECK_INT(count_at(&again, NULL), 0);
    store_end(&again);
}

TEST(R15_a_damaged_row_is_an_error_and_no_byte_of_it_is_believed)
{
    static struct area bad;
    struct store s, again;
    struct lsm_token k1;
    int corrupt = 0, harmless = 0;

    if (!carry_begin(&s))
        return;
    k1 = carried(&s, no_token, "k1", &area);
    disk_power_cut("a", "b");
    store_close(&s);
    if (!store_open(&again, "b"))
        return;
    for (size_t i = 0; i < area.size * 8; i++) {
        bad = area;
        bad.bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        int rc = lsm_db_redo(again.db, &k1, area_slice(&bad));
        CHECK(rc == LSM_CORRUPT || rc == LSM_STALE || rc == LSM_OK);
        corrupt += rc == LSM_CORRUPT;
        harmless += rc == LSM_OK;
        if (rc == LSM_OK) {     /* the padding; it was taken now: begin anew */
            store_close(&again);
            if (!store_open(&again, "b"))
                return;
        }
    }
    CHECK(corrupt >= (int)(LSM_RECORD_SIZE_MIN - 32) * 8);       /* behind its name, the hash */
    CHECK(harmless < 64 * 8);
    for (size_t size = 0; size < area.size; size++) {
        bad = area;
        bad.size = size;
        int rc = lsm_db_redo(again.db, &k1, area_slice(&bad));
        CHECK(rc != LSM_OK || size + LSM_REDO_ALIGN > area.size);
        if (rc == LSM_OK)
            break;
    }
    store_end(&again);
}

/* As an older lsmvtab wrote them: no record names its log, or the SOLO before it. */
static void make_old(struct area *a)
{
    for (size_t at = 0; at + LSM_REDO_HEAD_SIZE <= a->size; at += LSM_REDO_ALIGN)
        if (memcmp(a->bytes + at, "LSMR", 4) == 0) {
            lsm_put_u32(a->bytes + at + 4, LSM_REDO_NO_LOG);
            lsm_put_u32(a->bytes + at + 12, 0);
        }
}

/* D-05. All joint ones are in the area, and still the solo before them is gone. */
TEST(R15_a_store_of_an_earlier_moment_is_not_made_newer_from_rows)
{
    struct store s, old;
    struct lsm_token k1, k2;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", false);
    store_close(&s);
    disk_kill("a", "b");
    if (!store_open_at(&s, "a", &k1))
        return;
    solo(&s, k1, "solo", true);
    k2 = carried(&s, k1, "k2", &area);
    store_close(&s);
    if (!store_open(&old, "b"))
        return;
    CHECK_RC(lsm_db_redo(old.db, &k2, area_slice(&area)), LSM_STALE);
    make_old(&area);
    CHECK_RC(lsm_db_redo(old.db, &k2, area_slice(&area)), LSM_STALE);
    CHECK_RC(lsm_db_publish(old.db, &k2), LSM_STALE);
    store_end(&old);
}

/* D-08, D-18: the directory was copied, then a solo came, then the database was copied. A power cut cannot leave that:
   nothing is carried behind a solo that is not on disk. */
TEST(R15_no_row_is_taken_behind_a_solo_that_the_log_lacks)
{
    struct store s, again;
    struct lsm_token k1, k2, k3;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", false);
    k2 = carried(&s, k1, "k2", &area);
    disk_kill("a", "copied");
    solo(&s, k2, "solo", true);
    k3 = carried(&s, k2, "k3", &area);
    disk_power_cut("a", "cut");
    solo(&s, k3, "another", true);
    disk_kill("a", "killed");
    store_close(&s);

    if (!store_open(&again, "copied"))
        return;
    CHECK_RC(lsm_db_redo(again.db, &k3, area_slice(&area)), LSM_STALE);
    CHECK_RC(lsm_db_publish(again.db, &k3), LSM_STALE);
    CHECK_OK(lsm_db_redo(again.db, &k2, area_slice(&area)));
    store_close(&again);

    CHECK(shows_with("cut", &k3, &area, "solo k3 !another"));
    /* A reader of an older state came first: the solo is published already when the row is looked for. */
    if (!store_open_at(&again, "cut", &k2))
        return;
    CHECK(has(&again, "solo") && !has(&again, "k3"));
    CHECK_OK(lsm_db_redo(again.db, &k3, area_slice(&area)));
    CHECK_OK(lsm_db_publish(again.db, &k3));
    CHECK(has(&again, "k3"));
    store_end(&again);
}

TEST(R15_a_solo_before_a_joint_that_was_given_up_is_not_missed)
{
    struct lsm_token k1, k2;
    struct store s;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", false);
    solo(&s, k1, "first", true);
    solo(&s, k1, "solo", true);
    abandoned(&s, k1, "given up");
    k2 = carried(&s, k1, "k2", &area);
    disk_power_cut("a", "b");
    store_close(&s);
    CHECK_INT(count_in("b", &k1), 3);
    CHECK(shows_with("b", &k2, &area, "k1 first solo k2 !given"));
    /* It is looked for in the log. What cannot be read, for the moment, is not missing. */
    for (int at = 1, rc = LSM_NOMEM; rc == LSM_NOMEM; at++) {
        if (!store_open(&s, "b"))
            return;
        disk_fail(DISK_MEMORY, at, false, "");
        rc = lsm_db_redo(s.db, &k2, area_slice(&area));
        disk_heal();
        CHECK(rc == LSM_OK || rc == LSM_NOMEM);
        store_close(&s);
    }
    disk_end();
}

/* The solo that the row speaks of is in tables, and its log is gone. */
TEST(R15_a_solo_in_tables_is_not_missed)
{
    struct store s;
    struct lsm_token k1, k2;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    solo(&s, k1, "solo", true);
    CHECK_OK(lsm_db_flush(s.db));
    k2 = carried(&s, k1, "k2", &area);
    disk_power_cut("a", "b");
    store_close(&s);
    CHECK(shows_with("b", &k2, &area, "k1 solo k2"));
    disk_end();
}

TEST(R15_another_stores_row_is_not_taken)
{
    static struct area mine, foreign;
    struct store a, b, again;
    struct lsm_token k1;

    disk_and_host_begin();
    mine.size = foreign.size = 0;
    if (!store_open(&a, "a") || !store_open(&b, "b"))
        return;
    k1 = carried(&a, no_token, "k1", &mine);
    carried(&b, no_token, "f1", &foreign);
    disk_power_cut("a", "c");
    disk_power_cut("b", "d");
    store_close(&a);
    store_close(&b);
    if (!store_open(&again, "c"))
        return;
    CHECK_RC(lsm_db_redo(again.db, &k1, area_slice(&foreign)), LSM_STALE);
    store_close(&again);
    if (!store_open(&again, "d"))
        return;
    CHECK_RC(lsm_db_redo(again.db, &k1, area_slice(&mine)), LSM_CORRUPT);
    store_end(&again);
}

/* ---- the flag ---- */

TEST(repair_takes_what_only_the_host_carries)
{
    struct lsm_repair_info info;
    struct lsm_options o;
    struct lsm_repair how = { 0 };
    struct store s;
    struct lsm_token k1, k2, k3;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", false);
    solo(&s, k1, "solo", true);
    k2 = carried(&s, k1, "k2", &area);
    k3 = carried(&s, k2, "k3", &area);
    disk_power_cut("a", "b");
    store_close(&s);
    lsm_options_init(&o);
    o.os = disk.os;
    how.token = &k3;
    how.redo = area_slice(&area);
    CHECK_OK(lsm_db_repair("b", "c", &o, &how, &info));
    CHECK_INT(info.records_undecided, 0);
    if (store_open_at(&s, "c", &k3)) {
        CHECK(has(&s, "k1") && has(&s, "solo") && has(&s, "k2") && has(&s, "k3"));
        CHECK_INT(count_at(&s, NULL), 4);
        store_close(&s);
    }
    /* The host's commit of the last one is lost. */
    how.token = &k2;
    CHECK_OK(lsm_db_repair("b", "d", &o, &how, &info));
    CHECK(shows_at("d", &k2, "k2 !k3"));
    disk_end();
}

static bool is_refused_alone(const char *path)
{
    struct lsm_options o;
    struct lsm_txn *txn;
    struct lsm_db *db;
    bool refused;

    lsm_options_init(&o);
    o.os = disk.os;
    o.no_worker = true;
    if (!CHECK_OK(lsm_db_open(path, &o, &db)))
        return false;
    refused = lsm_txn_begin(db, NULL, &txn) == LSM_READONLY;
    if (!refused)
        lsm_txn_abort(txn);
    CHECK_OK(lsm_db_close(db));
    return refused;
}

/* Refused: the record that the token names stood in a log that this directory never had. */
static bool is_of_another_moment(const char *path, const struct lsm_token *token, const struct area *from)
{
    struct store s;
    bool is_refused;

    if (!store_open(&s, path))
        return false;
    is_refused = lsm_db_publish(s.db, token) == LSM_STALE && lsm_db_redo(s.db, token, area_slice(from)) == LSM_STALE &&
                 lsm_db_publish(s.db, token) == LSM_STALE;
    store_close(&s);
    return is_refused;
}

/* Its solos would be gone without a word: nothing in the host's database tells of them. */
TEST(R15_a_directory_from_before_the_process_that_carried_is_told)
{
    struct store s;
    struct lsm_token k1, k2;

    if (!carry_begin(&s))
        return;
    k1 = carried(&s, no_token, "k1", &area);
    disk_kill("a", "old");
    store_close(&s);
    if (!open_with(&s, "a", &k1, &area))
        return;
    k2 = carried(&s, k1, "k2", &area);
    disk_power_cut("a", "b");
    solo(&s, k2, "s", true);
    store_close(&s);
    CHECK(is_of_another_moment("old", &k2, &area));
    CHECK(shows_with("b", &k2, &area, "k1 k2 !s"));
    CHECK(shows_with("a", &k2, &area, "k1 k2 s"));
    disk_end();
}

/* What follows would be written with numbers that the other's records have: the next open finds them out of order. */
TEST(R15_the_directory_of_a_copy_that_went_on_is_told)
{
    struct store s, other;
    struct area others = { .size = 0 };
    struct lsm_token k1, a2, b2;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    store_close(&s);
    disk_kill("a", "b");
    if (!open_with(&s, "a", &k1, &area) || !open_with(&other, "b", &k1, &area))
        return;
    a2 = carried(&s, k1, "a2", &area);
    b2 = carried(&other, carried(&other, k1, "b1", &others), "b2", &others);
    disk_kill("b", "killed");
    store_close(&s);
    store_close(&other);
    CHECK(is_of_another_moment("killed", &a2, &area));
    CHECK(is_of_another_moment("a", &b2, &others));
    CHECK(shows_with("killed", &b2, &others, "k1 b1 b2 !a2"));
    disk_end();
}

TEST(R15_alone_nothing_is_written_while_the_log_may_lack_what_the_host_carries)
{
    struct store s, again;
    struct lsm_token k1, k2, k3;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    solo(&s, k1, "s", true);            /* says that k1 is decided */
    disk_power_cut("a", "b");
    CHECK(!is_refused_alone("b"));
    k2 = carried(&s, k1, "k2", &area);
    disk_power_cut("a", "c");
    CHECK(is_refused_alone("c"));

    /* A reader of an older state opens it and closes cleanly: it knows nothing of k2. */
    if (!open_with(&again, "c", &k1, &area))
        return;
    store_close(&again);
    CHECK(is_refused_alone("c"));
    /* Whoever writes after it has k2 again. */
    if (!open_with(&again, "c", &k2, &area))
        return;
    CHECK(has(&again, "k2"));
    k3 = joint(&again, k2, "k3", true);
    solo(&again, k3, "s", true);
    store_close(&again);
    CHECK(!is_refused_alone("c"));
    CHECK(shows_at("c", &k3, "k1 k2 k3"));

    /* A clean close of the one that carried it. */
    solo(&s, k2, "s2", false);
    store_close(&s);
    CHECK(!is_refused_alone("a"));
    disk_end();
}
