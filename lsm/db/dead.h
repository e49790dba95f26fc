/*
 * dead.h -- stretches of keys that are known to hold no row: a seek into one goes
 * to its other end at once. dead.c says who knows what, and when it is forgotten.
 *
 * Threads: any; everything is behind db->dead_mutex, which is innermost, but for the epoch and `known`.
 */
#ifndef LSM_DB_DEAD_H
#define LSM_DB_DEAD_H

#include <stdatomic.h>

#include "lsm/format/ikey.h"
#include "lsm/util/buf.h"

struct lsm_db;
struct lsm_tree;
struct lsm_txn;

#define LSM_DEAD_MAX 128u       /* stretches remembered of a tree: that many queues in one */

struct lsm_dead_stretch {       /* [lo, hi) */
    struct lsm_buf lo, hi;
    bool to_end;                /* hi is above all keys */
    uint64_t since;             /* sequence, or the transaction's op number, from which on it is dead */
    uint64_t used;              /* the list's clock */
};

struct lsm_dead_list {
    struct lsm_os *os;
    const struct lsm_comparator *cmp;
    uint32_t count;
    uint64_t clock;
    struct lsm_dead_stretch stretch[LSM_DEAD_MAX];      /* in order; no two touch */
};

struct lsm_dead {               /* of a tree, for everybody */
    atomic_bool known;          /* some stretch is */
    struct lsm_dead_list *list; /* NULL until the first */
};

/* A border of a stretch as a reader takes it: at `key`, or beyond all keys. */
struct lsm_dead_edge {
    struct lsm_buf key;
    bool at_end;                /* going forward: nothing follows */
};

/* ---- known to everybody ---- */

uint64_t lsm_dead_epoch(const struct lsm_db *db);       /* before a reader takes its view point */
/* Is there no row, for a reader at `seq`, from key on (back: below key; key_at_end: below the end)?
   Then *edge is where the stretch ends that way. */
bool lsm_dead_skip(struct lsm_tree *tree, uint64_t seq, bool back, struct lsm_slice key,
                   bool key_at_end, struct lsm_dead_edge *edge);
/* A reader at `seq`, whose epoch was `epoch`, saw no row in [lo, hi), or from lo on. */
void lsm_dead_learn(struct lsm_tree *tree, uint64_t epoch, uint64_t seq, struct lsm_slice lo,
                    struct lsm_slice hi, bool to_end);
void lsm_dead_publish(struct lsm_db *db, bool begins);  /* around every publishing; publish held */
void lsm_dead_put(struct lsm_tree *tree, struct lsm_slice key);         /* is being published */
void lsm_dead_forget_all(struct lsm_db *db);            /* mutex held */
void lsm_dead_clear(struct lsm_tree *tree);

/* ---- known to a transaction: dead under its own writes ---- */

struct lsm_own_dead;

/* What a reader of a transaction needs to use it. own NULL: nothing is known or learned. */
struct lsm_own_reader {
    struct lsm_own_dead *own;
    uint64_t generation;
    uint64_t seq;               /* the reader's view point: published rows up to here */
    uint64_t op;                /* and own writes up to here */
};

/* For a reader that is opened now; gives it a reference. Without memory own is NULL. */
void lsm_own_dead_reader(const struct lsm_txn *txn, uint64_t seq, struct lsm_own_reader *reader);
void lsm_own_dead_unref(struct lsm_own_dead *own);      /* NULL is fine */
bool lsm_own_dead_skip(const struct lsm_own_reader *reader, struct lsm_tree *tree, bool back,
                       struct lsm_slice key, bool key_at_end, struct lsm_dead_edge *edge);
void lsm_own_dead_learn(const struct lsm_own_reader *reader, struct lsm_tree *tree,
                        struct lsm_slice lo, struct lsm_slice hi, bool to_end);
/* The transaction made its op number `op`: a put into `tree`, or (is_put false) a delete. */
void lsm_own_dead_write(struct lsm_own_dead *own, struct lsm_tree *tree, bool is_put,
                        struct lsm_slice key, uint64_t op);
/* Ops from `mark` on are undone. tree not NULL: all those of the tree. */
void lsm_own_dead_undo(struct lsm_own_dead *own, const struct lsm_tree *tree, uint64_t mark);
/* The transaction ends: readers that survive it neither skip nor learn. Gives its reference back. */
void lsm_own_dead_end(struct lsm_own_dead *own);

#endif
