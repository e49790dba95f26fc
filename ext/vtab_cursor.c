/*
 * vtab_cursor.c -- xFilter, xNext, xColumn.
 *
 * A plan becomes spans of keys, sorted and disjoint, so that rows come in the
 * key's order whatever IN was given:
 *
 *     a IN (3, 1) AND b > 5       [1 5 FF, 1 FF)  [3 5 FF, 3 FF)
 *
 * One whole key is a get, without an engine cursor. A row is decoded column by
 * column as xColumn asks, from the engine's own bytes.
 *
 * ORDER BY may rely on an equality that turns out to be no single key: a TEXT
 * column compared with a number from another table ('1' and '01'). Then the rows
 * are collected and sorted by what is behind it; rare, and the only place where a
 * cursor holds more than one row.
 *
 * A SELECT outlives ROLLBACK and ROLLBACK TO, and goes on with what is left. If it saw what they
 * took back, the engine's cursor stands on rows of no state that there ever was: it is opened
 * anew behind its row. Where that cannot be, it ends with SQLITE_ABORT_ROLLBACK.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "ext/vtab.h"
#include "ext/vtab_span.h"

struct sorted_row {
    struct sorted_row *next;
    uint8_t *data;              /* key, then value */
    size_t key_size, value_size;
    size_t skip;                /* bytes of the key that the order does not count */
};

struct cursor {
    sqlite3_vtab_cursor base;
    struct lsm_vtab_plan plan;
    struct lsm_vtab_row row;
    struct lsm_cursor *lsm;     /* NULL until the first plan that is no single get */
    struct lsm_value value;     /* of a single get */
    struct lsm_vtab_spans spans;
    size_t span;                /* where the cursor stands */
    struct sorted_row **sorted;
    size_t sorted_count, sorted_capacity, sorted_at;
    bool is_sorted;
    struct lsm_vtab_sight sight;
    struct lsm_vtab_buf kept_row;       /* key, then value; while must_seek */
    bool must_seek;             /* `lsm` was opened anew: it goes on behind the row */
    bool holds;                 /* counted as a cursor that has rows */
    bool value_pending;         /* the row's value was not asked of `lsm` yet */
    bool eof;
};

static struct lsm_vtab_table *cursor_table(struct cursor *cursor)
{
    return (struct lsm_vtab_table *)cursor->base.pVtab;
}

static struct lsm_slice span_lower(const struct cursor *cursor, size_t i)
{
    return lsm_vtab_span_lower(&cursor->spans, &cursor->spans.span[i]);
}

static struct lsm_slice span_upper(const struct cursor *cursor, size_t i)
{
    return lsm_vtab_span_upper(&cursor->spans, &cursor->spans.span[i]);
}

/* ---- open, close ---------------------------------------------------------------- */

int lsm_vtab_cursor_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **result)
{
    struct lsm_vtab_table *table = (struct lsm_vtab_table *)vtab;
    struct cursor *cursor = (struct cursor *)table->spare_cursor;

    if (cursor) {
        table->spare_cursor = NULL;
        *result = &cursor->base;
        return SQLITE_OK;
    }
    cursor = sqlite3_malloc(sizeof(*cursor));
    if (cursor == NULL)
        return SQLITE_NOMEM;
    memset(cursor, 0, sizeof(*cursor));
    cursor->eof = true;
    lsm_vtab_spans_init(&cursor->spans);
    lsm_vtab_buf_init(&cursor->kept_row, SIZE_MAX / 2);
    if (lsm_vtab_row_init(&cursor->row, table->schema) != SQLITE_OK) {
        sqlite3_free(cursor);
        return SQLITE_NOMEM;
    }
    *result = &cursor->base;
    return SQLITE_OK;
}

static void sorted_clear(struct cursor *cursor)
{
    size_t i;

    for (i = 0; i < cursor->sorted_count; i++)
        sqlite3_free(cursor->sorted[i]);
    cursor->sorted_count = 0;
    cursor->is_sorted = false;
}

