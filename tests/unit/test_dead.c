/*
 * test_dead.c -- a queue's head is found without walking what was deleted, and
 * what is known of it never hides a row.
 */
#include "lsm/db/db.h"
#include "tests/stat.h"
#include "tests/test.h"

struct queue {
    struct lsm_db *db;
    struct lsm_tree *tree;
};

static struct lsm_slice key_of(uint64_t id, uint8_t buf[8])
{
    for (int i = 0; i < 8; i++)
        buf[i] = (uint8_t)(id >> (56 - 8 * i));
    return (struct lsm_slice){ buf, 8 };
}

static bool queue_open(struct queue *q)
{
    struct lsm_options options;

    lsm_options_init(&options);
    options.create_if_missing = true;
    options.no_worker = true;
    return CHECK_OK(lsm_db_open(NULL, &options, &q->db)) &&
           CHECK_OK(lsm_tree_create(q->db, (struct lsm_slice){ (const uint8_t *)"q", 1 }, NULL, &q->tree));
}

static void put(struct queue *q, uint64_t id)
{
    uint8_t buf[8];
    CHECK_OK(lsm_db_put(q->db, q->tree, key_of(id, buf), (struct lsm_slice){ (const uint8_t *)"v", 1 }, false));
}

/* With the rows 0 .. count - 1. */
static bool queue_open_with(struct queue *q, uint64_t count)
{
    if (!queue_open(q))
        return false;
    for (uint64_t i = 0; i < count; i++)
        put(q, i);
    return true;
}

static void drop(struct queue *q, uint64_t id)
{
    uint8_t buf[8];
    CHECK_OK(lsm_db_delete(q->db, q->tree, key_of(id, buf), false));
}

static void drop_below(struct queue *q, uint64_t end)
{
    for (uint64_t i = 0; i < end; i++)
        drop(q, i);
}

/* The first row at or after `from` as `read` sees it; UINT64_MAX: none. */
static uint64_t head(struct queue *q, const struct lsm_read *read, uint64_t from)
{
    struct lsm_cursor *c;
    uint64_t id = UINT64_MAX;
    uint8_t buf[8];

    CHECK_OK(lsm_cursor_open(q->tree, read, &c));
    if (lsm_cursor_seek(c, key_of(from, buf)) == LSM_OK) {
        struct lsm_slice key = lsm_cursor_key(c);
        id = 0;
        for (int i = 0; i < 8; i++)
            id = id << 8 | key.data[i];
    }
    lsm_cursor_close(c);
    return id;
}

TEST(head_of_a_queue_is_found_without_walking_all_that_was_deleted)
{
    struct queue q;
    const uint64_t depth = 100, ops = 5000;

    if (!queue_open_with(&q, depth))
        return;
    for (uint64_t i = 0; i < ops; i++) {
        if (!CHECK_INT(head(&q, NULL, 0), i))
            break;
        drop(&q, i);
        put(&q, depth + i);
        if (i == ops / 2)
            CHECK_OK(lsm_db_flush(q.db));
    }
    /* Without memory of it: two rows each for half of `ops` on average, millions. */
    printf("  %llu rows passed over\n", (unsigned long long)stat_of(q.db, "rows_passed_over"));
    CHECK(stat_of(q.db, "rows_passed_over") < ops * 200);
    CHECK_OK(lsm_db_close(q.db));
}

TEST(row_put_into_a_dead_stretch_is_seen_by_all_who_may)
{
    struct lsm_snapshot *before, *after;
    struct lsm_read read = { .snapshot = NULL };
    struct queue q;

    if (!queue_open_with(&q, 1000))
        return;
    CHECK_OK(lsm_snapshot_open(q.db, &before));
    drop_below(&q, 900);
    CHECK_INT(head(&q, NULL, 0), 900);          /* learned: [0, 900) */
    CHECK_INT(head(&q, NULL, 0), 900);
    CHECK_INT(head(&q, NULL, 500), 900);
    read.snapshot = before;
    CHECK_INT(head(&q, &read, 0), 0);           /* an older reader is not deceived */
    CHECK_OK(lsm_snapshot_open(q.db, &after));
    put(&q, 450);
    CHECK_INT(head(&q, NULL, 0), 450);
    read.snapshot = after;
    CHECK_INT(head(&q, &read, 0), 900);         /* may walk, must not tell the others */
    CHECK_INT(head(&q, NULL, 0), 450);
    lsm_snapshot_close(before);
    lsm_snapshot_close(after);
    CHECK_OK(lsm_db_close(q.db));
}

