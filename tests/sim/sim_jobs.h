/*
 * sim_jobs.h -- parts of one test side by side, each in a process of its own.
 *
 *     sim_jobs_run(2, 2, fn, ctx, counts)      fn(ctx, 2, ...) beside fn(ctx, 3, ...)
 *
 * A simulation has one thread and is all static; a machine has more processors.
 * What a part prints, and the text of its crash states that are wrong, comes when
 * all are done, in the order of the parts. With SIM_REPLAY set they run one after
 * the other in this process, where a debugger sees them.
 */
#ifndef SIM_JOBS_H
#define SIM_JOBS_H

#include <stdbool.h>
#include <stdint.h>

enum { SIM_JOBS_MAX = 8, SIM_COUNTS = 4 };

/* What a part has counted, for the test that started it. */
struct sim_counts {
    uint64_t of[SIM_COUNTS];
};

/* False if a check of a part failed, or if it died; that is a failed check of this test, too. */
bool sim_jobs_run(int first, int count, void (*fn)(void *ctx, int job, struct sim_counts *counts),
                  void *ctx, struct sim_counts counts[]);

#endif