static void cursor_free(struct cursor *cursor)
{
    sqlite3_free(cursor->sorted);
    lsm_vtab_spans_clear(&cursor->spans);
    lsm_vtab_buf_clear(&cursor->kept_row);
    lsm_vtab_row_clear(&cursor->row);
    sqlite3_free(cursor);
}

/* The buffers of a cursor that is worth keeping; one IN over a thousand keys is not. */
#define SPARE_SPANS_MAX 16
#define SPARE_BYTES_MAX 1024

/* Nothing of the store: only memory, of the size that any point read takes. */
static bool cursor_is_small(const struct cursor *cursor)
{
    return cursor->sorted == NULL && cursor->spans.capacity <= SPARE_SPANS_MAX
           && cursor->spans.bytes.capacity <= SPARE_BYTES_MAX
           && cursor->kept_row.capacity <= SPARE_BYTES_MAX
           && cursor->spans.range.prefix.capacity <= SPARE_BYTES_MAX
           && cursor->spans.range.lower.capacity <= SPARE_BYTES_MAX
           && cursor->spans.range.upper.capacity <= SPARE_BYTES_MAX
           && cursor->spans.range.scratch.capacity <= SPARE_BYTES_MAX
           && cursor->row.scratch_size <= SPARE_BYTES_MAX;
}

/*
 * A transaction that looks at the head of its queue again and again finds the engine's
 * cursor as it left it, with an iterator for each run; making them takes as long as the look.
 * It holds the memtable that the transaction writes to, and a view: not for long.
 */
#define SPARE_WRITES_MAX 16

void lsm_vtab_cursor_drop_lsm(struct lsm_vtab_ctx *ctx)
{
    lsm_cursor_close(ctx->spare_lsm);
    ctx->spare_lsm = NULL;
}

void lsm_vtab_cursor_wrote(struct lsm_vtab_ctx *ctx)
{
    ctx->last_write = ++ctx->write_count;
    if (ctx->spare_lsm && ++ctx->spare_writes > SPARE_WRITES_MAX)
        lsm_vtab_cursor_drop_lsm(ctx);
}

static void put_lsm_away(struct lsm_vtab_ctx *ctx, struct lsm_cursor *lsm)
{
    if (ctx->txn == NULL || lsm == NULL) {
        lsm_cursor_close(lsm);
        return;
    }
    lsm_vtab_cursor_drop_lsm(ctx);
    ctx->spare_lsm = lsm;
    ctx->spare_writes = 0;
}

/* SQLite opens and closes a cursor with each statement: ten allocations of sqlite3_malloc, a sixth
   of a point read. So the last one is kept for the next. */
int lsm_vtab_cursor_close(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    struct lsm_vtab_table *table = cursor_table(cursor);

    lsm_value_release(&cursor->value);
    lsm_vtab_sight_end(table->ctx, &cursor->sight);
    put_lsm_away(table->ctx, cursor->lsm);
    cursor->lsm = NULL;
    if (cursor->holds)
        lsm_vtab_pin_cursor_end(table->ctx);
    cursor->holds = false;
    cursor->eof = true;
    sorted_clear(cursor);
    if (table->spare_cursor || !cursor_is_small(cursor))
        cursor_free(cursor);
    else
        table->spare_cursor = base;
    return SQLITE_OK;
}

void lsm_vtab_cursor_free_spare(struct lsm_vtab_table *table)
{
    if (table->spare_cursor)
        cursor_free((struct cursor *)table->spare_cursor);
    table->spare_cursor = NULL;
}

/* ---- rows ---------------------------------------------------------------------------- */

static int cursor_error(struct cursor *cursor, int lsm_rc)
{
    cursor->eof = true;
    return lsm_vtab_error_engine(&cursor->base.pVtab->zErrMsg,
                                 cursor_table(cursor)->ctx->store->path, lsm_rc);
}

/* The value follows when somebody asks for it: it may stand in a value log. */
static void show_key(struct cursor *cursor, struct lsm_slice key)
{
    lsm_vtab_row_set(&cursor->row, key, (struct lsm_slice){ NULL, 0 });
    cursor->value_pending = true;
}

