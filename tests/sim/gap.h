/*
 * gap.h -- a table that joins a transaction before ours, so its callbacks come before ours: what runs in them runs in
 * the gaps between SQLite's commit, or rollback, and ours.
 *
 *     CREATE VIRTUAL TABLE temp.gap USING gap
 *     BEGIN; DELETE FROM temp.gap WHERE 0; ... COMMIT
 */
#ifndef SIM_GAP_H
#define SIM_GAP_H

#include <sqlite3.h>

enum gap_at {
    GAP_SYNC = 1, GAP_COMMIT = 2, GAP_ROLLBACK = 3
};

/* The module `gap` of this connection. */
int gap_register(sqlite3 *db, void (*run)(void *ctx, enum gap_at at), void *ctx);

#endif
