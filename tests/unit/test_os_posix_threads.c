#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "lsm/os/os.h"
#include "tests/test.h"

#define THREADS 4

struct shared {
    struct lsm_os *os;
    struct lsm_dir *dir;
    struct lsm_mutex *mutex;
    struct lsm_cond *cond;
    int count;                  /* mutex */
    _Atomic bool stop;
    sigset_t mask;
};

static void shared_init(struct shared *s)
{
    s->os = lsm_os_posix_new();
    s->os->mem_budget(s->os, UINT64_C(64) << 20);       /* huge pages, too */
    s->dir = NULL;
    CHECK_INT(s->os->mutex_new(s->os, &s->mutex), 0);
    CHECK_INT(s->os->cond_new(s->os, &s->cond), 0);
    s->count = 0;
    s->stop = false;
}

static void shared_clear(struct shared *s)
{
    s->os->cond_free(s->cond);
    s->os->mutex_free(s->mutex);
    s->os->dir_close(s->dir);
    CHECK_INT(s->os->mem_used(s->os), 0);
    lsm_os_posix_free(s->os);
}

static void start(struct shared *s, void (*fn)(void *), struct lsm_thread **thread, int count)
{
    for (int i = 0; i < count; i++)
        CHECK_INT(s->os->thread_start(s->os, fn, s, &thread[i]), 0);
}

static void join(struct shared *s, struct lsm_thread **thread, int count)
{
    for (int i = 0; i < count; i++)
        s->os->thread_join(thread[i]);
}

#define SLOTS 64u

static void *_Atomic exchange[SLOTS];

/* A block: its size, then bytes that follow from it. Another thread may free it. */
static void swap_blocks(void *ctx)
{
    struct shared *s = ctx;
    uint32_t random = 2463534242u + (uint32_t)(uintptr_t)&random;

    for (int i = 0; i < 20000; i++) {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        uint32_t size = 8 + random % (random % 64 == 0 ? 200000 : 6000);
        uint8_t *p = s->os->mem_alloc(s->os, size);
        memcpy(p, &size, 4);
        memset(p + 4, (int)(size * 7), size - 4);
        p = atomic_exchange(&exchange[random >> 8 & (SLOTS - 1)], p);
        if (p) {
            memcpy(&size, p, 4);
            CHECK_INT(p[4], (uint8_t)(size * 7));
            CHECK_INT(p[size - 1], (uint8_t)(size * 7));
            s->os->mem_free(s->os, p);
        }
        if (i % 4096 == 0)
            s->os->mem_trim(s->os);
    }
}

TEST(os_posix_memory_may_be_freed_by_another_thread)
{
    struct shared s;
    struct lsm_thread *thread[THREADS];

    shared_init(&s);
    start(&s, swap_blocks, thread, THREADS);
    join(&s, thread, THREADS);
    for (uint32_t i = 0; i < SLOTS; i++)
        s.os->mem_free(s.os, atomic_exchange(&exchange[i], NULL));
    CHECK(s.os->mem_held(s.os) >= s.os->mem_used(s.os));
    shared_clear(&s);
}

static void count_up(void *ctx)
{
    struct shared *s = ctx;

    for (int i = 0; i < 10000; i++) {
        s->os->mutex_lock(s->mutex);
        s->count++;
        s->os->mutex_unlock(s->mutex);
    }
}

TEST(os_posix_mutex_excludes)
{
    struct lsm_thread *thread[THREADS];
    struct shared s;

    shared_init(&s);
    start(&s, count_up, thread, THREADS);
    join(&s, thread, THREADS);
    CHECK_INT(s.count, THREADS * 10000);
    shared_clear(&s);
}

/* Pass a turn around: each waits for its own number. */
static void take_turns(void *ctx)
{
    struct shared *s = ctx;
    int mine;

    s->os->mutex_lock(s->mutex);
    mine = s->count++;
    s->os->cond_broadcast(s->cond);     /* the last to come is the first one's turn */
    for (int round = 1; round <= 100; round++) {
        while (s->count != round * THREADS + mine)
            s->os->cond_wait(s->cond, s->mutex);
        s->count++;
        s->os->cond_broadcast(s->cond);
    }
    s->os->mutex_unlock(s->mutex);
}

