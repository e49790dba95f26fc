/*
 * writes.c -- a batch of writes: operations one behind the other, as a record of
 * the log has them, until somebody writes them.
 *
 *     writes := op*               record.h: kind, tree, key, value
 *
 * A position is an offset in these bytes. Going back counts what is left by
 * walking it, and so finds that the position is one.
 */
#include "lsm/db/db.h"

struct lsm_writes {
    struct lsm_db *db;
    struct lsm_buf ops;
    uint64_t count;
};

int lsm_writes_new(struct lsm_db *db, struct lsm_writes **out)
{
    struct lsm_writes *w;
    int rc = lsm_db_usable(db);

    *out = NULL;
    if (rc)
        return rc;
    w = lsm_mem_zalloc(db->os, sizeof *w);
    if (!w)
        return lsm_nomem();
    w->db = db;
    lsm_buf_init(&w->ops, db->os);
    lsm_db_lock(db);
    db->writes_count++;
    lsm_db_unlock(db);
    *out = w;
    return LSM_OK;
}

void lsm_writes_free(struct lsm_writes *w)
{
    if (!w)
        return;
    struct lsm_db *db = w->db;
    lsm_buf_clear(&w->ops);
    lsm_mem_free(db->os, w);
    lsm_db_lock(db);
    db->writes_count--;
    lsm_db_unlock(db);
}

/* The latest append failed: as before it. */
static int take_back(struct lsm_writes *w, size_t size)
{
    w->ops.size = size;
    w->ops.rc = LSM_OK;
    return lsm_nomem();
}

static int add(struct lsm_writes *w, enum lsm_kind kind, struct lsm_tree *tree, struct lsm_slice key,
               struct lsm_slice value)
{
    size_t before = w->ops.size;

    if (tree->db != w->db)
        return lsm_fail(LSM_MISUSE, "%s: the tree is another store's", w->db->path);
    if (key.size > LSM_KEY_SIZE_MAX)
        return lsm_fail(LSM_TOOBIG, "key of %zu bytes: the limit is %u", key.size, LSM_KEY_SIZE_MAX);
    if (value.size > LSM_VALUE_SIZE_MAX)
        return lsm_fail(LSM_TOOBIG, "value of %zu bytes: the limit is %u", value.size, LSM_VALUE_SIZE_MAX);
    lsm_op_encode(&w->ops, kind, tree->id, key, value);
    if (w->ops.rc)
        return take_back(w, before);
    w->count++;
    return LSM_OK;
}

int lsm_writes_put(struct lsm_writes *w, struct lsm_tree *tree, struct lsm_slice key, struct lsm_slice value)
{
    return add(w, LSM_KIND_PUT, tree, key, value);
}

int lsm_writes_delete(struct lsm_writes *w, struct lsm_tree *tree, struct lsm_slice key)
{
    const struct lsm_slice none = { NULL, 0 };
    return add(w, LSM_KIND_DELETE, tree, key, none);
}

int lsm_writes_delete_range(struct lsm_writes *w, struct lsm_tree *tree, struct lsm_slice begin,
                            struct lsm_slice end)
{
    int rc = lsm_tree_check_range(tree, begin, end);

    if (rc)
        return rc == LSM_DONE ? LSM_OK : rc;
    return add(w, LSM_KIND_RANGE_DELETE, tree, begin, end);
}

int lsm_writes_append(struct lsm_writes *w, const struct lsm_writes *more)
{
    size_t before = w->ops.size, size = more->ops.size;

    if (more->db != w->db)
        return lsm_fail(LSM_MISUSE, "%s: the batch is another store's", w->db->path);
    if (lsm_buf_reserve(&w->ops, size))
        return take_back(w, before);
    lsm_buf_append(&w->ops, more->ops.data, size);      /* after the reserve: `more` may be `w` */
    w->count += more->count;
    return LSM_OK;
}

uint64_t lsm_writes_count(const struct lsm_writes *w)
{
    return w->count;
}

