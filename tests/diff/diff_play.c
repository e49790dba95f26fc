/*
 * diff_play.c -- plays a history on both sides and compares. See diff.h.
 */
#include "tests/diff/diff.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ext/lsmvtab.h"

struct answer {
    bool is_prepared;
    bool is_tried_anew;         /* SQLite compiled it again when it had begun */
    int rc;
    char error[300];
    char *rows;
    int changes;
    int64_t total_changes, last_rowid;
    int autocommit;
};

struct side {
    bool is_lsm;
    const struct diff_history *history;
    char path[220], attached[220];
    sqlite3 *conns[DIFF_CONN_MAX];
    int64_t total_before;
    struct answer answer;
};

static void exec(sqlite3 *db, const char *format, ...)
{
    va_list args;
    char *sql;

    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
        abort();
    }
    sqlite3_free(sql);
}

static void side_open(struct side *side)
{
    const struct diff_history *h = side->history;

    for (int i = 0; i < h->conn_count; i++) {
        sqlite3 *db;

        if (sqlite3_open(side->path, &db) != SQLITE_OK)
            abort();
        side->conns[i] = db;
        sqlite3_extended_result_codes(db, 1);
        if (i == 0) {
            exec(db, "PRAGMA page_size = %d", h->page_size);
            exec(db, "PRAGMA encoding = '%s'", h->encoding);
            exec(db, "PRAGMA journal_mode = %s", h->journal);
        }
        /* On both sides: the companion table in temp is in neither's way. */
        if (sqlite3_lsmvtab_init(db, NULL, NULL) != SQLITE_OK)
            abort();
        exec(db, "ATTACH %Q AS aux", side->attached);
        if (i == 0)
            exec(db, "PRAGMA aux.journal_mode = %s", h->journal);
        exec(db, "PRAGMA synchronous = OFF");
        exec(db, "PRAGMA aux.synchronous = OFF");
        exec(db, "PRAGMA recursive_triggers = 0");
    }
}

static void side_close(struct side *side)
{
    for (int i = 0; i < side->history->conn_count; i++) {
        if (side->conns[i] && sqlite3_close(side->conns[i]) != SQLITE_OK)
            abort();
        side->conns[i] = NULL;
    }
}

static void render(sqlite3_str *out, sqlite3_stmt *stmt, int i)
{
    const unsigned char *bytes;
    int size;

    switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER: sqlite3_str_appendf(out, "%lld", sqlite3_column_int64(stmt, i)); return;
    case SQLITE_FLOAT: {
        double real = sqlite3_column_double(stmt, i);
        char text[40];

        snprintf(text, sizeof(text), "%.17gr", real);
        sqlite3_str_appendall(out, text);
        return;
    }
    case SQLITE_NULL: sqlite3_str_appendall(out, "NULL"); return;
    case SQLITE_TEXT:
        bytes = sqlite3_column_text(stmt, i);
        sqlite3_str_appendchar(out, 1, '\'');
        break;
    default:
        bytes = sqlite3_column_blob(stmt, i);
        sqlite3_str_appendchar(out, 1, 'x');
        break;
    }
    size = sqlite3_column_bytes(stmt, i);
    for (int k = 0; k < size && k < 40; k++) {
        if (bytes[k] > ' ' && bytes[k] < 127)
            sqlite3_str_appendchar(out, 1, (char)bytes[k]);
        else
            sqlite3_str_appendf(out, "\\%02x", bytes[k]);
    }
    if (size >= 40)
        sqlite3_str_appendf(out, "..%d", size);
}