static int show_value(struct cursor *cursor)
{
    struct lsm_slice value;
    int rc;

    if (!cursor->value_pending)
        return SQLITE_OK;
    if (cursor->sight.is_taken_back)
        return SQLITE_ABORT_ROLLBACK;
    rc = lsm_cursor_read(cursor->lsm, &value);
    if (rc != LSM_OK)
        return cursor_error(cursor, rc);
    lsm_vtab_row_set_value(&cursor->row, value);
    cursor->value_pending = false;
    return SQLITE_OK;
}

static int column_value(struct cursor *cursor, int column, struct lsm_vtab_value *value)
{
    int rc = lsm_vtab_row_needs_value(cursor_table(cursor)->schema, column) ? show_value(cursor) : SQLITE_OK;

    return rc == SQLITE_OK ? lsm_vtab_row_column(&cursor->row, column, value) : rc;
}

/*
 * The engine's cursor has moved with this result: look at the row, or go to the
 * next span that may have one.
 */
static int settle_on_row(struct cursor *cursor, int rc)
{
    bool desc = cursor->plan.desc;

    for (;;) {
        const struct lsm_vtab_span *span = &cursor->spans.span[cursor->span];
        struct lsm_slice key;

        if (rc != LSM_OK && rc != LSM_DONE)
            return cursor_error(cursor, rc);
        if (rc == LSM_OK) {
            key = lsm_cursor_key(cursor->lsm);
            if (desc ? lsm_vtab_key_compare(key, span_lower(cursor, cursor->span)) >= 0
                     : !span->has_upper || lsm_vtab_key_compare(key, span_upper(cursor, cursor->span)) < 0) {
                show_key(cursor, key);
                return SQLITE_OK;
            }
        }
        if (rc == LSM_DONE || (desc ? cursor->span == 0 : cursor->span + 1 == cursor->spans.count)) {
            cursor->eof = true;
            return SQLITE_OK;
        }
        cursor->span += desc ? (size_t)-1 : 1;
        span = &cursor->spans.span[cursor->span];
        if (!desc) {
            if (lsm_vtab_key_compare(key, span_lower(cursor, cursor->span)) < 0)
                rc = lsm_cursor_seek(cursor->lsm, span_lower(cursor, cursor->span));
        } else if (span->has_upper && lsm_vtab_key_compare(key, span_upper(cursor, cursor->span)) >= 0) {
            rc = lsm_cursor_seek_prev(cursor->lsm, span_upper(cursor, cursor->span));
            if (rc == LSM_OK
                && lsm_vtab_key_compare(lsm_cursor_key(cursor->lsm), span_upper(cursor, cursor->span)) == 0)
                rc = lsm_cursor_prev(cursor->lsm);
        }
    }
}

static inline int moved(struct cursor *cursor, int rc)
{
    if (rc != LSM_OK || cursor->spans.count > 1)
        return settle_on_row(cursor, rc);
    show_key(cursor, lsm_cursor_key(cursor->lsm));      /* the engine keeps to its bounds */
    return SQLITE_OK;
}

static int move_first(struct cursor *cursor)
{
    cursor->span = cursor->plan.desc ? cursor->spans.count - 1 : 0;
    return moved(cursor, cursor->plan.desc ? lsm_cursor_last(cursor->lsm)
                                           : lsm_cursor_first(cursor->lsm));
}

static int move_next(struct cursor *cursor)
{
    return moved(cursor, cursor->plan.desc ? lsm_cursor_prev(cursor->lsm)
                                           : lsm_cursor_next(cursor->lsm));
}

/* One row, which the cursor got by its key. */
static bool is_point(const struct cursor *cursor)
{
    return cursor->spans.count == 1 && cursor->spans.span[0].is_point;
}

static int open_lsm(struct cursor *cursor, const struct lsm_read *read)
{
    struct lsm_tree *tree = cursor_table(cursor)->tree;
    int rc = cursor->lsm ? lsm_cursor_reopen(cursor->lsm, tree, read)
                         : lsm_cursor_open(tree, read, &cursor->lsm);

    return rc == LSM_OK ? lsm_cursor_set_bounds(cursor->lsm, span_lower(cursor, 0),
                                                span_upper(cursor, cursor->spans.count - 1))
                        : rc;
}