uint64_t lsm_writes_bytes(const struct lsm_writes *w)
{
    return w->ops.size;
}

uint64_t lsm_writes_mark(const struct lsm_writes *w)
{
    return w->ops.size;
}

static bool next_op(struct lsm_reader *r, enum lsm_kind *kind, uint32_t *tree, struct lsm_slice *key,
                    struct lsm_slice *value)
{
    return lsm_reader_left(r) && lsm_op_decode(r, kind, tree, key, value);
}

int lsm_writes_rollback_to(struct lsm_writes *w, uint64_t mark)
{
    struct lsm_reader r = lsm_reader(lsm_buf_slice(&w->ops));
    struct lsm_slice key, value;
    enum lsm_kind kind;
    uint64_t count = 0;
    uint32_t tree;

    while ((uint64_t)(r.p - w->ops.data) < mark && next_op(&r, &kind, &tree, &key, &value))
        count++;
    if ((w->ops.size ? (uint64_t)(r.p - w->ops.data) : 0) != mark)
        return lsm_fail(LSM_MISUSE, "%s: a batch has no position %llu", w->db->path,
                        (unsigned long long)mark);
    w->ops.size = (size_t)mark;
    w->count = count;
    return LSM_OK;
}

void lsm_writes_clear(struct lsm_writes *w)
{
    lsm_buf_reset(&w->ops);
    w->count = 0;
}

int lsm_writes_each(const struct lsm_writes *w, int (*fn)(void *ctx, const struct lsm_write *write), void *ctx)
{
    struct lsm_reader r = lsm_reader(lsm_buf_slice(&w->ops));
    struct lsm_write one = { .tree = NULL };
    enum lsm_kind kind;
    uint32_t id;
    int rc = LSM_OK;

    while (rc == LSM_OK && next_op(&r, &kind, &id, &one.key, &one.value)) {
        if (!one.tree || one.tree->id != id) {
            lsm_db_lock(w->db);
            one.tree = lsm_tree_by_id(w->db, id);
            lsm_db_unlock(w->db);
        }
        one.kind = kind == LSM_KIND_DELETE ? LSM_WRITE_DELETE
                   : kind == LSM_KIND_RANGE_DELETE ? LSM_WRITE_DELETE_RANGE : LSM_WRITE_PUT;
        rc = fn(ctx, &one);
    }
    return rc;
}

static int write_to_txn(void *ctx, const struct lsm_write *one)
{
    struct lsm_txn *txn = ctx;

    if (one->kind == LSM_WRITE_DELETE_RANGE)
        return lsm_txn_delete_range(txn, one->tree, one->key, one->value);
    return one->kind == LSM_WRITE_DELETE ? lsm_txn_delete(txn, one->tree, one->key)
                                         : lsm_txn_put(txn, one->tree, one->key, one->value);
}

int lsm_txn_write(struct lsm_txn *txn, const struct lsm_writes *w)
{
    uint64_t mark = lsm_txn_mark(txn);
    char why[LSM_ERROR_TEXT_SIZE];
    int rc;

    if (w->db != txn->db)
        return lsm_fail(LSM_MISUSE, "%s: the batch is another store's", txn->db->path);
    rc = lsm_writes_each(w, write_to_txn, txn);
    if (rc == LSM_OK)
        return LSM_OK;
    lsm_error_save(why, sizeof why);
    lsm_txn_rollback_to(txn, mark);
    return lsm_fail(rc, "%s", why);
}

int lsm_db_write(struct lsm_db *db, const struct lsm_writes *w, bool sync)
{
    struct lsm_txn *txn;
    char why[LSM_ERROR_TEXT_SIZE];
    int rc = lsm_txn_begin(db, NULL, &txn);

    if (rc)
        return rc;
    rc = lsm_txn_write(txn, w);
    if (rc == LSM_OK)
        return lsm_txn_commit_alone(txn, sync);
    lsm_error_save(why, sizeof why);
    lsm_txn_abort(txn);
    return lsm_fail(rc, "%s", why);
}