TEST(os_posix_cond_wakes_all_waiters)
{
    struct lsm_thread *thread[THREADS];
    struct shared s;

    shared_init(&s);
    start(&s, take_turns, thread, THREADS);
    join(&s, thread, THREADS);
    CHECK_INT(s.count, 101 * THREADS);
    shared_clear(&s);
}

TEST(os_posix_cond_wait_us_ends_by_itself)
{
    struct shared s;
    uint64_t begin;

    shared_init(&s);
    begin = s.os->mono_us(s.os);
    s.os->mutex_lock(s.mutex);
    s.os->cond_wait_us(s.cond, s.mutex, 20000);
    s.os->mutex_unlock(s.mutex);
    CHECK(s.os->mono_us(s.os) - begin >= 19000);
    shared_clear(&s);
}

static void wait_for_ever(void *ctx)
{
    struct shared *s = ctx;

    s->os->mutex_lock(s->mutex);
    while (!s->count)
        s->os->cond_wait_us(s->cond, s->mutex, UINT64_MAX);
    s->os->mutex_unlock(s->mutex);
}

TEST(os_posix_cond_wait_us_takes_any_time_and_is_woken)
{
    struct lsm_thread *thread[1];
    struct shared s;

    shared_init(&s);
    start(&s, wait_for_ever, thread, 1);
    s.os->mutex_lock(s.mutex);
    s.count = 1;
    s.os->cond_broadcast(s.cond);
    s.os->mutex_unlock(s.mutex);
    join(&s, thread, 1);
    shared_clear(&s);
    CHECK(true);
}

static void keep_mask(void *ctx)
{
    struct shared *s = ctx;

    pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
}

TEST(os_posix_threads_leave_signals_to_the_host)
{
    struct lsm_thread *thread[1];
    sigset_t before, after;
    struct shared s;

    shared_init(&s);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    start(&s, keep_mask, thread, 1);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    join(&s, thread, 1);
    CHECK(sigismember(&s.mask, SIGINT) && sigismember(&s.mask, SIGTERM));
    CHECK(sigismember(&s.mask, SIGALRM) && sigismember(&s.mask, SIGUSR1));
    CHECK(sigismember(&s.mask, SIGCHLD) && sigismember(&s.mask, SIGPIPE));
    CHECK(!sigismember(&s.mask, SIGSEGV) && !sigismember(&s.mask, SIGBUS));
    CHECK(!sigismember(&after, SIGINT));        /* the caller's own mask is as it was */
    CHECK_MEM(&before, &after, sizeof(unsigned long));
    shared_clear(&s);
}

static void use_memory(void *ctx)
{
    struct shared *s = ctx;

    for (int i = 0; i < 2000; i++) {
        void *p = s->os->mem_alloc(s->os, (size_t)i * 3);
        p = s->os->mem_realloc(s->os, p, (size_t)i * 7);
        s->os->mem_free(s->os, p);
    }
}

struct expecting {
    struct shared *shared;
    struct lsm_file *file;
    atomic_uint_least64_t written;      /* bytes */
    pthread_mutex_t mutex;
    uint64_t claimed;                   /* up to here there may be bytes */
    uint64_t making;                    /* and nobody writes from here on */
};

static bool claim(struct expecting *e, uint64_t end)
{
    bool ok;

    pthread_mutex_lock(&e->mutex);
    ok = end <= e->making;
    if (ok)
        e->claimed = end;
    pthread_mutex_unlock(&e->mutex);
    return ok;
}

static uint64_t keep_out(struct expecting *e, uint64_t from)
{
    pthread_mutex_lock(&e->mutex);
    e->making = from < e->claimed ? e->claimed : from;
    from = e->making;
    pthread_mutex_unlock(&e->mutex);
    return from;
}

static void let_in(struct expecting *e)
{
    pthread_mutex_lock(&e->mutex);
    e->making = UINT64_MAX;
    pthread_mutex_unlock(&e->mutex);
}

