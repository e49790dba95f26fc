/*
 * test_cursor_txn.c -- a cursor that a transaction uses again shows what a new one
 * shows, whatever was written, taken back, spilled or flushed in between.
 */
#include "lsm/db/db.h"
#include "tests/unit/one_tree.h"

#define KEYS 60

/* The rows of both, forward and backward. */
static bool agree(struct one *o, struct lsm_cursor *used, const struct lsm_read *read)
{
    struct lsm_cursor *fresh;
    bool same = CHECK_OK(lsm_cursor_reopen(used, o->tree, read)) && CHECK_OK(lsm_cursor_open(o->tree, read, &fresh));

    for (int back = 0; same && back < 2; back++) {
        int a = back ? lsm_cursor_last(used) : lsm_cursor_first(used);
        int b = back ? lsm_cursor_last(fresh) : lsm_cursor_first(fresh);

        for (;;) {
            struct lsm_slice av, bv;

            if (!CHECK_INT(a, b) || a != LSM_OK) {
                same = a == LSM_DONE && b == LSM_DONE;
                break;
            }
            av = lsm_cursor_value(used);
            bv = lsm_cursor_value(fresh);
            same = CHECK(lsm_slice_equal(lsm_cursor_key(used), lsm_cursor_key(fresh))) &&
                   CHECK(lsm_slice_equal(av, bv));
            if (!same)
                break;
            a = back ? lsm_cursor_prev(used) : lsm_cursor_next(used);
            b = back ? lsm_cursor_prev(fresh) : lsm_cursor_next(fresh);
        }
    }
    lsm_cursor_close(fresh);
    return same;
}

static void write_something(struct one *o, struct lsm_txn *txn, int step)
{
    uint32_t n = (uint32_t)test_below(KEYS), what = (uint32_t)test_below(40);
    char value[16];
    size_t size = (size_t)snprintf(value, sizeof value, "%d", step);

    if (what < 24)
        CHECK_OK(lsm_txn_put(txn, o->tree, number(n), lsm_slice(value, size)));
    else if (what < 39)
        CHECK_OK(lsm_txn_delete(txn, o->tree, number(n)));
    else
        CHECK_OK(lsm_txn_delete_range(txn, o->tree, number(n), number(n + 1 + (uint32_t)test_below(8))));
}

static void ingest_something(struct one *o, struct lsm_txn *txn)
{
    struct lsm_ingest *ingest;
    uint32_t n = (uint32_t)test_below(KEYS), end = n + (uint32_t)test_below(8);

    CHECK_OK(lsm_ingest_begin(txn, o->tree, &ingest));
    for (; n <= end; n++)
        CHECK_OK(lsm_ingest_add(ingest, number(n), lsm_slice("ingested", 8)));
    CHECK_OK(lsm_ingest_finish(ingest));
}

TEST(cursor_used_again_in_a_transaction_shows_what_a_new_one_shows)
{
    struct lsm_cursor *used;
    struct lsm_txn *txn = NULL;
    uint64_t mark = 0;
    struct one o;

    if (!one_begin(&o))
        return;
    CHECK_OK(lsm_cursor_open(o.tree, NULL, &used));
    for (int step = 0; step < (test_long() ? 60000 : 5000) && test_state.failures == 0; step++) {
        uint32_t what = (uint32_t)test_below(100);
        struct lsm_read read = { .txn = txn };

        if (!txn) {
            CHECK_OK(lsm_txn_begin(o.db, NULL, &txn));
            mark = lsm_txn_mark(txn);
        } else if (what < 50) {
            write_something(&o, txn, step);
        } else if (what < 54) {
            mark = lsm_txn_mark(txn);
        } else if (what < 58) {
            lsm_txn_rollback_to(txn, mark);
        } else if (what < 59 && test_below(3) == 0) {
            CHECK_OK(lsm_txn_spill(txn));
        } else if (what < 60) {
            ingest_something(&o, txn);
        } else if (what < 61) {
            CHECK_OK(lsm_db_flush(o.db));
        } else if (what < 63) {         /* the cursor holds what the transaction wrote to */
            if (test_below(4))
                CHECK_OK(lsm_txn_commit_alone(txn, false));
            else
                CHECK_OK(lsm_txn_abort(txn));
            txn = NULL;
        } else if (!agree(&o, used, test_below(8) ? &read : NULL)) {
            printf("  at step %d\n", step);
            break;
        }
    }
    lsm_cursor_close(used);
    if (txn)
        CHECK_OK(lsm_txn_abort(txn));
    one_end(&o);
}
