/*
 * os_posix_thread.c -- see os_posix_thread.h.
 *
 * In a forked child no thread of ours runs, and what they held stays as it was:
 * conditions are not destroyed there, threads not joined.
 */
#define _GNU_SOURCE 1
#include "lsm/os/os_posix_thread.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define THREAD_STACK_BYTES (256u * 1024)
#define WAIT_US_MAX 1000000000000000u       /* 31 years: what a timespec can surely hold */

struct lsm_mutex {
    struct lsm_os *os;
    pthread_mutex_t mutex;
};

struct lsm_cond {
    struct lsm_os *os;
    pthread_cond_t cond;        /* on the monotonic clock */
    uint32_t generation;        /* of the process whose threads may wait on it */
};

struct lsm_thread {
    struct lsm_os *os;
    pthread_t id;
    void (*fn)(void *ctx);
    void *ctx;
    uint32_t generation;        /* of the process that it runs in */
};

/* A call that fails only if we misuse it. */
static void must(int rc)
{
    assert(rc == 0);
    (void)rc;
}

/* ---- mutexes and conditions ---------------------------------------------- */

static int mutex_new(struct lsm_os *os, struct lsm_mutex **out)
{
    struct lsm_mutex *mutex = os->mem_alloc(os, sizeof(*mutex));

    *out = NULL;
    if (!mutex)
        return ENOMEM;
    mutex->os = os;
    must(pthread_mutex_init(&mutex->mutex, NULL));
    *out = mutex;
    return 0;
}

static void mutex_free(struct lsm_mutex *mutex)
{
    if (!mutex)
        return;
    pthread_mutex_destroy(&mutex->mutex);   /* EBUSY in a forked child: let it be */
    mutex->os->mem_free(mutex->os, mutex);
}

static void mutex_lock(struct lsm_mutex *mutex)
{
    must(pthread_mutex_lock(&mutex->mutex));
}

static void mutex_unlock(struct lsm_mutex *mutex)
{
    must(pthread_mutex_unlock(&mutex->mutex));
}

static int cond_new(struct lsm_os *os, struct lsm_cond **out)
{
    struct lsm_cond *cond = os->mem_alloc(os, sizeof(*cond));
    pthread_condattr_t attr;

    *out = NULL;
    if (!cond)
        return ENOMEM;
    cond->os = os;
    cond->generation = os->fork_generation(os);
    must(pthread_condattr_init(&attr));
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    must(pthread_cond_init(&cond->cond, &attr));
    pthread_condattr_destroy(&attr);
    *out = cond;
    return 0;
}

static void cond_free(struct lsm_cond *cond)
{
    if (!cond)
        return;
    /* Destroying waits for the waiters to leave; in a forked child they never will. */
    if (cond->generation == cond->os->fork_generation(cond->os))
        must(pthread_cond_destroy(&cond->cond));
    cond->os->mem_free(cond->os, cond);
}

static void cond_wait(struct lsm_cond *cond, struct lsm_mutex *mutex)
{
    must(pthread_cond_wait(&cond->cond, &mutex->mutex));
}

static struct timespec to_timespec(uint64_t us)
{
    return (struct timespec){ .tv_sec = (time_t)(us / 1000000),
                              .tv_nsec = (long)(us % 1000000) * 1000 };
}

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;

    must(clock_gettime(clock, &now));
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void cond_wait_us(struct lsm_cond *cond, struct lsm_mutex *mutex, uint64_t us)
{
    uint64_t wait = us < WAIT_US_MAX ? us : WAIT_US_MAX;
    struct timespec until = to_timespec(clock_us(CLOCK_MONOTONIC) + wait);
    int rc = pthread_cond_timedwait(&cond->cond, &mutex->mutex, &until);

    assert(rc == 0 || rc == ETIMEDOUT);
    (void)rc;
}

static void cond_broadcast(struct lsm_cond *cond)
{
    must(pthread_cond_broadcast(&cond->cond));
}

/* ---- threads ------------------------------------------------------------ */

