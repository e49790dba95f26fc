/*
 * test_carry.c -- what is carried, and how long its place in the host's area stays (commit.md R7, R7a, R7b): each
 * rule by its number and by the crash that it prevents.
 */
#include "tests/unit/carry.h"

/* ---- R7 ---- */

TEST(R7_a_carried_record_survives_the_power_cut_that_takes_the_log)
{
    struct store s, again;
    struct lsm_token k1, k2;
    unsigned syncs;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", false);
    syncs = disk.log_syncs;
    k2 = carried(&s, k1, "k2", &area);
    CHECK_INT(disk.log_syncs, syncs);
    disk_power_cut("a", "b");
    disk_kill("a", "c");
    store_close(&s);

    if (!open_with(&again, "b", &k2, &area))
        return;
    CHECK(has(&again, "k1") && has(&again, "k2"));
    CHECK_INT(count_at(&again, NULL), 2);
    store_close(&again);
    /* The log has it, too, when only the process died; nobody needs the area then. */
    CHECK(shows_at("c", &k2, "k2"));
    /* The host's commit was lost as well: so is ours, though the area has it. */
    CHECK(shows_with("b", &k1, &area, "!k2"));
    disk_end();
}

TEST(R7_what_the_host_could_not_write_is_prepared_again_and_synced)
{
    struct store s;
    struct lsm_token first, second;
    struct lsm_txn *txn;
    struct lsm_redo redo;

    if (!store_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "x");
    CHECK_OK(prepare_carried(txn, ROOM, &first));
    lsm_txn_redo(txn, &redo);
    CHECK(redo.bytes.size > 0);
    CHECK_OK(prepare_joint(txn, &second));
    lsm_txn_redo(txn, &redo);
    CHECK_INT(redo.bytes.size, 0);
    CHECK(second.txid > first.txid);
    lsm_txn_commit(txn, false);
    disk_power_cut("a", "b");
    store_close(&s);
    CHECK_INT(count_in("b", &second), 1);
    disk_end();
}

TEST(R7_where_memory_fails_nothing_is_lost_and_the_store_goes_on)
{
    int rc = LSM_NOMEM;

    for (int at = 1; rc != LSM_OK && at < 50; at++) {
        struct lsm_token token;
        struct lsm_txn *txn;
        struct store s;

        if (!carry_begin(&s))
            return;
        txn = begin_put(&s, &no_token, "x");
        disk_fail(DISK_MEMORY, at, false, NULL);
        rc = prepare_carried(txn, ROOM, &token);
        disk_heal();
        CHECK(rc == LSM_OK || rc == LSM_NOMEM);
        CHECK_OK(lsm_txn_abort(txn));
        token = carried(&s, no_token, "k", &area);
        disk_power_cut("a", "b");
        store_close(&s);
        CHECK(shows_with("b", &token, &area, "k !x"));
        disk_end();
    }
    CHECK_OK(rc);
}

TEST(R7_a_second_carried_prepare_supersedes_the_first)
{
    struct store s;
    struct lsm_token first, second;
    struct lsm_txn *txn;

    if (!carry_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "x");
    CHECK_OK(prepare_carried(txn, ROOM, &first));
    CHECK(area_write(&area, txn));
    CHECK_OK(lsm_txn_delete(txn, s.tree, text("x")));
    CHECK_OK(lsm_txn_put(txn, s.tree, text("y"), text("value")));
    CHECK_OK(prepare_carried(txn, ROOM, &second));
    CHECK(area_write(&area, txn));
    lsm_txn_commit(txn, false);
    disk_power_cut("a", "b");
    store_close(&s);
    CHECK(shows_with("b", &second, &area, "!x y"));
    disk_end();
}

/* ---- R7a ---- */

TEST(R7a_no_record_is_carried_above_an_unsynced_solo)
{
    struct store s;
    struct lsm_token k1, k3;
    bool is_carried;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    solo(&s, k1, "s2", false);
    k3 = joint_in(&s, k1, "k3", &area, &is_carried);
    CHECK(!is_carried);
    disk_power_cut("a", "b");
    /* The sync covered the solo: the next one is carried. */
    carried(&s, k3, "k4", &area);
    store_close(&s);
    CHECK(shows_with("b", &k3, &area, "s2 k3"));
    disk_end();
}

