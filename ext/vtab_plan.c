/*
 * vtab_plan.c -- xBestIndex: which constraints make a range of keys.
 *
 * Equal columns of a prefix of the key, then bounds or a GLOB prefix on the next
 * one. One IN takes all its values at once; SQLite loops over others. What
 * cannot be exact is left for SQLite to check (omit = 0).
 *
 * SQLite does not tell whether it would convert a right-hand side, so a constraint
 * on a TEXT or untyped column is exact only for a constant text or blob. It
 * adds GE and LT of its own to LIKE and GLOB with a constant pattern; these miss
 * blobs that match, so beside such a constraint constant bounds are not used, but
 * GLOB's tell its prefix.
 *
 * An UPDATE or DELETE of one key is twice as fast when SQLite knows that it is one
 * row: it collects nothing in a table of its own. A key compared with something
 * unknown is one row as long as the tree has no note about text like '12', which
 * may equal a number beside 12 itself, or '012', which equals what '12' does. This may change after the statement was
 * compiled; then xFilter has it compiled anew. It also does so for a statement that was compiled when
 * the table was empty, or had not been looked at: a program may prepare all that it has at its start.
 */
#include <string.h>

#include "ext/vtab.h"

#define ROWS_UNKNOWN 1000000.0

static char op_letter(int op)
{
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_EQ: return '=';
    case SQLITE_INDEX_CONSTRAINT_IS: return 's';
    case SQLITE_INDEX_CONSTRAINT_ISNULL: return 'n';
    case SQLITE_INDEX_CONSTRAINT_GT: return '>';
    case SQLITE_INDEX_CONSTRAINT_GE: return ']';
    case SQLITE_INDEX_CONSTRAINT_LT: return '<';
    case SQLITE_INDEX_CONSTRAINT_LE: return '[';
    default: return 0;
    }
}

/* Is the right-hand side a constant text or blob? */
static bool is_plain(sqlite3_index_info *info, int i)
{
    sqlite3_value *value = NULL;
    int type;

    if (sqlite3_vtab_rhs_value(info, i, &value) != SQLITE_OK || value == NULL)
        return false;
    type = sqlite3_value_type(value);
    return type == SQLITE_TEXT || type == SQLITE_BLOB;
}

/* The usable constraint on a key column with one of these operators, or -1. */
static int find(const struct lsm_vtab_schema *schema, sqlite3_index_info *info, int part,
                const char *letters)
{
    const struct lsm_vtab_column *column = &schema->columns[schema->key[part].column];
    const char *collation = lsm_vtab_collation_name(column->collation);
    int i;

    for (i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        char letter = op_letter(c->op);

        if (!c->usable || c->iColumn != schema->key[part].column || letter == 0
            || strchr(letters, letter) == NULL)
            continue;
        if (letter == 'n'
            || sqlite3_stricmp(sqlite3_vtab_collation(info, i), collation) == 0)
            return i;
    }
    return -1;
}

static bool has_pattern(const struct lsm_vtab_schema *schema, const sqlite3_index_info *info,
                        int part)
{
    int i;

    for (i = 0; i < info->nConstraint; i++) {
        int op = info->aConstraint[i].op;

        if (info->aConstraint[i].iColumn == schema->key[part].column
            && (op == SQLITE_INDEX_CONSTRAINT_LIKE || op == SQLITE_INDEX_CONSTRAINT_GLOB))
            return true;
    }
    return false;
}

/* The constant text that a column is compared with by this operator, bytewise. */
static bool text_bound(sqlite3_index_info *info, int i, int column, int op,
                       struct lsm_slice *text)
{
    const struct sqlite3_index_constraint *c = &info->aConstraint[i];
    sqlite3_value *value = NULL;

    if (!c->usable || c->iColumn != column || c->op != op
        || sqlite3_stricmp(sqlite3_vtab_collation(info, i), "BINARY") != 0
        || sqlite3_vtab_rhs_value(info, i, &value) != SQLITE_OK || value == NULL
        || sqlite3_value_type(value) != SQLITE_TEXT)
        return false;
    text->data = sqlite3_value_text(value);
    text->size = (size_t)sqlite3_value_bytes(value);
    return text->data != NULL && text->size > 0;
}

/* Are these two the bounds of all text that begins with `lower`? */
static bool is_prefix_bounds(struct lsm_slice lower, struct lsm_slice upper)
{
    size_t last = lower.size - 1;

    return lower.size == upper.size && memcmp(lower.data, upper.data, last) == 0
           && lower.data[last] + 1 == upper.data[last];
}

/*
 * The constraint whose right-hand side is the prefix of a GLOB pattern, or -1.
 *
 * It is the GE that SQLite adds, beside its LT; not the GLOB: one in the ON of an outer join
 * is offered for the tables on its left, too, where it excludes no row, and nothing tells it
 * from one that does. Its GE and LT are offered where they hold. Should these be the user's
 * own, they hold as well.
 */
