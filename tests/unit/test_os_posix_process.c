/*
 * test_os_posix_process.c -- what other processes may have of ours: descriptors,
 * which are never a standard one nor a child's after exec, and the lock.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "tests/unit/posix_place.h"

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

/* What the load is nobody can say for a test: it is that of the last minute. */
TEST(os_posix_used_processors_are_some_of_those_that_threads_may_run_on)
{
    struct lsm_os *os = lsm_os_posix_new(), *mem = lsm_os_mem_new(os);
    double load = 0;

    CHECK(os->cpu_count(os) >= 1);
    CHECK(os->cpu_used(os) <= os->cpu_count(os));
    CHECK_INT(mem->cpu_count(mem), os->cpu_count(os));
    if (getloadavg(&load, 1) == 1 && load < 0.5)        /* it moves by less than that in a moment */
        CHECK_INT(os->cpu_used(os), 0);
    CHECK(mem->cpu_used(mem) <= mem->cpu_count(mem));
    lsm_os_mem_free(mem);
    lsm_os_posix_free(os);
}
