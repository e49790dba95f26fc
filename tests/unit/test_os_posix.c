/*
 * test_os_posix.c -- directories and files of the machine: what they are, short
 * counts, signals, syncs and limits; time, chance, and how little stack it takes.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "tests/unit/posix_place.h"

/* ---- directories ---- */

TEST(os_posix_dir_open_makes_a_directory_whatever_the_umask)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_file_info info;
    struct lsm_dir *dir;
    char path[128];
    mode_t mask = umask(077);
    bool created;

    snprintf(path, sizeof(path), "%s/a//", test_dir());
    CHECK_INT(os->dir_open(os, path, false, 0775, &created, &dir), ENOENT);
    CHECK(!created && !dir);
    CHECK_INT(os->dir_open(os, path, true, 0775, &created, &dir), 0);
    CHECK(created);
    CHECK_INT(os->dir_info(dir, &info), 0);
    CHECK_INT(info.mode, 0775);
    CHECK(info.is_dir && !info.is_file);
    CHECK_INT(os->dir_sync(dir), 0);
    os->dir_close(dir);
    CHECK_INT(os->dir_open(os, path, true, 0700, &created, &dir), 0);
    CHECK(!created);
    CHECK_INT(os->dir_info(dir, &info), 0);
    CHECK_INT(info.mode, 0775);                 /* what exists is left as it is */
    os->dir_close(dir);
    umask(mask);
    lsm_os_posix_free(os);
}

TEST(os_posix_dir_open_finds_paths_of_every_shape)
{
    struct lsm_os *os = lsm_os_posix_new();
    char before[256];
    static const char *const good[] = { "sub", "sub/", "./sub", ".", "sub/.", "sub/..", "/" };
    struct lsm_dir *dir;
    bool created;

    CHECK(getcwd(before, sizeof(before)) != NULL);
    CHECK_INT(chdir(test_dir()), 0);
    CHECK_INT(os->dir_open(os, "sub", true, 0755, &created, &dir), 0);
    CHECK(created);
    os->dir_close(dir);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK_INT(os->dir_open(os, good[i], false, 0, NULL, &dir), 0);
        os->dir_close(dir);
    }
    CHECK_INT(os->dir_open(os, "", true, 0755, NULL, &dir), ENOENT);
    CHECK_INT(os->dir_open(os, "no/such/parent", true, 0755, NULL, &dir), ENOENT);
    CHECK_INT(os->dir_remove(os, "sub"), 0);
    CHECK_INT(os->dir_remove(os, "sub"), ENOENT);
    CHECK_INT(chdir(before), 0);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