static int find_prefix(const struct lsm_vtab_schema *schema, sqlite3_index_info *info, int part)
{
    int column = schema->key[part].column;
    struct lsm_slice lower, upper;
    int i, k;

    if (schema->key[part].affinity != LSM_VTAB_AFFINITY_TEXT)
        return -1;
    for (i = 0; i < info->nConstraint; i++) {
        if (!text_bound(info, i, column, SQLITE_INDEX_CONSTRAINT_GE, &lower))
            continue;
        for (k = 0; k < info->nConstraint; k++) {
            if (text_bound(info, k, column, SQLITE_INDEX_CONSTRAINT_LT, &upper)
                && is_prefix_bounds(lower, upper))
                return i;
        }
    }
    return -1;
}

/* What xBestIndex gathers while it goes along the key. */
struct choice {
    const struct lsm_vtab_schema *schema;
    sqlite3_index_info *info;
    sqlite3_str *text;
    int term_count;
    int equal_count;            /* leading columns with an equality */
    int in_part;                /* the column whose IN comes all at once, or -1 */
    bool is_exact;              /* all terms so far: later ones may be omitted, too */
    int equal[LSM_VTAB_PLAN_TERM_MAX];  /* per leading column: its constraint */
    bool is_constant[LSM_VTAB_PLAN_TERM_MAX];   /* per leading column: one value for ORDER BY */
    double rows;
};

/* Does it compare with values that are one to ORDER BY, and does the range hold just them? */
static bool is_exact_term(const struct choice *choice, int part, int i)
{
    char letter = op_letter(choice->info->aConstraint[i].op);

    if (choice->schema->key[part].foreign_order && strchr("><][", letter))
        return false;
    return letter == 'n'
           || lsm_vtab_range_is_exact(&choice->schema->key[part]) || is_plain(choice->info, i);
}

static void add_term(struct choice *choice, int part, int i, bool is_ordered)
{
    sqlite3_index_info *info = choice->info;
    char letter = op_letter(info->aConstraint[i].op);
    bool plain = letter != 'n' && is_plain(info, i);

    if (choice->in_part == part)
        letter = 'i';
    choice->is_exact = choice->is_exact && is_exact_term(choice, part, i);
    info->aConstraintUsage[i].argvIndex = ++choice->term_count;
    info->aConstraintUsage[i].omit = choice->is_exact;
    sqlite3_str_appendf(choice->text, "%c%d%s%s", letter, part, plain ? "p" : "",
                        is_ordered ? "o" : "");
}

static bool is_in_order_by(const sqlite3_index_info *info, int column)
{
    int i;

    for (i = 0; i < info->nOrderBy; i++) {
        if (info->aOrderBy[i].iColumn == column)
            return true;
    }
    return false;
}

/*
 * Equalities on leading columns. ORDER BY need not count a column with one value.
 * An equality that may hold for several ('1' and '01' are 1) is one value, too,
 * as long as ORDER BY does not name its column: then xFilter sorts what is behind
 * it, should there be several.
 */
static void choose_equal(struct choice *choice)
{
    const struct lsm_vtab_schema *schema = choice->schema;
    bool is_leading = true;     /* all before are one value each */
    int part;

    for (part = 0; part < schema->key_count && part < LSM_VTAB_PLAN_TERM_MAX - 2; part++) {
        int i = find(schema, choice->info, part, "=sn");
        bool is_in;

        if (i < 0)
            break;
        is_in = choice->info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_EQ
                && sqlite3_vtab_in(choice->info, i, -1);
        /* SQLite would loop over it, and check what comes without the affinity of the list. */
        if (is_in && choice->in_part >= 0 && !lsm_vtab_range_is_exact(&schema->key[part]))
            break;
        if (is_in && choice->in_part < 0) {
            sqlite3_vtab_in(choice->info, i, 1);
            choice->in_part = part;
        }
        choice->is_constant[part] =
            choice->in_part != part
            && (is_exact_term(choice, part, i)
                || (is_leading && !is_in_order_by(choice->info, schema->key[part].column)));
        is_leading = is_leading && choice->is_constant[part];
        add_term(choice, part, i, is_leading);
        choice->equal[part] = i;
        choice->equal_count = part + 1;
        choice->rows /= part + 1 == schema->key_count ? choice->rows : 20;
        if (choice->in_part == part)
            choice->rows *= 10;
        if (choice->rows < 1)
            choice->rows = 1;
    }
}

static void add_prefix(struct choice *choice, int part, int i)
{
    choice->is_exact = false;
    choice->info->aConstraintUsage[i].argvIndex = ++choice->term_count;
    sqlite3_str_appendf(choice->text, "g%d", part);
    choice->rows /= 16;
}

