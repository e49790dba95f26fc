/*
 * engine_model.c -- the workload's steps, and the comparison.
 *
 * Keys and values come from numbers, so that the model stores numbers only:
 * value v of key k has the same bytes in every run.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/engine_model.h"

#define VALUE_SIZE_MAX 4000
#define NOWHERE SIZE_MAX
#define STORE "/db/app.db-lsm"

static struct lsm_slice slice(const void *data, size_t size)
{
    return (struct lsm_slice){ data, size };
}

static struct lsm_slice text(const char *s)
{
    return slice(s, strlen(s));
}

/* Keys of several lengths whose order is that of their numbers. */
static struct lsm_slice key_of(int k, char buffer[64])
{
    int n = snprintf(buffer, 64, "%c%02d", 'a' + k / 16, k);

    for (int i = 0; i < k % 5 * 6; i++)
        buffer[n++] = (char)('a' + i);
    return slice(buffer, (size_t)n);
}

static size_t value_size(uint32_t value)
{
    uint64_t x = sim_mix(value);

    return x % 8 == 0 ? x % VALUE_SIZE_MAX : x % 120;
}

/* A value, until another one is asked for. A quarter of a state's time went into making the same few again:
   they are kept. */
static struct lsm_slice value_of(uint32_t value)
{
    static struct {
        uint32_t value;
        bool made;
        char bytes[VALUE_SIZE_MAX];
    } kept[512];
    size_t at = value % (sizeof kept / sizeof kept[0]), size = value_size(value);
    uint64_t x = sim_mix(value);

    if (!kept[at].made || kept[at].value != value) {
        kept[at].value = value;
        kept[at].made = true;
        for (size_t i = 0; i < size; i++) {
            if (i % 16 < 8)
                x = sim_mix(x);
            kept[at].bytes[i] = (char)(i % 16 < 8 ? x : 'v');
        }
    }
    return slice(kept[at].bytes, size);
}

static uint64_t draw(struct model *model, uint64_t below)
{
    return (model->chance = sim_mix(model->chance)) % below;
}

static void note(struct model *model, const char *what, int rc)
{
    if (!model->failed[0])
        snprintf(model->failed, sizeof model->failed, "%s: %s: %s", what, lsm_code_name(rc),
                 lsm_error_text());
}

static size_t here(const struct model *model)
{
    return model->sim->disk->op_count;
}

static void set_durable(struct model *model)
{
    model->durable = model->txns;
    sim_mark(model->sim, SIM_MARK_DURABLE, model->txns);
}

void model_init(struct model *model, struct sim *sim, uint64_t seed)
{
    memset(model, 0, sizeof *model);
    model->sim = sim;
    model->chance = sim_mix(seed);
}

bool model_clear(struct model *model)
{
    bool ok = model_close(model) == LSM_OK;

    for (int t = 0; t < model->tree_count; t++)
        for (int k = 0; k < MODEL_KEYS; k++)
            free(model->trees[t].rows[k].at);
    return ok;
}

/* ---- opening ---- */

static int open_store(struct sim *sim, struct lsm_db **db)
{
    struct lsm_options options;

    lsm_options_init(&options);
    options.os = sim_lsm_os(sim);
    options.create_if_missing = true;
    options.no_worker = true;
    options.memory_bytes = 1 << 20;
    return lsm_db_open(STORE, &options, db);
}

/* A number in "m": 0 if it is not there, -1 on failure. */
static int number_of(struct lsm_tree *meta, const char *key)
{
    struct lsm_value value = { 0 };
    int rc = lsm_tree_get(meta, NULL, text(key), &value), n = 0;

    if (rc == LSM_OK && value.bytes.size == 4)
        n = value.bytes.data[0] | value.bytes.data[1] << 8;
    else if (rc != LSM_NOTFOUND)
        n = -1;
    lsm_value_release(&value);
    return n;
}