TEST(own_row_in_a_dead_stretch_is_seen_by_its_transaction)
{
    struct lsm_txn *txn;
    struct lsm_read read = { .txn = NULL };
    struct queue q;
    uint8_t buf[8];

    if (!queue_open_with(&q, 1000))
        return;
    drop_below(&q, 900);
    CHECK_INT(head(&q, NULL, 0), 900);
    CHECK_OK(lsm_txn_begin(q.db, NULL, &txn));
    CHECK_OK(lsm_txn_put(txn, q.tree, key_of(300, buf), (struct lsm_slice){ (const uint8_t *)"v", 1 }));
    read.txn = txn;
    CHECK_INT(head(&q, &read, 0), 300);
    CHECK_INT(head(&q, &read, 301), 900);
    CHECK_INT(head(&q, NULL, 0), 900);
    CHECK_OK(lsm_txn_commit_alone(txn, false));
    CHECK_INT(head(&q, NULL, 0), 300);
    CHECK_OK(lsm_db_close(q.db));
}

/* A queue inside one transaction, and in transactions of its own reader: the rows that are walked. */
static uint64_t pass_through(uint64_t ops, uint64_t batch, bool back)
{
    struct lsm_read read = { .txn = NULL };
    const uint64_t depth = 100, top = 1000000;
    struct lsm_txn *txn = NULL;
    struct queue q;
    uint64_t passed;
    uint8_t buf[8];

    if (!queue_open(&q))
        return UINT64_MAX;
    for (uint64_t i = 0; i < depth; i++)
        put(&q, back ? top - i : i);
    for (uint64_t i = 0; i < ops; i++) {
        struct lsm_cursor *c;
        uint64_t at = back ? top - i : i;

        if (i % batch == 0) {
            CHECK_OK(lsm_txn_begin(q.db, NULL, &txn));
            read.txn = txn;
        }
        CHECK_OK(lsm_txn_put(txn, q.tree, key_of(back ? at - depth : at + depth, buf),
                             (struct lsm_slice){ (const uint8_t *)"v", 1 }));
        CHECK_OK(lsm_cursor_open(q.tree, &read, &c));
        CHECK_OK(back ? lsm_cursor_last(c) : lsm_cursor_first(c));
        if (!CHECK(memcmp(lsm_cursor_key(c).data, key_of(at, buf).data, 8) == 0))
            i = ops;
        lsm_cursor_close(c);
        CHECK_OK(lsm_txn_delete(txn, q.tree, key_of(at, buf)));
        if (i % batch == batch - 1)
            CHECK_OK(lsm_txn_commit_alone(txn, false));
        if (i == ops / 2)
            CHECK_OK(lsm_db_flush(q.db));
    }
    passed = stat_of(q.db, "rows_passed_over");
    printf("  %llu rows passed over\n", (unsigned long long)passed);
    CHECK_OK(lsm_db_close(q.db));
    return passed;
}

TEST(transaction_finds_the_head_of_a_queue_without_walking_its_own_deletes)
{
    CHECK(pass_through(4000, 4000, false) < 4000 * 20);
    CHECK(pass_through(4000, 4000, true) < 4000 * 20);
}

TEST(what_a_transaction_deleted_is_not_walked_by_each_one_after_it)
{
    CHECK(pass_through(5000, 50, false) < 5000 * 20);
    CHECK(pass_through(5000, 50, true) < 5000 * 20);
}

#define TENANTS 100