TEST(R7a_no_record_is_carried_above_an_unsynced_joint_without_a_row)
{
    const struct lsm_prepare off = { .kind = LSM_PREPARE_JOINT };
    struct store s;
    struct lsm_token k1, k2;
    struct lsm_txn *txn;
    bool is_carried;

    if (!carry_begin(&s))
        return;
    txn = begin_put(&s, &no_token, "k1");       /* synchronous=OFF */
    CHECK_OK(lsm_txn_prepare(txn, &off, &k1));
    lsm_txn_commit(txn, false);
    k2 = joint_in(&s, k1, "k2", &area, &is_carried);
    CHECK(!is_carried);
    disk_power_cut("a", "b");
    store_close(&s);
    CHECK_INT(count_with("b", &k2, &area), 2);
    disk_end();
}

TEST(R7a_a_record_and_all_of_them_have_bounds)
{
    static uint8_t large[LSM_REDO_RECORD_MAX];
    struct store s;
    struct lsm_token t = no_token;
    struct lsm_slice value = { large, sizeof large };
    struct lsm_txn *txn;
    uint64_t used = 0;
    unsigned syncs;
    bool is_carried = true;

    if (!carry_begin(&s))
        return;
    txn = begin(&s, &t);
    CHECK_OK(lsm_txn_put(txn, s.tree, text("x"), value));
    CHECK_OK(prepare_carried(txn, LSM_REDO_ROOM_MAX, &t));
    CHECK(!area_write(&area, txn));
    lsm_txn_commit(txn, false);

    syncs = disk.log_syncs;
    for (int i = 0; is_carried && i < 100; i++) {
        t = joint_in(&s, t, "k", &area, &is_carried);
        if (is_carried) {
            CHECK(area.size > used);
            used = area.size;
        }
    }
    CHECK(!is_carried);         /* the area was full */
    CHECK_INT(disk.log_syncs, syncs + 1);
    CHECK(used <= ROOM && used > ROOM - 512);
    area.size = 0;
    t = carried(&s, t, "k", &area);     /* from its beginning */
    CHECK(area.size < 512);
    store_end(&s);
}

/* What the next writer removes as nobody's would be the record's. */
TEST(R7a_the_slower_a_sync_the_larger_what_is_carried)
{
    struct lsm_carry carry = { 0 };
    uint64_t before;

    CHECK_INT(lsm_carry_bound(&carry), 64 << 10);               /* nothing is known */
    for (int i = 0; i < 100; i++)
        lsm_carry_timed(&carry, 116 << 10, 480);                /* some 200 us and the bytes */
    CHECK_INT(lsm_carry_bound(&carry), 64 << 10);
    lsm_carry_timed(&carry, 116 << 10, 20000);                  /* one that was held up */
    for (int i = 0; i < 100; i++)
        lsm_carry_timed(&carry, 116 << 10, 480);
    CHECK_INT(lsm_carry_bound(&carry), 64 << 10);               /* is forgotten */
    for (int i = 0; i < 100; i++)
        lsm_carry_timed(&carry, 4 << 10, 600);
    CHECK(lsm_carry_bound(&carry) > 116 << 10 && lsm_carry_bound(&carry) < 200 << 10);
    for (int i = 0; i < 100; i++)
        lsm_carry_timed(&carry, 4 << 10, 5000);
    CHECK_INT(lsm_carry_bound(&carry), LSM_REDO_RECORD_MAX);
    before = carry.sync_ns;
    lsm_carry_timed(&carry, 1 << 20, 7000);                     /* mostly its bytes */
    CHECK_INT(carry.sync_ns, before);
    lsm_carry_timed(&carry, 1 << 20, 300);                      /* the disk is fast again */
    CHECK(lsm_carry_bound(&carry) < 80 << 10);
}