static void *run_thread(void *arg)
{
    struct lsm_thread *thread = arg;

    pthread_setname_np(pthread_self(), "lsmvtab");
    thread->fn(thread->ctx);
    return NULL;
}

/*
 * Start with a small stack, in a host that may have thousands of connections. A host with
 * much thread-local data cannot have it that small (EINVAL): then the default.
 */
static int create_thread(struct lsm_thread *thread)
{
    pthread_attr_t attr;
    int rc;

    rc = pthread_attr_init(&attr);
    if (rc)
        return rc;
    must(pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES));
    rc = pthread_create(&thread->id, &attr, run_thread, thread);
    pthread_attr_destroy(&attr);
    if (rc == EINVAL)
        rc = pthread_create(&thread->id, NULL, run_thread, thread);
    return rc;
}

static int thread_start(struct lsm_os *os, void (*fn)(void *ctx), void *ctx,
                        struct lsm_thread **out)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT };
    struct lsm_thread *thread = os->mem_alloc(os, sizeof(*thread));
    sigset_t block, before;
    int rc;

    *out = NULL;
    if (!thread)
        return ENOMEM;
    thread->os = os;
    thread->fn = fn;
    thread->ctx = ctx;
    thread->generation = os->fork_generation(os);

    /* The host's signals are for the host's threads. Faults are the thread's own: blocked,
       they would kill without the host's crash report. */
    sigfillset(&block);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        sigdelset(&block, faults[i]);
    must(pthread_sigmask(SIG_SETMASK, &block, &before));
    rc = create_thread(thread);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));

    if (rc) {
        os->mem_free(os, thread);
        return rc;
    }
    *out = thread;
    return 0;
}

static void thread_join(struct lsm_thread *thread)
{
    if (!thread)
        return;
    if (thread->generation == thread->os->fork_generation(thread->os))     /* else it is not in this process */
        must(pthread_join(thread->id, NULL));
    thread->os->mem_free(thread->os, thread);
}

static uint32_t cpu_count(struct lsm_os *os)
{
    cpu_set_t set;
    long count;

    (void)os;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (uint32_t)CPU_COUNT(&set);
    count = sysconf(_SC_NPROCESSORS_ONLN);      /* the machine has more than a cpu_set_t holds */
    return count > 0 && count <= UINT32_MAX ? (uint32_t)count : 1;
}

/* The machine's load, and our share of its processors: of ours alone nobody tells. */
static uint32_t cpu_used(struct lsm_os *os)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t count = cpu_count(os);
    double load;

    if (online <= 0 || getloadavg(&load, 1) != 1)
        return 0;
    load = load * count / (double)online;
    return load < 0 ? 0 : load < count ? (uint32_t)load : count;
}

/* ---- time ---------------------------------------------------------------- */

static uint64_t wall_us(struct lsm_os *os)
{
    (void)os;
    return clock_us(CLOCK_REALTIME);
}

static uint64_t mono_us(struct lsm_os *os)
{
    (void)os;
    return clock_us(CLOCK_MONOTONIC);
}

static void sleep_us(struct lsm_os *os, uint64_t us)
{
    uint64_t wait = us < WAIT_US_MAX ? us : WAIT_US_MAX;
    struct timespec until = to_timespec(clock_us(CLOCK_MONOTONIC) + wait);
    int rc;

    (void)os;
    do {
        rc = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    } while (rc == EINTR);
    must(rc);
}

void lsm_posix_thread_calls(struct lsm_os *os)
{
    os->mutex_new = mutex_new;
    os->mutex_free = mutex_free;
    os->mutex_lock = mutex_lock;
    os->mutex_unlock = mutex_unlock;
    os->cond_new = cond_new;
    os->cond_free = cond_free;
    os->cond_wait = cond_wait;
    os->cond_wait_us = cond_wait_us;
    os->cond_broadcast = cond_broadcast;
    os->thread_start = thread_start;
    os->thread_join = thread_join;
    os->cpu_count = cpu_count;
    os->cpu_used = cpu_used;
    os->wall_us = wall_us;
    os->mono_us = mono_us;
    os->sleep_us = sleep_us;
}
