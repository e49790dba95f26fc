#include "lsm/os/os.h"
#include "tests/test.h"

struct place {
    struct lsm_os *base, *os;
    struct lsm_dir *dir;
};

static void place_open(struct place *p)
{
    p->base = lsm_os_posix_new();
    p->os = lsm_os_mem_new(p->base);
    CHECK_INT(p->os->dir_open(p->os, "/no/such/place-lsm", true, 0755, NULL, &p->dir), 0);
}

static void place_close(struct place *p)
{
    p->os->dir_close(p->dir);
    lsm_os_mem_free(p->os);
    CHECK_INT(p->base->mem_used(p->base), 0);
    lsm_os_posix_free(p->base);
}

static struct lsm_file *create(struct place *p, const char *name)
{
    struct lsm_file *file;

    CHECK_INT(p->os->file_open(p->dir, name, LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0644, &file), 0);
    return file;
}

TEST(os_mem_behaves_like_a_plain_array_under_random_writes)
{
    enum { SIZE = 200000 };
    static uint8_t model[SIZE], got_bytes[SIZE], piece[50000];
    struct lsm_file *file;
    struct lsm_file_info info;
    struct place p;
    uint64_t size = 0;
    size_t got;

    place_open(&p);
    file = create(&p, "f");
    memset(model, 0, sizeof(model));
    for (int i = 0; i < 3000; i++) {
        uint64_t off = test_below(SIZE - sizeof(piece));
        size_t n = test_below(4) ? test_below(300) : test_below(sizeof(piece));

        if (test_below(8) == 0) {
            if (off < size)
                memset(model + off, 0, size - off);
            size = off;
            CHECK_INT(p.os->file_truncate(file, off), 0);
        } else {
            memset(piece, (int)test_random(), n);
            memcpy(model + off, piece, n);
            if (n && off + n > size)
                size = off + n;
            CHECK_INT(p.os->file_write(file, piece, n, off), 0);
        }
        off = test_below(SIZE);
        n = test_below(SIZE);
        CHECK_INT(p.os->file_read(file, got_bytes, n, off, &got), 0);
        CHECK_INT(got, off >= size ? 0 : n < size - off ? n : size - off);
        if (!CHECK_MEM(got_bytes, model + off, got))
            break;
    }
    CHECK_INT(p.os->file_info(file, &info), 0);
    CHECK_INT(info.size, size);
    CHECK_INT(p.os->file_truncate(file, 0), 0);
    CHECK_INT(p.os->file_info(file, &info), 0);
    CHECK_INT(info.allocated, 0);
    p.os->file_close(file);
    place_close(&p);
}

TEST(os_mem_large_holes_cost_nothing)
{
    struct lsm_file *file;
    struct lsm_file_info info;
    struct place p;
    uint8_t byte = 1;
    size_t got;

    place_open(&p);
    file = create(&p, "f");
    CHECK_INT(p.os->file_truncate(file, (uint64_t)1 << 40), 0);
    CHECK_INT(p.os->file_info(file, &info), 0);
    CHECK(info.size == (uint64_t)1 << 40);
    CHECK_INT(p.os->file_read(file, &byte, 1, ((uint64_t)1 << 40) - 1, &got), 0);
    CHECK_INT(got, 1);
    CHECK_INT(byte, 0);
    CHECK_INT(p.os->file_write(file, &byte, 1, UINT64_MAX), EFBIG);
    CHECK(p.os->mem_used(p.os) < 100000);
    p.os->file_close(file);
    place_close(&p);
}