static void bind(sqlite3 *db, sqlite3_stmt *stmt, const struct diff_step *step)
{
    for (int i = 0; i < step->param_count; i++) {
        sqlite3_stmt *value = NULL;
        char *sql = sqlite3_mprintf("SELECT %s", step->params[i]);

        if (sqlite3_prepare_v2(db, sql, -1, &value, NULL) == SQLITE_OK
            && sqlite3_step(value) == SQLITE_ROW)
            sqlite3_bind_value(stmt, i + 1, sqlite3_column_value(value, 0));
        sqlite3_finalize(value);
        sqlite3_free(sql);
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *step_rows(sqlite3_stmt *stmt, bool is_ordered)
{
    char **lines = NULL;
    size_t count = 0, capacity = 0;
    sqlite3_str *text = sqlite3_str_new(NULL);

    while (sqlite3_step(stmt) == SQLITE_ROW) {
        sqlite3_str *line = sqlite3_str_new(NULL);

        for (int i = 0; i < sqlite3_column_count(stmt); i++) {
            sqlite3_str_appendall(line, i ? "|" : "");
            render(line, stmt, i);
        }
        if (count == capacity) {
            capacity = capacity ? capacity * 2 : 32;
            lines = realloc(lines, capacity * sizeof(*lines));
        }
        sqlite3_str_appendall(line, "\n");
        lines[count++] = sqlite3_str_finish(line);
    }
    if (!is_ordered && count)
        qsort(lines, count, sizeof(*lines), compare_lines);
    for (size_t i = 0; i < count; i++) {
        sqlite3_str_appendall(text, lines[i]);
        sqlite3_free(lines[i]);
    }
    free(lines);
    return sqlite3_str_finish(text);
}

/* `@TABLE t(...)@` as this side has it; from sqlite3_malloc. */
static char *expand(const struct side *side, const char *sql)
{
    const char *begin = strstr(sql, "@TABLE "), *columns, *end;

    if (begin == NULL)
        return sqlite3_mprintf("%s", sql);
    columns = strchr(begin, '(');
    end = strrchr(begin, '@');
    if (side->is_lsm)
        return sqlite3_mprintf("%.*sCREATE VIRTUAL TABLE %.*s USING lsm%.*s%s", (int)(begin - sql),
                               sql, (int)(columns - begin - 7), begin + 7, (int)(end - columns),
                               columns, end + 1);
    return sqlite3_mprintf("%.*sCREATE TABLE %.*s%.*s WITHOUT ROWID%s", (int)(begin - sql), sql,
                           (int)(columns - begin - 7), begin + 7, (int)(end - columns), columns,
                           end + 1);
}

static void side_run(struct side *side, const struct diff_step *step)
{
    sqlite3 *db = side->conns[step->conn];
    struct answer *answer = &side->answer;
    int64_t total = sqlite3_total_changes64(db);
    char *sql = expand(side, step->sql);
    sqlite3_stmt *stmt = NULL;

    sqlite3_free(answer->rows);
    answer->rows = NULL;
    answer->is_prepared = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && stmt;
    if (answer->is_prepared) {
        bind(db, stmt, step);
        answer->rows = step_rows(stmt, (step->flags & DIFF_ORDERED) != 0);
    }
    answer->is_tried_anew = stmt && sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_REPREPARE, 0) > 0;
    answer->rc = answer->is_prepared ? sqlite3_finalize(stmt) : sqlite3_extended_errcode(db);
    snprintf(answer->error, sizeof(answer->error), "%s",
             answer->rc == SQLITE_OK ? "" : sqlite3_errmsg(db));
    answer->changes = sqlite3_changes(db);
    if (strcmp(sql, "VACUUM") == 0)     /* SQLite copies a virtual table's schema row by an INSERT */
        sqlite3_set_last_insert_rowid(db, 0);
    answer->total_changes = sqlite3_total_changes64(db) - total;
    answer->last_rowid = sqlite3_last_insert_rowid(db);
    answer->autocommit = sqlite3_get_autocommit(db);
    sqlite3_free(sql);
}

static void lsm_command(struct side *side, const char *command)
{
    char *sql;

    for (int i = 0; i < side->history->conn_count; i++)
        if (!sqlite3_get_autocommit(side->conns[i]))
            return;
    sql = sqlite3_mprintf("INSERT INTO t(t) VALUES(%Q)", command);
    sqlite3_exec(side->conns[0], sql, NULL, NULL, NULL);
    sqlite3_free(sql);
}

/* Another writer is in the way: the words are our own where SQLite would see no conflict. */
static bool is_busy(int rc)
{
    return (rc & 0xff) == SQLITE_BUSY;
}

static bool same(const struct answer *a, const struct answer *b, unsigned flags, char *why,
                 size_t size)
{
    const char *rows_a = a->rows ? a->rows : "", *rows_b = b->rows ? b->rows : "";

    if (a->rc != b->rc)
        snprintf(why, size, "code %d (%s), not %d (%s)", a->rc, a->error, b->rc, b->error);
    else if (!is_busy(a->rc) && strcmp(a->error, b->error) != 0)
        snprintf(why, size, "error '%s', not '%s'", a->error, b->error);
    else if (a->rc == SQLITE_OK && strcmp(rows_a, rows_b) != 0)
        snprintf(why, size, "rows\n%s--- not\n%s", rows_a, rows_b);
    else if (a->autocommit != b->autocommit)
        snprintf(why, size, "autocommit %d, not %d", a->autocommit, b->autocommit);
    else if (a->is_prepared && (flags & DIFF_CHANGES) && a->changes != b->changes)
        snprintf(why, size, "changes %d, not %d (rc %d)", a->changes, b->changes, a->rc);
    /* What a trigger did in the first try is undone, but SQLite goes on counting it. */
    else if (a->is_prepared && (flags & DIFF_CHANGES) && !a->is_tried_anew &&
             a->total_changes != b->total_changes)
        snprintf(why, size, "total_changes +%lld, not +%lld (rc %d)", (long long)a->total_changes,
                 (long long)b->total_changes, a->rc);
    else if (a->last_rowid != b->last_rowid)
        snprintf(why, size, "last_insert_rowid %lld, not %lld", (long long)a->last_rowid,
                 (long long)b->last_rowid);
    else
        return true;
    return false;
}

/*
 * Another connection has committed since this transaction read. The ordinary side refuses
 * to write at all; the lsm side what would overwrite: a commit that wrote only lsm
 * tables has dirtied no page, and one that was rolled back to nothing wrote nothing. Only
 * an UPDATE that changes no byte is a commit on the lsm side alone.
 */
static bool is_admitted(const struct side sides[2])
{
    int a = sides[0].answer.rc, b = sides[1].answer.rc;

    return (b == SQLITE_BUSY_SNAPSHOT && !is_busy(a)) || (a == SQLITE_BUSY_SNAPSHOT && !is_busy(b));
}

static bool play_step(struct side sides[2], const struct diff_step *step, char *why, size_t size)
{
    if (strcmp(step->sql, ".reopen") == 0) {
        for (int i = 0; i < 2; i++) {
            side_close(&sides[i]);
            side_open(&sides[i]);
        }
        return true;
    }
    if (step->sql[0] == '.') {
        lsm_command(&sides[0], step->sql + 1);
        return true;
    }
    side_run(&sides[0], step);
    side_run(&sides[1], step);
    if (!is_admitted(sides) && !same(&sides[0].answer, &sides[1].answer, step->flags, why, size))
        return false;
    /* Such a transaction cannot go on; while it is open it may hold the write lock (README, Limits). */
    if (sides[0].answer.rc == SQLITE_BUSY_SNAPSHOT || sides[1].answer.rc == SQLITE_BUSY_SNAPSHOT)
        for (int i = 0; i < 2; i++)
            if (!sides[i].answer.autocommit)
                exec(sides[i].conns[step->conn], "ROLLBACK");
    return true;
}

bool diff_play(const struct diff_history *history, const bool *used, const char *dir,
               size_t *failed, char *why, size_t why_size)
{
    struct side sides[2];
    char command[600];
    bool is_same = true;

    memset(sides, 0, sizeof(sides));
    for (int i = 0; i < 2; i++) {
        sides[i].is_lsm = i == 0;
        sides[i].history = history;
        snprintf(sides[i].path, sizeof(sides[i].path), "%s/%s.db", dir, i ? "plain" : "lsm");
        snprintf(sides[i].attached, sizeof(sides[i].attached), "%s/%s2.db", dir,
                 i ? "plain" : "lsm");
        side_open(&sides[i]);
    }
    for (size_t i = 0; is_same && i < history->count; i++) {
        if (used && !used[i])
            continue;
        is_same = play_step(sides, &history->steps[i], why, why_size);
        if (!is_same)
            *failed = i;
    }
    for (int i = 0; i < 2; i++) {
        side_close(&sides[i]);
        sqlite3_free(sides[i].answer.rows);
    }
    snprintf(command, sizeof(command), "rm -rf %s/lsm.db* %s/plain.db* %s/lsm2.db* %s/plain2.db*",
             dir, dir, dir, dir);
    if (system(command) != 0)
        abort();
    return is_same;
}
