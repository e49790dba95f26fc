/*
 * sim_crash.h -- what a crash may leave of a simulated disk.
 *
 * An op is durable at a position once a later sync of its file (of its
 * directory, for names) succeeded. The others are pending: a crash keeps any
 * part of them. A sync that failed makes the ops before it "either" for ever:
 * the kernel calls their pages clean, so no later sync writes them. A state is
 * the durable ops and a chosen part of the pending ones, in log order:
 *
 *     M0   none (strict)                        M1   all (the process died, not the machine)
 *     M2   each prefix                          M3   all but one; only one
 *     M4   all subsets up to 10 pending ops; else pairs and random subsets
 *     M5   size without data: zeros, stale memory, garbage, another file's bytes
 *     M6   name without data                    M7   the last write of a file torn
 *     M8   a write's sectors in part            M9   unlinks and renames before what they follow
 *     M10  as ext4 ordered, ext4 writeback, xfs and btrfs would
 *
 * (seed, position, model, choice) names a state for ever:
 *     SIM_REPLAY=seed,position,model,choice,directory <test>
 * builds only that one, writes it to a real directory and checks it.
 *
 * Threads: none.
 */
#ifndef SIM_CRASH_H
#define SIM_CRASH_H

#include "tests/sim/sim_disk.h"

enum { SIM_MODEL_COUNT = 11 };
#define SIM_M(n) (1u << (n))
#define SIM_M_ALL 0x7ffu
#define SIM_M_UPTO(n) ((2u << (n)) - 1)

struct sim_state {
    uint64_t seed;
    size_t pos;
    int model;
    uint32_t choice;
    uint64_t hash[2];       /* of the tree: names and bytes */
    char why[400];          /* what a callback did not like */
};

struct sim_enum {
    uint32_t models;        /* SIM_M(n) | ...; 0: all */
    size_t pos_first;       /* positions before it are not crashed at */
    uint32_t cap;           /* choices of one model at one position; of more, so many are drawn;
                               0: 64 */
    uint32_t sparse;        /* models but M0, M1: each position next to a sync or a mark, and
                               one in `sparse` of the others; 0: 1 */
    uint32_t pos_every;     /* only one position in so many, drawn by the disk's seed; 0: all */
    uint64_t states_max;    /* stop after so many distinct states; 0: never */
    unsigned failures_max;  /* stop after so many; 0: 3 */
    bool quiet;             /* print nothing: the caller wants it to fail */
    void *ctx;

    /*
     * Open what the crash left and say what is there: a number >= 0 whose meaning is the
     * caller's (the transactions that survived). -1: it is wrong whatever was acknowledged;
     * state->why says how. Called once for each distinct tree; owns `disk`.
     */
    int64_t (*open)(void *ctx, struct sim_state *state, struct sim_disk *disk);
    /* May a crash of this model at this position leave that? Called for every state. NULL: yes. */
    bool (*allow)(void *ctx, struct sim_state *state, int64_t found);

    /* out */
    uint64_t generated, distinct;
    unsigned failures;
    struct sim_state failed;        /* the first one */
};

/* All crash states of what `disk` recorded. True: none was wrong. */
bool sim_enumerate(struct sim_disk *disk, struct sim_enum *e);

/* One state as a disk of its own, NULL if there is no such choice. Fills state->hash. */
struct sim_disk *sim_state_disk(struct sim_disk *disk, struct sim_state *state);
/* The live state as a fresh disk with an empty log: what a restart of the process sees. */
struct sim_disk *sim_disk_copy(struct sim_disk *disk);
/* The tree's hash. */
void sim_disk_hash(struct sim_disk *disk, uint64_t hash[2]);
/* Write the live tree under a real directory, which must exist. 0 or an errno value. */
int sim_disk_export(struct sim_disk *disk, const char *path);

/* ---- the durable view, for rules that are checked while the workload runs ---- */
struct sim_walk;
struct sim_walk *sim_walk_new(struct sim_disk *disk);
void sim_walk_free(struct sim_walk *walk);
void sim_walk_to(struct sim_walk *walk, size_t pos);    /* forward only */
/* The inode that a name has after a strict power cut (0: none), and whether it has that after every
   one: no pending op is on the name. */
uint32_t sim_walk_entry(struct sim_walk *walk, uint32_t dir, const char *name, bool *sure);
/* Every op on the file is durable. */
bool sim_walk_is_durable(struct sim_walk *walk, uint32_t ino);
/* Its bytes as they surely are. */
const struct sim_blob *sim_walk_bytes(struct sim_walk *walk, uint32_t ino);

#endif
