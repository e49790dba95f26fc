/*
 * test_value.c -- a store whose values stand in value logs: against an array, through flushes,
 * compactions, reclaiming and a backup; live bytes are exactly what the tables refer to; files go when
 * the last reader is gone.
 */
#include "tests/unit/values.h"

TEST(value_random_histories_agree_and_live_bytes_are_exact)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct { struct lsm_snapshot *snapshot; struct oracle o; } held[3] = { 0 };
        struct store s;

        begin_test(&s, seed);
        for (int step = 0; step < 60; step++) {
            unsigned slot = rnd(3);
            bool alone = true;

            switch (rnd(8)) {
            case 0: CHECK_OK(lsm_db_flush(s.db)); break;
            case 1: CHECK_OK(lsm_db_compact(s.db, NULL)); break;
            case 2:
                while (lsm_db_step(s.db) == LSM_OK)
                    ;
                break;
            case 3:
                lsm_snapshot_close(held[slot].snapshot);
                CHECK_OK(lsm_snapshot_open(s.db, &held[slot].snapshot));
                held[slot].o = oracle;
                break;
            case 4:
                lsm_snapshot_close(held[slot].snapshot);
                held[slot].snapshot = NULL;
                break;
            case 5:
                if (rnd(3))
                    break;
                for (int i = 0; i < 3; i++) {
                    lsm_snapshot_close(held[i].snapshot);
                    held[i].snapshot = NULL;
                }
                store_close(&s);
                open_alone(&s, "s");
                break;
            default: write_some(&s, 40, (int)rnd(KEYS) + 1);
            }
            if (step % 4 == 0) {
                bool good = agrees(&s, NULL, &oracle) && is_exact(&s, "s", alone);
                for (int i = 0; i < 3; i++)
                    if (held[i].snapshot)
                        good &= agrees(&s, &(struct lsm_read){ .snapshot = held[i].snapshot }, &held[i].o);
                if (!CHECK(good)) {
                    printf("seed %d step %d\n", (int)seed, step);
                    step = 60;
                }
            }
        }
        for (int i = 0; i < 3; i++)
            lsm_snapshot_close(held[i].snapshot);
        store_end(&s);
    }
}

static uint64_t table_numbers(const struct lsm_version *v)
{
    uint64_t sum = 0;

    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        for (uint32_t k = 0; k < v->trees[0]->level[l].count; k++)
            sum = sum * 31 + v->trees[0]->level[l].runs[k]->meta.number;
    return sum;
}


