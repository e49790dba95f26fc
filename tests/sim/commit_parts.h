/*
 * commit_parts.h -- what the parts of commit_model.h have in common:
 *
 *     commit_model.c      the machine, the connections, reading
 *     commit_history.c    transactions, promises, and what a crash may leave
 *     commit_steps.c      what is written
 *     gap.h               what happens between the two sides of one commit
 */
#ifndef SIM_COMMIT_PARTS_H
#define SIM_COMMIT_PARTS_H

#include "tests/sim/commit_model.h"
#include "tests/sim/gap.h"

extern const char *const cm_schemas[CM_FILES], *const cm_paths[CM_FILES];

/* ---- commit_model.c ---- */

bool cm_is_wal(const struct cm *cm);
bool cm_is_dead(const struct cm *cm);

/* What is not as it must be; the first one stays. Nobody minds what a dead process sees. */
bool cm_fail(struct cm *cm, const char *format, ...) __attribute__((format(printf, 2, 3)));

int cm_sql(struct cm *cm, int conn, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The code is the wanted one, or any with faults about. */
bool cm_want(struct cm *cm, int conn, int rc, int wanted, const char *what);

#define MUST(cm, conn, ...) cm_want(cm, conn, cm_sql(cm, conn, __VA_ARGS__), SQLITE_OK, #__VA_ARGS__)

bool cm_read_with(struct cm *cm, int conn, struct cm_found *found);
bool cm_read_int(struct cm *cm, int conn, const char *query, int *a, int *b);

/* Is what was found exactly this content? Its tl is in the slot of its generation. */
bool cm_is_equal(const struct cm *cm, const struct cm_found *found, const struct cm_content *c);
bool cm_is_seen(struct cm *cm, int conn, const struct cm_content *c, const char *what);

/* A statistic of the file's store; 0 while it is not open. */
uint64_t cm_stat_of(int file, const char *name);

/* ---- commit_history.c ---- */

uint64_t cm_digest(const struct cm_content *c, int file, int generation);

struct cm_txn *cm_txn_new(struct cm *cm);
void cm_txn_commits(struct cm *cm, struct cm_txn *t);           /* its COMMIT follows */
void cm_txn_acked(struct cm *cm, struct cm_txn *t, int conn);
void cm_txn_dead(struct cm *cm, struct cm_txn *t);

/* It is committed, unless a later one, that came in the gap, says so already. */
void cm_land(struct cm *cm, int n);

/* From now on, transactions up to n are promised; and up to which they are at a position. */
void cm_promise(struct cm *cm, int file, enum cm_promise_kind kind, int n);
int cm_promised(const struct cm_history *h, size_t pos, int file, enum cm_promise_kind kind);

/* The newest transaction up to n that has (lsm, sql) as asked for; 0: none. */
int cm_newest(const struct cm_history *h, int n, int file, bool lsm, bool sql_too);
/* The first that SQLite committed something of; 0: none. */
int cm_first_sql(const struct cm_history *h, int file);

/* ---- commit_steps.c ---- */

/* What gap.h runs; ctx is a struct cm. */
void cm_run_gap(void *ctx, enum gap_at at);

#endif