TEST(os_mem_tells_where_data_is_behind_a_hole)
{
    const uint64_t far = UINT64_C(1) << 30;
    struct lsm_file *file;
    struct place p;
    uint8_t byte;
    size_t got;

    place_open(&p);
    file = create(&p, "f");
    CHECK(p.os->file_next_data(file, 0) == UINT64_MAX);
    CHECK_INT(p.os->file_write(file, "x", 1, 10), 0);
    CHECK_INT(p.os->file_write(file, "x", 1, 3000000), 0);
    CHECK_INT(p.os->file_truncate(file, far), 0);
    CHECK_INT(p.os->file_next_data(file, 0), 0);
    CHECK_INT(p.os->file_next_data(file, 10), 10);
    /* Nothing but zeros in between, and what it says is not behind the data. */
    CHECK(p.os->file_next_data(file, 100000) > 2900000 && p.os->file_next_data(file, 100000) <= 3000000);
    CHECK_INT(p.os->file_next_data(file, 3000000), 3000000);
    CHECK(p.os->file_next_data(file, 4000000) == UINT64_MAX);
    CHECK(p.os->file_next_data(file, far + 1) == UINT64_MAX);
    CHECK_INT(p.os->file_truncate(file, 2000000), 0);
    CHECK(p.os->file_next_data(file, 100000) == UINT64_MAX);
    CHECK_INT(p.os->file_read(file, &byte, 1, 10, &got), 0);
    p.os->file_close(file);
    place_close(&p);
}

TEST(os_mem_opens_as_the_flags_say)
{
    struct lsm_file *file;
    struct place p;
    char byte = 'x';

    place_open(&p);
    CHECK_INT(p.os->file_open(p.dir, "f", LSM_OPEN_WRITE, 0, &file), ENOENT);
    CHECK(file == NULL);
    p.os->file_close(create(&p, "f"));
    CHECK_INT(p.os->file_open(p.dir, "f", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0, &file), EEXIST);
    CHECK_INT(p.os->file_open(p.dir, "f", LSM_OPEN_WRITE | LSM_OPEN_CREATE_SHARED, 0, &file), 0);
    p.os->file_close(file);
    CHECK_INT(p.os->file_open(p.dir, "f", LSM_OPEN_READ, 0, &file), 0);
    CHECK_INT(p.os->file_write(file, &byte, 1, 0), EBADF);
    CHECK_INT(p.os->file_truncate(file, 0), EINVAL);
    p.os->file_close(file);
    CHECK_INT(p.os->file_link(p.dir, "f", p.dir, "g"), 0);
    CHECK_INT(p.os->file_open(p.dir, "f", LSM_OPEN_WRITE, 0, &file), EMLINK);
    CHECK_INT(p.os->file_open(p.dir, "f", LSM_OPEN_READ, 0, &file), 0);
    p.os->file_close(file);
    place_close(&p);
}

TEST(os_mem_removed_and_replaced_files_live_while_open)
{
    struct lsm_file *a, *b;
    struct lsm_file_info info;
    struct place p;
    char text[2];
    size_t got;

    place_open(&p);
    a = create(&p, "a");
    b = create(&p, "b");
    CHECK_INT(p.os->file_write(a, "a", 1, 0), 0);
    CHECK_INT(p.os->file_write(b, "b", 1, 0), 0);
    CHECK_INT(p.os->file_rename(p.dir, "a", "b"), 0);
    CHECK_INT(p.os->file_read(b, text, 1, 0, &got), 0);
    CHECK_MEM(text, "b", 1);
    CHECK_INT(p.os->file_info(b, &info), 0);
    CHECK_INT(info.nlink, 0);
    p.os->file_close(b);
    CHECK_INT(p.os->file_open(p.dir, "b", LSM_OPEN_READ, 0, &b), 0);
    CHECK_INT(p.os->file_read(b, text, 1, 0, &got), 0);
    CHECK_MEM(text, "a", 1);
    CHECK_INT(p.os->file_rename(p.dir, "b", "b"), 0);
    CHECK_INT(p.os->file_rename(p.dir, "a", "b"), ENOENT);
    CHECK_INT(p.os->file_remove(p.dir, "b"), 0);
    CHECK_INT(p.os->file_remove(p.dir, "b"), ENOENT);
    CHECK_INT(p.os->file_read(b, text, 1, 0, &got), 0);
    CHECK_INT(got, 1);
    p.os->file_close(a);
    p.os->file_close(b);
    place_close(&p);
}