TEST(value_log_below_half_is_rewritten_without_touching_the_tables)
{
    struct store s;
    const struct lsm_version *v;
    struct lsm_vlog_meta before;
    uint64_t tables;
    int rc;

    begin_test(&s, 7);
    put_range(&s, 0, 100, 2000);
    CHECK_OK(lsm_db_flush(s.db));
    v = s.db->view->version;
    CHECK_INT(v->vlog_count, 1);
    before = v->vlogs[0].file->meta;
    CHECK_INT(before.value_count, 100);
    CHECK_INT(v->vlogs[0].live_bytes, before.value_bytes);
    delete_range(&s, 10, 59);           /* a little less than half */
    CHECK_OK(lsm_db_compact(s.db, NULL));
    v = s.db->view->version;
    CHECK_INT(v->vlogs[0].live_count, 51);
    CHECK_INT(v->vlogs[0].file->meta.number, before.number);
    delete_range(&s, 59, 65);
    CHECK_OK(lsm_db_flush(s.db));
    do                                  /* compactions and no more: one step each */
        rc = lsm_db_step(s.db);
    while (rc == LSM_OK && s.db->view->version->vlogs[0].live_count != 45);
    if (s.db->view->version->vlogs[0].live_count != 45)         /* one run in level 0 is not due */
        CHECK_OK(lsm_db_compact(s.db, NULL));
    v = s.db->view->version;
    CHECK_INT(v->vlog_count, 1);
    CHECK(v->vlogs[0].file->meta.number > before.number);
    CHECK_INT(v->vlogs[0].file->meta.id, before.id);
    CHECK_INT(v->vlogs[0].file->meta.value_count, 45);
    CHECK_INT(v->vlogs[0].live_bytes, v->vlogs[0].file->meta.value_bytes);
    tables = table_numbers(v);
    CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));

    /* Again, from the rewritten file; by a step this time. */
    delete_range(&s, 0, 10);
    delete_range(&s, 70, 90);
    CHECK_OK(lsm_db_flush(s.db));
    /* Hold it back, to see that the tables stay. */
    atomic_store(&s.db->view->version->vlogs[0].file->is_damaged, true);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    atomic_store(&s.db->view->version->vlogs[0].file->is_damaged, false);
    tables = table_numbers(s.db->view->version);
    CHECK_INT(s.db->view->version->vlogs[0].file->meta.value_count, 45);
    CHECK_OK(lsm_db_step(s.db));
    CHECK_INT(s.db->view->version->vlogs[0].file->meta.value_count, 15);
    CHECK_INT(table_numbers(s.db->view->version), tables);
    CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));
    CHECK_INT(lsm_db_step(s.db), LSM_DONE);
    store_close(&s);
    open_alone(&s, "s");
    CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));

    /* The last ones: the log is gone. */
    delete_range(&s, 0, KEYS);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(s.db->view->version->vlog_count, 0);
    CHECK_INT(disk_count("s", ".vlog"), 0);
    CHECK(agrees(&s, NULL, &oracle));
    store_end(&s);
}

TEST(value_log_of_garbage_is_rewritten_though_compactions_are_due_all_the_time)
{
    struct store s;
    struct lsm_vlog_meta before;

    begin_test(&s, 8);
    put_range(&s, 0, 60, 5000);
    CHECK_OK(lsm_db_flush(s.db));
    before = s.db->view->version->vlogs[0].file->meta;
    delete_range(&s, 0, 40);
    atomic_store(&s.db->view->version->vlogs[0].file->is_damaged, true);        /* not yet */
    CHECK_OK(lsm_db_compact(s.db, NULL));
    atomic_store(&s.db->view->version->vlogs[0].file->is_damaged, false);
    CHECK_INT(s.db->view->version->vlogs[0].file->meta.number, before.number);
    for (int round = 0; round < 8; round++) {
        while (lsm_version_tree(s.db->view->version, s.tree->id)->level[0].count < 8) {
            put_range(&s, 60, 100, 20);
            CHECK_OK(lsm_db_flush(s.db));
        }
        CHECK_OK(lsm_db_step(s.db));
    }
    CHECK(s.db->view->version->vlogs[0].file->meta.number > before.number);
    CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));
    store_end(&s);
}

/* C-26, G-02 */
TEST(value_readers_keep_the_old_file_until_they_are_gone)
{
    struct store s;
    struct lsm_cursor *c;
    struct lsm_snapshot *snapshot;
    struct oracle then;
    struct lsm_slice value;
    int i = 0;

    begin_test(&s, 9);
    put_range(&s, 0, 100, 1500);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_OK(lsm_snapshot_open(s.db, &snapshot));
    then = oracle;
    CHECK_OK(lsm_cursor_open(s.tree, NULL, &c));
    CHECK_OK(lsm_cursor_first(c));
    delete_range(&s, 0, 80);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK(agrees(&s, &(struct lsm_read){ .snapshot = snapshot }, &then));      /* its rows are kept */
    lsm_snapshot_close(snapshot);
    delete_range(&s, 80, 81);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(s.db->view->version->vlogs[0].file->meta.value_count, 19);
    CHECK_INT(disk_count("s", ".vlog"), 2);
    do {
        CHECK_OK(lsm_cursor_read(c, &value));
        CHECK(lsm_slice_equal(value, value_of(then.stamp[i], then.size[i])));
        i++;
    } while (lsm_cursor_next(c) == LSM_OK);
    CHECK_INT(i, 100);
    lsm_cursor_close(c);
    CHECK_OK(lsm_db_flush(s.db));
    put_range(&s, 0, 1, 10);
    CHECK_OK(lsm_db_flush(s.db));       /* sweeps */
    CHECK_INT(disk_count("s", ".vlog"), 1);
    CHECK(agrees(&s, NULL, &oracle));
    store_end(&s);
}

