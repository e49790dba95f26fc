/*
 * test_snapshot.c -- what only a snapshot needs goes when it is closed, and not
 * a byte is written for it before.
 */
#include "tests/unit/disk.h"

enum { ROWS = 2000 };

static struct lsm_db *open_db(void)
{
    struct lsm_options o;
    struct lsm_db *db;

    lsm_options_init(&o);
    o.os = disk.os;
    o.no_worker = true;
    o.create_if_missing = true;
    o.memory_bytes = 1 << 20;
    CHECK_OK(lsm_db_open("a", &o, &db));
    return db;
}

static struct lsm_slice key_of(int n, char key[16])
{
    snprintf(key, 16, "%06d", n);
    return text(key);
}

/* Every row written, `change` while a snapshot is open, and all compacted: the snapshot's rows are in the
   deepest level together with what hides them. */
static struct lsm_snapshot *make(struct lsm_db *db, struct lsm_tree **tree, int change)
{
    struct lsm_snapshot *snapshot;
    char key[16];

    CHECK_OK(lsm_tree_create(db, text("t"), NULL, tree));
    for (int i = 0; i < ROWS; i++)
        CHECK_OK(lsm_db_put(db, *tree, key_of(i, key), text("the first"), false));
    CHECK_OK(lsm_db_compact(db, *tree));
    CHECK_OK(lsm_snapshot_open(db, &snapshot));
    if (change == LSM_WRITE_DELETE_RANGE)
        CHECK_OK(lsm_db_delete_range(db, *tree, text("0"), text("9"), false));
    for (int i = 0; i < ROWS && change != LSM_WRITE_DELETE_RANGE; i++)
        CHECK_OK(change == LSM_WRITE_PUT ? lsm_db_put(db, *tree, key_of(i, key), text("the second"), false)
                                         : lsm_db_delete(db, *tree, key_of(i, key), false));
    CHECK_OK(lsm_db_compact(db, *tree));
    return snapshot;
}

static uint64_t entries(struct lsm_tree *tree)
{
    struct lsm_tree_stats stats;
    uint64_t sum = 0;

    CHECK_OK(lsm_tree_stats(tree, &stats));
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        sum += stats.level[l].entries;
    return sum;
}

static void work(struct lsm_db *db)
{
    int rc;

    while ((rc = lsm_db_step(db)) == LSM_OK)
        ;
    CHECK_RC(rc, LSM_DONE);
}

TEST(snapshot_that_is_closed_gives_back_what_was_deleted_without_new_writes)
{
    static const int changes[] = { LSM_WRITE_DELETE, LSM_WRITE_DELETE_RANGE };

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct lsm_snapshot *snapshot;
        struct lsm_tree *tree;
        struct lsm_db *db;
        uint64_t sum;

        disk_begin();
        db = open_db();
        snapshot = make(db, &tree, changes[i]);
        sum = disk_sum("a");
        work(db);
        CHECK_INT(disk_sum("a"), sum);          /* in vain while the snapshot is open */
        CHECK(entries(tree) >= ROWS);
        lsm_snapshot_close(snapshot);
        work(db);
        CHECK_INT(entries(tree), 0);
        CHECK_OK(lsm_db_check(db));
        CHECK_OK(lsm_db_close(db));
        disk_end();
    }
}

TEST(snapshot_that_is_closed_leaves_no_older_versions_behind_a_compact)
{
    struct lsm_snapshot *snapshot;
    struct lsm_tree *tree;
    struct lsm_db *db;

    disk_begin();
    db = open_db();
    snapshot = make(db, &tree, LSM_WRITE_PUT);
    CHECK_INT(entries(tree), 2 * ROWS);
    lsm_snapshot_close(snapshot);
    CHECK_OK(lsm_db_compact(db, tree));
    CHECK_INT(entries(tree), ROWS);
    uint64_t sum = disk_sum("a");
    CHECK_OK(lsm_db_compact(db, tree));         /* and then there is nothing to do */
    CHECK_INT(disk_sum("a"), sum);
    CHECK_OK(lsm_db_close(db));
    disk_end();
}