int model_open(struct model *model)
{
    int rc = open_store(model->sim, &model->db);

    if (rc == LSM_OK) {
        rc = lsm_tree_find(model->db, text("m"), &model->meta);
        if (rc == LSM_NOTFOUND)
            rc = lsm_tree_create(model->db, text("m"), NULL, &model->meta);
        model->read_only = false;
        if (rc == LSM_OK && model->maybe && number_of(model->meta, "n") == model->maybe) {
            model->dead[model->maybe] = false;          /* it is there after all */
            model->txns = model->maybe;
        }
    }
    for (int t = 0; t < model->tree_count && rc == LSM_OK; t++) {
        struct model_tree *tree = &model->trees[t];
        int found = lsm_tree_find(model->db, text(tree->name), &tree->tree);
        if (found != LSM_OK)
            tree->tree = NULL;
        if (found != LSM_OK && found != LSM_NOTFOUND)
            rc = found;
    }
    if (rc != LSM_OK)
        model_close(model);
    return model->last_rc = rc;
}

int model_close(struct model *model)
{
    int rc = lsm_db_close(model->db);

    if (rc == LSM_OK && model->db && !model->read_only)
        set_durable(model);
    if (rc == LSM_MISUSE)
        note(model, "close", rc);
    model->db = NULL;
    model->meta = NULL;
    for (int t = 0; t < model->tree_count; t++)
        model->trees[t].tree = NULL;
    return model->last_rc = rc;
}

/* ---- transactions ---- */

static void rows_add(struct model_rows *rows, int txn, uint32_t value)
{
    if (rows->count == rows->cap) {
        rows->cap = rows->cap ? rows->cap * 2 : 4;
        rows->at = realloc(rows->at, rows->cap * sizeof *rows->at);
        if (!rows->at)
            abort();
    }
    rows->at[rows->count++] = (struct model_write){ txn, value };
}

static struct model_tree *some_tree(struct model *model)
{
    for (int tries = 0; tries < 8 && model->tree_count; tries++) {
        struct model_tree *tree = &model->trees[draw(model, (uint64_t)model->tree_count)];
        if (tree->tree)
            return tree;
    }
    return NULL;
}

static struct lsm_slice number_bytes(int n, uint8_t bytes[4])
{
    bytes[0] = (uint8_t)n;
    bytes[1] = (uint8_t)(n >> 8);
    bytes[2] = bytes[3] = 0;
    return slice(bytes, 4);
}

static int put_number(struct lsm_txn *txn, struct lsm_tree *meta, const char *key, int n)
{
    uint8_t bytes[4];

    return lsm_txn_put(txn, meta, text(key), number_bytes(n, bytes));
}

/* The keys of k .. end - 1, which are in the order of their numbers. */
static int delete_range(struct lsm_txn *txn, struct model_tree *tree, int n, int k, int end)
{
    char lo[64], hi[64];
    int rc = lsm_txn_delete_range(txn, tree->tree, key_of(k, lo), key_of(end, hi));

    for (int i = k; i < end && rc == LSM_OK; i++)
        rows_add(&tree->rows[i], n, 0);
    return rc;
}

/* Some keys in their order. */
static int ingest(struct model *model, struct lsm_txn *txn, struct model_tree *tree, int n)
{
    char key[64];
    struct lsm_ingest *in;
    int rc = lsm_ingest_begin(txn, tree->tree, &in);

    if (rc != LSM_OK)
        return rc;
    for (int k = (int)draw(model, 6); k < MODEL_KEYS && rc == LSM_OK; k += 1 + (int)draw(model, 12)) {
        uint32_t v = ++model->values;
        rc = lsm_ingest_add(in, key_of(k, key), value_of(v));
        rows_add(&tree->rows[k], n, v);
    }
    if (rc == LSM_OK)
        return lsm_ingest_finish(in);
    lsm_ingest_abort(in);
    return rc;
}

/* So many long values that the transaction spills. */
static int put_large(struct model *model, struct lsm_txn *txn, struct model_tree *tree, int n)
{
    char key[64];
    int rc = LSM_OK;

    for (int k = 0; k < MODEL_KEYS && rc == LSM_OK; k++) {
        while (value_size(++model->values) < 3000)
            ;
        if (n % 2)
            lsm_txn_mark(txn);
        rc = lsm_txn_put(txn, tree->tree, key_of(k, key), value_of(model->values));
        if (rc == LSM_OK)
            rows_add(&tree->rows[k], n, model->values);
    }
    return rc;
}

/* Two spills, one of which is taken back, and an ingest; each in any tree. Every second time each row has a mark, so that
   tables are of several stretches, and one is gone back into. */
