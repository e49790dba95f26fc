/*
 * os_sim.h -- the engine's seam (lsm/os/os.h) over a simulated disk.
 *
 * Everything is the same in every run: time counts up with each look at it,
 * randomness comes from the disk's seed, there is one thread. thread_start
 * answers EAGAIN: stores are opened with options.no_worker, and the harness
 * calls lsm_db_step(). A lock that is held already, or a wait without an end,
 * can never get better in one thread and ends the program. sim_threads.h has more
 * than one.
 *
 * Memory is malloc's (so that the sanitizers see it), counted, and the Nth
 * allocation can fail. What is still allocated or open at the end is a leak.
 */
#ifndef SIM_OS_SIM_H
#define SIM_OS_SIM_H

#include "lsm/os/os.h"
#include "tests/sim/sim_disk.h"

struct sim_os {
    struct lsm_os os;           /* first: the seam's pointer is ours */
    struct sim_disk *disk;
    const char *inside;         /* a store outside this path breaks a rule; NULL: anywhere */

    uint64_t mem_calls;         /* allocations so far */
    uint64_t mem_fail_at;       /* this one fails, counted from 1; 0: none */
    bool mem_fail_sticky;       /* and all after it */
    uint64_t mem_fired;
    uint64_t mem_used, mem_blocks, mem_peak;
    uint32_t dirs, files, mutexes, conds;   /* that exist now */
    uint64_t slept_us;
};

struct sim_os *sim_os_new(struct sim_disk *disk);
/* Free it; false (and a line on stderr) if anything is left open or allocated. */
bool sim_os_free(struct sim_os *os);
/* Nothing is open or allocated. */
bool sim_os_is_clean(const struct sim_os *os);

#endif
