/*
 * sim_memory.h -- SQLite set up for a process that simulates: one thread, no
 * statistics, and memory from free lists.
 *
 * A crash state costs a few thousand statements that are prepared once, so a
 * simulation spends more time in malloc and in mutexes that nobody contends than
 * in what it tests: with this it takes two thirds of the time. Under a sanitizer
 * SQLite's memory stays malloc's: it is there to see each block.
 *
 * Threads: none.
 */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

/* Has an effect before SQLite's first use only; later it is too late, and does nothing. */
void sim_memory_use(void);

#endif
