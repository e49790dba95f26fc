/*
 * engine.c -- the engine without SQLite, as somebody would use it who comes from
 * LevelDB: one file, lsm.h, liblsm.a.
 *
 *     cc engine.c build/liblsm.a -lzstd -pthread -lm && ./a.out DIRECTORY
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/lsm.h"

/* Everything that fails says why. */
static void must(int rc, const char *what)
{
    if (rc == LSM_OK)
        return;
    fprintf(stderr, "%s: %s: %s\n", what, lsm_code_name(rc), lsm_error_text());
    exit(1);
}

static void expect(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "%s: not so\n", what);
        exit(1);
    }
}

static struct lsm_slice s(const char *text)
{
    return (struct lsm_slice){ (const uint8_t *)text, strlen(text) };
}

static int is(struct lsm_slice bytes, const char *text)
{
    return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

/* ---- an order of one's own: longer keys come later ---- */

static int by_size(void *ctx, struct lsm_slice a, struct lsm_slice b)
{
    (void)ctx;
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return a.size ? memcmp(a.data, b.data, a.size) : 0;
}

static const struct lsm_comparator size_order = { .name = "example.size", .compare = by_size };
static const struct lsm_comparator *const orders[] = { &size_order };

static void told(void *ctx, const struct lsm_event *event)
{
    if (event->what == LSM_EVENT_FLUSH_END && event->code == LSM_OK)
        ++*(int *)ctx;
}

static struct lsm_db *open_store(const char *path, int *flushes)
{
    struct lsm_options options;
    struct lsm_db *db;

    lsm_options_init(&options);
    options.create_if_missing = true;
    options.memory_bytes = 8 << 20;
    options.comparators = orders;
    options.comparator_count = 1;
    options.event = told;
    options.event_ctx = flushes;
    must(lsm_db_open(path, &options, &db), "open");
    return db;
}

static int count_write(void *ctx, const struct lsm_write *write)
{
    ((int *)ctx)[write->kind]++;
    return 0;
}

static void write_and_read(struct lsm_db *db, struct lsm_tree *tree)
{
    struct lsm_slice keys[3] = { s("carrot"), s("apple"), s("quince") };
    struct lsm_value value, values[3];
    struct lsm_writes *writes;
    struct lsm_snapshot *snapshot;
    int codes[3], kinds[4] = { 0 };
    uint64_t mark;

    /* single writes; the last one is on disk when it returns, and with it those before */
    must(lsm_db_put(db, tree, s("apple"), s("red"), false), "put");
    must(lsm_db_put(db, tree, s("banana"), s("yellow"), false), "put");
    must(lsm_db_delete(db, tree, s("banana"), true), "delete");
    must(lsm_tree_get(tree, NULL, s("apple"), &value), "get");
    expect(is(value.bytes, "red"), "the apple is red");
    lsm_value_release(&value);
    expect(lsm_tree_get(tree, NULL, s("banana"), &value) == LSM_NOTFOUND, "the banana is gone");

    /* a batch, with a save point */
    must(lsm_snapshot_open(db, &snapshot), "snapshot");
    must(lsm_writes_new(db, &writes), "batch");
    must(lsm_writes_put(writes, tree, s("carrot"), s("orange")), "batch put");
    mark = lsm_writes_mark(writes);
    must(lsm_writes_put(writes, tree, s("oops"), s("")), "batch put");
    must(lsm_writes_rollback_to(writes, mark), "batch rollback");
    must(lsm_writes_delete(writes, tree, s("apple")), "batch delete");
    must(lsm_writes_each(writes, count_write, kinds), "batch each");
    expect(kinds[LSM_WRITE_PUT] == 1 && kinds[LSM_WRITE_DELETE] == 1, "two writes are left");
    must(lsm_db_write(db, writes, true), "write");
    lsm_writes_free(writes);

    /* many keys at once, now and as it was */
    must(lsm_tree_get_many(tree, NULL, keys, 3, values, codes), "get many");
    expect(codes[0] == LSM_OK && codes[1] == LSM_NOTFOUND && codes[2] == LSM_NOTFOUND, "the batch is seen");
    for (int i = 0; i < 3; i++)
        lsm_value_release(&values[i]);
    struct lsm_read before = { .snapshot = snapshot };
    must(lsm_tree_get(tree, &before, s("apple"), &value), "get from a snapshot");
    lsm_value_release(&value);
    lsm_snapshot_close(snapshot);
}

static void scan(struct lsm_db *db, struct lsm_tree *tree)
{
    struct lsm_read whole = { .no_cache = true };
    struct lsm_cursor *c;
    struct lsm_value kept;
    struct lsm_txn *txn;
    char key[32];
    int n = 0, rc;

    must(lsm_txn_begin(db, NULL, &txn), "begin");
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "user/%04d", i);
        must(lsm_txn_put(txn, tree, s(key), s(key)), "txn put");
    }
    must(lsm_txn_delete_range(txn, tree, s("user/0100"), s("user/0900")), "delete range");
    must(lsm_txn_commit_alone(txn, true), "commit");

    must(lsm_cursor_open(tree, &whole, &c), "cursor");
    must(lsm_cursor_set_prefix(c, s("user/")), "prefix");
    for (rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c))
        n++;
    expect(rc == LSM_DONE && n == 200, "200 users");
    must(lsm_cursor_seek_prev(c, s("user/0899")), "seek for prev");
    expect(is(lsm_cursor_key(c), "user/0099"), "the one before the range");
    must(lsm_cursor_pin(c, &kept), "pin");
    must(lsm_cursor_set_bounds(c, s("user/0010"), s("user/0020")), "bounds");
    for (n = 0, rc = lsm_cursor_last(c); rc == LSM_OK; rc = lsm_cursor_prev(c))
        n++;
    expect(rc == LSM_DONE && n == 10, "ten within the bounds");
    lsm_cursor_close(c);
    expect(is(kept.bytes, "user/0099"), "a pinned value outlives its cursor");
    lsm_value_release(&kept);
}

