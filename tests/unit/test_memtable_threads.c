/*
 * test_memtable_threads.c -- one writer, several readers who must find all
 * that was published before they began, in order, both ways. Run under TSan.
 */
#include "lsm/os/os.h"
#include "lsm/store/memtable.h"
#include "tests/test.h"

enum { ROWS = 30000, READERS = 3, TREES = 4 };

/* Row i of a run: tree i % TREES, and a key whose order has nothing to do with i, or is i's, or is
   the reverse of it, or is one of a few with many versions. */
static size_t key_of(uint8_t key[40], uint32_t i)
{
    uint64_t n = i / TREES;

    switch (i % TREES) {
    case 0:
        lsm_put_be64(key, (n + 1) * 0x9e3779b97f4a7c15u);
        return 8;
    case 1:
        lsm_put_be64(key, n);
        return 8;
    case 2:
        lsm_put_be64(key, ~n);
        return 8;
    default:
        return (size_t)sprintf((char *)key, "/a/path/that/all/share/%02x", (unsigned)(n * 37 % 50));
    }
}

struct shared {
    struct lsm_memtable *mem;
    _Atomic uint32_t published;         /* rows 0 .. published - 1 were added */
    _Atomic uint64_t scans, gets;
};

static void check_get(struct shared *s, uint32_t i, uint32_t published)
{
    struct lsm_slice value;
    uint8_t key[40];
    size_t size = key_of(key, i);
    uint64_t tag;

    if (!CHECK(lsm_memtable_get(s->mem, i % TREES, NULL, lsm_slice(key, size), i + 1, 0, &tag,
                                &value)))
        return;
    CHECK_INT(tag, lsm_tag(i + 1, LSM_KIND_PUT));
    CHECK_INT(lsm_get_u32(value.data), i);
    CHECK(lsm_memtable_get(s->mem, i % TREES, NULL, lsm_slice(key, size), published, 0, &tag,
                           &value));
    CHECK(lsm_tag_seq(tag) >= i + 1);
    CHECK(lsm_tag_seq(tag) <= published);
}

/* Rows with seq <= published must all be there, newer ones may be; all in order. */
static void check_scan(struct shared *s, uint32_t tree, uint32_t published, bool back,
                       uint64_t seed)
{
    uint64_t count = 0, last_tag = 0, expected = published / TREES + (tree < published % TREES);
    uint8_t last[40];
    size_t last_size = 0;
    bool any = false;
    struct lsm_iter *it;

    if (!CHECK_OK(lsm_memtable_iter_new(s->mem, tree, NULL, 0, &it)))
        return;
    if (back)
        lsm_iter_last(it);
    else
        lsm_iter_first(it);
    while (it->valid) {
        if (any) {
            int c = lsm_ikey_compare(NULL, it->key, it->tag, lsm_slice(last, last_size), last_tag);

            if (!CHECK(back ? c < 0 : c > 0))
                break;
        }
        any = true;
        memcpy(last, it->key.data, last_size = it->key.size);
        last_tag = it->tag;
        count += lsm_tag_seq(it->tag) <= published;
        if (back)
            lsm_iter_prev(it);
        else
            lsm_iter_next(it);
    }
    CHECK_INT(count, expected);

    for (int n = 0; n < 20 && published; n++) {     /* seeks land on rows that are there */
        uint32_t i = (uint32_t)((seed = seed * 6364136223846793005u + 1) >> 33) % published;
        uint8_t key[40];
        size_t size;

        if (i % TREES != tree)
            continue;
        size = key_of(key, i);
        if (n & 1)
            lsm_iter_seek(it, lsm_slice(key, size), lsm_tag(i + 1, LSM_KIND_PUT));
        else
            lsm_iter_seek_prev(it, lsm_slice(key, size), lsm_tag(i + 1, LSM_KIND_PUT));
        if (CHECK(it->valid))
            CHECK_INT(it->tag, lsm_tag(i + 1, LSM_KIND_PUT));
    }
    lsm_iter_close(it);
}

static void read_rows(void *ctx)
{
    struct shared *s = ctx;
    uint64_t seed = (uint64_t)(uintptr_t)&seed;
    uint32_t published, round = 0;

    do {
        uint32_t ids[TREES];

        published = atomic_load_explicit(&s->published, memory_order_acquire);
        if (!published)
            continue;
        for (int n = 0; n < 500; n++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            check_get(s, (uint32_t)(seed >> 33) % published, published);
        }
        check_get(s, published - 1, published);
        check_scan(s, (uint32_t)(seed >> 40) % TREES, published, round++ & 1, seed);
        CHECK(lsm_memtable_rows(s->mem) >= published - 1);
        CHECK(lsm_memtable_trees(s->mem, ids, TREES) <= TREES);
        CHECK(lsm_memtable_bytes(s->mem) > 0);
        atomic_fetch_add(&s->scans, 1);
        atomic_fetch_add(&s->gets, 501);
    } while (published < ROWS);
}