TEST(os_posix_dir_open_follows_no_link_at_the_end)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct lsm_dir *dir;
    char path[128];

    snprintf(path, sizeof(path), "%s/link", test_dir());
    CHECK_INT(symlink("/tmp", path), 0);
    CHECK_INT(os->dir_open(os, path, true, 0755, NULL, &dir), ELOOP);
    CHECK_INT(unlink(path), 0);
    CHECK_INT(symlink("nowhere", path), 0);
    CHECK_INT(os->dir_open(os, path, true, 0755, NULL, &dir), ELOOP);
    CHECK_INT(unlink(path), 0);
    CHECK_INT(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
    CHECK_INT(os->dir_open(os, path, true, 0755, NULL, &dir), ENOTDIR);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

TEST(os_posix_names_are_listed_renamed_linked_and_removed)
{
    struct place p;
    struct lsm_file *file;
    struct lsm_file_info info;
    int seen = 0;

    place_open(&p);
    p.os->file_close(create(&p, "a"));
    p.os->file_close(create(&p, "b"));
    CHECK_INT(p.os->dir_list(p.dir, count_name, &seen), 0);
    CHECK_INT(seen, 2);
    CHECK_INT(p.os->file_link(p.dir, "a", p.dir, "c"), 0);
    CHECK_INT(p.os->file_link(p.dir, "a", p.dir, "b"), EEXIST);
    seen = 0;
    CHECK_INT(p.os->dir_list(p.dir, count_name, &seen), 77);
    CHECK_INT(p.os->dir_remove(p.os, p.path), ENOTEMPTY);
    CHECK_INT(p.os->file_open(p.dir, "c", LSM_OPEN_READ, 0, &file), 0);
    CHECK_INT(p.os->file_info(file, &info), 0);
    CHECK_INT(info.nlink, 2);
    p.os->file_close(file);
    CHECK_INT(p.os->file_open(p.dir, "c", LSM_OPEN_WRITE, 0, &file), EMLINK);
    CHECK_INT(p.os->file_remove(p.dir, "a"), 0);
    CHECK_INT(p.os->file_remove(p.dir, "a"), ENOENT);
    CHECK_INT(p.os->file_rename(p.dir, "c", "b"), 0);
    CHECK_INT(p.os->file_rename(p.dir, "c", "b"), ENOENT);
    CHECK_INT(p.os->file_remove(p.dir, "b"), 0);
    CHECK_INT(p.os->dir_remove(p.os, p.path), 0);
    place_close(&p);
}

/* ---- files ---- */

TEST(os_posix_create_is_exclusive_and_has_its_mode_whatever_the_umask)
{
    struct place p;
    struct lsm_file *file;
    struct lsm_file_info info;
    mode_t mask = umask(077);

    place_open(&p);
    CHECK_INT(p.os->file_open(p.dir, "f", LSM_OPEN_WRITE, 0, &file), ENOENT);
    CHECK_INT(p.os->file_open(p.dir, "f", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0664, &file), 0);
    CHECK_INT(p.os->file_info(file, &info), 0);
    CHECK_INT(info.mode, 0664);
    CHECK(info.is_file && !info.is_dir && info.size == 0 && info.nlink == 1);
    p.os->file_close(file);
    CHECK_INT(p.os->file_open(p.dir, "f", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0600, &file), EEXIST);
    CHECK_INT(p.os->file_open(p.dir, "f", LSM_OPEN_WRITE | LSM_OPEN_CREATE_SHARED, 0600, &file), 0);
    CHECK_INT(p.os->file_info(file, &info), 0);
    CHECK_INT(info.mode, 0664);
    p.os->file_close(file);
    CHECK_INT(p.os->file_open(p.dir, "LOCK", LSM_OPEN_WRITE | LSM_OPEN_CREATE_SHARED, 0640, &file),
              0);
    CHECK_INT(p.os->file_info(file, &info), 0);
    CHECK_INT(info.mode, 0640);
    p.os->file_close(file);
    umask(mask);
    place_close(&p);
}

/* T-10 */
TEST(os_posix_opens_plain_files_only_and_never_hangs)
{
    static const int how[] = { LSM_OPEN_READ, LSM_OPEN_WRITE,
                               LSM_OPEN_WRITE | LSM_OPEN_CREATE_SHARED };
    struct place p;
    struct lsm_file *file;

    place_open(&p);
    CHECK_INT(mkfifo(path_of(&p, "fifo"), 0600), 0);
    CHECK_INT(mkdir(path_of(&p, "dir"), 0700), 0);
    p.os->file_close(create(&p, "plain"));
    CHECK_INT(symlink("plain", path_of(&p, "link")), 0);
    CHECK_INT(symlink("nowhere", path_of(&p, "dangling")), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(p.os->file_open(p.dir, "fifo", how[i], 0600, &file), EINVAL);
        CHECK_INT(p.os->file_open(p.dir, "dir", how[i], 0600, &file), EINVAL);
        CHECK_INT(p.os->file_open(p.dir, "link", how[i], 0600, &file), ELOOP);
        CHECK_INT(p.os->file_open(p.dir, "dangling", how[i], 0600, &file), ELOOP);
        CHECK(file == NULL);
    }
    CHECK_INT(p.os->file_open(p.dir, "link", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0600, &file),
              EEXIST);
    place_close(&p);
}

TEST(os_posix_reads_what_was_written_and_stops_at_the_end)
{
    struct place p;
    struct lsm_file *file;
    struct lsm_file_info info;
    char text[16];
    size_t got;

    place_open(&p);
    file = create(&p, "f");
    CHECK_INT(p.os->file_write(file, "hello world", 11, 0), 0);
    CHECK_INT(p.os->file_write(file, "W", 1, 6), 0);
    CHECK_INT(p.os->file_read(file, text, sizeof(text), 0, &got), 0);
    CHECK_INT(got, 11);
    CHECK_MEM(text, "hello World", 11);
    CHECK_INT(p.os->file_read(file, text, sizeof(text), 11, &got), 0);
    CHECK_INT(got, 0);
    CHECK_INT(p.os->file_read(file, text, 1, (uint64_t)1 << 63, &got), EINVAL);
    CHECK_INT(p.os->file_write(file, text, 1, UINT64_MAX), EFBIG);
    CHECK_INT(p.os->file_write(file, "x", 1, 20), 0);           /* a hole reads as zeros */
    CHECK_INT(p.os->file_read(file, text, 10, 11, &got), 0);
    CHECK_INT(got, 10);
    CHECK_MEM(text, "\0\0\0\0\0\0\0\0\0x", 10);
    CHECK_INT(p.os->file_sync(file), 0);
    CHECK_INT(p.os->file_truncate(file, 5), 0);
    CHECK_INT(p.os->file_info(file, &info), 0);
    CHECK_INT(info.size, 5);
    CHECK_INT(p.os->file_truncate(file, 50), 0);
    p.os->file_prefetch(file, 0, 50);
    p.os->file_push(file, 0, 50);
    p.os->file_push(file, 40, 1 << 20);
    CHECK_INT(p.os->file_write(file, "x", 1, 49), 0);
    p.os->file_zero(file, 50, 9000);
    CHECK_INT(p.os->file_read(file, text, 10, 45, &got), 0);
    CHECK(got == 5 || got == 10);
    CHECK_MEM(text, "\0\0\0\0x", 5);
    for (size_t i = 5; i < got; i++)
        CHECK_INT(text[i], 0);
    got = (size_t)p.os->file_allocate(file, 1 << 20);
    if (got != EOPNOTSUPP) {
        CHECK_INT(got, 0);
        CHECK_INT(p.os->file_info(file, &info), 0);
        CHECK_INT(info.size, 1 << 20);
        CHECK(info.allocated >= 1 << 20);
    }
    p.os->file_close(file);
    place_close(&p);
}

/* Where the file system tells of no holes, all is data. */
TEST(os_posix_tells_where_data_is_behind_a_hole)
{
    struct place place;
    struct lsm_file *file;
    uint64_t next;

    place_open(&place);
    file = create(&place, "sparse");
    CHECK_INT(place.os->file_write(file, "x", 1, 3000000), 0);
    CHECK_INT(place.os->file_truncate(file, UINT64_C(1) << 32), 0);
    next = place.os->file_next_data(file, 100);
    CHECK(next >= 100 && next <= 3000000);
    CHECK_INT(place.os->file_next_data(file, 3000000), 3000000);
    next = place.os->file_next_data(file, UINT64_C(1) << 31);
    CHECK(next == UINT64_MAX || next == UINT64_C(1) << 31);
    CHECK(place.os->file_next_data(file, UINT64_C(1) << 33) == UINT64_MAX);
    place.os->file_close(file);
    place_close(&place);
}

TEST(os_posix_read_only_handles_do_not_write)
{
    struct place p;
    struct lsm_file *file;

    place_open(&p);
    p.os->file_close(create(&p, "f"));
    CHECK_INT(p.os->file_open(p.dir, "f", LSM_OPEN_READ, 0, &file), 0);
    CHECK_INT(p.os->file_write(file, "x", 1, 0), EBADF);
    CHECK_INT(p.os->file_truncate(file, 1), EINVAL);
    p.os->file_close(file);
    place_close(&p);
}

TEST(os_posix_releases_accept_null)
{
    struct lsm_os *os = lsm_os_posix_new();

    os->dir_close(NULL);
    os->file_close(NULL);
    os->mutex_free(NULL);
    os->cond_free(NULL);
    os->thread_join(NULL);
    os->mem_free(os, NULL);
    lsm_os_posix_free(os);
    lsm_os_posix_free(NULL);
    CHECK(true);
}

/* I-15: the file size limit answers, the signal does not kill. */
static int write_past_limit(void *ctx)
{
    struct rlimit limit = { 1000, 1000 };
    struct place *p = ctx;
    struct lsm_file *file;
    char bytes[600] = { 0 };

    signal(SIGXFSZ, SIG_DFL);
    if (p->os->file_open(p->dir, "f", LSM_OPEN_WRITE, 0, &file) || setrlimit(RLIMIT_FSIZE, &limit))
        return 1;
    if (p->os->file_write(file, bytes, 600, 0) != 0)
        return 2;
    if (p->os->file_write(file, bytes, 600, 600) != EFBIG)
        return 3;
    if (p->os->file_write(file, bytes, 1, 5000) != EFBIG)
        return 4;
    if (p->os->file_truncate(file, 1001) != EFBIG || p->os->file_allocate(file, 1001) != EFBIG)
        return 5;
    if (p->os->file_truncate(file, 1000) != 0 || p->os->file_write(file, bytes, 400, 600) != 0)
        return 6;
    return 0;
}

/* The C library's, as this program's own: short counts and signals. */
static struct {
    int every;          /* a call in so many is interrupted; 0: none */
    int calls;
    size_t most;        /* bytes at once; 0: all */
} transfers;

static bool is_interrupted(void)
{
    return transfers.every && ++transfers.calls % transfers.every == 0;
}

static size_t shortened(size_t size)
{
    return transfers.most && size > transfers.most ? transfers.most : size;
}

ssize_t pread(int fd, void *data, size_t size, off_t off)
{
    if (is_interrupted())
        return errno = EINTR, -1;
    return (ssize_t)syscall(SYS_pread64, fd, data, shortened(size), off);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t off)
{
    if (is_interrupted())
        return errno = EINTR, -1;
    return (ssize_t)syscall(SYS_pwrite64, fd, data, shortened(size), off);
}

TEST(os_posix_reads_and_writes_go_on_after_short_counts_and_signals__T_07_T_08_T_09)
{
    static uint8_t data[10000], back[10000];
    static const size_t mosts[] = { 1, 3, 511, 4096 };
    struct place p;
    struct lsm_file *file;
    size_t got;

    place_open(&p);
    file = create(&p, "a");
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t m = 0; m < sizeof mosts / sizeof mosts[0]; m++) {
        transfers.every = 3;
        transfers.most = mosts[m];
        CHECK_INT(p.os->file_write(file, data, sizeof data, 5), 0);
        memset(back, 0, sizeof back);
        CHECK_INT(p.os->file_read(file, back, sizeof back, 5, &got), 0);
        CHECK_INT(got, sizeof data);
        CHECK_MEM(back, data, sizeof data);
        CHECK_INT(p.os->file_read(file, back, sizeof back, 105, &got), 0);
        CHECK_INT(got, sizeof data - 100);      /* the end of the file, and no zeros */
    }
    memset(&transfers, 0, sizeof transfers);
    p.os->file_close(file);
    place_close(&p);
}

