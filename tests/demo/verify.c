/*
 * verify.c -- is what the tables hold what the source has?
 *
 * The source is read again, from the disk, and three sums over all rows are
 * compared: the source's, the lsm table's, the ordinary table's. The tables are read
 * in key order, and give the same rows in the same order. If the source's sum
 * differs, the rows that do are looked for: a file that was changed after the load
 * began is not the table's fault.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/demo/table.h"

static void sum_table(struct demo *demo, const struct demo_source *source, enum demo_side side,
                      struct demo_sum *sum)
{
    sqlite3 *db = demo_open(demo, demo_database(side), side == DEMO_LSM);
    sqlite3_stmt *stmt = demo_prepare(db, "SELECT * FROM %s ORDER BY %s", source->table,
                                      demo->is_large ? "path, package, list" : "path");

    *sum = (struct demo_sum){ 0, 0, { 0, 0 }, 0 };
    demo_sum_select(sum, stmt);
    sqlite3_finalize(stmt);
    demo_close(db);
}

/* Files that differ, or are gone, or are new, and were not touched since the load began. */
static uint64_t count_unexplained(struct demo *demo, struct demo_source *source, uint64_t *changed)
{
    sqlite3 *db = demo_open(demo, demo_database(DEMO_LSM), true);
    struct demo_value row[DEMO_COLUMN_MAX];
    sqlite3_stmt *find, *all, *put, *seen;
    uint64_t unexplained = 0;
    double since = 0;

    demo_figure_get(demo, "begin", &since);
    demo_exec(db, "CREATE TEMP TABLE seen(path TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN");
    put = demo_prepare(db, "INSERT INTO temp.seen VALUES(?)");
    find = demo_prepare(db, "SELECT 1 FROM files WHERE path IS ?1 AND size IS ?2 AND mode IS ?3 "
                            "AND mtime IS ?4 AND target IS ?5 AND package IS ?6 AND md5 IS ?7");
    *changed = 0;
    source->rewind(source);
    while (source->next(source, row)) {
        demo_bind_row(find, row, source->column_count);
        if (!demo_step(find)) {
            if (demo_collect_changed(row[0].data, (int64_t)since))
                ++*changed;
            else if (unexplained++ < 5)
                printf("        differs: %s\n", (const char *)row[0].data);
        }
        sqlite3_reset(find);
        demo_bind_row(put, row, 1);
        demo_step(put);
        sqlite3_reset(put);
    }
    all = demo_prepare(db, "SELECT path FROM files");
    seen = demo_prepare(db, "SELECT 1 FROM temp.seen WHERE path = ?");
    while (demo_step(all)) {
        const char *path = (const char *)sqlite3_column_text(all, 0);

        sqlite3_bind_text(seen, 1, path, -1, SQLITE_STATIC);
        if (!demo_step(seen)) {
            if (demo_collect_changed(path, (int64_t)since))
                ++*changed;
            else if (unexplained++ < 5)
                printf("        not on the disk: %s\n", path);
        }
        sqlite3_reset(seen);
    }
    sqlite3_finalize(put);
    sqlite3_finalize(find);
    sqlite3_finalize(all);
    sqlite3_finalize(seen);
    demo_exec(db, "COMMIT");
    demo_close(db);
    return unexplained;
}

void demo_verify(struct demo *demo)
{
    struct demo_source *source = demo_source_open(demo);
    struct demo_value row[DEMO_COLUMN_MAX];
    struct demo_sum from, sums[DEMO_SIDE_COUNT];
    uint64_t changed, unexplained;

    from = (struct demo_sum){ 0, 0, { 0, 0 }, 0 };
    while (source->next(source, row))
        demo_sum_row(&from, row, source->column_count);
    sum_table(demo, source, DEMO_LSM, &sums[DEMO_LSM]);
    sum_table(demo, source, DEMO_ORDINARY, &sums[DEMO_ORDINARY]);
    printf("   source    %12s rows   sum %016llx\n", demo_count(from.rows),
           (unsigned long long)(from.set[0] ^ from.set[1]));
    for (int side = 0; side < DEMO_SIDE_COUNT; side++)
        printf("   %-10s%12s rows   sum %016llx   in key order %016llx\n", demo_side_names[side],
               demo_count(sums[side].rows),
               (unsigned long long)(sums[side].set[0] ^ sums[side].set[1]),
               (unsigned long long)sums[side].list);
    demo_check(demo, demo_sum_equal_set(&sums[DEMO_LSM], &sums[DEMO_ORDINARY])
                         && sums[DEMO_LSM].list == sums[DEMO_ORDINARY].list,
               "the lsm table and the ordinary table hold the same rows in the same order");
    if (demo_sum_equal_set(&from, &sums[DEMO_LSM])) {
        demo_check(demo, true, "the source, read again, has exactly these rows");
    } else if (demo->is_large) {
        demo_check(demo, false, "the source, read again, has other rows");
    } else {
        unexplained = count_unexplained(demo, source, &changed);
        demo_check(demo, unexplained == 0, "the source, read again, has exactly these rows, but "
                   "for %s files that were changed meanwhile", demo_count(changed));
    }
    source->close(source);
}
