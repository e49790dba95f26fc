#include "lsm/format/filename.h"
#include "lsm/format/filter.h"
#include "lsm/store/table.h"
#include "lsm/store/table_writer.h"
#include "tests/test.h"
#include "tests/unit/orders.h"

#define TABLES 6u
#define ROWS 400u
#define MANY 100u

static struct shared {
    struct lsm_os *os;
    struct lsm_tables *tables;
    struct lsm_cache *cache;
    struct lsm_table_meta meta[TABLES];
    const struct lsm_comparator *cmp;
    _Atomic uint64_t seed;
    int rounds;
} shared;

static struct lsm_slice key_text(char text[32], uint64_t i)
{
    return lsm_slice(text, (size_t)snprintf(text, 32, "key%06" PRIu64 "/row", i));
}

static uint64_t mix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return z ^ (z >> 31);
}

static void scan_some(struct lsm_table *t, uint64_t from, bool forward)
{
    char text[32];
    struct lsm_iter *it;

    CHECK_OK(lsm_table_iter_new(t, from % 2, &it));
    lsm_iter_seek(it, key_text(text, from), LSM_TAG_MAX);
    for (int n = 0; n < 30 && it->valid; n++) {
        CHECK(lsm_slice_equal(it->key, key_text(text, from)));
        CHECK(lsm_slice_equal(it->value, it->key));
        forward ? lsm_iter_next(it) : lsm_iter_prev(it);
        from += forward ? 1 : (uint64_t)-1;
    }
    CHECK_OK(it->rc);
    lsm_iter_close(it);
}

static void work(void *ctx)
{
    uint64_t state = atomic_fetch_add(&shared.seed, 1) * 0x2545f4914f6cdd1du;

    (void)ctx;
    for (int i = 0; i < shared.rounds; i++) {
        uint64_t r = mix(&state), n = (r >> 8) % TABLES, k = (r >> 16) % ROWS;
        struct lsm_table *t;

        if (!CHECK_OK(lsm_tables_get(shared.tables, &shared.meta[n], shared.cmp, &t)))
            return;
        if (r % 64 == 0)
            lsm_tables_forget(shared.tables, shared.meta[n].number);    /* it is opened again */
        if (r % 4) {
            char text[32];
            struct lsm_slice key = key_text(text, k), value;
            struct lsm_table_pin pin;
            uint64_t tag;
            CHECK_OK(lsm_table_get(t, key, lsm_filter_key_hash(shared.cmp, key), 100, r % 8 == 1, &tag, &value,
                                   &pin));
            CHECK(lsm_slice_equal(value, key));
            lsm_table_unpin(&pin);
        } else {
            scan_some(t, k, r % 8 == 0);
        }
        if (r % 512 == 5)
            CHECK_OK(lsm_table_check(t));
        if (r % 128 == 7)
            lsm_cache_set_capacity(shared.cache, (r >> 32) % 200000);
        lsm_table_unref(t);
    }
}

/* What a test works on; tables_end() gives it back. */
static struct place {
    struct lsm_os *base;
    struct lsm_compressor_pool *pool;
    struct lsm_compressor *compressor;
    struct lsm_dir *dir;
} place;

static void tables_begin(uint32_t open_max, const struct lsm_comparator *cmp)
{
    const struct lsm_table_options options = { 128, 10, LSM_CODEC_ZSTD, 1, .comparator = cmp };
    char text[32];

    place.base = lsm_os_posix_new();
    shared.os = lsm_os_mem_new(place.base);
    shared.cmp = cmp;
    atomic_store(&shared.seed, test_random());
    CHECK_INT(shared.os->dir_open(shared.os, "/d", true, 0755, NULL, &place.dir), 0);
    CHECK_OK(lsm_compressor_pool_new(shared.os, &place.pool));
    CHECK_OK(lsm_compressor_take(place.pool, &place.compressor));
    for (uint64_t n = 0; n < TABLES; n++) {
        struct lsm_table_writer *w;

        CHECK_OK(lsm_table_writer_open(shared.os, place.dir, (const uint8_t *)"0123456789abcdef", n + 1, 1,
                                       &options, place.compressor, 0644, &w));
        for (uint64_t i = 0; i < ROWS; i++)
            lsm_table_writer_add(w, key_text(text, i), lsm_tag(7, LSM_KIND_PUT), key_text(text, i));
        CHECK_OK(lsm_table_writer_finish(w, &shared.meta[n]));
        shared.meta[n].smallest = lsm_slice_str("key000000/row");
        shared.meta[n].largest = lsm_slice_str("key000399/row");
        lsm_table_writer_close(w);
    }
    CHECK_OK(lsm_cache_new(shared.os, 100000, &shared.cache));
    CHECK_OK(lsm_tables_new(shared.os, place.dir, (const uint8_t *)"0123456789abcdef", shared.cache, place.pool,
                            open_max, &shared.tables));
}

static void run(void (*fn)(void *ctx))
{
    struct lsm_thread *threads[4];

    for (int i = 0; i < 4; i++)
        CHECK_INT(shared.os->thread_start(shared.os, fn, NULL, &threads[i]), 0);
    for (int i = 0; i < 4; i++)
        shared.os->thread_join(threads[i]);
}

static void tables_end(void)
{
    struct lsm_cache_stats stats;

    lsm_tables_free(shared.tables);
    lsm_cache_stats(shared.cache, &stats);
    CHECK_INT(stats.pinned_bytes, 0);
    CHECK(stats.used_bytes <= stats.capacity_bytes);
    lsm_cache_free(shared.cache);
    lsm_compressor_put(place.pool, place.compressor);
    lsm_compressor_pool_free(place.pool);
    shared.os->dir_close(place.dir);
    lsm_os_mem_free(shared.os);
    CHECK_INT(place.base->mem_used(place.base), 0);
    lsm_os_posix_free(place.base);
}

static void read_forget_and_close(const struct lsm_comparator *cmp)
{
    struct lsm_tables_stats open;

    shared.rounds = test_long() ? 50000 : 3000;
    tables_begin(3, cmp);
    run(work);
    lsm_tables_stats(shared.tables, &open);
    CHECK(open.open <= 3);
    tables_end();
}

TEST(tables_are_read_forgotten_and_closed_by_many_threads)
{
    read_forget_and_close(NULL);
}

TEST(tables_with_separators_are_checked_while_they_are_read)
{
    const struct lsm_comparator with = { .name = "bytes", .compare = compare_bytes, .hash = hash_bytes,
                                         .separator = short_separator, .successor = short_successor };

    read_forget_and_close(&with);
}

/* One file under many numberings: they are all in one shard, whose list grows. */
static void open_many(void *ctx)
{
    (void)ctx;
    for (uint64_t i = 0; i < MANY; i++) {
        struct lsm_table_meta meta = shared.meta[0];
        struct lsm_table *t;

        meta.seq_add = i;
        if (!CHECK_OK(lsm_tables_get(shared.tables, &meta, shared.cmp, &t)))
            return;
        lsm_table_unref(t);
    }
}

TEST(tables_grow_in_number_under_many_threads)
{
    struct lsm_tables_stats open;

    tables_begin(MANY + 4, NULL);       /* each thread may hold one that another was faster to open */
    run(open_many);
    lsm_tables_stats(shared.tables, &open);
    CHECK_INT(open.open, MANY);
    tables_end();
}
