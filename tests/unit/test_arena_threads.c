#include "lsm/os/os.h"
#include "lsm/util/arena.h"
#include "tests/test.h"

#define ROWS 20000

struct shared {
    struct lsm_arena arena;
    _Atomic uint32_t newest;        /* offset of a row, or 0 */
};

/* row := before:u32  value:u32  pad        a list, newest first */
static void read_rows(void *ctx)
{
    struct shared *shared = ctx;
    uint32_t value = 0, seen;

    do {
        uint32_t row[2], off = atomic_load_explicit(&shared->newest, memory_order_acquire);

        seen = value;
        for (int steps = 0; off && steps < 100; steps++) {
            memcpy(row, lsm_arena_at(&shared->arena, off), sizeof(row));
            if (steps == 0)
                value = row[1];
            else
                CHECK_INT(row[1], seen - 1);
            seen = row[1];
            off = row[0];
        }
    } while (value < ROWS);
}

TEST(arena_readers_follow_published_offsets_while_it_grows)
{
    struct lsm_os *os = lsm_os_posix_new();
    struct shared shared = { .newest = 0 };
    struct lsm_thread *thread[3];
    uint32_t before = 0;

    lsm_arena_init(&shared.arena, os);
    for (int i = 0; i < 3; i++)
        CHECK_INT(os->thread_start(os, read_rows, &shared, &thread[i]), 0);
    for (uint32_t i = 1; i <= ROWS; i++) {
        uint32_t row[2] = { before, i }, off = lsm_arena_alloc(&shared.arena, 200, 8);
        if (!CHECK(off != 0))
            exit(1);
        memcpy(lsm_arena_at(&shared.arena, off), row, sizeof(row));
        atomic_store_explicit(&shared.newest, off, memory_order_release);
        before = off;
    }
    for (int i = 0; i < 3; i++)
        os->thread_join(thread[i]);
    lsm_arena_clear(&shared.arena);
    lsm_os_posix_free(os);
}