/* The C library's, as this program's own: T-09 (interrupted) and T-12 (failed: never tried again). */
static struct {
    int file_calls, dir_calls, interrupted, error;
} syncs;

static int sync_call(long number, int fd, int *calls)
{
    ++*calls;
    if (syncs.interrupted > 0 || syncs.error) {
        errno = syncs.interrupted-- > 0 ? EINTR : syncs.error;
        return -1;
    }
    return (int)syscall(number, fd);
}

int fsync(int fd)
{
    return sync_call(SYS_fsync, fd, &syncs.dir_calls);
}

int fdatasync(int fd)
{
    return sync_call(SYS_fdatasync, fd, &syncs.file_calls);
}

TEST(os_posix_syncs_when_asked_again_after_a_signal_and_never_after_a_failure__T_09_T_12)
{
    struct place p;
    struct lsm_file *file;

    place_open(&p);
    file = create(&p, "a");
    memset(&syncs, 0, sizeof syncs);
    CHECK_INT(p.os->file_write(file, "x", 1, 0), 0);
    CHECK_INT(p.os->file_sync(file), 0);
    CHECK_INT(syncs.file_calls, 1);
    CHECK_INT(p.os->dir_sync(p.dir), 0);
    CHECK_INT(syncs.dir_calls, 1);
    syncs.interrupted = 2;
    CHECK_INT(p.os->file_sync(file), 0);
    CHECK_INT(syncs.file_calls, 4);
    syncs.interrupted = 2;
    CHECK_INT(p.os->dir_sync(p.dir), 0);
    CHECK_INT(syncs.dir_calls, 4);
    syncs.interrupted = 0;
    syncs.error = EIO;
    CHECK_INT(p.os->file_sync(file), EIO);
    CHECK_INT(p.os->dir_sync(p.dir), EIO);
    CHECK_INT(syncs.file_calls, 5);
    CHECK_INT(syncs.dir_calls, 5);
    syncs.error = 0;
    p.os->file_close(file);
    place_close(&p);
}

