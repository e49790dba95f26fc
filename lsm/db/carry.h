/*
 * carry.h -- joint records that the host's own commit holds (commit.md R7, R7a, R7b, R11).
 *
 *     append          in the log, not synced; the host writes the same bytes to its redo area
 *     power cut       the log may lose them; lsm_db_redo() takes them back, into memory
 *     next write      they are copied to a fresh log, which is synced
 *     sync of the log covers all before it: its places in the area are given out again (area.h)
 *     half of the area   is used: the worker is asked for one (ahead.c)
 *
 * Included by db.h only: a part of struct lsm_db.
 */
#ifndef LSM_DB_CARRY_H
#define LSM_DB_CARRY_H

#include "lsm/db/area.h"
#include "lsm/format/record.h"

struct lsm_db;
struct lsm_log_end;
struct lsm_txn;

struct lsm_taken {
    struct lsm_taken *next;
    size_t size;
    uint8_t record[];
};

struct lsm_carry {
    /* log slot */
    bool bare;              /* the log may hold an unsynced record that no area holds */
    uint64_t bare_end;      /* where the log ended behind it */
    struct lsm_area area;
    uint64_t sync_ns;       /* what a sync of the log costs beside its bytes: estimated; 0: none was seen */
    /* publish mutex */
    struct lsm_taken *taken, **last;        /* records that are in no log, ascending */
    atomic_bool is_pending; /* there are such */
    /* mutex */
    bool flag;              /* the MANIFEST says that the log alone may be incomplete */
    bool newest_shown;      /* a writer has shown the host's newest token since the open */
};

/* Append a JOINT: carried, and txn->redo is what the host must write, or synced if `how` says so, and
   it is empty. Log slot held. Errors as lsm_write_append. */
int lsm_carry_append(struct lsm_txn *txn, struct lsm_record *rec, const struct lsm_prepare *how);
/* A sync of ours covered all that stands in the log. Log slot held. */
void lsm_carry_covered(struct lsm_db *db);
/* One that went on beside writers: it covers what stood there when it began. Log slot held. */
void lsm_carry_covered_to(struct lsm_db *db, const struct lsm_log_end *end, struct lsm_area_mark mark);
/* A sync of `bytes` of the log took so long. Log slot held. */
void lsm_carry_timed(struct lsm_carry *carry, uint64_t bytes, uint64_t us);
/* The largest record that is rather carried than synced. Log slot held. */
uint64_t lsm_carry_bound(const struct lsm_carry *carry);
/* A record was appended that neither a sync nor an area holds. Log slot held. */
void lsm_carry_bare(struct lsm_db *db);
/* Is the log complete, once it is synced, so that the flag may go? Mutex held. */
bool lsm_carry_is_over(const struct lsm_db *db);

/* Records for a fresh log: they are the caller's until it frees them or gives them back. */
struct lsm_taken *lsm_carry_take(struct lsm_db *db);
void lsm_carry_give_back(struct lsm_db *db, struct lsm_taken *taken);
void lsm_carry_free(struct lsm_os *os, struct lsm_taken *taken);

#endif
