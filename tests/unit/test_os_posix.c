#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "lsm/os/os.h"
#include "tests/test.h"

struct place {
    struct lsm_os *os;
    struct lsm_dir *dir;
    char path[128];
};

static void place_open(struct place *place)
{
    place->os = lsm_os_posix_new();
    snprintf(place->path, sizeof(place->path), "%s/store", test_dir());
    CHECK_INT(place->os->dir_open(place->os, place->path, true, 0755, NULL, &place->dir), 0);
}

static void place_close(struct place *place)
{
    place->os->dir_close(place->dir);
    CHECK_INT(place->os->mem_used(place->os), 0);
    lsm_os_posix_free(place->os);
}

static const char *path_of(const struct place *place, const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", place->path, name);
    return path;
}

static struct lsm_file *create(struct place *place, const char *name)
{
    struct lsm_file *file;

    CHECK_INT(place->os->file_open(place->dir, name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file),
              0);
    return file;
}

/* Run `fn` in a forked child. Returns its exit code, or 1000 + the signal that killed it. */
static int in_child(int (*fn)(void *ctx), void *ctx)
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0)
        _exit(fn(ctx));
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

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

static int count_name(void *ctx, const char *name)
{
    (void)name;
    return ++*(int *)ctx == 3 ? 77 : 0;
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

/* ---- room that is reserved ---- */

static uint8_t byte_of(uint64_t i)
{
    return (uint8_t)(i * 31 >> 3 ^ i);
}

/* Frames of odd sizes, each behind the other, room ahead of them as a log reserves it. */
static int append_some(struct place *p, struct lsm_file *file, uint64_t from, uint64_t to)
{
    uint64_t reserved = from;
    uint8_t bytes[5000];

    while (from < to) {
        size_t size = (size_t)(1 + from * 7 % sizeof bytes);

        if (size > to - from)
            size = (size_t)(to - from);
        for (size_t i = 0; i < size; i++)
            bytes[i] = byte_of(from + i);
        if (from + size > reserved) {
            reserved = from + size + 65536;
            if (p->os->file_allocate(file, reserved))
                return 1;
            p->os->file_expect(file, from, reserved);
        }
        if (p->os->file_write(file, bytes, size, from))
            return 2;
        from += size;
    }
    return 0;
}

static void check_bytes(struct place *p, const char *name, uint64_t size)
{
    struct lsm_file *file;
    uint8_t bytes[4096];
    size_t got = 1;

    if (!CHECK_INT(p->os->file_open(p->dir, name, LSM_OPEN_READ, 0, &file), 0))
        return;
    for (uint64_t off = 0; off < size && got && !test_state.failures; off += got) {
        size_t wanted = size - off < sizeof bytes ? (size_t)(size - off) : sizeof bytes;
        CHECK_INT(p->os->file_read(file, bytes, wanted, off, &got), 0);
        CHECK_INT(got, wanted);
        for (size_t i = 0; i < got; i++)
            if (!CHECK_INT(bytes[i], byte_of(off + i)))
                break;
    }
    p->os->file_close(file);
}

TEST(os_posix_writes_to_reserved_room_are_seen_by_others_at_once)
{
    struct place p;
    struct lsm_file *file;

    place_open(&p);
    file = create(&p, "log");
    for (uint64_t at = 0; at < 600000; at += 100000) {
        CHECK_INT(append_some(&p, file, at, at + 100000), 0);
        check_bytes(&p, "log", at + 100000);
    }
    CHECK_INT(p.os->file_sync(file), 0);
    CHECK_INT(p.os->file_truncate(file, 600000), 0);
    for (uint64_t at = 600000; at < 700000; at++) {     /* the room is gone: nobody may write there */
        uint8_t byte = byte_of(at);
        CHECK_INT(p.os->file_write(file, &byte, 1, at), 0);
    }
    p.os->file_close(file);
    check_bytes(&p, "log", 700000);
    place_close(&p);
}

static int write_and_die(void *ctx)
{
    struct place *p = ctx;
    struct lsm_file *file;

    if (p->os->file_open(p->dir, "log", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file) ||
        append_some(p, file, 0, 300000))
        return 1;
    raise(SIGKILL);
    return 2;
}

TEST(os_posix_writes_to_reserved_room_outlive_the_process)
{
    struct place p;
    struct lsm_dir *dir;

    place_open(&p);
    dir = p.dir;
    CHECK_INT(in_child(write_and_die, &p), 1000 + SIGKILL);
    p.dir = dir;
    check_bytes(&p, "log", 300000);
    place_close(&p);
}

struct inherited {
    struct place *place;
    struct lsm_file *file;
};

static int write_as_child(void *ctx)
{
    struct inherited *i = ctx;

    return i->place->os->file_write(i->file, "from the child", 14, 100) == EBADF ? 0 : 1;
}

TEST(os_posix_forked_child_cannot_write_to_the_parents_reserved_room)
{
    struct inherited i;
    struct place p;

    place_open(&p);
    i = (struct inherited){ &p, create(&p, "log") };
    CHECK_INT(append_some(&p, i.file, 0, 1000), 0);
    CHECK_INT(in_child(write_as_child, &i), 0);
    p.os->file_close(i.file);
    check_bytes(&p, "log", 1000);
    place_close(&p);
}

/* Is the file of a log that is written in small pieces mapped? */
static bool is_mapped(const char *path)
{
    struct place p = { .os = lsm_os_posix_new() };
    struct lsm_file *file;
    char line[512];
    bool found = false;
    FILE *maps;

    snprintf(p.path, sizeof(p.path), "%s", path);
    CHECK_INT(p.os->dir_open(p.os, p.path, true, 0755, NULL, &p.dir), 0);
    file = create(&p, "expected.log");
    CHECK_INT(append_some(&p, file, 0, 1000), 0);
    check_bytes(&p, "expected.log", 1000);
    maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        found |= strstr(line, "expected.log") != NULL;
    if (maps)
        fclose(maps);
    p.os->file_close(file);
    place_close(&p);
    return found;
}

static int map_on_two_file_systems(void *ctx)
{
    char path[256], options[1024];
    const char *at = ctx;

    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("small", at, "tmpfs", 0, "size=6m"))
        return 77;
    CHECK(is_mapped(at));
    for (const char *const *name = (const char *const[]){ "low", "up", "work", "both", NULL }; *name; name++) {
        snprintf(path, sizeof path, "%s/%s", at, *name);
        CHECK(mkdir(path, 0755) == 0);
    }
    snprintf(options, sizeof options, "lowerdir=%s/low,upperdir=%s/up,workdir=%s/work", at, at, at);
    if (mount("overlay", path, "overlay", 0, options))
        return 77;
    CHECK(!is_mapped(path));
    umount(path);
    return test_state.failures ? 1 : 0;
}