static int write_large(struct model *model, struct lsm_txn *txn, int n)
{
    struct model_tree *tree = some_tree(model), *other = some_tree(model), *third = some_tree(model);
    char key[64];
    uint64_t mark;
    int rc;

    if (!tree || !other || !third)
        return LSM_OK;
    rc = put_large(model, txn, tree, n);
    if (n % 2 && rc == LSM_OK) {
        lsm_txn_mark(txn);
        rc = put_number(txn, model->meta, "n", n);      /* so that no table ends at the mark */
    }
    mark = lsm_txn_mark(txn);
    for (int k = 0; k < MODEL_KEYS && rc == LSM_OK; k++) {
        uint32_t v = model->values - (uint32_t)k;
        while (value_size(v) < 3000)
            v--;
        if (n % 2)
            lsm_txn_mark(txn);
        rc = lsm_txn_put(txn, other->tree, key_of(k, key), value_of(v));
    }
    if (rc == LSM_OK)
        lsm_txn_rollback_to(txn, mark);
    return rc == LSM_OK ? ingest(model, txn, third, n) : rc;
}

/* Write rows as transaction n; some are taken back again. */
static int write_rows(struct model *model, struct lsm_txn *txn, int n, bool large)
{
    char key[64];
    int rc = put_number(txn, model->meta, "n", n);

    if (rc == LSM_OK && large)
        rc = write_large(model, txn, n);
    for (uint64_t i = draw(model, 12); i > 0 && rc == LSM_OK; i--) {
        struct model_tree *tree = some_tree(model);
        int k = (int)draw(model, MODEL_KEYS), also = (int)draw(model, MODEL_KEYS);
        uint64_t mark = lsm_txn_mark(txn);
        uint32_t v = draw(model, 4) == 0 ? 0 : ++model->values;
        if (!tree)
            break;
        if (draw(model, 8) == 0) {
            char end[64];
            rc = draw(model, 2) ? lsm_txn_delete(txn, tree->tree, key_of(also, key))
                                : lsm_txn_delete_range(txn, tree->tree, key_of(k, key), key_of(also, end));
            if (rc != LSM_OK)
                break;
            lsm_txn_rollback_to(txn, mark);
        }
        if (draw(model, 30) == 0) {
            rc = ingest(model, txn, tree, n);
            continue;
        }
        if (draw(model, 5) == 0) {
            rc = delete_range(txn, tree, n, k, also);
            continue;
        }
        rc = v ? lsm_txn_put(txn, tree->tree, key_of(k, key), value_of(v))
               : lsm_txn_delete(txn, tree->tree, key_of(k, key));
        if (rc == LSM_OK)
            rows_add(&tree->rows[k], n, v);
    }
    return rc;
}

static bool is_read_only(struct model *model)
{
    const char *why, *state = lsm_db_state(model->db, &why);

    return strcmp(state, "HEALTHY") != 0 && strcmp(state, "DEGRADED") != 0;
}

/* What became of transaction n. */
static void end_commit(struct model *model, int n, bool is_synced)
{
    model->read_only = is_read_only(model);
    if (!model->dead[n]) {
        model->txns = n;
        sim_mark(model->sim, SIM_MARK_ACKED, n);
        if (is_synced)
            set_durable(model);
    } else if (model->read_only) {
        model->maybe = n;
    } else {
        sim_mark(model->sim, SIM_MARK_BEGUN, model->txns);
    }
}

static int step_txn(struct model *model, enum model_step step)
{
    struct lsm_prepare how = { .kind = LSM_PREPARE_SOLO, .sync = true, .settle = true };
    bool is_synced = step == MODEL_TXN_SYNC || step == MODEL_LARGE;
    struct lsm_txn *txn = NULL;
    struct lsm_token token;
    int n = model->attempts + 1, aborted = LSM_OK, rc;

    assert(n < MODEL_TXNS);
    rc = lsm_txn_begin(model->db, NULL, &txn);
    if (rc != LSM_OK)
        return rc;
    model->attempts = n;
    rc = write_rows(model, txn, n, step == MODEL_LARGE);
    sim_mark(model->sim, SIM_MARK_BEGUN, n);
    if (rc == LSM_OK && step == MODEL_ABORT_PREPARED)
        rc = lsm_txn_prepare(txn, &how, &token);
    if (rc != LSM_OK || step == MODEL_ABORT || step == MODEL_ABORT_PREPARED) {
        aborted = lsm_txn_abort(txn);
        model->dead[n] = true;
    } else {
        rc = lsm_txn_commit_alone(txn, is_synced);
        model->dead[n] = rc != LSM_OK;
    }
    end_commit(model, n, is_synced);
    return rc != LSM_OK ? rc : aborted;
}

