/* posix_place.h -- for tests of os_posix.c: a directory on the real disk, and children that are forked. */
#ifndef TESTS_UNIT_POSIX_PLACE_H
#define TESTS_UNIT_POSIX_PLACE_H

#include <sys/wait.h>

#include "lsm/os/os.h"
#include "tests/test.h"

struct place {
    struct lsm_os *os;
    struct lsm_dir *dir;
    char path[128];
};

static inline void place_open(struct place *place)
{
    place->os = lsm_os_posix_new();
    snprintf(place->path, sizeof(place->path), "%s/store", test_dir());
    CHECK_INT(place->os->dir_open(place->os, place->path, true, 0755, NULL, &place->dir), 0);
}

static inline void place_close(struct place *place)
{
    place->os->dir_close(place->dir);
    CHECK_INT(place->os->mem_used(place->os), 0);
    lsm_os_posix_free(place->os);
}

static inline const char *path_of(const struct place *place, const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", place->path, name);
    return path;
}

static inline struct lsm_file *create(struct place *place, const char *name)
{
    struct lsm_file *file;

    CHECK_INT(place->os->file_open(place->dir, name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file),
              0);
    return file;
}

/* Run `fn` in a forked child. Returns its exit code, or 1000 + the signal that killed it. */
static inline int in_child(int (*fn)(void *ctx), void *ctx)
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

static inline int count_name(void *ctx, const char *name)
{
    (void)name;
    return ++*(int *)ctx == 3 ? 77 : 0;
}

#endif