/* The row where the engine's cursor will not stand any more. */
static int keep_row(struct cursor *cursor)
{
    size_t key_size = cursor->row.key.size;
    struct lsm_slice key, value;
    int rc = show_value(cursor);

    if (rc != SQLITE_OK)
        return rc;
    key = cursor->row.key;
    value = cursor->row.value;
    lsm_vtab_buf_reset(&cursor->kept_row);
    lsm_vtab_buf_add(&cursor->kept_row, key.data, key.size);
    lsm_vtab_buf_add(&cursor->kept_row, value.data, value.size);
    if (cursor->kept_row.rc != SQLITE_OK)
        return cursor->kept_row.rc;
    key.data = cursor->kept_row.data;
    value.data = cursor->kept_row.data + key_size;
    lsm_vtab_row_set(&cursor->row, key, value);
    return SQLITE_OK;
}

static struct cursor *sight_cursor(struct lsm_vtab_sight *sight)
{
    return (struct cursor *)((char *)sight - offsetof(struct cursor, sight));
}

void lsm_vtab_cursor_take_back(struct lsm_vtab_ctx *ctx, uint64_t write)
{
    struct lsm_vtab_sight *sight;

    for (sight = ctx->sights; sight; sight = sight->next) {
        struct cursor *cursor = sight_cursor(sight);

        if (sight->write <= write || cursor->eof || cursor->must_seek
            || is_point(cursor))
            continue;
        sight->is_taken_back = cursor->is_sorted || keep_row(cursor) != SQLITE_OK;
    }
}

/*
 * Opened anew it reads what the transaction read: the connection's pin; without one the newest state, unless another has
 * written since. SQLite lets go of the write lock before xRollback.
 */
static bool open_anew(struct cursor *cursor, const struct lsm_read *read)
{
    const struct lsm_vtab_ctx *ctx = cursor_table(cursor)->ctx;

    return open_lsm(cursor, read) == LSM_OK
           && (read->snapshot || lsm_db_seq_published(ctx->store->db) == ctx->begin_seq);
}

void lsm_vtab_cursor_put_right(struct lsm_vtab_ctx *ctx, const struct lsm_txn *txn, uint64_t write)
{
    struct lsm_read read = { .snapshot = ctx->pin, .txn = txn };
    struct lsm_vtab_sight *sight, *next;

    for (sight = ctx->sights; sight; sight = next) {
        struct cursor *cursor = sight_cursor(sight);

        next = sight->next;
        if (sight->write <= write)
            continue;
        if (!cursor->eof && !sight->is_taken_back && !is_point(cursor)) {
            cursor->must_seek = open_anew(cursor, &read);
            sight->is_taken_back = !cursor->must_seek;
        }
        if (write)
            sight->write = write;
        else
            lsm_vtab_sight_end(ctx, sight);
    }
    if (ctx->last_write > write)
        ctx->last_write = write;
}

static int move_behind(struct cursor *cursor)
{
    struct lsm_slice key = cursor->row.key;
    bool desc = cursor->plan.desc;
    int rc = desc ? lsm_cursor_seek_prev(cursor->lsm, key) : lsm_cursor_seek(cursor->lsm, key);

    cursor->must_seek = false;
    if (rc == LSM_OK && lsm_vtab_key_compare(lsm_cursor_key(cursor->lsm), key) == 0)
        rc = desc ? lsm_cursor_prev(cursor->lsm) : lsm_cursor_next(cursor->lsm);
    return settle_on_row(cursor, rc);
}

/*
 * A transaction whose snapshot of the database still has a table, and whose first read
 * of an lsm table comes after its rows went: it must not be told that there are none.
 * Asked once the read has its view.
 */
static int check_dropped(struct cursor *cursor)
{
    if (!lsm_tree_is_dropped(cursor_table(cursor)->tree))
        return SQLITE_OK;
    return lsm_vtab_error_dropped(&cursor->base.pVtab->zErrMsg, cursor_table(cursor)->name);
}