TEST(value_logs_go_with_their_tree)
{
    struct store s;
    struct lsm_tree *other;
    char kb[16];

    begin_test(&s, 11);
    fill(&s, 3);
    CHECK_OK(lsm_tree_create(s.db, text("other"), NULL, &other));
    for (int i = 0; i < 60; i++)
        CHECK_OK(lsm_db_put(s.db, other, key_of(i, kb), value_of(5, 2000), false));
    CHECK_OK(lsm_db_flush(s.db));
    int all = disk_count("s", ".vlog");
    CHECK_OK(lsm_tree_drop(s.db, other));
    put_range(&s, 0, 1, 10);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(disk_count("s", ".vlog"), all - 1);
    CHECK(agrees(&s, NULL, &oracle) && is_exact(&s, "s", true));
    store_end(&s);
}

TEST(value_tree_option_says_from_which_size_on)
{
    struct store s;
    struct lsm_tree_options o;
    struct lsm_tree *t[3];
    static const uint32_t sizes[3] = { 64, 5000, LSM_VALUE_LOG_NONE };
    static const uint64_t counts[3] = { 80, 40, 0 };
    char kb[16];

    begin_test(&s, 13);
    lsm_tree_options_init(&o);
    for (int i = 0; i < 3; i++) {
        o.value_log_bytes = sizes[i];
        CHECK_OK(lsm_tree_create(s.db, lsm_slice(&"xyz"[i], 1), &o, &t[i]));
    }
    o.value_log_bytes = 63;
    struct lsm_tree *refused;
    CHECK_INT(lsm_tree_create(s.db, text("no"), &o, &refused), LSM_MISUSE);
    for (int reopened = 0; reopened < 2; reopened++) {
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 80; k++)
                CHECK_OK(lsm_db_put(s.db, t[i], key_of(k, kb), value_of(1, k % 2 ? 5000 : 64), false));
        CHECK_OK(lsm_db_flush(s.db));
        CHECK_OK(lsm_db_compact(s.db, NULL));
        for (int i = 0; i < 3; i++) {
            const struct lsm_version *v = s.db->view->version;
            uint64_t live = 0;
            for (uint32_t k = 0; k < v->vlog_count; k++)
                if (v->vlogs[k].file->meta.tree == t[i]->id)
                    live += v->vlogs[k].live_count;
            CHECK_INT(live, counts[i]);
        }
        store_close(&s);
        open_alone(&s, "s");
        for (int i = 0; i < 3; i++)
            CHECK_OK(lsm_tree_find(s.db, lsm_slice(&"xyz"[i], 1), &t[i]));
    }
    store_end(&s);
}

TEST(value_logs_are_in_a_backup_and_the_original_may_go_on)
{
    struct store s, copy;
    struct oracle then;
    struct lsm_backup_info info;

    begin_test(&s, 37);
    fill(&s, 4);
    then = oracle;
    CHECK_OK(lsm_db_backup(s.db, "copy", &info));
    delete_range(&s, 0, KEYS);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(disk_count("s", ".vlog"), 0);
    oracle = then;
    open_alone(&copy, "copy");
    CHECK(copy.db->view->version->vlog_count > 0);
    CHECK(agrees(&copy, NULL, &oracle) && is_exact(&copy, "copy", false));
    CHECK_OK(lsm_db_compact(copy.db, NULL));
    CHECK(agrees(&copy, NULL, &oracle) && is_exact(&copy, "copy", false));
    store_close(&copy);
    store_end(&s);
}
