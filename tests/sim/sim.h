/*
 * sim.h -- one simulated machine: a disk, the engine's seam and SQLite's VFS on
 * it. What a crash test needs, in one include.
 *
 *     struct sim *sim = sim_new(seed); // an empty disk with /db in it
 *     run the workload: lsm_db_open with options.os = sim_lsm_os(sim), options.no_worker,
 *         sqlite3_open_v2("/db/app.db", ..., sim->vfs->name), sim_mark(sim, kind, value) ...
 *     sim_enumerate(sim->disk, &e);    // e.open: sim_on(disk), recover, say what is there
 *     CHECK(sim_free(sim));            // false: something leaked
 *
 * sqlite3_randomness is the process's, not the VFS's: sim_new seeds it anew so
 * that two runs write the same bytes.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "tests/sim/os_sim.h"
#include "tests/sim/sim_crash.h"
#include "tests/sim/sim_rules.h"
#include "tests/sim/vfs_sim.h"

struct sim {
    struct sim_disk *disk;
    struct sim_os *os;
    struct sim_vfs *vfs;
    struct sim_rules *rules;    /* NULL: not watched */
};

struct sim *sim_new(uint64_t seed);
/* A machine that starts with this disk, which it owns from now on: after a crash. */
struct sim *sim_on(struct sim_disk *disk);
/* Check the ordering rules of sim_rules.h with every op from now on. */
void sim_watch(struct sim *sim);
/* Free all of it. False (and the reason on stderr) if anything is left open or allocated, or if a
   rule was broken. */
bool sim_free(struct sim *sim);

static inline struct lsm_os *sim_lsm_os(struct sim *sim)
{
    return &sim->os->os;
}

static inline void sim_mark(struct sim *sim, int kind, int64_t value)
{
    sim_disk_mark(sim->disk, kind, value);
}

/* The kinds that the tests here use. */
enum {
    SIM_MARK_BEGUN,     /* transaction n is being committed */
    SIM_MARK_ACKED,     /* transaction n was acknowledged: a dead process does not lose it */
    SIM_MARK_DURABLE    /* n was promised to survive a power cut */
};

/* Of transactions numbered upwards: may a crash in this state leave exactly the first n? If not,
   state->why says so. */
bool sim_allow_prefix(struct sim_disk *disk, struct sim_state *state, int64_t n);

#endif