static int get_point(struct cursor *cursor, const struct lsm_read *read)
{
    struct lsm_slice key = span_lower(cursor, 0);
    int rc = lsm_tree_get(cursor_table(cursor)->tree, read, key, &cursor->value), sql_rc;

    if (rc != LSM_OK && rc != LSM_NOTFOUND)
        return cursor_error(cursor, rc);
    sql_rc = check_dropped(cursor);
    if (sql_rc != SQLITE_OK || rc == LSM_NOTFOUND)
        return sql_rc;
    lsm_vtab_row_set(&cursor->row, key, cursor->value.bytes);
    cursor->value_pending = false;
    cursor->eof = false;
    return SQLITE_OK;
}

static int open_range(struct cursor *cursor, const struct lsm_read *read)
{
    struct lsm_vtab_ctx *ctx = cursor_table(cursor)->ctx;
    int rc;

    if (cursor->lsm == NULL) {
        cursor->lsm = ctx->spare_lsm;
        ctx->spare_lsm = NULL;
    }
    rc = open_lsm(cursor, read);
    if (rc != LSM_OK)
        return cursor_error(cursor, rc);
    rc = check_dropped(cursor);
    if (rc != SQLITE_OK)
        return rc;
    cursor->eof = false;
    return move_first(cursor);
}

/* ---- collected and sorted rows ---------------------------------------------------------- */

static int sorted_add(struct cursor *cursor, int skip_parts)
{
    const struct lsm_vtab_schema *schema = cursor_table(cursor)->schema;
    struct lsm_slice key = cursor->row.key, value;
    struct sorted_row *row;
    size_t skip = 0;
    int i, rc = show_value(cursor);

    if (rc != SQLITE_OK)
        return rc;
    value = cursor->row.value;

    for (i = 0; i < skip_parts; i++) {
        rc = lsm_vtab_key_decode(&schema->key[i], key, &skip, NULL, NULL);

        if (rc != SQLITE_OK)
            return rc;
    }
    if (cursor->sorted_count == cursor->sorted_capacity) {
        size_t capacity = cursor->sorted_capacity ? cursor->sorted_capacity * 2 : 64;
        void *sorted = sqlite3_realloc64(cursor->sorted, capacity * sizeof(*cursor->sorted));

        if (sorted == NULL)
            return SQLITE_NOMEM;
        cursor->sorted = sorted;
        cursor->sorted_capacity = capacity;
    }
    row = sqlite3_malloc64(sizeof(*row) + key.size + value.size);
    if (row == NULL)
        return SQLITE_NOMEM;
    row->data = (uint8_t *)(row + 1);
    row->key_size = key.size;
    row->value_size = value.size;
    row->skip = skip;
    if (key.size)
        memcpy(row->data, key.data, key.size);
    if (value.size)
        memcpy(row->data + key.size, value.data, value.size);
    cursor->sorted[cursor->sorted_count++] = row;
    return SQLITE_OK;
}

static int sorted_compare(const void *pa, const void *pb)
{
    const struct sorted_row *a = *(struct sorted_row *const *)pa;
    const struct sorted_row *b = *(struct sorted_row *const *)pb;
    struct lsm_slice suffix_a = { a->data + a->skip, a->key_size - a->skip };
    struct lsm_slice suffix_b = { b->data + b->skip, b->key_size - b->skip };

    return lsm_vtab_key_compare(suffix_a, suffix_b);
}

static int sorted_show(struct cursor *cursor)
{
    const struct sorted_row *row;
    struct lsm_slice key, value;
    size_t at = cursor->sorted_at;

    cursor->eof = at >= cursor->sorted_count;
    if (cursor->eof)
        return SQLITE_OK;
    row = cursor->sorted[cursor->plan.desc ? cursor->sorted_count - 1 - at : at];
    key.data = row->data;
    key.size = row->key_size;
    value.data = row->data + row->key_size;
    value.size = row->value_size;
    lsm_vtab_row_set(&cursor->row, key, value);
    cursor->value_pending = false;
    return SQLITE_OK;
}

