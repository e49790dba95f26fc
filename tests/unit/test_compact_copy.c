/*
 * test_compact_copy.c -- a store of streams, whose compactions copy many blocks, reads as its array: with old keys written
 * again, deletes, range deletes, ingests, snapshots, value logs, orders of keys, codecs of levels, and parts.
 */
#include "lsm/format/ikey.h"
#include "tests/unit/disk.h"
#include "tests/unit/orders.h"

#define KEY_MAX 24
#define STREAMS_MAX 8
#define N_MAX 6000
#define HELD 2

struct state {
    struct { uint32_t count, stamp[N_MAX]; } stream[STREAMS_MAX];       /* stamp 0: not there */
};

static struct {
    const struct lsm_comparator *cmp;
    struct lsm_db *db;
    struct lsm_tree *tree;
    uint32_t streams, stamps;
    struct state now;
    struct { struct lsm_snapshot *snapshot; struct state state; } held[HELD];
} a;

static struct lsm_slice stream_key(uint32_t stream, uint32_t n)
{
    static char keys[4][KEY_MAX];
    static int at;
    char *key = keys[at++ % 4];

    return lsm_slice(key, (size_t)snprintf(key, KEY_MAX, "s%02u/%06u", stream, n));
}

static struct lsm_slice stamp_value(uint32_t stamp)
{
    static uint8_t bytes[2000];
    size_t size = stamp % 97 == 0 ? stamp % 1999 : 30 + stamp % 70;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)('a' + (stamp * 7 + i % 9 * (i % 5)) % 23);
    return lsm_slice(bytes, size);
}

static bool open_streams(bool first)
{
    struct lsm_tree_options to;
    struct lsm_options o = small_options(&a.cmp);

    o.max_subcompactions = 1 + (uint32_t)test_below(4);
    if (!CHECK_OK(lsm_db_open("streams", &o, &a.db)))
        return false;
    if (!first)
        return CHECK_OK(lsm_tree_find(a.db, text("t"), &a.tree));
    lsm_tree_options_init(&to);
    to.comparator = a.cmp;
    to.block_bytes = test_below(2) ? 512 : 0;
    to.value_log_bytes = test_below(3) == 0 ? 90 : test_below(2) ? LSM_VALUE_LOG_NONE : 0;
    for (int i = 0; i < LSM_LEVEL_COUNT_MAX && to.block_bytes; i++)
        to.level_compression[i] = test_below(3) == 0 ? 0 : test_below(3) == 0 ? LSM_COMPRESSION_NONE : 1;
    return CHECK_OK(lsm_tree_create(a.db, text("t"), &to, &a.tree));
}

/* Each row that a reader finds is the one that was written, they are in order, and none is missing. */
static bool reads_as(const struct lsm_read *read, const struct state *s)
{
    struct lsm_cursor *c;
    char last[KEY_MAX] = "", key[KEY_MAX];
    uint32_t expected = 0, found = 0;
    int rc;

    for (uint32_t i = 0; i < a.streams; i++)
        for (uint32_t n = 0; n < s->stream[i].count; n++)
            expected += s->stream[i].stamp[n] != 0;
    if (!CHECK_OK(lsm_cursor_open(a.tree, read, &c)))
        return false;
    for (rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c)) {
        struct lsm_slice k = lsm_cursor_key(c);
        unsigned stream, n;

        snprintf(key, KEY_MAX, "%.*s", (int)k.size, (const char *)k.data);
        if (!CHECK_INT(sscanf(key, "s%u/%u", &stream, &n), 2) ||
            !CHECK(!last[0] || lsm_key_compare(a.cmp, text(last), text(key)) < 0) ||
            !CHECK(n < s->stream[stream].count && s->stream[stream].stamp[n] != 0) ||
            !CHECK(lsm_slice_equal(lsm_cursor_value(c), stamp_value(s->stream[stream].stamp[n])))) {
            printf("  at %s\n", key);
            return false;
        }
        memcpy(last, key, sizeof last);
        found++;
    }
    lsm_cursor_close(c);
    for (int i = 0; i < 200; i++) {
        uint32_t stream = (uint32_t)test_below(a.streams), n = (uint32_t)test_below(s->stream[stream].count + 5u);
        bool there = n < s->stream[stream].count && s->stream[stream].stamp[n];
        struct lsm_value v;

        if (!CHECK_INT(lsm_tree_get(a.tree, read, stream_key(stream, n), &v), there ? LSM_OK : LSM_NOTFOUND))
            return false;
        if (there)
            lsm_value_release(&v);
    }
    return CHECK_INT(rc, LSM_DONE) && CHECK_INT(found, expected);
}