/* What lies behind another one cannot be known: it may need room for each page that is written again. */
TEST(os_posix_maps_only_where_a_full_disk_cannot_end_the_process)
{
    char at[128];
    int code;

    snprintf(at, sizeof at, "%s", test_dir());
    code = in_child(map_on_two_file_systems, at);
    CHECK(code == 0 || code == 77);
    if (code == 77)
        printf("  no file system of our own here\n");
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

/* ---- descriptors ---- */

static int open_without_std(void *ctx)
{
    struct place *p = ctx;
    struct lsm_file *file;
    struct lsm_dir *dir;
    struct stat st;

    close(0), close(1), close(2);
    if (p->os->dir_open(p->os, p->path, false, 0, NULL, &dir) ||
        p->os->file_open(dir, "f", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0600, &file) ||
        p->os->file_lock(file))
        return 1;
    for (int fd = 0; fd < 3; fd++)
        if (fstat(fd, &st) == 0)
            return 2;
    p->os->file_close(file);
    return 0;
}

/* P-09 */
TEST(os_posix_takes_no_descriptor_below_three)
{
    struct place p;

    place_open(&p);
    CHECK_INT(in_child(open_without_std, &p), 0);
    place_close(&p);
}

TEST(os_posix_descriptors_do_not_survive_exec)
{
    char line[512];
    struct place p;
    struct lsm_file *file;
    FILE *list;
    int lines = 0;

    place_open(&p);
    file = create(&p, "f");
    CHECK_INT(p.os->file_lock(file), 0);
    list = popen("ls -l /proc/self/fd", "r");
    while (list && fgets(line, sizeof(line), list)) {
        CHECK(strstr(line, p.path) == NULL);
        lines++;
    }
    CHECK(lines > 2);
    pclose(list);
    p.os->file_close(file);
    place_close(&p);
}

static int count_open(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

TEST(os_posix_failed_opens_leak_no_descriptor_and_no_file)
{
    struct place p;
    struct lsm_file *file;
    int before, seen = 0;

    place_open(&p);
    CHECK_INT(mkfifo(path_of(&p, "fifo"), 0600), 0);
    before = count_open();
    for (int i = 0; i < 10; i++) {
        CHECK_INT(p.os->file_open(p.dir, "fifo", LSM_OPEN_WRITE, 0, &file), EINVAL);
        CHECK_INT(p.os->file_open(p.dir, "none", LSM_OPEN_READ, 0, &file), ENOENT);
    }
    CHECK_INT(p.os->dir_list(p.dir, count_name, &seen), 0);
    CHECK_INT(seen, 1);
    CHECK_INT(count_open(), before);
    place_close(&p);
    CHECK_INT(count_open(), before - 1);
}

/* ---- the lock ---- */

static int try_lock(void *ctx)
{
    struct place *p = ctx;
    struct lsm_file *file;
    int rc;

    if (p->os->file_open(p->dir, "LOCK", LSM_OPEN_WRITE | LSM_OPEN_CREATE_SHARED, 0644, &file))
        return 250;
    rc = p->os->file_lock(file);
    p->os->file_close(file);
    return rc;
}

TEST(os_posix_lock_excludes_handles_processes_and_copies)
{
    struct place p;
    struct lsm_file *file;

    place_open(&p);
    file = create(&p, "LOCK");
    CHECK_INT(p.os->file_lock(file), 0);
    CHECK_INT(try_lock(&p), EAGAIN);
    CHECK_INT(in_child(try_lock, &p), EAGAIN);
    CHECK_INT(try_lock(&p), EAGAIN);            /* closing another handle dropped nothing */
    p.os->file_close(file);
    CHECK_INT(in_child(try_lock, &p), 0);
    CHECK_INT(try_lock(&p), 0);
    place_close(&p);
}

/* P-07: a forked child has neither the lock nor the files, and takes nothing from its parent. */
static int use_dead_handle(void *ctx)
{
    struct lsm_file *file = *(struct lsm_file **)ctx;
    struct lsm_os *os = *(struct lsm_os **)((void **)ctx + 1);
    size_t got;
    char byte;

    if (os->file_read(file, &byte, 1, 0, &got) != EBADF)
        return 1;
    os->file_close(file);
    return os->fork_generation(os) == 0 ? 2 : 0;
}

TEST(os_posix_forked_child_leaves_the_parents_lock_alone__P_07)
{
    struct place p;
    struct lsm_file *file;
    uint32_t generation;
    void *ctx[2];

    place_open(&p);
    file = create(&p, "LOCK");
    generation = p.os->fork_generation(p.os);
    CHECK_INT(p.os->file_lock(file), 0);
    ctx[0] = file;
    ctx[1] = p.os;
    CHECK_INT(in_child(use_dead_handle, ctx), 0);
    CHECK_INT(try_lock(&p), EAGAIN);
    CHECK_INT(p.os->fork_generation(p.os), generation);
    p.os->file_close(file);
    place_close(&p);
}

/* An owner that locks, forks a child that stays, and dies. */
struct owner {
    struct place place;
    int go[2], ready[2];        /* pipes: the child may end; the child is there */
};

static int own_and_leave_a_child(void *ctx)
{
    struct owner *owner = ctx;
    char byte = 'r';

    if (owner->place.os->file_lock(create(&owner->place, "LOCK")))
        return 1;
    if (fork() == 0) {
        close(owner->go[1]);
        if (write(owner->ready[1], &byte, 1) != 1)
            _exit(1);
        _exit(read(owner->go[0], &byte, 1) < 0);    /* until the test closes its end */
    }
    return read(owner->ready[0], &byte, 1) != 1;
}

TEST(os_posix_lock_dies_with_its_owner_though_a_forked_child_lives)
{
    struct owner owner;

    place_open(&owner.place);
    CHECK_INT(pipe(owner.go), 0);
    CHECK_INT(pipe(owner.ready), 0);
    CHECK_INT(in_child(own_and_leave_a_child, &owner), 0);
    CHECK_INT(try_lock(&owner.place), 0);
    for (int i = 0; i < 2; i++) {
        close(owner.go[i]);
        close(owner.ready[i]);
    }
    place_close(&owner.place);
}

/* ---- memory, time, chance ---- */

TEST(os_posix_counts_memory_per_object)
{
    struct lsm_os *a = lsm_os_posix_new(), *b = lsm_os_posix_new();
    void *p[100];
    uint64_t sum = 0;

    for (int i = 0; i < 100; i++) {
        size_t size = test_below(10000);
        p[i] = a->mem_alloc(a, size);
        CHECK(p[i] != NULL);
        sum += size;
    }
    CHECK(a->mem_used(a) >= sum);
    CHECK(a->mem_used(a) < sum + sum / 8 + 100 * 32);
    CHECK(a->mem_held(a) >= a->mem_used(a));
    CHECK_INT(b->mem_used(b), 0);
    for (int i = 0; i < 100; i++)
        p[i] = a->mem_realloc(a, p[i], test_below(3) ? test_below(20000) : 0);
    for (int i = 0; i < 100; i++)
        a->mem_free(a, p[i]);
    CHECK_INT(a->mem_used(a), 0);
    p[0] = a->mem_realloc(a, NULL, 10);
    CHECK(a->mem_used(a) >= 10);
    a->mem_free(a, p[0]);
    lsm_os_posix_free(a);
    lsm_os_posix_free(b);
}

#if defined(__SANITIZE_ADDRESS__)
#define EVERY_BLOCK_IS_MALLOCS true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EVERY_BLOCK_IS_MALLOCS true
#endif
#endif
#ifndef EVERY_BLOCK_IS_MALLOCS
#define EVERY_BLOCK_IS_MALLOCS false
#endif

#define BLOCKS 6000u

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    CHECK(f != NULL);
    CHECK_INT(fscanf(f, "%*u %lu %lu", &pages, &shared), 2);
    fclose(f);
    return (pages - shared) * 4096;
}

/* As a cache does: blocks of one size but for some bytes, of which three in four go. */
TEST(os_posix_what_is_held_bounds_what_is_resident_and_goes_when_it_is_free)
{
    static void *block[BLOCKS];
    struct lsm_os *os = lsm_os_posix_new();
    uint64_t base = resident_bytes(), full, left;

    for (uint32_t i = 0; i < BLOCKS; i++) {
        size_t size = 4500 + test_below(600);
        block[i] = os->mem_alloc(os, size);
        memset(block[i], (int)i, size);
    }
    full = os->mem_held(os);
    CHECK(full >= os->mem_used(os));
    if (EVERY_BLOCK_IS_MALLOCS) {
        for (uint32_t i = 0; i < BLOCKS; i++)
            os->mem_free(os, block[i]);
        lsm_os_posix_free(os);
        return;
    }
    CHECK(full < os->mem_used(os) + (1u << 20));
    CHECK(resident_bytes() < base + full + (1u << 20));
    for (uint32_t i = 0; i < BLOCKS; i++)
        if (test_below(4)) {
            os->mem_free(os, block[i]);
            block[i] = NULL;
        }
    os->mem_trim(os);
    left = os->mem_held(os);
    CHECK(left >= os->mem_used(os));
    CHECK(left < full * 6 / 10);                /* whole pages of what is free, not of what is used */
    CHECK(resident_bytes() < base + left + (1u << 20));
    for (uint32_t i = 0; i < BLOCKS; i++)       /* what stayed is whole */
        if (block[i])
            CHECK(((uint8_t *)block[i])[4499] == (uint8_t)i && ((uint8_t *)block[i])[0] == (uint8_t)i);
    for (uint32_t i = 0; i < BLOCKS; i++)       /* pages that went come back */
        if (!block[i]) {
            block[i] = os->mem_alloc(os, 4500);
            memset(block[i], (int)i, 4500);
        }
    CHECK(os->mem_held(os) >= os->mem_used(os));
    CHECK(resident_bytes() < base + os->mem_held(os) + (1u << 20));
    for (uint32_t i = 0; i < BLOCKS; i++)
        os->mem_free(os, block[i]);
    CHECK_INT(os->mem_used(os), 0);
    CHECK(os->mem_held(os) < 4u << 20);         /* spare ones */
    os->mem_trim(os);
    CHECK_INT(os->mem_held(os), 0);
    lsm_os_posix_free(os);
}

/* Sizes on both sides of every border; what was in a block is in it afterwards. */
TEST(os_posix_memory_keeps_its_bytes_when_it_grows_and_shrinks)
{
    static const size_t borders[] = { 1, 1008, 1009, 1100, 4096, 8176, 8192, 8193, 65520, 65521, 131072,
                                      1048576, 1048577, 3000000 };
    struct lsm_os *os = lsm_os_posix_new();
    uint8_t *p = NULL;
    size_t before = 0;

    for (uint32_t round = 0; round < 2000; round++) {
        size_t size = borders[test_below(sizeof borders / sizeof *borders)] + test_below(20), keep;
        uint8_t *q = os->mem_realloc(os, p, size);
        CHECK(q != NULL);
        CHECK_INT((uintptr_t)q % 16, 0);
        keep = before < size ? before : size;
        if (keep) {
            CHECK_INT(q[0], (uint8_t)before);
            CHECK_INT(q[keep - 1], keep == before ? (uint8_t)(before + 1) : q[keep - 1]);
        }
        p = q;
        before = size;
        p[size - 1] = (uint8_t)(size + 1);
        p[0] = (uint8_t)size;
        if (size == 1)
            before = 0;
        CHECK(os->mem_held(os) >= os->mem_used(os));
        CHECK(os->mem_used(os) >= size);
    }
    os->mem_free(os, p);
    CHECK_INT(os->mem_used(os), 0);
    lsm_os_posix_free(os);
}

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