static int step_single(struct model *model)
{
    int n = model->attempts + 1, rc;
    uint8_t bytes[4];

    assert(n < MODEL_TXNS);
    if (is_read_only(model))    /* no attempt: like a transaction that cannot begin */
        return lsm_db_put(model->db, model->meta, text("n"), number_bytes(n, bytes), false);
    model->attempts = n;
    sim_mark(model->sim, SIM_MARK_BEGUN, n);
    rc = lsm_db_put(model->db, model->meta, text("n"), number_bytes(n, bytes), false);
    model->dead[n] = rc != LSM_OK;
    end_commit(model, n, false);
    return rc;
}

/* ---- the other steps ---- */

static int step_create(struct model *model)
{
    struct model_tree *tree = &model->trees[model->tree_count];
    struct lsm_tree_options options;
    int rc;

    if (model->tree_count == MODEL_TREES)
        return LSM_OK;
    memset(tree, 0, sizeof *tree);
    snprintf(tree->name, sizeof tree->name, "tree%d", model->tree_count++);
    tree->create_begin = here(model);
    tree->create_end = tree->drop_begin = tree->drop_end = NOWHERE;
    /* In every other tree most values stand in value logs. */
    lsm_tree_options_init(&options);
    options.value_log_bytes = model->tree_count % 2 ? 64 : 0;
    rc = lsm_tree_create(model->db, text(tree->name), &options, &tree->tree);
    if (rc == LSM_OK) {
        tree->create_end = here(model);
    } else {
        tree->tree = NULL;          /* it may be there after all when the store is opened again */
        tree->drop_begin = here(model);
    }
    return rc;
}

static int step_drop(struct model *model)
{
    struct model_tree *tree = some_tree(model);
    int rc;

    if (!tree)
        return LSM_OK;
    if (tree->drop_begin == NOWHERE)
        tree->drop_begin = here(model);
    rc = lsm_tree_drop(model->db, tree->tree);
    if (rc == LSM_OK) {
        tree->drop_end = here(model);
        tree->tree = NULL;
    }
    return rc;
}

int model_step(struct model *model, enum model_step step)
{
    int rc = LSM_OK;

    switch (step) {
    case MODEL_TXN: case MODEL_TXN_SYNC: case MODEL_ABORT: case MODEL_ABORT_PREPARED: case MODEL_LARGE:
        rc = step_txn(model, step);
        break;
    case MODEL_SINGLE:
        rc = step_single(model);
        break;
    case MODEL_FLUSH:
        rc = lsm_db_flush(model->db);
        if (rc == LSM_OK)
            set_durable(model);
        break;
    case MODEL_COMPACT: {
        struct model_tree *tree = some_tree(model);
        char begin[64], end[64];
        int k = (int)draw(model, MODEL_KEYS);
        if (tree && draw(model, 2))
            rc = lsm_db_compact_range(model->db, tree->tree, key_of(k, begin),
                                      key_of(k + 1 + (int)draw(model, MODEL_KEYS), end));
        else
            rc = lsm_db_compact(model->db, tree ? tree->tree : NULL);
        if (rc == LSM_OK)
            set_durable(model);
        break;
    }
    case MODEL_WORK:
        for (uint64_t i = 1 + draw(model, 4); i > 0 && rc == LSM_OK; i--)
            rc = lsm_db_step(model->db);
        if (rc == LSM_DONE)
            rc = LSM_OK;
        break;
    case MODEL_CREATE: rc = step_create(model); break;
    case MODEL_DROP: rc = step_drop(model); break;
    case MODEL_REOPEN:
        rc = model_close(model);
        if (rc == LSM_OK)
            rc = model_open(model);
        break;
    case MODEL_STEPS: break;
    }
    return model->last_rc = rc;
}

