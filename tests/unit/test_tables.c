/* test_tables.c -- which tables are open: as many as may be, and those that are used. */
#include "tests/unit/table_store.h"

#include "lsm/store/table_open.h"

TEST(tables_keeps_open_max_files_and_closes_the_least_recently_used)
{
    struct lsm_tables_stats stats;
    struct lsm_table_meta meta[8];
    struct rows r = { 0 };
    struct lsm_table *t, *held[8];
    struct store s;

    store_open(&s, 1 << 20, 3);
    small_rows(&r);
    for (uint64_t i = 0; i < 8; i++)
        CHECK_OK(write_table(&s, 10 + i, &plain, &r, &meta[i]));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(lsm_tables_get(s.tables, &meta[i], NULL, &t));
        lsm_table_unref(t);
    }
    CHECK_OK(lsm_tables_get(s.tables, &meta[0], NULL, &t));     /* used again: 1 is the oldest */
    lsm_table_unref(t);
    CHECK_OK(lsm_tables_get(s.tables, &meta[3], NULL, &t));
    lsm_table_unref(t);
    CHECK_INT(machine->open_count, 3);
    lsm_tables_stats(s.tables, &stats);
    CHECK_INT(stats.opens, 4);
    for (int i = 0; i < 4; i++) {
        if (i == 1)
            continue;
        CHECK_OK(lsm_tables_get(s.tables, &meta[i], NULL, &t));
        lsm_table_unref(t);
    }
    lsm_tables_stats(s.tables, &stats);
    CHECK_INT(stats.opens, 4);                                  /* all but 1 were still open */

    for (int i = 0; i < 8; i++)                                 /* in use: may pass the bound */
        CHECK_OK(lsm_tables_get(s.tables, &meta[i], NULL, &held[i]));
    CHECK_INT(machine->open_count, 8);
    for (int i = 0; i < 8; i++)
        lsm_table_unref(held[i]);
    CHECK_INT(machine->open_count, 3);
    rows_clear(&r);
    store_close(&s);
}

TEST(tables_kept_in_slots_are_half_of_those_that_may_be_open)
{
    struct lsm_table *_Atomic slot[8] = { NULL };
    struct lsm_table_meta meta[8];
    struct lsm_table *t, *again;
    struct rows r = { 0 };
    struct store s;
    bool is_kept;

    store_open(&s, 1 << 20, 6);
    small_rows(&r);
    for (uint64_t i = 0; i < 8; i++) {
        CHECK_OK(write_table(&s, 10 + i, &plain, &r, &meta[i]));
        CHECK_OK(lsm_tables_get_kept(s.tables, &meta[i], NULL, &slot[i], &t, &is_kept));
        CHECK_INT(is_kept, i < 3);
        CHECK(atomic_load(&slot[i]) == (is_kept ? t : NULL));
        if (!is_kept)
            lsm_table_unref(t);
    }
    CHECK_INT(machine->open_count, 6);
    CHECK_INT(lsm_tables_close_idle(s.tables, 8), 3);           /* not those that are kept */
    CHECK_OK(lsm_tables_get_kept(s.tables, &meta[1], NULL, &slot[1], &t, &is_kept));
    CHECK(is_kept && t == atomic_load(&slot[1]));
    CHECK_OK(lsm_tables_get(s.tables, &meta[1], NULL, &again));
    CHECK(again == t);
    lsm_table_unref(again);
    lsm_tables_forget(s.tables, meta[1].number);                /* the slot keeps it open */
    CHECK_INT(machine->open_count, 3);
    for (int i = 0; i < 3; i++)
        lsm_table_unkeep(atomic_load(&slot[i]));
    CHECK_INT(machine->open_count, 2);
    CHECK_OK(lsm_tables_get_kept(s.tables, &meta[7], NULL, &slot[7], &t, &is_kept));
    CHECK(is_kept);
    lsm_table_unkeep(t);
    rows_clear(&r);
    store_close(&s);
}

/* I-12 */
TEST(tables_without_descriptors_closes_others_and_tries_again)
{
    struct lsm_table_meta meta[40];
    struct rows r = { 0 };
    struct lsm_table *t, *held[5];
    struct store s;

    store_open(&s, 1 << 20, 1000);
    small_rows(&r);
    for (uint64_t i = 0; i < 40; i++)
        CHECK_OK(write_table(&s, 10 + i, &plain, &r, &meta[i]));
    machine->open_max = 5;
    for (int i = 0; i < 40; i++) {
        CHECK_OK(lsm_tables_get(s.tables, &meta[i], NULL, &t));
        lsm_table_unref(t);
        CHECK(machine->open_count <= 5);
    }
    for (int i = 0; i < 5; i++)
        CHECK_OK(lsm_tables_get(s.tables, &meta[i], NULL, &held[i]));
    CHECK(lsm_tables_get(s.tables, &meta[9], NULL, &t) != LSM_OK);      /* all are in use */
    CHECK(strstr(lsm_error_text(), "000019.ldb") != NULL);
    for (int i = 0; i < 5; i++)
        lsm_table_unref(held[i]);
    CHECK_OK(lsm_tables_get(s.tables, &meta[9], NULL, &t));
    lsm_table_unref(t);
    rows_clear(&r);
    store_close(&s);
}

TEST(tables_forgotten_table_lives_as_long_as_its_iterator)
{
    struct lsm_cache_stats stats;
    struct lsm_table_meta meta;
    struct rows r = { 0 };
    struct lsm_table *t;
    struct lsm_iter *it;
    struct store s;
    size_t i;

    store_open(&s, 1 << 20, 10);
    rows_random(&r, 2000, 1000, 20);
    CHECK_OK(write_table(&s, 5, &plain, &r, &meta));
    CHECK_OK(lsm_tables_get(s.tables, &meta, NULL, &t));
    CHECK_OK(lsm_table_iter_new(t, false, &it));
    lsm_table_unref(t);
    lsm_iter_first(it);
    lsm_tables_forget(s.tables, 5);
    CHECK_INT(s.os->file_remove(s.dir, "000005.ldb"), 0);
    for (i = 0; it->valid; lsm_iter_next(it), i++)
        CHECK(is_row(it, &r, i, 0));
    CHECK_INT(i, r.count);
    CHECK_RC(lsm_tables_get(s.tables, &meta, NULL, &t), LSM_CORRUPT);   /* it is not found again */
    CHECK_INT(machine->open_count, 1);
    lsm_iter_close(it);
    CHECK_INT(machine->open_count, 0);
    lsm_cache_stats(s.cache, &stats);
    CHECK_INT(stats.used_bytes, 0);
    rows_clear(&r);
    store_close(&s);
}