TEST(memtable_readers_find_all_that_was_published_before_they_began)
{
    for (int round = 0; round < 2; round++) {
        struct lsm_os *os = lsm_os_posix_new();
        struct shared shared = { .published = 0 };
        struct lsm_thread *thread[READERS];

        CHECK_OK(lsm_memtable_new(os, &shared.mem));
        for (int i = 0; i < READERS; i++)
            CHECK_INT(os->thread_start(os, read_rows, &shared, &thread[i]), 0);
        for (uint32_t i = 0; i < ROWS; i++) {
            uint8_t key[40];
            size_t size = key_of(key, i);

            CHECK_OK(lsm_memtable_add(shared.mem, i % TREES, NULL, lsm_slice(key, size),
                                      lsm_tag(i + 1, LSM_KIND_PUT), lsm_slice(&i, 4)));
            atomic_store_explicit(&shared.published, i + 1, memory_order_release);
            if (i < 3000 && i % 100 == 0)       /* small trees split their roots: look often */
                os->sleep_us(os, 50);
        }
        for (int i = 0; i < READERS; i++)
            os->thread_join(thread[i]);
        CHECK_OK(lsm_memtable_check(shared.mem));
        CHECK(shared.scans > 3);
        lsm_memtable_unref(shared.mem);
        lsm_os_posix_free(os);
    }
}

/* The directory grows while readers look trees up. */
struct many {
    struct lsm_memtable *mem;
    _Atomic uint32_t published;
};

enum { MANY = 3000 };

static void find_trees(void *ctx)
{
    struct many *m = ctx;
    uint32_t published, at = 0;

    do {
        published = atomic_load_explicit(&m->published, memory_order_acquire);
        for (int n = 0; n < 200 && published; n++) {
            struct lsm_slice value;
            uint64_t tag;
            uint32_t i = (at += 7919) % published;

            if (!CHECK(lsm_memtable_get(m->mem, i * 31, NULL, lsm_slice_str("k"), LSM_SEQ_MAX, 0,
                                        &tag, &value)))
                return;
            CHECK_INT(lsm_get_u32(value.data), i);
        }
    } while (published < MANY);
}

TEST(memtable_readers_find_every_tree_while_trees_are_added)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct many many = { .published = 0 };
    struct lsm_thread *thread[READERS];

    CHECK_OK(lsm_memtable_new(os, &many.mem));
    for (int i = 0; i < READERS; i++)
        CHECK_INT(os->thread_start(os, find_trees, &many, &thread[i]), 0);
    for (uint32_t i = 0; i < MANY; i++) {
        CHECK_OK(lsm_memtable_add(many.mem, i * 31, NULL, lsm_slice_str("k"),
                                  lsm_tag(i + 1, LSM_KIND_PUT), lsm_slice(&i, 4)));
        atomic_store_explicit(&many.published, i + 1, memory_order_release);
    }
    for (int i = 0; i < READERS; i++)
        os->thread_join(thread[i]);
    lsm_memtable_unref(many.mem);
    lsm_os_posix_free(os);
}

/* Rows turn void under the readers: they see them or not, and never anything else. */
static void read_voids(void *ctx)
{
    struct many *m = ctx;
    uint32_t published;

    do {
        uint64_t last = 0, kept = 0;
        struct lsm_iter *it;

        published = atomic_load_explicit(&m->published, memory_order_acquire);
        if (!CHECK_OK(lsm_memtable_iter_new(m->mem, 1, NULL, 0, &it)))
            return;
        for (lsm_iter_first(it); it->valid; lsm_iter_next(it)) {
            uint64_t key = lsm_get_be64(it->key.data);

            if (!CHECK(last == 0 || key > last) || !CHECK_INT(lsm_tag_kind(it->tag), LSM_KIND_PUT))
                break;
            last = key;
            kept += key % 2 == 0 && key <= published;
        }
        lsm_iter_close(it);
        CHECK_INT(kept, published / 2);
    } while (published < ROWS);
}

TEST(memtable_readers_go_on_while_rows_turn_void)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct many many = { .published = 0 };
    struct lsm_thread *thread[READERS];

    CHECK_OK(lsm_memtable_new(os, &many.mem));
    for (int i = 0; i < READERS; i++)
        CHECK_INT(os->thread_start(os, read_voids, &many, &thread[i]), 0);
    for (uint32_t i = 1; i <= ROWS; i++) {
        uint8_t key[8];

        lsm_put_be64(key, i);
        CHECK_OK(lsm_memtable_add(many.mem, 1, NULL, lsm_slice(key, 8), lsm_tag(i, LSM_KIND_PUT),
                                  lsm_slice(&i, 4)));
        if (i % 2)
            lsm_memtable_void(many.mem, lsm_memtable_newest(many.mem));
        atomic_store_explicit(&many.published, i, memory_order_release);
    }
    for (int i = 0; i < READERS; i++)
        os->thread_join(thread[i]);
    CHECK_OK(lsm_memtable_check(many.mem));
    lsm_memtable_unref(many.mem);
    lsm_os_posix_free(os);
}