TEST(os_mem_lock_is_exclusive_until_it_is_closed)
{
    struct lsm_file *a, *b;
    struct place p;

    place_open(&p);
    a = create(&p, "LOCK");
    CHECK_INT(p.os->file_open(p.dir, "LOCK", LSM_OPEN_WRITE | LSM_OPEN_CREATE_SHARED, 0, &b), 0);
    CHECK_INT(p.os->file_lock(a), 0);
    CHECK_INT(p.os->file_lock(a), 0);
    CHECK_INT(p.os->file_lock(b), EAGAIN);
    p.os->file_close(a);
    CHECK_INT(p.os->file_lock(b), 0);
    p.os->file_close(b);
    place_close(&p);
}

TEST(os_mem_lock_of_readers_is_shared_and_keeps_a_writer_out)
{
    struct lsm_file *a, *b, *w;
    struct place p;

    place_open(&p);
    w = create(&p, "LOCK");
    CHECK_INT(p.os->file_open(p.dir, "LOCK", LSM_OPEN_READ, 0, &a), 0);
    CHECK_INT(p.os->file_open(p.dir, "LOCK", LSM_OPEN_READ, 0, &b), 0);
    CHECK_INT(p.os->file_lock(a), 0);
    CHECK_INT(p.os->file_lock(a), 0);
    CHECK_INT(p.os->file_lock(b), 0);
    CHECK_INT(p.os->file_lock(w), EAGAIN);
    p.os->file_close(a);
    CHECK_INT(p.os->file_lock(w), EAGAIN);
    p.os->file_close(b);
    CHECK_INT(p.os->file_lock(w), 0);
    CHECK_INT(p.os->file_open(p.dir, "LOCK", LSM_OPEN_READ, 0, &a), 0);
    CHECK_INT(p.os->file_lock(a), EAGAIN);
    p.os->file_close(a);
    p.os->file_close(w);
    place_close(&p);
}

/* Removes what it is shown: a listing must stand that. */
static int remove_name(void *ctx, const char *name)
{
    struct place *p = ctx;

    return p->os->file_remove(p->dir, name);
}

static int stop(void *ctx, const char *name)
{
    (void)ctx, (void)name;
    return 77;
}

TEST(os_mem_list_may_remove_what_it_lists)
{
    struct place p;
    char name[16];

    place_open(&p);
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "%06d.ldb", i);
        p.os->file_close(create(&p, name));
    }
    CHECK_INT(p.os->dir_list(p.dir, stop, NULL), 77);
    CHECK_INT(p.os->dir_remove(p.os, "/no/such/place-lsm"), ENOTEMPTY);
    CHECK_INT(p.os->dir_list(p.dir, remove_name, &p), 0);
    CHECK_INT(p.os->dir_list(p.dir, stop, NULL), 0);
    place_close(&p);
}

TEST(os_mem_directories_are_paths_and_die_with_the_last_handle)
{
    struct lsm_file_info info;
    struct lsm_file *file;
    struct lsm_dir *dir;
    struct place p;
    bool created;

    place_open(&p);
    CHECK_INT(p.os->dir_open(p.os, "/x/", false, 0, &created, &dir), ENOENT);
    CHECK_INT(p.os->dir_open(p.os, "/x/", true, 0700, &created, &dir), 0);
    CHECK(created);
    p.os->file_close(create(&p, "here"));
    CHECK_INT(p.os->file_open(dir, "here", LSM_OPEN_READ, 0, &file), ENOENT);
    CHECK_INT(p.os->file_link(p.dir, "here", dir, "there"), 0);
    CHECK_INT(p.os->file_remove(dir, "there"), 0);
    CHECK_INT(p.os->dir_remove(p.os, "/x"), 0);
    CHECK_INT(p.os->dir_info(dir, &info), 0);
    CHECK_INT(info.nlink, 0);
    CHECK_INT(p.os->file_open(dir, "f", LSM_OPEN_WRITE | LSM_OPEN_CREATE, 0, &file), ENOENT);
    p.os->dir_close(dir);
    CHECK_INT(p.os->dir_remove(p.os, "/x"), ENOENT);
    CHECK_INT(p.os->dir_open(p.os, "/x", true, 0700, &created, &dir), 0);
    CHECK(created);
    p.os->dir_close(dir);
    place_close(&p);
}