int main(int argc, char **argv)
{
    struct lsm_tree_options options;
    struct lsm_tree *fruit, *words;
    struct lsm_cursor *c;
    struct lsm_db *db;
    char text[64];
    int flushes = 0;

    if (argc != 2)
        return 2;
    db = open_store(argv[1], &flushes);
    must(lsm_tree_open(db, s("fruit"), NULL, &fruit), "tree");
    lsm_tree_options_init(&options);
    options.comparator = &size_order;
    options.block_bytes = 8192;
    options.compression_level = 3;
    must(lsm_tree_open(db, s("words"), &options, &words), "tree with an order of its own");
    write_and_read(db, fruit);
    scan(db, fruit);
    must(lsm_db_put(db, words, s("long"), s(""), false), "put");
    must(lsm_db_put(db, words, s("a"), s(""), false), "put");
    must(lsm_db_put(db, words, s("to"), s(""), true), "put");

    must(lsm_db_flush(db), "flush");
    must(lsm_db_compact(db, NULL), "compact");
    must(lsm_db_check(db), "check");
    must(lsm_db_property(db, "puts", text, sizeof text, NULL), "property");
    expect(atoi(text) > 1000 && flushes > 0, "the store says what it did");
    must(lsm_db_close(db), "close");

    db = open_store(argv[1], &flushes);         /* all of it is still there */
    must(lsm_tree_open(db, s("words"), &options, &words), "tree");
    must(lsm_cursor_open(words, NULL, &c), "cursor");
    must(lsm_cursor_first(c), "first");
    expect(is(lsm_cursor_key(c), "a"), "the shortest comes first");
    must(lsm_cursor_last(c), "last");
    expect(is(lsm_cursor_key(c), "long"), "the longest comes last");
    lsm_cursor_close(c);
    must(lsm_tree_drop(db, words), "drop");
    must(lsm_db_close(db), "close");
    must(lsm_db_destroy(argv[1], NULL), "destroy");
    puts("ok");
    return 0;
}
