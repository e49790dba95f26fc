/*
 * test_dead.c -- a queue's head is found without walking what was deleted, and
 * what is known of it never hides a row.
 */
#include "lsm/lsm.h"
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

static void drop(struct queue *q, uint64_t id)
{
    uint8_t buf[8];
    CHECK_OK(lsm_db_delete(q->db, q->tree, key_of(id, buf), false));
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

static uint64_t passed_over(struct queue *q)
{
    struct lsm_stat stats[128];
    size_t n = lsm_db_stats(q->db, stats, 128);

    for (size_t i = 0; i < n && i < 128; i++)
        if (strcmp(stats[i].name, "rows_passed_over") == 0)
            return stats[i].value;
    return UINT64_MAX;
}

TEST(head_of_a_queue_is_found_without_walking_all_that_was_deleted)
{
    struct queue q;
    const uint64_t depth = 100, ops = 5000;

    if (!queue_open(&q))
        return;
    for (uint64_t i = 0; i < depth; i++)
        put(&q, i);
    for (uint64_t i = 0; i < ops; i++) {
        if (!CHECK_INT(head(&q, NULL, 0), i))
            break;
        drop(&q, i);
        put(&q, depth + i);
        if (i == ops / 2)
            CHECK_OK(lsm_db_flush(q.db));
    }
    /* Without memory of it: two rows each for half of `ops` on average, millions. */
    printf("  %llu rows passed over\n", (unsigned long long)passed_over(&q));
    CHECK(passed_over(&q) < ops * 200);
    CHECK_OK(lsm_db_close(q.db));
}

TEST(row_put_into_a_dead_stretch_is_seen_by_all_who_may)
{
    struct lsm_snapshot *before, *after;
    struct lsm_read read = { .snapshot = NULL };
    struct queue q;

    if (!queue_open(&q))
        return;
    for (uint64_t i = 0; i < 1000; i++)
        put(&q, i);
    CHECK_OK(lsm_snapshot_open(q.db, &before));
    for (uint64_t i = 0; i < 900; i++)
        drop(&q, i);
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

    if (!queue_open(&q))
        return;
    for (uint64_t i = 0; i < 1000; i++)
        put(&q, i);
    for (uint64_t i = 0; i < 900; i++)
        drop(&q, i);
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

TEST(random_queue_agrees_with_an_array)
{
    enum { IDS = 3000 };
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