TEST(several_queues_in_one_tree_are_remembered_at_a_time)
{
    struct queue q;
    uint64_t before;

    if (!queue_open(&q))
        return;
    for (uint64_t tenant = 0; tenant < TENANTS; tenant++)
        for (uint64_t i = 0; i < 60; i++)
            put(&q, tenant * 1000 + i);
    for (uint64_t tenant = 0; tenant < TENANTS; tenant++) {
        for (uint64_t i = 0; i < 50; i++)
            drop(&q, tenant * 1000 + i);
        CHECK_INT(head(&q, NULL, tenant * 1000), tenant * 1000 + 50);
    }
    before = stat_of(q.db, "rows_passed_over");
    for (uint64_t tenant = 0; tenant < TENANTS; tenant++)
        CHECK_INT(head(&q, NULL, tenant * 1000), tenant * 1000 + 50);
    CHECK_INT(stat_of(q.db, "rows_passed_over"), before);
    CHECK_OK(lsm_db_close(q.db));
}

TEST(empty_queue_is_not_walked_again)
{
    struct queue q;
    uint64_t before;

    if (!queue_open_with(&q, 1000))
        return;
    drop_below(&q, 1000);
    CHECK_INT(head(&q, NULL, 0), UINT64_MAX);
    before = stat_of(q.db, "rows_passed_over");
    CHECK_INT(head(&q, NULL, 0), UINT64_MAX);
    CHECK_INT(head(&q, NULL, 2000), UINT64_MAX);
    CHECK_INT(stat_of(q.db, "rows_passed_over"), before);
    put(&q, 1500);
    CHECK_INT(head(&q, NULL, 0), 1500);
    CHECK_OK(lsm_db_close(q.db));
}

/* ---- a transaction over dead stretches, beside an array ---- */

enum { IDS = 1500, READERS = 6, MARKS = 8 };

/* A cursor and what it must see: the state when it was opened. */
struct reader {
    struct lsm_cursor *cursor;
    uint8_t state[IDS];
    bool is_current;            /* nothing that it sees was undone since */
    uint64_t lower, upper;
};

static void check_move(const struct reader *r, int rc, bool forward, uint64_t from)
{
    uint64_t want = UINT64_MAX, got = UINT64_MAX;

    if (!r->is_current)         /* nobody knows what it sees; it must not tell the others */
        return;

    if (forward) {
        for (uint64_t i = from < r->lower ? r->lower : from; i < r->upper && want == UINT64_MAX; i++)
            if (r->state[i])
                want = i;
    } else {
        for (uint64_t i = from < r->upper ? from + 1 : r->upper; i > r->lower && want == UINT64_MAX; i--)
            if (r->state[i - 1])
                want = i - 1;
    }
    if (rc == LSM_OK) {
        struct lsm_slice key = lsm_cursor_key(r->cursor);

        got = 0;
        for (int i = 0; i < 8; i++)
            got = got << 8 | key.data[i];
        if (want != UINT64_MAX)
            CHECK_INT(lsm_cursor_value(r->cursor).data[0], r->state[want]);
    } else {
        CHECK_INT(rc, LSM_DONE);
    }
    CHECK_INT(got, want);
}

static void use_reader(struct reader *r)
{
    uint64_t from = test_random() % IDS;
    bool forward = test_random() % 2;
    uint8_t buf[8];
    int rc;

    switch (test_random() % 3) {
    case 0:
        rc = forward ? lsm_cursor_first(r->cursor) : lsm_cursor_last(r->cursor);
        from = forward ? 0 : IDS - 1;
        break;
    case 1:
        rc = forward ? lsm_cursor_seek(r->cursor, key_of(from, buf))
                     : lsm_cursor_seek_prev(r->cursor, key_of(from, buf));
        break;
    default:
        rc = lsm_cursor_seek(r->cursor, key_of(from, buf));
        check_move(r, rc, true, from);
        for (int i = 0; i < 4 && rc == LSM_OK; i++) {
            struct lsm_slice key = lsm_cursor_key(r->cursor);

            from = (uint64_t)key.data[6] << 8 | key.data[7];
            forward = test_random() % 3 != 0;
            if (!forward && from == 0)
                return;
            rc = forward ? lsm_cursor_next(r->cursor) : lsm_cursor_prev(r->cursor);
            check_move(r, rc, forward, forward ? from + 1 : from - 1);
        }
        return;
    }
    check_move(r, rc, forward, from);
}