#define EXPECTED (UINT64_C(4) << 20)
#define EXPECTED_STEP (UINT64_C(96) << 10)

/* Stays one step ahead of the writer, or falls behind it. */
static void expect_ahead(void *ctx)
{
    struct expecting *e = ctx;
    struct lsm_os *os = e->shared->os;

    for (uint64_t from = 0, end; from < EXPECTED; from = end) {
        from = keep_out(e, from);
        end = from + EXPECTED_STEP;
        CHECK_INT(os->file_allocate(e->file, end), 0);
        os->file_expect(e->file, from, end);
        let_in(e);
        while (atomic_load(&e->written) < from && atomic_load(&e->written) < EXPECTED) { }
    }
}

TEST(os_posix_room_may_be_made_beside_the_writer)
{
    struct shared s;
    struct expecting e = { .shared = &s, .making = UINT64_MAX };
    struct lsm_thread *thread;
    uint8_t bytes[700];

    pthread_mutex_init(&e.mutex, NULL);
    shared_init(&s);
    char path[128];
    snprintf(path, sizeof path, "%s/store", test_dir());
    CHECK_INT(s.os->dir_open(s.os, path, true, 0755, NULL, &s.dir), 0);
    CHECK_INT(s.os->file_open(s.dir, "log", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &e.file), 0);
    CHECK_INT(s.os->thread_start(s.os, expect_ahead, &e, &thread), 0);
    for (uint64_t off = 0, size; off < EXPECTED; off += size) {
        size = 1 + off * 31 % sizeof bytes;
        for (uint64_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)((off + i) * 131 >> 7);
        while (!claim(&e, off + size)) { }
        CHECK_INT(s.os->file_write(e.file, bytes, size, off), 0);
        atomic_store(&e.written, off + size);
    }
    s.os->thread_join(thread);
    for (uint64_t off = 0; off < EXPECTED; off += 512) {
        size_t got;
        CHECK_INT(s.os->file_read(e.file, bytes, 512, off, &got), 0);
        for (uint64_t i = 0; i < got; i++)
            if (!CHECK_INT(bytes[i], (uint8_t)((off + i) * 131 >> 7)))
                goto out;
    }
out:
    s.os->file_close(e.file);
    shared_clear(&s);
}

TEST(os_posix_memory_count_is_exact_after_threads)
{
    struct lsm_thread *thread[THREADS];
    struct shared s;

    shared_init(&s);
    start(&s, use_memory, thread, THREADS);
    join(&s, thread, THREADS);
    shared_clear(&s);
    CHECK(true);
}

/* Lock, look, and let go, all the time. */
static void lock_and_close(void *ctx)
{
    struct shared *s = ctx;
    struct lsm_file *file;

    while (!s->stop) {
        if (!CHECK_INT(s->os->file_open(s->dir, "LOCK", LSM_OPEN_WRITE | LSM_OPEN_CREATE_SHARED,
                                        0600, &file), 0))
            return;
        if (!CHECK_INT(s->os->file_lock(file), 0))
            s->stop = true;
        s->os->file_close(file);
    }
}

/* Whenever the fork falls, the child has no part of the lock: the next one gets it though all
   children still live. */
TEST(os_posix_fork_at_any_moment_takes_no_lock_along)
{
    struct lsm_thread *thread[1];
    struct shared s;
    int pipe_fd[2], status;
    pid_t pid[100];
    char byte;

    shared_init(&s);
    CHECK_INT(s.os->dir_open(s.os, test_dir(), false, 0, NULL, &s.dir), 0);
    CHECK_INT(pipe(pipe_fd), 0);
    start(&s, lock_and_close, thread, 1);
    for (int i = 0; i < 100; i++) {
        pid[i] = fork();
        if (pid[i] == 0) {
            close(pipe_fd[1]);
            _exit(read(pipe_fd[0], &byte, 1) != 0);
        }
        s.os->sleep_us(s.os, 200);
    }
    s.stop = true;
    join(&s, thread, 1);
    close(pipe_fd[1]);
    for (int i = 0; i < 100; i++) {
        waitpid(pid[i], &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    close(pipe_fd[0]);
    shared_clear(&s);
}
