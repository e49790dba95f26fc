/*
 * test_carry.c -- records that the host's own commit holds (commit.md R7, R7a, R7b, R11, R15):
 * each rule by its number and by the crash that it prevents. The host is an area of bytes that
 * this file writes as SQLite would: with its token, or not at all.
 */
#include "lsm/db/db.h"
#include "lsm/format/redo.h"
#include "tests/unit/disk.h"

enum { ROOM = 4096 };

static struct area {
    uint8_t bytes[LSM_REDO_ROOM_MAX];
    size_t size;
} area;

static bool carry_begin(struct store *s)
{
    memset(&area, 0, sizeof area);
    return store_begin(s);
}

static struct lsm_slice area_slice(const struct area *area)
{
    return (struct lsm_slice){ area->bytes, area->size };
}

/* What a host does between prepare and its commit. False: there was nothing to write. */
static bool area_write(struct area *area, const struct lsm_txn *txn)
{
    struct lsm_redo redo;

    lsm_txn_redo(txn, &redo);
    if (!redo.bytes.size)
        return false;
    if (!CHECK(redo.off + redo.bytes.size <= sizeof area->bytes))
        return false;
    memcpy(area->bytes + redo.off, redo.bytes.data, redo.bytes.size);
    if (area->size < redo.off + redo.bytes.size)
        area->size = redo.off + redo.bytes.size;
    return true;
}

static int prepare_carried(struct lsm_txn *txn, uint64_t room, struct lsm_token *token)
{
    const struct lsm_prepare how = { .kind = LSM_PREPARE_JOINT, .sync = true, .redo_room = room };

    return lsm_txn_prepare(txn, &how, token);
}

/* One whole joint transaction that may be carried; *is_carried: it was. */
static struct lsm_token joint_in(struct store *s, struct lsm_token base, const char *key,
                                 struct area *area, bool *is_carried)
{
    struct lsm_txn *txn = begin_put(s, &base, key);
    struct lsm_token token = base;

    CHECK_OK(prepare_carried(txn, ROOM, &token));
    *is_carried = area_write(area, txn);
    lsm_txn_commit(txn, false);
    return token;
}

static struct lsm_token carried(struct store *s, struct lsm_token base, const char *key,
                                struct area *area)
{
    bool is_carried;
    struct lsm_token token = joint_in(s, base, key, area, &is_carried);

    CHECK(is_carried);
    return token;
}

/* Open as a database does that shows `token` and this area. */
static bool open_with(struct store *s, const char *path, const struct lsm_token *token,
                      const struct area *area)
{
    int rc;

    if (!store_open(s, path))
        return false;
    rc = lsm_db_publish(s->db, token);
    if (rc == LSM_STALE && CHECK_OK(lsm_db_redo(s->db, token, area_slice(area))))
        rc = lsm_db_publish(s->db, token);
    return CHECK_RC(rc, LSM_OK);
}

static int count_with(const char *path, const struct lsm_token *token, const struct area *area)
{
    struct store s;
    int count = -1;

    if (open_with(&s, path, token, area)) {
        count = count_at(&s, NULL);
        store_close(&s);
    }
    return count;
}

static bool shows_with(const char *path, const struct lsm_token *token, const struct area *area,
                       const char *keys)
{
    struct store s;
    bool as_said = false;

    if (open_with(&s, path, token, area)) {
        as_said = shows(&s, keys);
        store_close(&s);
    }
    return as_said;
}

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
    CHECK_INT(stat_of(&again, "records_carried"), 0);
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

/* D-05. All joint ones are in the area, and still the solo between them is gone. */
TEST(R15_a_store_of_an_earlier_moment_is_not_made_newer_from_rows)
{
    struct store s, old;
    struct lsm_token k1, k2, k3;

    if (!carry_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", false);
    store_close(&s);
    disk_kill("a", "b");
    if (!store_open_at(&s, "a", &k1))
        return;
    k2 = carried(&s, k1, "k2", &area);
    solo(&s, k2, "solo", true);
    k3 = carried(&s, k2, "k3", &area);
    store_close(&s);
    if (!store_open(&old, "b"))
        return;
    CHECK_RC(lsm_db_redo(old.db, &k3, area_slice(&area)), LSM_STALE);
    CHECK_RC(lsm_db_publish(old.db, &k3), LSM_STALE);
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

    /* A reader of an older state opens it, flushes, closes cleanly: it knows nothing of k2. */
    if (!open_with(&again, "c", &k1, &area))
        return;
    CHECK_OK(lsm_db_flush(again.db));
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