static int sort_rows(struct cursor *cursor)
{
    int skip_parts = 0;
    int rc = SQLITE_OK;

    while (skip_parts < cursor->plan.term_count && cursor->plan.terms[skip_parts].ordered)
        skip_parts++;
    while (rc == SQLITE_OK && !cursor->eof) {
        rc = sorted_add(cursor, skip_parts);
        if (rc == SQLITE_OK)
            rc = move_next(cursor);
    }
    if (rc != SQLITE_OK)
        return rc;
    if (cursor->sorted_count)
        qsort(cursor->sorted, cursor->sorted_count, sizeof(*cursor->sorted), sorted_compare);
    cursor->is_sorted = true;
    cursor->sorted_at = 0;
    return sorted_show(cursor);
}

/* Text and blobs are compared as keys are. */
static int may_equal(struct cursor *cursor, const struct lsm_vtab_key_part *part, sqlite3_value *rhs, bool *may)
{
    int type = sqlite3_value_type(rhs);
    struct lsm_vtab_value value, given;
    struct lsm_vtab_buf mine, other;
    int rc = column_value(cursor, part->column, &value);

    *may = rc == SQLITE_OK && lsm_vtab_value_may_equal(&value, rhs);
    if (rc != SQLITE_OK || type == SQLITE_INTEGER || type == SQLITE_FLOAT)
        return rc;
    rc = lsm_vtab_value_store(rhs, part->affinity, &given);
    if (rc != SQLITE_OK)
        return rc;
    lsm_vtab_buf_init(&mine, LSM_KEY_SIZE_MAX + 1);     /* a key is shorter than what is left of a longer one */
    lsm_vtab_buf_init(&other, LSM_KEY_SIZE_MAX + 1);
    lsm_vtab_key_add(&mine, part, &value);
    lsm_vtab_key_add(&other, part, &given);
    *may = lsm_vtab_key_compare(lsm_vtab_buf_slice(&mine), lsm_vtab_buf_slice(&other)) == 0;
    if (mine.rc == SQLITE_NOMEM || other.rc == SQLITE_NOMEM)
        rc = SQLITE_NOMEM;
    lsm_vtab_buf_clear(&mine);
    lsm_vtab_buf_clear(&other);
    return rc;
}

/* How many rows in sight may equal the plan's values, up to two? Leaves the cursor at the first row. */
static int count_equal(struct cursor *cursor, sqlite3_value **argv, int *count)
{
    const struct lsm_vtab_schema *schema = cursor_table(cursor)->schema;
    int rc = SQLITE_OK;

    for (*count = 0; rc == SQLITE_OK && !cursor->eof && *count < 2;) {
        bool may = true;
        int i;

        for (i = 0; rc == SQLITE_OK && may && i < cursor->plan.term_count; i++)
            rc = may_equal(cursor, &schema->key[cursor->plan.terms[i].part], argv[i], &may);
        *count += may;
        if (rc == SQLITE_OK)
            rc = move_next(cursor);
    }
    cursor->eof = false;
    return rc == SQLITE_OK ? move_first(cursor) : rc;
}

/* SQLite was told that the key is one row, and since then a text like '12' came into the table. */
static int check_guess(struct cursor *cursor, sqlite3_value **argv)
{
    struct lsm_vtab_table *table = cursor_table(cursor);
    bool takes_each;
    int count, rc = lsm_vtab_again_guess(table, &takes_each);

    if (rc == SQLITE_OK && takes_each) {
        rc = count_equal(cursor, argv, &count);
        if (rc == SQLITE_OK && count < 2)
            return SQLITE_OK;
    }
    cursor->eof = true;
    if (rc != SQLITE_OK)
        return rc;
    return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_ERROR,
                              "a key like '12' came into %s since this statement was prepared: "
                              "prepare it again", table->name);
}

/* ---- SQLite's calls ------------------------------------------------------------------------ */

