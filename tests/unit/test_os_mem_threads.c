#include "lsm/os/os.h"
#include "tests/test.h"

struct shared {
    struct lsm_os *os;
    struct lsm_dir *dir;
    _Atomic int next;
};

/* Each has a file of its own among the others' names, and all read one that one appends to. */
static void work(void *ctx)
{
    struct shared *s = ctx;
    struct lsm_file *file, *log;
    char name[16], got_name[16];
    int id = atomic_fetch_add(&s->next, 1);
    size_t got;

    snprintf(name, sizeof(name), "file-%d", id);
    CHECK_INT(s->os->file_open(s->dir, "log", id ? LSM_OPEN_READ : LSM_OPEN_WRITE, 0, &log), 0);
    for (int i = 0; i < 500; i++) {
        CHECK_INT(s->os->file_open(s->dir, name, LSM_OPEN_CREATE, 0, &file), 0);
        CHECK_INT(s->os->file_write(file, name, sizeof(name), (uint64_t)i * 1000), 0);
        CHECK_INT(s->os->file_read(file, got_name, sizeof(got_name), (uint64_t)i * 1000, &got), 0);
        CHECK_STR(got_name, name);
        if (id == 0)
            CHECK_INT(s->os->file_write(log, name, sizeof(name), (uint64_t)i * sizeof(name)), 0);
        CHECK_INT(s->os->file_read(log, got_name, sizeof(got_name), (uint64_t)i * sizeof(name),
                                   &got), 0);
        CHECK(got == 0 || strcmp(got_name, "file-0") == 0);
        s->os->file_close(file);
        CHECK_INT(s->os->file_remove(s->dir, name), 0);
    }
    s->os->file_close(log);
}

TEST(os_mem_serves_many_threads)
{
    struct lsm_os *base = lsm_os_posix_new();
    struct shared s = { .os = lsm_os_mem_new(base) };
    struct lsm_thread *thread[4];
    struct lsm_file *log;

    CHECK_INT(s.os->dir_open(s.os, "d", true, 0755, NULL, &s.dir), 0);
    CHECK_INT(s.os->file_open(s.dir, "log", LSM_OPEN_CREATE, 0, &log), 0);
    s.os->file_close(log);
    for (int i = 0; i < 4; i++)
        CHECK_INT(s.os->thread_start(s.os, work, &s, &thread[i]), 0);
    for (int i = 0; i < 4; i++)
        s.os->thread_join(thread[i]);
    s.os->dir_close(s.dir);
    lsm_os_mem_free(s.os);
    CHECK_INT(base->mem_used(base), 0);
    lsm_os_posix_free(base);
}