static void open_reader(struct queue *q, struct reader *r, const struct lsm_read *read,
                        const uint8_t state[IDS])
{
    struct lsm_slice none = { NULL, 0 };
    uint8_t lo[8], hi[8];

    if (r->cursor && test_random() % 2) {
        CHECK_OK(lsm_cursor_reopen(r->cursor, q->tree, read));
    } else {
        lsm_cursor_close(r->cursor);
        CHECK_OK(lsm_cursor_open(q->tree, read, &r->cursor));
    }
    memcpy(r->state, state, IDS);
    r->is_current = true;
    r->lower = test_random() % 3 ? 0 : test_random() % IDS;
    r->upper = test_random() % 3 ? IDS : r->lower + test_random() % (IDS - r->lower);
    CHECK_OK(lsm_cursor_set_bounds(r->cursor, r->lower ? key_of(r->lower, lo) : none,
                                   r->upper < IDS ? key_of(r->upper, hi) : none));
}

static void change(struct queue *q, struct lsm_txn *txn, uint8_t state[IDS], bool touched[IDS], uint64_t id,
                   uint8_t value)
{
    uint8_t buf[8];

    if (value)
        CHECK_OK(lsm_txn_put(txn, q->tree, key_of(id, buf), (struct lsm_slice){ &value, 1 }));
    else
        CHECK_OK(lsm_txn_delete(txn, q->tree, key_of(id, buf)));
    state[id] = value;
    touched[id] = true;
}