static void append(struct lsm_txn *txn, uint32_t stream)
{
    uint32_t n = a.now.stream[stream].count;

    if (n == N_MAX)
        return;
    a.now.stream[stream].count++;
    a.now.stream[stream].stamp[n] = ++a.stamps;
    CHECK_OK(lsm_txn_put(txn, a.tree, stream_key(stream, n), stamp_value(a.stamps)));
}

/* A stretch of one stream behind its end, as tables of their own. */
static void ingest_some(struct lsm_txn *txn, uint32_t stream)
{
    uint32_t from = a.now.stream[stream].count, to = from + 1 + (uint32_t)test_below(300);
    struct lsm_ingest *in;

    to = to < N_MAX ? to : N_MAX;
    CHECK_OK(lsm_ingest_begin(txn, a.tree, &in));
    for (uint32_t i = from; i < to; i++) {
        uint32_t n = a.cmp == &reverse ? to - 1 - (i - from) : i;

        a.now.stream[stream].stamp[n] = ++a.stamps;
        CHECK_OK(lsm_ingest_add(in, stream_key(stream, n), stamp_value(a.stamps)));
    }
    a.now.stream[stream].count = to;
    CHECK_OK(lsm_ingest_finish(in));
}

static void write_some(void)
{
    struct lsm_txn *txn;

    if (!CHECK_OK(lsm_txn_begin(a.db, NULL, &txn)))
        return;
    for (int i = 0; i < 600; i++) {
        uint32_t stream = (uint32_t)test_below(a.streams), count = a.now.stream[stream].count;
        uint32_t n = count ? (uint32_t)test_below(count) : 0, to = n + 1 + (uint32_t)test_below(60);
        uint64_t what = test_below(3000);

        if (what >= 20 || count == 0) {
            append(txn, stream);
        } else if (what < 8) {
            a.now.stream[stream].stamp[n] = ++a.stamps;
            CHECK_OK(lsm_txn_put(txn, a.tree, stream_key(stream, n), stamp_value(a.stamps)));
        } else if (what < 16) {
            a.now.stream[stream].stamp[n] = 0;
            CHECK_OK(lsm_txn_delete(txn, a.tree, stream_key(stream, n)));
        } else if (what < 19) {
            to = to < count ? to : count;
            memset(&a.now.stream[stream].stamp[n], 0, (to - n) * sizeof(uint32_t));
            if (a.cmp == &reverse && n)         /* from the last up to what comes behind the first */
                CHECK_OK(lsm_txn_delete_range(txn, a.tree, stream_key(stream, to - 1), stream_key(stream, n - 1)));
            else if (a.cmp == &reverse) {
                struct lsm_slice end = stream_key(stream, 0);
                end.size = strlen("s00/");
                CHECK_OK(lsm_txn_delete_range(txn, a.tree, stream_key(stream, to - 1), end));
            } else
                CHECK_OK(lsm_txn_delete_range(txn, a.tree, stream_key(stream, n), stream_key(stream, to)));
        } else {
            ingest_some(txn, stream);
        }
    }
    CHECK_OK(lsm_txn_commit_alone(txn, false));
}

static bool maintain(void)
{
    uint64_t what = test_below(20);
    int i = (int)test_below(HELD), rc;

    if (what == 0)
        return CHECK_OK(lsm_db_compact(a.db, a.tree));
    if (what == 1)
        return CHECK_OK(lsm_db_flush(a.db));
    if (what == 2 && a.held[i].snapshot) {
        struct lsm_read read = { a.held[i].snapshot, NULL, false };
        bool same = reads_as(&read, &a.held[i].state);

        lsm_snapshot_close(a.held[i].snapshot);
        a.held[i].snapshot = NULL;
        return same;
    }
    if (what == 3 && !a.held[i].snapshot) {
        a.held[i].state = a.now;
        return CHECK_OK(lsm_snapshot_open(a.db, &a.held[i].snapshot));
    }
    if (what == 4)
        return reads_as(NULL, &a.now);
    while ((rc = lsm_db_step(a.db)) == LSM_OK)
        ;
    return CHECK_INT(rc, LSM_DONE);
}

