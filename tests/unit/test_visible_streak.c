/*
 * test_visible_streak.c -- a cursor that takes rows from a block (version/visible.c) shows
 * what an array of the rows shows, wherever it turns, whatever lies between: keys of all
 * shapes, versions, tombstones, other runs, memtables that grow, rows of the
 * reader's own, snapshots. What it pinned stays.
 */
#include "lsm/db/db.h"
#include "tests/unit/one_tree.h"

#define KEYS_MAX 4000
#define SNAPSHOTS 3
#define PINS 4
#define KEY_MAX 400

static struct key_bytes {
    uint8_t bytes[KEY_MAX];
    size_t size;
} keys[KEYS_MAX];
static uint32_t key_count;

/* What a reader sees: 0, there is no row, or the number of the write. */
struct rows {
    uint32_t stamp[KEYS_MAX];
};

static struct {
    struct one one;
    struct rows now, of[SNAPSHOTS], own;
    struct lsm_snapshot *snapshot[SNAPSHOTS];
    struct lsm_txn *txn;
    uint32_t stamp, value_max;
} w;

static struct lsm_slice key(uint32_t i)
{
    return (struct lsm_slice){ keys[i].bytes, keys[i].size };
}

static int compare_keys(const void *a, const void *b)
{
    const struct key_bytes *x = a, *y = b;

    return lsm_slice_compare(lsm_slice(x->bytes, x->size), lsm_slice(y->bytes, y->size));
}

/* Sorted, each once. */
static void make_keys(uint32_t shape)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < KEYS_MAX; i++) {
        uint8_t *p = keys[i].bytes;
        size_t size;

        switch (shape) {
        case 0:                 /* of one size, neighbours differ in their last bytes */
            size = (size_t)sprintf((char *)p, "key%09u", i);
            break;
        case 1:                 /* eight equal bytes behind the common prefix */
            size = (size_t)sprintf((char *)p, "the same%04u________%c%02u", i / 300, (char)('a' + i % 3), i % 100);
            break;
        case 2:                 /* random, of one size */
            for (size = 0; size < 16; size++)
                p[size] = (uint8_t)test_below(256);
            break;
        case 3:                 /* few bytes, any size: keys that begin others, and the empty one */
            for (size = test_below(12); size < 60 && test_below(24); size++)
                ;
            for (size_t j = 0; j < size; j++)
                p[j] = (uint8_t)test_below(2);
            break;
        default:                /* long ones, some beside many short ones */
            size = test_below(20) ? 3 : 3 + test_below(KEY_MAX - 20);
            memset(p, 'p', size);
            size += (size_t)sprintf((char *)p + size, "%c%07u", (char)('p' - test_below(2)), i);
        }
        keys[i].size = size;
    }
    qsort(keys, KEYS_MAX, sizeof keys[0], compare_keys);
    for (uint32_t i = 0; i < KEYS_MAX; i++)
        if (n == 0 || compare_keys(&keys[i], &keys[n - 1]))
            keys[n++] = keys[i];
    key_count = n;
}

static struct lsm_slice value(uint32_t stamp)
{
    static uint8_t bytes[4096];
    size_t size = w.value_max > 0 ? stamp * 7919 % w.value_max : 24;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i % 9 ? stamp + i : stamp >> 8);
    return lsm_slice(bytes, size);
}

static void write_row(uint32_t i, bool put)
{
    struct rows *to = w.txn ? &w.own : &w.now;

    to->stamp[i] = put ? ++w.stamp : 0;
    if (w.txn)
        CHECK_OK(put ? lsm_txn_put(w.txn, w.one.tree, key(i), value(w.stamp)) : lsm_txn_delete(w.txn, w.one.tree, key(i)));
    else
        CHECK_OK(put ? lsm_db_put(w.one.db, w.one.tree, key(i), value(w.stamp), false)
                     : lsm_db_delete(w.one.db, w.one.tree, key(i), false));
}

