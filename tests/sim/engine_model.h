/*
 * engine_model.h -- a workload on the engine's public API alone, and the sorted
 * arrays that say what must be in the store after it.
 *
 * Transaction n (from 1) writes some rows of some trees and n itself into the
 * tree "m", so a store says by itself which prefix it holds. One that is aborted
 * or fails has a number too: a store may hold it only if the crash came before
 * the abort was done. Trees are made and dropped between transactions; a name is
 * used once.
 *
 * Threads: none.
 */
#ifndef SIM_ENGINE_MODEL_H
#define SIM_ENGINE_MODEL_H

#include "lsm/lsm.h"
#include "tests/sim/sim.h"

#define MODEL_KEYS 48
#define MODEL_TREES 24
#define MODEL_TXNS 2048

struct model_write {            /* one row of one transaction */
    int txn;
    uint32_t value;             /* seed of the value; 0: deleted */
};

struct model_rows {             /* all that was ever written to one key, oldest first */
    struct model_write *at;
    size_t count, cap;
};

struct model_tree {
    char name[16];
    struct lsm_tree *tree;      /* NULL: not open now, or dropped */
    size_t create_begin, create_end, drop_begin, drop_end;  /* log positions; SIZE_MAX: not yet */
    struct model_rows rows[MODEL_KEYS];
};

struct model {
    struct sim *sim;
    uint64_t chance;            /* what the workload does next; not the disk's */
    struct lsm_db *db;
    struct lsm_tree *meta;
    struct model_tree trees[MODEL_TREES];
    int tree_count;
    int txns;                   /* the number of the newest one that is committed */
    int attempts;               /* numbers given out: those that failed have one too */
    bool dead[MODEL_TXNS];      /* by number: aborted or failed */
    int durable;                /* promised to survive a power cut */
    bool read_only;             /* the store said so */
    uint32_t values;            /* given out */
    int last_rc;                /* of the step */
    char failed[256];           /* a wrong code, or a wrong row; empty: all is well */
    /* The number of an attempt that failed while the store became read-only: it may be seen after
       all when the store is opened again (commit.md, Limits). 0: none. */
    int maybe;
};

enum model_step { MODEL_TXN, MODEL_TXN_SYNC, MODEL_ABORT, MODEL_ABORT_PREPARED, MODEL_FLUSH,
                  MODEL_COMPACT, MODEL_WORK, MODEL_CREATE, MODEL_DROP, MODEL_REOPEN,
                  MODEL_LARGE,          /* synced, and more than memory: private tables with value logs */
                  MODEL_SINGLE,         /* its number only, without a transaction */
                  MODEL_STEPS };

void model_init(struct model *model, struct sim *sim, uint64_t seed);
/* Closes the store if it is open. False if that failed. */
bool model_clear(struct model *model);

int model_open(struct model *model);            /* and makes "m" when it is missing */
int model_close(struct model *model);
/* One step; its code, which is left in last_rc too. Rows are updated as the contract says. */
int model_step(struct model *model, enum model_step step);
/* Steps drawn by the seed. Stops at the first that fails; its code. */
int model_run(struct model *model, int steps);

/*
 * What is in an open store: the number of the newest transaction, and which
 * trees exist (bit i: trees[i]), as one number for sim_enum.open; -1: it is no
 * prefix of the model's, and why says what is wrong. *extra: how often
 * model_extra() was committed.
 */
int64_t model_find(const struct model *model, struct lsm_db *db, int *extra, char *why,
                   size_t size);
/* One more synced transaction, which no model_find() of the prefix minds. */
int model_extra(struct lsm_db *db, int extra);
static inline int model_found_txn(int64_t found) { return (int)(found & 0xffff); }
/* May a crash in that state leave that? */
bool model_allow(const struct model *model, struct sim_state *state, int64_t found);
/* The open store holds exactly all that was committed. Fills `failed`. */
bool model_is_exact(struct model *model);

#endif