/* Bounds, or a GLOB, on the column behind the equal ones. */
static void choose_range(struct choice *choice)
{
    static const char *const sides[2] = { ">]", "<[" };
    int part = choice->equal_count;
    bool is_pattern;
    int side;
    int i;

    if (part >= choice->schema->key_count)
        return;
    is_pattern = has_pattern(choice->schema, choice->info, part);
    i = is_pattern ? find_prefix(choice->schema, choice->info, part) : -1;
    if (i >= 0)
        add_prefix(choice, part, i);
    for (side = 0; side < 2; side++) {
        int bound = find(choice->schema, choice->info, part, sides[side]);

        if (bound < 0 || (is_pattern && is_plain(choice->info, bound)))
            continue;
        add_term(choice, part, bound, false);
        choice->rows /= 4;
    }
    if (choice->rows < 1)
        choice->rows = 1;
}

/* One key column behind the constant ones, in the key's order; -1: none is left. */
static int next_part(const struct choice *choice, int part)
{
    while (part < choice->equal_count && choice->is_constant[part])
        part++;
    return part < choice->schema->key_count ? part : -1;
}

static bool is_constant_column(const struct choice *choice, int column)
{
    int part = column >= 0 && column < choice->schema->column_count
                   ? choice->schema->columns[column].key_index
                   : -1;

    return part >= 0 && part < choice->equal_count && choice->is_constant[part];
}

/*
 * Do the rows come in this order? SQLite does not name the collation of a term, but
 * offers only the column's own.
 */
static bool is_ordered(const struct choice *choice, bool *desc)
{
    const struct lsm_vtab_schema *schema = choice->schema;
    const sqlite3_index_info *info = choice->info;
    bool is_first = true;
    int part = 0;
    int i;

    for (i = 0; i < info->nOrderBy; i++) {
        bool is_reversed;

        if (is_constant_column(choice, info->aOrderBy[i].iColumn))
            continue;
        part = next_part(choice, part);
        if (part < 0)
            return !is_first;   /* the whole key is ordered: rows are unique */
        if (info->aOrderBy[i].iColumn != schema->key[part].column
            || schema->key[part].collation != LSM_VTAB_COLLATION_BINARY
            || schema->key[part].foreign_order)
            return false;
        is_reversed = (info->aOrderBy[i].desc != 0) != schema->key[part].desc;
        if (is_first)
            *desc = is_reversed;
        else if (*desc != is_reversed)
            return false;
        is_first = false;
        part++;
    }
    return true;
}

/* For DISTINCT it is enough that equal rows come together. */
static bool is_grouped(const struct choice *choice)
{
    const struct lsm_vtab_schema *schema = choice->schema;
    const sqlite3_index_info *info = choice->info;
    int part = 0;
    int wanted = 0;
    int i, n;

    for (i = 0; i < info->nOrderBy; i++)
        wanted += !is_constant_column(choice, info->aOrderBy[i].iColumn);
    for (n = 0; n < wanted; n++) {
        part = next_part(choice, part);
        if (part < 0 || schema->key[part].collation != LSM_VTAB_COLLATION_BINARY)
            return false;
        for (i = 0; i < info->nOrderBy; i++) {
            if (info->aOrderBy[i].iColumn == schema->key[part].column)
                break;
        }
        if (i == info->nOrderBy)
            return false;
        part++;
    }
    return true;
}

static double table_rows(const struct lsm_vtab_table *table)
{
    struct lsm_tree_stats stats;

    if (table->tree == NULL || lsm_tree_stats(table->tree, &stats) != LSM_OK)
        return ROWS_UNKNOWN;
    return stats.entries > 10 ? (double)stats.entries : 10.0;
}

/* Does the statement ask for columns that are not in the key? */
static bool is_key_only(const struct lsm_vtab_schema *schema, const sqlite3_index_info *info)
{
    int column;

    for (column = 0; column < schema->column_count; column++) {
        sqlite3_uint64 bit = (sqlite3_uint64)1 << (column < 63 ? column : 63);

        if ((info->colUsed & bit) && lsm_vtab_row_needs_value(schema, column))
            return false;
    }
    return true;
}

/* Rows that LIMIT will let through, as far as it is known. */
static double limit_rows(sqlite3_index_info *info, double rows)
{
    int i;

    for (i = 0; i < info->nConstraint; i++) {
        sqlite3_value *value = NULL;

        if (info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_LIMIT
            || sqlite3_vtab_rhs_value(info, i, &value) != SQLITE_OK || value == NULL)
            continue;
        if (sqlite3_value_int64(value) >= 1 && (double)sqlite3_value_int64(value) < rows)
            rows = (double)sqlite3_value_int64(value);
    }
    return rows;
}

/* How many comparisons a search among so many rows takes. */
static double search_cost(double rows)
{
    double cost = 3;

    for (; rows > 1; rows /= 2)
        cost++;
    return cost;
}