TEST(cursors_of_a_transaction_over_dead_stretches_agree_with_an_array)
{
    static uint8_t committed[IDS], now[IDS], marked[MARKS][IDS], old[IDS], mixed[IDS];
    static bool touched[IDS], marked_touched[MARKS][IDS];
    static struct reader readers[READERS];
    struct lsm_snapshot *snapshot = NULL;
    struct lsm_txn *txn = NULL;
    uint64_t marks[MARKS];
    uint32_t mark_count = 0;
    struct queue q;

    if (!queue_open(&q))
        return;
    memset(committed, 0, sizeof committed);
    memset(now, 0, sizeof now);
    for (int step = 0; step < (test_long() ? 100000 : 20000) && test_state.failures == 0; step++) {
        uint32_t what = (uint32_t)(test_random() % 100);

        if (!txn) {
            CHECK_OK(lsm_txn_begin(q.db, NULL, &txn));
            mark_count = 0;
            memset(touched, 0, sizeof touched);
        }
        if (what < 25) {                /* puts and deletes here and there */
            change(&q, txn, now, touched, test_random() % IDS,
                   test_random() % 4 ? 0 : (uint8_t)(1 + step % 250));
        } else if (what < 31) {         /* a stretch dies, or is born */
            uint64_t from = test_random() % IDS, n = test_random() % 400;
            uint8_t value = test_random() % 3 ? 0 : 7, lo[8], hi[8];

            if (test_random() % 4 == 0) {
                CHECK_OK(lsm_txn_delete_range(txn, q.tree, key_of(from, lo), key_of(from + n, hi)));
                for (uint64_t i = from; i < IDS && i < from + n; i++) {
                    now[i] = 0;
                    touched[i] = true;
                }
                continue;
            }

            for (uint64_t i = from; i < IDS && i < from + n; i++)
                if (value || now[i])
                    change(&q, txn, now, touched, i, value);
        } else if (what < 34 && mark_count < MARKS) {
            memcpy(marked[mark_count], now, IDS);
            memcpy(marked_touched[mark_count], touched, IDS);
            marks[mark_count++] = lsm_txn_mark(txn);
        } else if (what < 36 && mark_count) {
            uint32_t to = (uint32_t)(test_random() % mark_count);

            lsm_txn_rollback_to(txn, marks[to]);
            memcpy(now, marked[to], IDS);
            memcpy(touched, marked_touched[to], IDS);
            mark_count = to + 1;
            for (int i = 0; i < READERS; i++)
                readers[i].is_current = false;
        } else if (what < 37) {
            CHECK_OK(lsm_txn_commit_alone(txn, false));
            memcpy(committed, now, IDS);
            txn = NULL;
        } else if (what < 38 && test_random() % 3 == 0) {
            CHECK_OK(lsm_txn_spill(txn));
        } else if (what < 38 && test_random() % 4 == 0) {
            CHECK_OK(lsm_txn_abort(txn));
            memcpy(now, committed, IDS);
            txn = NULL;
            if (test_random() % 2)
                CHECK_OK(lsm_db_flush(q.db));
        } else if (what < 39 && test_random() % 4 == 0) {
            lsm_snapshot_close(snapshot);
            CHECK_OK(lsm_snapshot_open(q.db, &snapshot));
            memcpy(old, committed, IDS);
        } else {
            struct reader *r = &readers[test_random() % READERS];

            if (!r->cursor || test_random() % (r->is_current ? 4 : 2) == 0) {
                uint32_t who = (uint32_t)(test_random() % 10);

                if (who == 0 && snapshot)
                    open_reader(&q, r, &(struct lsm_read){ .snapshot = snapshot }, old);
                else if (who < 3)
                    open_reader(&q, r, NULL, committed);
                else if (txn && snapshot && who == 3) {
                    for (int i = 0; i < IDS; i++)
                        mixed[i] = touched[i] ? now[i] : old[i];
                    open_reader(&q, r, &(struct lsm_read){ .snapshot = snapshot, .txn = txn }, mixed);
                } else if (txn)
                    open_reader(&q, r, &(struct lsm_read){ .txn = txn }, now);
                else
                    continue;
            }
            use_reader(r);
        }
    }
    if (txn)
        CHECK_OK(lsm_txn_abort(txn));
    for (int i = 0; i < READERS; i++) {
        lsm_cursor_close(readers[i].cursor);
        readers[i].cursor = NULL;
    }
    lsm_snapshot_close(snapshot);
    CHECK_OK(lsm_db_close(q.db));
}

TEST(tree_whose_writes_are_undone_has_its_rows_back)
{
    struct lsm_txn *txn;
    struct lsm_read read = { .txn = NULL };
    struct queue q;
    uint8_t buf[8];

    if (!queue_open_with(&q, 100))
        return;
    CHECK_OK(lsm_txn_begin(q.db, NULL, &txn));
    for (uint64_t i = 0; i < 100; i++)
        CHECK_OK(lsm_txn_delete(txn, q.tree, key_of(i, buf)));
    read.txn = txn;
    CHECK_INT(head(&q, &read, 0), UINT64_MAX);
    lsm_txn_discard_tree(txn, q.tree);
    CHECK_INT(head(&q, &read, 0), 0);
    CHECK_OK(lsm_txn_abort(txn));
    CHECK_OK(lsm_db_close(q.db));
}

TEST(random_queue_agrees_with_an_array)
{
    static bool has[IDS];
    struct queue q;

    if (!queue_open(&q))
        return;
    memset(has, 0, sizeof has);
    for (int step = 0; step < 30000; step++) {
        uint64_t id = test_random() % IDS, want;
        if (test_random() % 100 < (step / 3000 % 2 ? 80 : 20)) {
            if (has[id])
                drop(&q, id);
            has[id] = false;
        } else {
            put(&q, id);
            has[id] = true;
        }
        if (step % 7 == 0) {
            uint64_t from = test_random() % 2 ? 0 : test_random() % IDS;
            for (want = from; want < IDS && !has[want]; want++)
                continue;
            if (!CHECK_INT(head(&q, NULL, from), want == IDS ? UINT64_MAX : want))
                break;
        }
    }
    CHECK_OK(lsm_db_close(q.db));
}