int model_run(struct model *model, int steps)
{
    static const uint8_t weights[MODEL_STEPS] = { 10, 10, 1, 2, 4, 2, 4, 3, 1, 2, 1, 10 };
    int rc = LSM_OK, sum = 0;

    for (int i = 0; i < MODEL_STEPS; i++)
        sum += weights[i];
    for (int i = 0; i < steps && rc == LSM_OK; i++) {
        int at = (int)draw(model, (uint64_t)sum), step = 0;
        while (at >= weights[step])
            at -= weights[step++];
        if (i < 2)
            step = MODEL_CREATE;
        rc = model_step(model, (enum model_step)step);
        if (rc != LSM_OK) {
            char what[40];
            snprintf(what, sizeof what, "step %d (kind %d)", i, step);
            note(model, what, rc);
        }
    }
    return rc;
}

/* ---- comparing ---- */

/* The value's seed of a key in a store whose newest transaction is n; 0: no row. */
static uint32_t value_at(const struct model *model, const struct model_rows *rows, int n)
{
    for (size_t i = rows->count; i-- > 0;)
        if (rows->at[i].txn == n || (rows->at[i].txn < n && !model->dead[rows->at[i].txn]))
            return rows->at[i].value;
    return 0;
}

static bool same(struct lsm_slice a, struct lsm_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Both ways through a tree, and each key by itself. */
static bool tree_is(const struct model *model, const struct model_tree *mt, struct lsm_tree *tree,
                    int n, char *why, size_t size)
{
    char key[64];
    struct lsm_cursor *cursor = NULL;
    int rc = lsm_cursor_open(tree, NULL, &cursor);
    bool ok = rc == LSM_OK;

    for (int way = 0; way < 2 && ok; way++) {
        rc = way == 0 ? lsm_cursor_first(cursor) : lsm_cursor_last(cursor);
        for (int i = 0; i < MODEL_KEYS && ok; i++) {
            int k = way == 0 ? i : MODEL_KEYS - 1 - i;
            uint32_t v = value_at(model, &mt->rows[k], n);
            if (v == 0)
                continue;
            ok = rc == LSM_OK && same(lsm_cursor_key(cursor), key_of(k, key)) &&
                 same(lsm_cursor_value(cursor), value_of(v));
            if (!ok)
                snprintf(why, size, "%s at transaction %d, key %d, %s: %s, '%.*s'", mt->name, n, k,
                         way ? "backwards" : "forwards", lsm_code_name(rc),
                         rc == LSM_OK ? (int)lsm_cursor_key(cursor).size : 0,
                         rc == LSM_OK ? (const char *)lsm_cursor_key(cursor).data : "");
            else
                rc = way == 0 ? lsm_cursor_next(cursor) : lsm_cursor_prev(cursor);
        }
        if (ok && rc != LSM_DONE) {
            snprintf(why, size, "%s at transaction %d has a row too many, '%.*s', or %s: %s",
                     mt->name, n, rc == LSM_OK ? (int)lsm_cursor_key(cursor).size : 0,
                     rc == LSM_OK ? (const char *)lsm_cursor_key(cursor).data : "",
                     lsm_code_name(rc), rc == LSM_OK ? "" : lsm_error_text());
            ok = false;
        }
    }
    lsm_cursor_close(cursor);
    for (int k = 0; k < MODEL_KEYS && ok; k++) {
        struct lsm_value got = { 0 };
        uint32_t v = value_at(model, &mt->rows[k], n);
        rc = lsm_tree_get(tree, NULL, key_of(k, key), &got);
        ok = v ? rc == LSM_OK && same(got.bytes, value_of(v)) : rc == LSM_NOTFOUND;
        if (!ok)
            snprintf(why, size, "get of key %d in %s at transaction %d: %s", k, mt->name, n,
                     lsm_code_name(rc));
        lsm_value_release(&got);
    }
    return ok;
}

struct names {
    const struct model *model;
    uint64_t seen;              /* bit i: trees[i] */
    bool meta, unknown;
};

static int see_name(void *ctx, struct lsm_slice name)
{
    struct names *names = ctx;

    if (same(name, text("m"))) {
        names->meta = true;
        return 0;
    }
    for (int t = 0; t < names->model->tree_count; t++)
        if (same(name, text(names->model->trees[t].name))) {
            names->seen |= UINT64_C(1) << t;
            return 0;
        }
    names->unknown = true;
    return 0;
}

int64_t model_find(const struct model *model, struct lsm_db *db, int *extra, char *why, size_t size)
{
    struct names names = { .model = model };
    struct lsm_tree *tree;
    int n = 0, rc = lsm_tree_list(db, see_name, &names);

    *extra = 0;
    if (rc != LSM_OK || names.unknown) {
        snprintf(why, size, "the list of trees: %s", rc ? lsm_code_name(rc) : "an unknown name");
        return -1;
    }
    if (names.meta) {
        rc = lsm_tree_find(db, text("m"), &tree);
        n = rc == LSM_OK ? number_of(tree, "n") : -1;
        *extra = rc == LSM_OK ? number_of(tree, "x") : -1;
    }
    if (n < 0 || n > model->attempts || *extra < 0) {
        snprintf(why, size, "the newest transaction's number cannot be read, or is %d of %d: %s",
                 n, model->txns, lsm_error_text());
        return -1;
    }
    for (int t = 0; t < model->tree_count; t++) {
        if (!(names.seen >> t & 1))
            continue;
        rc = lsm_tree_find(db, text(model->trees[t].name), &tree);
        if (rc != LSM_OK) {
            snprintf(why, size, "%s: %s", model->trees[t].name, lsm_code_name(rc));
            return -1;
        }
        if (!tree_is(model, &model->trees[t], tree, n, why, size))
            return -1;
    }
    return (int64_t)names.seen << 16 | n;
}

int model_extra(struct lsm_db *db, int extra)
{
    struct lsm_tree *meta;
    struct lsm_txn *txn;
    int rc = lsm_tree_find(db, text("m"), &meta);

    if (rc == LSM_NOTFOUND)
        rc = lsm_tree_create(db, text("m"), NULL, &meta);
    if (rc == LSM_OK)
        rc = lsm_txn_begin(db, NULL, &txn);
    if (rc != LSM_OK)
        return rc;
    rc = put_number(txn, meta, "x", extra);
    if (rc != LSM_OK) {
        lsm_txn_abort(txn);
        return rc;
    }
    return lsm_txn_commit_alone(txn, true);
}

bool model_allow(const struct model *model, struct sim_state *state, int64_t found)
{
    int n = model_found_txn(found);

    if (!sim_allow_prefix(model->sim->disk, state, n))
        return false;
    if (model->dead[n] && sim_disk_mark_at(model->sim->disk, state->pos, SIM_MARK_BEGUN, 0) != n) {
        snprintf(state->why, sizeof state->why, "transaction %d was aborted, and is there", n);
        return false;
    }
    for (int t = 0; t < model->tree_count; t++) {
        const struct model_tree *tree = &model->trees[t];
        bool is = (found >> 16) >> t & 1;
        if ((is && (tree->create_begin > state->pos || tree->drop_end <= state->pos)) ||
            (!is && tree->create_end <= state->pos && tree->drop_begin > state->pos)) {
            snprintf(state->why, sizeof state->why, "%s is %s", tree->name,
                     is ? "there" : "not there");
            return false;
        }
    }
    return true;
}

bool model_is_exact(struct model *model)
{
    char why[200] = "";
    int extra;
    int64_t found = model_find(model, model->db, &extra, why, sizeof why);
    struct sim_state state = { .pos = here(model), .model = 1 };

    if (found >= 0 && model_found_txn(found) != model->txns &&
        !(model->maybe && model_found_txn(found) == model->maybe)) {
        snprintf(why, sizeof why, "transactions: %d, not %d", model_found_txn(found), model->txns);
        found = -1;
    }
    for (int t = 0; t < model->tree_count && found >= 0; t++) {
        const struct model_tree *tree = &model->trees[t];
        bool is = (found >> 16) >> t & 1;
        if ((is && tree->drop_end <= state.pos) ||
            (!is && tree->create_end <= state.pos && tree->drop_begin > state.pos)) {
            snprintf(why, sizeof why, "%s is %s", tree->name, is ? "there" : "not there");
            found = -1;
        }
    }
    if (found < 0 && !model->failed[0])
        snprintf(model->failed, sizeof model->failed, "%s", why);
    return found >= 0;
}