TEST(R7a_no_record_is_carried_that_adopts_tables)
{
    static char large[4000];
    struct store s;
    struct lsm_token token;
    struct lsm_txn *txn;
    struct lsm_redo redo;
    char key[16];

    if (!store_begin(&s))
        return;
    txn = begin(&s, &no_token);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "%06d", i);
        CHECK_OK(lsm_txn_put(txn, s.tree, text(key), (struct lsm_slice){ (uint8_t *)large, sizeof large }));
    }
    CHECK(disk_count("a", ".ldb") > 0);
    CHECK_OK(prepare_carried(txn, 1 << 20, &token));
    lsm_txn_redo(txn, &redo);
    CHECK_INT(redo.bytes.size, 0);
    disk_power_cut("a", "b");
    lsm_txn_commit(txn, false);
    store_close(&s);
    CHECK_INT(count_in("b", &token), 200);
    disk_end();
}

TEST(R7a_what_was_read_at_open_counts_as_unsynced)
{
    struct store s, again;
    struct lsm_token k1, k3;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    solo(&s, k1, "s2", false);
    disk_kill("a", "b");
    store_close(&s);
    if (!open_with(&again, "b", &k1, &area))
        return;
    CHECK(has(&again, "s2"));
    bool is_carried;
    k3 = joint_in(&again, k1, "k3", &area, &is_carried);
    disk_power_cut("b", "c");
    store_close(&again);
    CHECK(shows_with("c", &k3, &area, "s2 k3"));
    disk_end();
}

/* ---- R7b ---- */

TEST(R7b_a_row_goes_only_when_a_sync_covers_its_record)
{
    struct store s, again;
    struct lsm_token t = no_token, at[40];
    char key[8];
    int n = 0;

    if (!carry_begin(&s))
        return;
    for (; n < 40; n++) {
        bool is_carried;
        snprintf(key, sizeof key, "k%02d", n);
        t = at[n] = joint_in(&s, t, key, &area, &is_carried);
        if (n % 7 == 6)         /* a solo that is synced covers what is below it */
            solo(&s, t, "s", n % 14 == 6);
        if (n % 5 == 4) {
            /* At each of these moments nothing may be missing after a power cut. */
            char copy[8];
            snprintf(copy, sizeof copy, "c%02d", n);
            disk_power_cut("a", copy);
            if (!open_with(&again, copy, &t, &area))
                return;
            for (int i = 0; i <= n; i++) {
                snprintf(key, sizeof key, "k%02d", i);
                CHECK(has(&again, key));
            }
            store_close(&again);
        }
    }
    store_end(&s);
}

/* What commits while the worker's sync runs. */
static struct beside {
    struct store *s;
    struct lsm_token token;
    int rows;
} beside;

static void commit_beside(const char *name)
{
    char key[16];

    if (!strstr(name, ".log"))
        return;
    disk.hook = disk.hook_synced = NULL;
    snprintf(key, sizeof key, "k%03d", beside.rows++);
    beside.token = carried(beside.s, beside.token, key, &area);
}

static bool has_rows(struct store *s, int count)
{
    char key[16];

    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%03d", i);
        if (!CHECK(has(s, key)))
            return false;
    }
    return true;
}

TEST(R7b_a_sync_beside_writers_covers_what_stood_there_when_it_began)
{
    struct store s, again;
    unsigned syncs = 0;

    if (!carry_begin(&s))
        return;
    beside = (struct beside){ .s = &s, .token = no_token };
    while (beside.rows < 120) {
        unsigned before = disk.log_syncs;
        char key[16], copy[16];

        snprintf(key, sizeof key, "k%03d", beside.rows++);
        beside.token = carried(&s, beside.token, key, &area);   /* none has to sync */
        CHECK_INT(disk.log_syncs, before + (beside.rows == 1 ? 1 : 0));     /* the log itself */
        if (beside.rows % 2)
            disk.hook = commit_beside;
        else
            disk.hook_synced = commit_beside;
        before = disk.log_syncs;
        lsm_db_step(s.db);
        syncs += disk.log_syncs - before;
        disk.hook = disk.hook_synced = NULL;
        if (beside.rows % 4 != 0)
            continue;
        snprintf(copy, sizeof copy, "c%03d", beside.rows);
        disk_power_cut("a", copy);
        if (!open_with(&again, copy, &beside.token, &area) || !has_rows(&again, beside.rows))
            return;
        store_close(&again);
    }
    CHECK(syncs > 5 && syncs < 40);
    CHECK(area.size <= ROOM);
    store_end(&s);
}

