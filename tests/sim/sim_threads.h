/*
 * sim_threads.h -- threads on a simulated machine: one of them runs at a time, and
 * which one is the disk's seed's choice at each call on a file and at each wait. So a
 * schedule is the same in every run, and another with another seed.
 *
 *     struct sim *sim = sim_new(seed);
 *     sim_threads_begin(sim->os);      // before the store is opened
 *     ...                              // sim_free as ever, from the same thread
 *
 * One machine at a time has them. A wait that nobody ends runs for ever.
 */
#ifndef SIM_THREADS_H
#define SIM_THREADS_H

#include "tests/sim/os_sim.h"

void sim_threads_begin(struct sim_os *os);
/* How often another thread went on, since then. */
uint64_t sim_threads_switches(void);

#endif