/* Many neighbours, a few rows anywhere, or the same few again and again: what stands between them in other runs. */
static void write_rows(void)
{
    uint32_t from = (uint32_t)test_below(key_count), n = (uint32_t)test_below(test_below(3) ? 20 : 2000);
    bool anywhere = test_below(3) == 0;

    if (test_below(4) == 0) {
        for (uint32_t i = 0; i < n && i < 100; i++)
            write_row((from + i % 3) % key_count, test_below(6) > 0);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        write_row(anywhere ? (uint32_t)test_below(key_count) : (from + i) % key_count, test_below(60) > 0);
}

/* Rows in tables whose tags count from the transaction's. */
static void ingest_rows_of(uint32_t i, uint32_t end)
{
    struct lsm_ingest *ingest;
    struct lsm_txn *txn;

    if (!CHECK_OK(lsm_txn_begin(w.one.db, NULL, &txn)) || !CHECK_OK(lsm_ingest_begin(txn, w.one.tree, &ingest)))
        return;
    for (; i < key_count && i < end; i++) {
        w.now.stamp[i] = ++w.stamp;
        CHECK_OK(lsm_ingest_add(ingest, key(i), value(w.stamp)));
    }
    CHECK_OK(lsm_ingest_finish(ingest));
    CHECK_OK(lsm_txn_commit_alone(txn, false));
}

static void work(void)
{
    uint32_t i;

    switch (test_below(9)) {
    case 0:
        CHECK_OK(lsm_db_flush(w.one.db));
        break;
    case 1:
        CHECK_OK(lsm_db_compact(w.one.db, w.one.tree));
        break;
    case 2:
        while (lsm_db_step(w.one.db) == LSM_OK)
            ;
        break;
    case 3:
        i = (uint32_t)test_below(SNAPSHOTS);
        lsm_snapshot_close(w.snapshot[i]);
        w.of[i] = w.now;
        CHECK_OK(lsm_snapshot_open(w.one.db, &w.snapshot[i]));
        break;
    case 4:
        i = (uint32_t)test_below(key_count);
        ingest_rows_of(i, i + (uint32_t)test_below(400));
        break;
    default:
        write_rows();
    }
}

static uint32_t next_of(const struct rows *r, uint32_t i)      /* at or after; key_count: none */
{
    while (i < key_count && !r->stamp[i])
        i++;
    return i;
}

static uint32_t prev_of(const struct rows *r, uint32_t i)      /* before */
{
    while (i > 0 && !r->stamp[i - 1])
        i--;
    return i ? i - 1 : key_count;
}

/* The cursor stands where the array does; at key_count: nowhere. */
static bool stands(struct lsm_cursor *c, int rc, const struct rows *r, uint32_t at)
{
    if (at == key_count)
        return CHECK_INT(rc, LSM_DONE);
    return CHECK_INT(rc, LSM_OK) && CHECK(lsm_slice_equal(lsm_cursor_key(c), key(at))) &&
           (test_below(3) || CHECK(lsm_slice_equal(lsm_cursor_value(c), value(r->stamp[at]))));
}

static bool walk(struct lsm_cursor *c, const struct rows *r)
{
    struct { struct lsm_value value; uint32_t stamp; } pins[PINS] = { 0 };
    uint32_t at = key_count, pinned = 0;
    bool same = true;

    for (int move = 0; move < 40 && same; move++) {
        uint32_t to = (uint32_t)test_below(key_count), steps = (uint32_t)test_below(test_below(2) ? 6 : 150);
        int rc;

        switch (test_below(at == key_count ? 4 : 10)) {
        case 0:
            rc = lsm_cursor_first(c), at = next_of(r, 0);
            break;
        case 1:
            rc = lsm_cursor_last(c), at = prev_of(r, key_count);
            break;
        case 2:
            rc = lsm_cursor_seek(c, key(to)), at = next_of(r, to);
            break;
        case 3:
            rc = lsm_cursor_seek_prev(c, key(to)), at = prev_of(r, to + 1);
            break;
        case 4: case 5: case 6:
            for (rc = LSM_OK; steps > 0 && at < key_count && same; steps--) {
                rc = lsm_cursor_next(c), at = next_of(r, at + 1);
                same = stands(c, rc, r, at);
            }
            break;
        default:
            for (rc = LSM_OK; steps > 0 && at < key_count && same; steps--) {
                rc = lsm_cursor_prev(c), at = prev_of(r, at);
                same = stands(c, rc, r, at);
            }
        }
        same = same && stands(c, at == key_count ? LSM_DONE : rc, r, at);
        if (same && at < key_count) {
            uint32_t i = pinned++ % PINS;

            lsm_value_release(&pins[i].value);
            same = CHECK_OK(lsm_cursor_pin(c, &pins[i].value));
            pins[i].stamp = r->stamp[at];
        }
        if (same && test_below(20) == 0 && !w.txn)
            write_row(to, test_below(4) > 0);           /* which the cursor does not see */
    }
    for (uint32_t i = 0; i < PINS; i++) {
        if (pins[i].stamp && same)
            same = CHECK(lsm_slice_equal(pins[i].value.bytes, value(pins[i].stamp)));
        lsm_value_release(&pins[i].value);
    }
    return same;
}

static bool read_rows(void)
{
    uint32_t i = (uint32_t)test_below(SNAPSHOTS);
    struct lsm_read read = { 0 };
    struct lsm_cursor *c;
    struct rows r = w.now;
    bool same;

    switch (test_below(4)) {
    case 0:
        if (w.snapshot[i]) {
            read.snapshot = w.snapshot[i];
            r = w.of[i];
        }
        break;
    case 1:
        if (!CHECK_OK(lsm_txn_begin(w.one.db, NULL, &w.txn)))
            return false;
        w.own = w.now;
        for (uint32_t n = (uint32_t)test_below(30); n > 0; n--)
            write_row((uint32_t)test_below(key_count), test_below(4) > 0);
        read.txn = w.txn;
        r = w.own;
        break;
    }
    same = CHECK_OK(lsm_cursor_open(w.one.tree, &read, &c)) && walk(c, &r);
    lsm_cursor_close(c);
    if (w.txn)
        CHECK_OK(lsm_txn_abort(w.txn));
    w.txn = NULL;
    return same;
}

TEST(cursor_that_reads_blocks_shows_what_an_array_shows)
{
    for (int round = 0; round < (test_long() ? 150 : 15) && test_state.failures == 0; round++) {
        memset(&w, 0, sizeof w);
        make_keys((uint32_t)round % 5);
        w.value_max = round % 3 == 0 ? 0 : (uint32_t)(round % 3 == 1 ? 90 : 1500);
        if (!one_begin(&w.one))
            return;
        for (int step = 0; step < 60 && test_state.failures == 0; step++) {
            work();
            if (test_below(2) && !read_rows())
                fprintf(stderr, "round %d, step %d\n", round, step);
        }
        for (int i = 0; i < SNAPSHOTS; i++)
            lsm_snapshot_close(w.snapshot[i]);
        one_end(&w.one);
    }
}

/* Ingested tables count their tags from their transaction's: a snapshot from before it sees none of their rows. */
TEST(cursor_of_a_snapshot_goes_past_what_was_ingested_since)
{
    struct lsm_read read = { 0 };
    struct lsm_cursor *c;
    uint32_t i;

    memset(&w, 0, sizeof w);
    make_keys(0);
    if (!one_begin(&w.one))
        return;
    for (i = 0; i < 300; i++)
        write_row(i < 150 ? i : i + 300, true);
    CHECK_OK(lsm_db_compact(w.one.db, w.one.tree));
    w.of[0] = w.now;
    CHECK_OK(lsm_snapshot_open(w.one.db, &w.snapshot[0]));
    ingest_rows_of(150, 450);
    CHECK_OK(lsm_db_flush(w.one.db));
    read.snapshot = w.snapshot[0];
    for (int back = 0; back < 2; back++) {
        uint32_t at = back ? prev_of(&w.of[0], key_count) : next_of(&w.of[0], 0);
        int rc;

        CHECK_OK(lsm_cursor_open(w.one.tree, &read, &c));
        rc = back ? lsm_cursor_last(c) : lsm_cursor_first(c);
        while (stands(c, rc, &w.of[0], at) && at < key_count) {
            rc = back ? lsm_cursor_prev(c) : lsm_cursor_next(c);
            at = back ? prev_of(&w.of[0], at) : next_of(&w.of[0], at + 1);
        }
        lsm_cursor_close(c);
    }
    lsm_snapshot_close(w.snapshot[0]);
    one_end(&w.one);
}
