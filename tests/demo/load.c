/*
 * load.c -- the same rows, in the order in which the source has them, into either
 * side: transactions of 10,000 rows, one prepared INSERT.
 *
 * The time is SQLite's: what reading the source and summing its rows takes is
 * counted on its own and taken off.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/demo/table.h"

#define TRANSACTION_ROWS 10000
#define SHOW_ROWS 100           /* the bar looks at the clock this seldom */

static void insert_package(void *ctx, const struct demo_package *package)
{
    sqlite3_stmt *stmt = ctx;

    sqlite3_bind_text(stmt, 1, package->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, package->version, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, package->section, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 4, package->installed_kb);
    demo_step(stmt);
    sqlite3_reset(stmt);
}

static void load_packages(sqlite3 *db)
{
    sqlite3_stmt *stmt;

    demo_exec(db, "CREATE TABLE packages(package TEXT PRIMARY KEY, version TEXT, section TEXT, "
                  "installed_kb INTEGER)");
    demo_exec(db, "BEGIN");
    stmt = demo_prepare(db, "INSERT OR IGNORE INTO packages VALUES(?, ?, ?, ?)");
    demo_packages_each(insert_package, stmt);
    sqlite3_finalize(stmt);
    demo_exec(db, "COMMIT");
}

static void create(sqlite3 *db, const struct demo_source *source, enum demo_side side)
{
    char sql[500];

    if (side == DEMO_LSM)
        snprintf(sql, sizeof(sql), "CREATE VIRTUAL TABLE %s USING lsm(%s)", source->table,
                 source->columns);
    else
        snprintf(sql, sizeof(sql), "CREATE TABLE %s(%s) WITHOUT ROWID", source->table,
                 source->columns);
    demo_exec(db, "%s", sql);
    printf("   %s\n", sql);
}

static sqlite3_stmt *prepare_insert(sqlite3 *db, const struct demo_source *source)
{
    return demo_prepare(db, "INSERT INTO %s VALUES(?%.*s)", source->table,
                        2 * (source->column_count - 1), ",?,?,?,?,?,?,?");
}

static void load_side(struct demo *demo, struct demo_source *source, enum demo_side side,
                      struct demo_sum *sum)
{
    sqlite3 *db = demo_open(demo, demo_database(side), side == DEMO_LSM);
    struct demo_value row[DEMO_COLUMN_MAX];
    struct demo_progress progress;
    sqlite3_stmt *stmt;
    double begin, source_seconds = 0, mark;
    char name[60];

    create(db, source, side);
    load_packages(db);
    stmt = prepare_insert(db, source);
    *sum = (struct demo_sum){ 0, 0, { 0, 0 }, 0 };
    source->rewind(source);
    demo_progress_begin(&progress, demo_side_names[side], source->row_count);
    begin = mark = demo_seconds();
    while (source->next(source, row)) {
        if (sum->rows % TRANSACTION_ROWS == 0)
            demo_exec(db, sum->rows ? "COMMIT; BEGIN" : "BEGIN");
        demo_sum_row(sum, row, source->column_count);
        source_seconds += demo_seconds() - mark;
        demo_bind_row(stmt, row, source->column_count);
        demo_step(stmt);
        sqlite3_reset(stmt);
        progress.begin = begin + source_seconds;
        if (sum->rows % SHOW_ROWS == 0)
            demo_progress_show(&progress, sum->rows, false);
        mark = demo_seconds();
    }
    if (sum->rows)
        demo_exec(db, "COMMIT");
    demo_progress_show(&progress, sum->rows, true);
    snprintf(name, sizeof(name), "load_%s", demo_side_names[side]);
    demo_figure_set(demo, name, demo_seconds() - begin - source_seconds);
    sqlite3_finalize(stmt);
    demo_close(db);
}

static void count_rows(struct demo_source *source)
{
    struct demo_value row[DEMO_COLUMN_MAX];

    while (source->next(source, row))
        source->row_count++;
}

void demo_load(struct demo *demo)
{
    struct demo_source *source;
    struct demo_sum sums[DEMO_SIDE_COUNT];
    struct stat info;
    char path[1000];
    FILE *f;

    /* Files may change while the demo runs: the clock of the file system tells which. */
    snprintf(path, sizeof(path), "%s/begin", demo->directory);
    f = fopen(path, "w");
    if (f)
        fclose(f);
    demo_figure_set(demo, "begin", stat(path, &info) == 0 ? (double)info.st_mtim.tv_sec : 0);

    source = demo_source_open(demo);
    if (source->row_count == 0)
        count_rows(source);
    printf("   %s %s\n", demo_count(source->row_count), source->what);
    load_side(demo, source, DEMO_LSM, &sums[DEMO_LSM]);
    load_side(demo, source, DEMO_ORDINARY, &sums[DEMO_ORDINARY]);
    demo_figure_set(demo, "rows", (double)sums[DEMO_LSM].rows);
    demo_figure_set(demo, "raw_bytes", (double)sums[DEMO_LSM].raw_bytes);
    source->close(source);
}