TEST(os_posix_file_size_limit_is_an_answer_and_no_signal__I_15)
{
    struct place p;

    place_open(&p);
    p.os->file_close(create(&p, "f"));
    CHECK_INT(in_child(write_past_limit, &p), 0);
    place_close(&p);
}

/* ---- time, chance, stack ---- */

static void on_alarm(int signal)
{
    (void)signal;
}

TEST(os_posix_sleep_goes_on_after_a_signal__T_09)
{
    struct sigaction action = { .sa_handler = on_alarm }, before;
    struct itimerval timer = { { 0, 2000 }, { 0, 2000 } }, off = { { 0, 0 }, { 0, 0 } };
    struct lsm_os *os = lsm_os_posix_new();
    uint64_t start, wall = os->wall_us(os);

    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &timer, NULL);
    start = os->mono_us(os);
    os->sleep_us(os, 30000);
    CHECK(os->mono_us(os) - start >= 30000);
    setitimer(ITIMER_REAL, &off, NULL);
    sigaction(SIGALRM, &before, NULL);
    CHECK(wall > (uint64_t)1600000000 * 1000000);
    lsm_os_posix_free(os);
}

TEST(os_posix_random_differs_and_fills_all)
{
    struct lsm_os *os = lsm_os_posix_new();
    uint8_t a[1000] = { 0 }, b[1000] = { 0 };
    int zeros = 0;

    CHECK_INT(os->random(os, a, sizeof(a)), 0);
    CHECK_INT(os->random(os, b, sizeof(b)), 0);
    CHECK(memcmp(a, b, sizeof(a)) != 0);
    for (size_t i = 0; i < sizeof(a); i++)
        zeros += a[i] == 0;
    CHECK(zeros < 50);
    CHECK_INT(os->process_id(os), getpid());
    lsm_os_posix_free(os);
}

/* M-07: a host's thread with a 64 KiB stack. */
static void *use_small_stack(void *ctx)
{
    struct place p;
    struct lsm_file *file;
    int seen = 0;

    (void)ctx;
    place_open(&p);
    file = create(&p, "f");
    CHECK_INT(p.os->file_write(file, "x", 1, 0), 0);
    CHECK_INT(p.os->dir_list(p.dir, count_name, &seen), 0);
    p.os->file_close(file);
    place_close(&p);
    return NULL;
}

TEST(os_posix_needs_little_stack__M_07)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    CHECK_INT(pthread_attr_setstacksize(&attr, 64 << 10), 0);
    if (CHECK_INT(pthread_create(&thread, &attr, use_small_stack, NULL), 0))
        pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
}
