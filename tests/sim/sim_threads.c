/* sim_threads.c -- pthreads that hand over one baton; see sim_threads.h. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "tests/sim/sim_threads.h"

enum { THREADS_MAX = 64 };

/* The seam's, in our way: only who has the baton looks at them. */
struct lsm_mutex {
    bool held;
};

struct lsm_cond {
    uint64_t broadcasts;
};

struct lsm_thread {
    pthread_t id;
    int number;
    void (*fn)(void *ctx);
    void *ctx;
    bool is_done;
};

static struct baton {
    pthread_mutex_t lock;
    pthread_cond_t passed;
    int owner;                          /* a thread's number; 0: the test's */
    bool lives[THREADS_MAX];
    int count;
    uint64_t switches;
    struct sim_os *os;
    struct lsm_os real;
} baton = { .lock = PTHREAD_MUTEX_INITIALIZER, .passed = PTHREAD_COND_INITIALIZER };

static _Thread_local int me;

static void pass_to(int number)
{
    pthread_mutex_lock(&baton.lock);
    baton.switches += number != me;
    baton.owner = number;
    pthread_cond_broadcast(&baton.passed);
    pthread_mutex_unlock(&baton.lock);
}

static void wait_for_it(void)
{
    pthread_mutex_lock(&baton.lock);
    while (baton.owner != me)
        pthread_cond_wait(&baton.passed, &baton.lock);
    pthread_mutex_unlock(&baton.lock);
}

static int choose(void)
{
    int number;

    do
        number = (int)(sim_disk_random(baton.os->disk) % (uint64_t)baton.count);
    while (!baton.lives[number]);
    return number;
}

static void yield(void)
{
    if (baton.count > 1) {
        pass_to(choose());
        wait_for_it();
    }
}

/* ---- threads ---- */

static int mutex_new(struct lsm_os *os, struct lsm_mutex **mutex)
{
    *mutex = os->mem_alloc(os, sizeof **mutex);
    if (!*mutex)
        return ENOMEM;
    (*mutex)->held = false;
    return 0;
}

static void mutex_free(struct lsm_mutex *mutex)
{
    assert(!mutex || !mutex->held);
    baton.os->os.mem_free(&baton.os->os, mutex);
}

static void mutex_lock(struct lsm_mutex *mutex)
{
    while (mutex->held)
        yield();
    mutex->held = true;
}

static void mutex_unlock(struct lsm_mutex *mutex)
{
    assert(mutex->held);
    mutex->held = false;
}

static int cond_new(struct lsm_os *os, struct lsm_cond **cond)
{
    *cond = os->mem_alloc(os, sizeof **cond);
    if (!*cond)
        return ENOMEM;
    (*cond)->broadcasts = 0;
    return 0;
}

static void cond_free(struct lsm_cond *cond)
{
    baton.os->os.mem_free(&baton.os->os, cond);
}

static void cond_wait(struct lsm_cond *cond, struct lsm_mutex *mutex)
{
    uint64_t before = cond->broadcasts;

    mutex_unlock(mutex);
    while (cond->broadcasts == before)
        yield();
    mutex_lock(mutex);
}

static void cond_wait_us(struct lsm_cond *cond, struct lsm_mutex *mutex, uint64_t us)
{
    (void)cond;
    baton.os->disk->clock_us += us;
    baton.os->slept_us += us;
    mutex_unlock(mutex);
    yield();
    mutex_lock(mutex);
}

static void cond_broadcast(struct lsm_cond *cond)
{
    cond->broadcasts++;
}

static void *run(void *ctx)
{
    struct lsm_thread *thread = ctx;

    me = thread->number;
    wait_for_it();
    thread->fn(thread->ctx);
    thread->is_done = true;
    baton.lives[me] = false;
    pass_to(choose());
    return NULL;
}

static int thread_start(struct lsm_os *os, void (*fn)(void *ctx), void *ctx, struct lsm_thread **thread)
{
    struct lsm_thread *t = baton.count < THREADS_MAX ? os->mem_alloc(os, sizeof *t) : NULL;

    *thread = t;
    if (!t)
        return ENOMEM;
    *t = (struct lsm_thread){ .number = baton.count, .fn = fn, .ctx = ctx };
    if (pthread_create(&t->id, NULL, run, t)) {
        os->mem_free(os, t);
        return EAGAIN;
    }
    baton.lives[baton.count++] = true;
    return 0;
}

static void thread_join(struct lsm_thread *thread)
{
    if (!thread)
        return;
    while (!thread->is_done)
        yield();
    pthread_join(thread->id, NULL);
    while (baton.count > 1 && !baton.lives[baton.count - 1])
        baton.count--;                  /* their numbers can be given again */
    baton.os->os.mem_free(&baton.os->os, thread);
}

/* ---- where another one may go on ---- */

static int file_open(struct lsm_dir *dir, const char *name, int flags, uint32_t mode, struct lsm_file **file)
{
    yield();
    return baton.real.file_open(dir, name, flags, mode, file);
}

static int file_read(struct lsm_file *file, void *data, size_t size, uint64_t off, size_t *got)
{
    yield();
    return baton.real.file_read(file, data, size, off, got);
}

static int file_write(struct lsm_file *file, const void *data, size_t size, uint64_t off)
{
    yield();
    return baton.real.file_write(file, data, size, off);
}

static int file_sync(struct lsm_file *file)
{
    yield();
    return baton.real.file_sync(file);
}

static int dir_sync(struct lsm_dir *dir)
{
    yield();
    return baton.real.dir_sync(dir);
}

static int file_remove(struct lsm_dir *dir, const char *name)
{
    yield();
    return baton.real.file_remove(dir, name);
}

void sim_threads_begin(struct sim_os *os)
{
    baton.real = os->os;
    baton.os = os;
    baton.owner = me = 0;
    baton.count = 1;
    baton.lives[0] = true;
    baton.switches = 0;
    os->os.mutex_new = mutex_new;
    os->os.mutex_free = mutex_free;
    os->os.mutex_lock = mutex_lock;
    os->os.mutex_unlock = mutex_unlock;
    os->os.cond_new = cond_new;
    os->os.cond_free = cond_free;
    os->os.cond_wait = cond_wait;
    os->os.cond_wait_us = cond_wait_us;
    os->os.cond_broadcast = cond_broadcast;
    os->os.thread_start = thread_start;
    os->os.thread_join = thread_join;
    os->os.file_open = file_open;
    os->os.file_read = file_read;
    os->os.file_write = file_write;
    os->os.file_sync = file_sync;
    os->os.dir_sync = dir_sync;
    os->os.file_remove = file_remove;
}

uint64_t sim_threads_switches(void)
{
    return baton.switches;
}