TEST(R7b_a_record_that_came_while_a_sync_ran_keeps_its_place)
{
    struct store s;
    bool is_carried = true;
    int late = 0;

    if (!carry_begin(&s))
        return;
    beside = (struct beside){ .s = &s, .token = no_token };
    for (int i = 0; is_carried && i < 100; i++) {
        struct lsm_token token;
        struct area before = area;
        char key[16], copy[16];

        snprintf(key, sizeof key, "k%03d", beside.rows);
        token = joint_in(&s, beside.token, key, &area, &is_carried);
        if (is_carried) {
            beside.token = token;
            beside.rows++;
            before = area;
        }
        if (late == 0) {
            unsigned syncs = disk.log_syncs;
            disk.hook_synced = commit_beside;
            lsm_db_step(s.db);
            late = disk.log_syncs > syncs ? beside.rows : 0;
            disk.hook_synced = NULL;
            continue;
        }
        if (!is_carried)
            break;
        snprintf(copy, sizeof copy, "c%03d", beside.rows);
        disk_power_cut("a", copy);
        CHECK_INT(count_with(copy, &beside.token, &before), beside.rows);
    }
    CHECK(late && !is_carried && beside.rows > late + 4);
    store_end(&s);
}

TEST(R7b_nor_after_a_sync_beside_writers_that_failed)
{
    struct store s, again;
    int failed_at = 0;

    if (!carry_begin(&s))
        return;
    beside = (struct beside){ .s = &s, .token = no_token };
    disk_fail(DISK_SYNC, 2, false, ".log");     /* the first makes the log */
    while (failed_at == 0 || beside.rows < failed_at + 14) {    /* more than the area has room for */
        char key[16], copy[16];

        snprintf(key, sizeof key, "k%03d", beside.rows++);
        beside.token = carried(&s, beside.token, key, &area);
        if (failed_at == 0)
            lsm_db_step(s.db);
        if (disk.fail_seen >= 2 && failed_at == 0)
            failed_at = beside.rows;
        snprintf(copy, sizeof copy, "c%03d", beside.rows);
        disk_power_cut("a", copy);
        if (!CHECK(beside.rows < 60) || !open_with(&again, copy, &beside.token, &area) ||
            !has_rows(&again, beside.rows))
            return;
        store_close(&again);
    }
    store_end(&s);
}

TEST(R7b_not_because_it_was_read_at_open)
{
    struct store s, again;
    struct lsm_token k1, k2;

    if (!carry_begin(&s))
        return;
    k1 = carried(&s, no_token, "k1", &area);
    disk_kill("a", "b");
    store_close(&s);
    if (!open_with(&again, "b", &k1, &area))
        return;
    k2 = carried(&again, k1, "k2", &area);      /* over k1's row */
    disk_power_cut("b", "c");
    store_close(&again);
    CHECK(shows_with("c", &k2, &area, "k1 k2"));
    disk_end();
}

TEST(R7b_nor_after_a_sync_that_failed)
{
    struct store s;
    struct lsm_token k1, k2, k3;
    struct lsm_txn *txn;

    if (!carry_begin(&s))
        return;
    k1 = carried(&s, no_token, "k1", &area);
    txn = begin_put(&s, &k1, "k2");
    disk_fail(DISK_SYNC, 1, false, ".log");
    CHECK_RC(prepare_joint(txn, &k2), LSM_FSYNC);
    disk_heal();
    CHECK_OK(lsm_txn_abort(txn));
    k3 = carried(&s, k1, "k3", &area);
    disk_power_cut("a", "b");
    store_close(&s);
    CHECK(shows_with("b", &k3, &area, "k1 !k2 k3"));
    disk_end();
}

TEST(R7b_a_commit_that_failed_and_is_there_all_the_same_keeps_its_row)
{
    struct store s;
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
    CHECK(shows_with("b", &k2, &area, "k1 k2"));
    disk_end();
}
