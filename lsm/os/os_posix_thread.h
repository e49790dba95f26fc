/*
 * os_posix_thread.h -- mutexes, conditions, threads and clocks of the real machine.
 *
 * Part of os_posix.c; nothing else includes this.
 */
#ifndef LSM_OS_OS_POSIX_THREAD_H
#define LSM_OS_OS_POSIX_THREAD_H

#include "lsm/os/os.h"

/* Fill in these calls; they use the memory and the fork generation of the same os. */
void lsm_posix_thread_calls(struct lsm_os *os);

#endif