TEST(os_mem_long_names_are_refused)
{
    struct lsm_file *file;
    struct place p;
    char name[300];

    memset(name, 'n', sizeof(name));
    name[256] = '\0';
    place_open(&p);
    CHECK_INT(p.os->file_open(p.dir, name, LSM_OPEN_CREATE, 0, &file), ENAMETOOLONG);
    p.os->file_close(create(&p, "short"));
    CHECK_INT(p.os->file_rename(p.dir, "short", name), ENAMETOOLONG);
    name[255] = '\0';
    CHECK_INT(p.os->file_rename(p.dir, "short", name), 0);
    CHECK_INT(p.os->file_open(p.dir, name, LSM_OPEN_READ, 0, &file), 0);
    p.os->file_close(file);
    place_close(&p);
}

/* The base with every n-th allocation refused. */
struct poor {
    struct lsm_os os;
    struct lsm_os *base;
    int left;
};

static void *poor_alloc(struct lsm_os *os, size_t size)
{
    struct poor *poor = (struct poor *)os;

    return poor->left-- == 0 ? NULL : poor->base->mem_alloc(poor->base, size);
}

static void *poor_realloc(struct lsm_os *os, void *p, size_t size)
{
    struct poor *poor = (struct poor *)os;

    return poor->left-- == 0 ? NULL : poor->base->mem_realloc(poor->base, p, size);
}

static void poor_free(struct lsm_os *os, void *p)
{
    ((struct poor *)os)->base->mem_free(((struct poor *)os)->base, p);
}

static int poor_mutex_new(struct lsm_os *os, struct lsm_mutex **mutex)
{
    return ((struct poor *)os)->base->mutex_new(((struct poor *)os)->base, mutex);
}

static int work(struct lsm_os *os)
{
    struct lsm_file *file = NULL;
    struct lsm_dir *dir;
    char bytes[100] = { 0 };
    int rc = os->dir_open(os, "d", true, 0, NULL, &dir);

    if (rc)
        return rc;
    rc = os->file_open(dir, "f", LSM_OPEN_CREATE, 0, &file);
    if (rc == 0)
        rc = os->file_write(file, bytes, sizeof(bytes), 50000);
    if (rc == 0)
        rc = os->file_link(dir, "f", dir, "g");
    if (rc == 0)
        rc = os->dir_list(dir, stop, NULL);
    os->file_close(file);
    os->dir_close(dir);
    return rc;
}

TEST(os_mem_without_memory_fails_cleanly_at_each_allocation)
{
    struct poor poor = { .base = lsm_os_posix_new() };
    int rc = ENOMEM, n = 0;

    poor.os = *poor.base;
    poor.os.mem_alloc = poor_alloc;
    poor.os.mem_realloc = poor_realloc;
    poor.os.mem_free = poor_free;
    poor.os.mutex_new = poor_mutex_new;
    for (; rc == ENOMEM && n < 100; n++) {
        struct lsm_os *os;

        poor.left = n;
        os = lsm_os_mem_new(&poor.os);
        if (os)
            rc = work(os);
        lsm_os_mem_free(os);
        CHECK_INT(poor.base->mem_used(poor.base), 0);
    }
    CHECK_INT(rc, 77);
    CHECK(n > 8);
    lsm_os_posix_free(poor.base);
}