TEST(store_of_streams_reads_as_its_array_whatever_was_copied)
{
    uint64_t rounds = test_share(test_long() ? 40 : 12), copied = 0, whole = 0, read = 0;

    for (uint64_t round = 0; round < rounds; round++) {
        bool same;

        disk_begin();
        memset(&a, 0, sizeof a);
        a.cmp = any_order(test_below(4));
        a.streams = 1 + (uint32_t)test_below(STREAMS_MAX);
        same = open_streams(true);
        for (int step = 0; step < 40 && same; step++) {
            write_some();
            same = maintain();
        }
        same = same && reads_as(NULL, &a.now);
        for (int i = 0; i < HELD; i++)
            if (a.held[i].snapshot) {
                struct lsm_read at = { a.held[i].snapshot, NULL, false };
                same = same && reads_as(&at, &a.held[i].state);
                lsm_snapshot_close(a.held[i].snapshot);
            }
        copied += stat_of(a.db, "compact_bytes_copied");
        whole += stat_of(a.db, "compact_bytes_whole");
        read += stat_of(a.db, "compact_bytes_read");
        same = same && CHECK_OK(lsm_db_check(a.db)) && CHECK_OK(lsm_db_close(a.db)) && open_streams(false) &&
               reads_as(NULL, &a.now) && CHECK_OK(lsm_db_compact(a.db, NULL)) && reads_as(NULL, &a.now) &&
               CHECK_OK(lsm_db_check(a.db)) && CHECK_OK(lsm_db_close(a.db));
        if (!same || test_state.failures) {
            printf("  round %d\n", (int)round);
            return;
        }
        disk_end();
    }
    printf("%d of %d KB copied, %d whole\n", (int)(copied >> 10), (int)(read >> 10), (int)(whole >> 10));
    CHECK(copied > read / 20 && whole > 0 && whole < copied);
}

/* Most of what is merged is what was there before: partitions that end where more will be appended stay whole then. */
TEST(store_of_many_streams_copies_most_of_it_in_whole_partitions)
{
    enum { STREAMS = 60, ROWS = 150000 };
    static uint32_t count[STREAMS];
    struct lsm_options o = { 0 };
    struct lsm_tree_options to;
    uint64_t whole, written;

    disk_begin();
    memset(&a, 0, sizeof a);
    memset(count, 0, sizeof count);
    o = small_options(&a.cmp);
    CHECK_OK(lsm_db_open("streams", &o, &a.db));
    lsm_tree_options_init(&to);
    to.block_bytes = 512;
    CHECK_OK(lsm_tree_create(a.db, text("t"), &to, &a.tree));
    for (int i = 0; i < ROWS;) {
        struct lsm_txn *txn;

        CHECK_OK(lsm_txn_begin(a.db, NULL, &txn));
        for (int k = 0; k < 500; k++, i++) {
            uint32_t stream = (uint32_t)test_below(STREAMS);
            uint8_t value[60];

            memset(value, 'a' + i % 7, sizeof value);   /* any codec makes it smaller */
            CHECK_OK(lsm_txn_put(txn, a.tree, stream_key(stream, count[stream]++), lsm_slice(value, sizeof value)));
        }
        CHECK_OK(lsm_txn_commit_alone(txn, false));
        while (lsm_db_step(a.db) == LSM_OK)
            ;
    }
    whole = stat_of(a.db, "compact_bytes_whole");
    written = stat_of(a.db, "compact_bytes_written");
    printf("%d of %d KB whole\n", (int)(whole >> 10), (int)(written >> 10));
    CHECK(whole > written * 2 / 3);
    for (uint32_t i = 0; i < STREAMS; i++) {
        struct lsm_value v;
        CHECK_OK(lsm_tree_get(a.tree, NULL, stream_key(i, count[i] / 2), &v));
        lsm_value_release(&v);
        CHECK_INT(lsm_tree_get(a.tree, NULL, stream_key(i, count[i]), &v), LSM_NOTFOUND);
    }
    CHECK_OK(lsm_db_check(a.db));
    CHECK_OK(lsm_db_close(a.db));
    disk_end();
}
