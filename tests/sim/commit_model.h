/*
 * commit_model.h -- a workload on SQLite, the extension and the engine on one
 * simulated disk, and what a crash may leave of it.
 *
 * Each of the two database files of a workload has a store and these tables:
 *
 *     jl, jm      lsm and ordinary, the same rows: written only together
 *     sl          lsm; written alone too; row -1 says by which transaction
 *     tl          lsm; dropped and made anew now and then
 *     pp          ordinary; written alone
 *     mp(n, g)    ordinary; the newest transaction that wrote ordinary tables, and
 *                 which tl this is
 *
 * Transactions are numbered. What is there after a crash is right if, for each
 * file, there are two numbers: L, such that the lsm tables hold exactly what was
 * committed in them up to L, and s, such that the ordinary ones hold exactly what
 * SQLite committed up to s; and a transaction that both have to do with (a joint
 * one) is in both or in neither; and neither is older than what was promised.
 *
 * Promised (commit.md): to a process that dies, all that was acknowledged. To a
 * power cut, of a solo transaction under FULL, itself and every joint one before
 * it; of the others what SQLite promises in that mode.
 *
 * Threads: none.
 */
#ifndef SIM_COMMIT_MODEL_H
#define SIM_COMMIT_MODEL_H

#include "ext/vtab_machine.h"
#include "lsm/lsm.h"
#include "tests/sim/sim.h"

enum { CM_FILES = 2, CM_KEYS = 16, CM_TXNS = 512, CM_TL = 3 };
enum cm_table { CM_JL, CM_SL, CM_PP, CM_TL0, CM_TABLES = CM_TL0 + CM_TL };

/* By key (0 is the key -1): the transaction that wrote the row; 0: there is none. */
struct cm_content {
    uint16_t rows[CM_FILES][CM_TABLES][CM_KEYS];
    uint16_t plain[CM_FILES];       /* mp.n; 0: the file has no tables yet */
    uint16_t generation[CM_FILES];  /* mp.g */
};

struct cm_txn {
    bool lsm[CM_FILES];         /* writes lsm tables */
    bool sql[CM_FILES];         /* SQLite commits something: a token, rows, a schema */
    bool plain[CM_FILES];       /* writes mp */
    bool dead;                  /* rolled back */
    bool doubt;                 /* after a failure that was reported */
    bool killed;                /* in flight when the process died, and not there afterwards */
    size_t begun, ended;        /* log positions of its COMMIT; ended SIZE_MAX: not yet */
    struct cm_content after;
    uint64_t digest[CM_FILES][CM_TL + 1];   /* of the lsm tables, by generation (0: none) */
};

/* From this position on, transactions up to `n` are promised. */
enum cm_promise_kind { CM_ACKED_LSM, CM_ACKED_SQL, CM_KEPT_LSM, CM_KEPT_SQL };
struct cm_promise {
    size_t pos;
    uint8_t file, kind;
    uint16_t n;
};

struct cm_history {
    struct cm_txn txns[CM_TXNS];        /* [0]: before the first */
    int count;
    struct cm_promise *promises;
    size_t promise_count, promise_cap;
    size_t fault_pos;           /* nothing is promised to a power cut after it; 0: no fault */
};

/* What an open database and its store hold. */
struct cm_found {
    struct cm_content content;          /* tl's rows in CM_TL0 */
    uint64_t digest[CM_FILES];
};

enum cm_step {
    CM_SOLO, CM_JOINT, CM_LSM_ONLY, CM_SEVERAL, CM_PLAIN, CM_SAVEPOINT, CM_ROLLBACK, CM_BUSY,
    CM_VETO, CM_OTHER_SOLO, CM_OTHER_JOINT, CM_GAP, CM_BOTH_FILES, CM_RECREATE, CM_FLUSH,
    CM_COMPACT, CM_WORK, CM_CHECKPOINT, CM_REOPEN, CM_STEPS
};

struct cm {
    struct sim *sim;
    struct lsm_vtab_machine machine;
    const char *journal;        /* journal_mode */
    const char *sync[2];        /* synchronous, by connection */
    int files;                  /* 1 or 2 */
    uint64_t chance;
    sqlite3 *db[2];
    struct cm_history *history; /* transactions are recorded there */
    struct cm_content now;
    int now_n;                  /* the transaction that made it so */
    int n;                      /* the newest number, also of those that were rolled back */
    int acked;                  /* transactions that were acknowledged */
    uint64_t carried;           /* records that went into a redo area, until the last close */
    bool veto;
    bool faults;                /* any call may fail: codes mean nothing, a reading says what is */
    bool forgiven;              /* cm_forgive: a failed solo may be there */
    struct cm *in_gap;          /* gap module: what to run in the gap; itself, once */
    int gap_kind;
    char why[600];              /* the first thing that was not as it must be; empty: all is well */
};

/* A workload on this machine; nothing is opened. The history begins with what `now` is. */
void cm_init(struct cm *cm, struct sim *sim, struct cm_history *history, const char *journal,
             const char *sync_a, const char *sync_b, int files, uint64_t seed);
void cm_clear(struct cm *cm);           /* closes what is open */

/* Open both connections. With `setup`, makes the tables that are missing. */
bool cm_open(struct cm *cm, bool setup);
/* Open only the first: to read, and for steps that one connection makes. */
bool cm_look(struct cm *cm);
bool cm_close(struct cm *cm);
/* The process died (disk->dead): close everything without a trace. */
void cm_kill(struct cm *cm);

/* The same, and open again: go on from what is there. */
bool cm_revive(struct cm *cm);

/* One step. False: something was not as it must be, or the process died in it. */
bool cm_step(struct cm *cm, enum cm_step step);
/* Steps drawn by the seed. */
bool cm_run(struct cm *cm, int steps);

/* Read all. False: why says what is wrong already without knowing the history. */
bool cm_read(struct cm *cm, struct cm_found *found);
/* Is it exactly `now`? */
bool cm_is_now(struct cm *cm);
/* A dead process or a failed call leaves open what the last transaction did: take over what is
   there, which must be one of the two. */
bool cm_resolve(struct cm *cm);

/* If the store has become read-only, a solo from n on that was reported as failed may be there after
   all when it is opened again. */
void cm_forgive(struct cm *cm, int n);

/* May a crash of this model at this position leave that? */
bool cm_allow(struct cm *cm, struct sim_state *state, const struct cm_found *found);

/* `history` is all zeros, or was used before. */
void cm_history_init(struct cm_history *history, const struct cm_content *first);
/* For people: the transactions around a position. */
void cm_history_print(const struct cm_history *history, size_t pos);
void cm_history_clear(struct cm_history *history);

#endif