int lsm_vtab_cursor_filter(sqlite3_vtab_cursor *base, int plan_number, const char *plan_text,
                           int argc, sqlite3_value **argv)
{
    struct cursor *cursor = (struct cursor *)base;
    struct lsm_vtab_table *table = cursor_table(cursor);
    struct lsm_read read;
    bool must_sort = false;
    int rc;

    (void)plan_number;
    cursor->eof = true;
    cursor->must_seek = false;
    lsm_vtab_again_began(table->ctx->conn);
    lsm_value_release(&cursor->value);
    sorted_clear(cursor);
    if (!lsm_vtab_plan_decode(plan_text, argc, &cursor->plan))
        return lsm_vtab_error_set(&table->base.zErrMsg, SQLITE_INTERNAL, "not a plan: %s",
                                  plan_text ? plan_text : "");
    rc = lsm_vtab_table_open(table, &table->base.zErrMsg);
    if (rc == SQLITE_OK)
        rc = lsm_vtab_pin_read(table->ctx, &read, &table->base.zErrMsg);
    if (rc == SQLITE_OK && cursor->plan.not_guessed)
        rc = lsm_vtab_again_not_guessed(table);
    if (rc != SQLITE_OK)
        return rc;
    if (!cursor->holds) {
        cursor->holds = true;
        lsm_vtab_pin_cursor_begin(table->ctx);
    }
    lsm_vtab_sight_begin(table->ctx, &cursor->sight);
    rc = lsm_vtab_spans_make(&cursor->spans, table, &cursor->plan, &read, argv, &must_sort);
    if (rc != SQLITE_OK || cursor->spans.count == 0)
        return rc;
    if (is_point(cursor))
        return get_point(cursor, &read);
    rc = open_range(cursor, &read);
    if (rc == SQLITE_OK && cursor->plan.guessed_unique)
        rc = check_guess(cursor, argv);
    if (rc == SQLITE_OK && must_sort)
        rc = sort_rows(cursor);
    return rc;
}

int lsm_vtab_cursor_next(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;

    if (is_point(cursor)) {
        cursor->eof = true;
        return SQLITE_OK;
    }
    if (cursor->sight.is_taken_back) {
        cursor->eof = true;
        return SQLITE_ABORT_ROLLBACK;
    }
    if (cursor->is_sorted) {
        cursor->sorted_at++;
        return sorted_show(cursor);
    }
    return cursor->must_seek ? move_behind(cursor) : move_next(cursor);
}

int lsm_vtab_cursor_eof(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *)base)->eof;
}

/* Reading a row again in xUpdate costs more than copying it here, if it is this small. */
#define NOCHANGE_SIZE_MIN 256

int lsm_vtab_cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    struct cursor *cursor = (struct cursor *)base;
    const struct lsm_vtab_schema *schema = cursor_table(cursor)->schema;
    struct lsm_vtab_value value;
    int rc;

    if (column >= schema->column_count) {
        if (column == schema->column_key)
            sqlite3_result_blob64(context, cursor->row.key.data, cursor->row.key.size,
                                  SQLITE_TRANSIENT);
        return SQLITE_OK;
    }
    if (cursor->value_pending && lsm_vtab_row_needs_value(schema, column)) {
        rc = show_value(cursor);
        if (rc != SQLITE_OK)
            return rc;
    }
    if (cursor->row.value.size >= NOCHANGE_SIZE_MIN && column != schema->column_primary
        && sqlite3_vtab_nochange(context))
        return SQLITE_OK;
    rc = lsm_vtab_row_column(&cursor->row, column, &value);
    if (rc == SQLITE_OK) {
        lsm_vtab_value_result(context, &value);
        return SQLITE_OK;
    }
    if (rc == SQLITE_CORRUPT_VTAB)
        return lsm_vtab_error_set(&base->pVtab->zErrMsg, rc, "a row of %s is damaged: %s",
                                  cursor_table(cursor)->name, cursor->row.why);
    return rc;
}

/* A WITHOUT ROWID table has none; SQLite does not ask. */
int lsm_vtab_cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    (void)base;
    *rowid = 0;
    return SQLITE_OK;
}