/* Is the whole key compared with =, with values that are not known? */
static bool is_whole_key(const struct lsm_vtab_schema *schema, const struct choice *choice)
{
    int part;

    if (choice->in_part >= 0 || choice->equal_count < schema->key_count)
        return false;
    for (part = 0; part < schema->key_count; part++) {
        if (op_letter(choice->info->aConstraint[choice->equal[part]].op) != '=')
            return false;
    }
    return true;
}

bool lsm_vtab_plan_guesses(const struct lsm_vtab_table *table)
{
    struct lsm_read read = { .snapshot = table->ctx->pin, .txn = table->ctx->txn };
    enum lsm_vtab_number_text level;
    struct lsm_tree_stats stats;
    int part;

    if (table->tree == NULL || table->no_guess)
        return false;
    /* An empty table says nothing about the keys to come. */
    if (lsm_tree_stats(table->tree, &stats) != LSM_OK || stats.entries == 0)
        return false;
    if (lsm_vtab_note_read(table, &read, &level) != LSM_OK || level == LSM_VTAB_NUMBER_TEXT_ANY)
        return false;
    for (part = 0; level == LSM_VTAB_NUMBER_TEXT_INTEGERS && part < table->schema->key_count; part++) {
        if (table->schema->key[part].affinity == LSM_VTAB_AFFINITY_BLOB)
            return false;       /* 12 and '12' are two */
    }
    return true;
}

int lsm_vtab_plan_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    struct lsm_vtab_table *table = (struct lsm_vtab_table *)vtab;
    double rows = table_rows(table);
    struct choice choice = { .schema = table->schema, .info = info, .in_part = -1,
                             .is_exact = true, .rows = rows };
    bool is_key = is_key_only(table->schema, info);
    bool desc = false;
    int rc;

    choice.text = sqlite3_str_new(NULL);
    choose_equal(&choice);
    choose_range(&choice);
    if (info->nOrderBy > 0) {
        info->orderByConsumed = is_ordered(&choice, &desc);
        /* 1 would be GROUP BY; but SQLite takes it for an ORDER BY of the same terms as well. */
        if (!info->orderByConsumed && sqlite3_vtab_distinct(info) == 2) {
            desc = false;
            info->orderByConsumed = is_grouped(&choice);
        }
    }
    if (desc && info->orderByConsumed)
        sqlite3_str_appendchar(choice.text, 1, 'D');
    if (is_key)
        sqlite3_str_appendchar(choice.text, 1, 'K');

    if (choice.equal_count == table->schema->key_count && choice.in_part < 0 && choice.is_exact) {
        info->idxFlags = SQLITE_INDEX_SCAN_UNIQUE;
        choice.rows = 1;
    } else if (is_whole_key(table->schema, &choice)) {
        bool is_guessed = lsm_vtab_plan_guesses(table);

        sqlite3_str_appendchar(choice.text, 1, is_guessed ? 'U' : 'u');
        if (is_guessed) {
            info->idxFlags = SQLITE_INDEX_SCAN_UNIQUE;
            choice.rows = 1;
        }
    }
    info->estimatedRows = (sqlite3_int64)limit_rows(info, choice.rows);
    info->estimatedCost = search_cost(rows) + choice.rows * (is_key ? 0.9 : 1.0);
    if (choice.term_count == 0)
        info->estimatedCost = rows * (is_key ? 2.7 : 3.0);
    rc = sqlite3_str_errcode(choice.text);
    info->idxStr = sqlite3_str_finish(choice.text);     /* NULL for the empty plan */
    info->needToFreeIdxStr = 1;
    return rc;
}

bool lsm_vtab_plan_decode(const char *text, int argc, struct lsm_vtab_plan *plan)
{
    plan->term_count = 0;
    plan->desc = plan->key_only = plan->guessed_unique = plan->not_guessed = false;
    if (text == NULL)
        return argc == 0;
    while (*text && strchr("=isn>]<[g", *text)) {
        struct lsm_vtab_plan_term *term;

        if (plan->term_count == LSM_VTAB_PLAN_TERM_MAX)
            return false;
        term = &plan->terms[plan->term_count++];
        term->op = *text++;
        term->part = 0;
        while (*text >= '0' && *text <= '9')
            term->part = term->part * 10 + (*text++ - '0');
        term->plain = *text == 'p';
        text += term->plain;
        term->ordered = *text == 'o';
        text += term->ordered;
    }
    if (*text == 'D') {
        plan->desc = true;
        text++;
    }
    if (*text == 'K') {
        plan->key_only = true;
        text++;
    }
    if (*text == 'U' || *text == 'u') {
        plan->guessed_unique = *text == 'U';
        plan->not_guessed = *text == 'u';
        text++;
    }
    return *text == '\0' && plan->term_count == argc;
}
