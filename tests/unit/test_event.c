/*
 * test_event.c -- what the store tells of itself: events with figures, statistics,
 * latencies, properties.
 */
#include "tests/unit/disk.h"

static struct seen {
    int count[8];
    struct lsm_event last[8];
    bool has_text;
} seen;

static void note(void *ctx, const struct lsm_event *event)
{
    struct seen *s = ctx;

    s->count[event->what]++;
    s->last[event->what] = *event;
    s->has_text = event->text && event->text[0];
}

static struct lsm_db *open_seen(const char *path, struct lsm_tree **tree)
{
    struct lsm_options o;
    struct lsm_db *db = NULL;

    memset(&seen, 0, sizeof seen);
    lsm_options_init(&o);
    o.os = disk.os;
    o.no_worker = true;
    o.create_if_missing = true;
    o.memory_bytes = 1 << 20;
    o.event = note;
    o.event_ctx = &seen;
    if (CHECK_OK(lsm_db_open(path, &o, &db)))
        CHECK_OK(lsm_tree_open(db, text("t"), NULL, tree));
    return db;
}

static void put_rows(struct lsm_db *db, struct lsm_tree *tree, int count)
{
    static uint8_t value[200];
    char key[16];

    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%06d", i);
        for (size_t b = 0; b < sizeof value; b++)
            value[b] = (uint8_t)test_random();
        CHECK_OK(lsm_db_put(db, tree, text(key), (struct lsm_slice){ value, sizeof value }, i % 50 == 0));
    }
}

TEST(event_of_a_flush_and_a_compaction_has_sizes_and_how_it_went)
{
    struct lsm_tree_stats stats;
    struct lsm_tree *tree;
    struct lsm_db *db;

    disk_begin();
    db = open_seen("a", &tree);
    put_rows(db, tree, 500);
    CHECK_OK(lsm_db_flush(db));
    CHECK_INT(seen.count[LSM_EVENT_FLUSH_BEGIN], 1);
    CHECK_INT(seen.count[LSM_EVENT_FLUSH_END], 1);
    CHECK(seen.last[LSM_EVENT_FLUSH_BEGIN].bytes_in >= 500 * 206);
    CHECK_INT(seen.last[LSM_EVENT_FLUSH_END].bytes_in, seen.last[LSM_EVENT_FLUSH_BEGIN].bytes_in);
    CHECK_INT(seen.last[LSM_EVENT_FLUSH_END].code, LSM_OK);
    CHECK_OK(lsm_tree_stats(tree, &stats));
    CHECK_INT(seen.last[LSM_EVENT_FLUSH_END].bytes_out, stats.bytes);
    CHECK_INT(seen.last[LSM_EVENT_FLUSH_END].tables_out, stats.level[2].files);
    put_rows(db, tree, 300);
    CHECK_OK(lsm_db_compact(db, tree));
    CHECK_OK(lsm_tree_stats(tree, &stats));
    CHECK_INT(seen.count[LSM_EVENT_COMPACTION_BEGIN], 1);
    CHECK_INT(seen.count[LSM_EVENT_COMPACTION_END], 1);
    CHECK_INT(seen.last[LSM_EVENT_COMPACTION_END].rows_in, 800);
    CHECK_INT(seen.last[LSM_EVENT_COMPACTION_END].rows_out, 500);
    CHECK_INT(seen.last[LSM_EVENT_COMPACTION_END].bytes_out, stats.bytes);
    CHECK_INT(seen.last[LSM_EVENT_COMPACTION_END].output_level, 2);
    CHECK(seen.last[LSM_EVENT_COMPACTION_END].tables_in >= 2);
    CHECK(seen.last[LSM_EVENT_COMPACTION_END].tables_out >= 1);
    CHECK(seen.has_text);
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

TEST(event_of_a_failed_flush_carries_its_code_and_the_state_is_told_once)
{
    struct lsm_tree *tree;
    struct lsm_db *db;

    disk_begin();
    db = open_seen("a", &tree);
    put_rows(db, tree, 1500);           /* a flush is due */
    disk_fail(DISK_WRITE, 1, true, ".ldb");
    CHECK_RC(lsm_db_step(db), LSM_IOERR);
    CHECK_INT(seen.last[LSM_EVENT_FLUSH_END].code, LSM_IOERR);
    CHECK_INT(seen.last[LSM_EVENT_FLUSH_END].kind, LSM_EVENT_WARNING);
    CHECK_INT(seen.count[LSM_EVENT_STATE], 1);
    CHECK_INT(seen.last[LSM_EVENT_STATE].code, LSM_IOERR);
    CHECK_RC(lsm_db_step(db), LSM_IOERR);
    CHECK_INT(seen.count[LSM_EVENT_STATE], 1);
    disk_heal();
    CHECK_OK(lsm_db_step(db));
    CHECK_STR(lsm_db_state(db, NULL), "HEALTHY");
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

TEST(stats_count_bytes_by_cause_and_what_they_amount_to)
{
    uint64_t user = 0, written;
    struct lsm_value value;
    struct lsm_tree *tree;
    struct lsm_db *db;

    disk_begin();
    db = open_seen("a", &tree);
    put_rows(db, tree, 800);
    user = 800 * 206;
    CHECK_INT(stat_of(db, "user_bytes_written"), user);
    CHECK_OK(lsm_db_flush(db));
    CHECK_INT(stat_of(db, "space_amplification"), 100);
    put_rows(db, tree, 400);
    CHECK_OK(lsm_db_flush(db));
    CHECK_INT(stat_of(db, "space_amplification"), 150);
    CHECK_OK(lsm_db_compact(db, tree));
    CHECK_INT(stat_of(db, "space_amplification"), 100);
    user += 400 * 206;
    written = stat_of(db, "log_bytes_written") + stat_of(db, "flush_bytes_written") +
              stat_of(db, "spill_bytes_written") + stat_of(db, "compact_bytes_written");
    CHECK(stat_of(db, "flush_bytes_written") > 0 && stat_of(db, "compact_bytes_written") > 0);
    CHECK_INT(stat_of(db, "write_amplification"), (written * 200 / user + 1) / 2);
    for (int i = 0; i < 640; i++) {
        char key[16];
        snprintf(key, sizeof key, "%06d%s", i, i % 2 ? "" : "x");
        CHECK_INT(lsm_tree_get(tree, NULL, text(key), &value), i % 2 ? LSM_OK : LSM_NOTFOUND);
        lsm_value_release(&value);
    }
    CHECK_INT(stat_of(db, "read_amplification"), 100);
    CHECK_INT(stat_of(db, "filter_denied") + stat_of(db, "filter_wrong"), 320);
    CHECK(stat_of(db, "filter_wrong") < 32);
    CHECK(stat_of(db, "block_reads") > 0 && stat_of(db, "block_bytes_read") > 0);
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

TEST(stats_have_latencies_of_what_was_done_and_none_of_what_was_not)
{
    struct lsm_latency l[16];
    struct lsm_value value;
    struct lsm_cursor *c;
    struct lsm_tree *tree;
    struct lsm_db *db;

    disk_begin();
    db = open_seen("a", &tree);
    put_rows(db, tree, 200);
    CHECK_OK(lsm_db_flush(db));
    for (int i = 0; i < 320; i++) {
        CHECK_OK(lsm_tree_get(tree, NULL, text("000001"), &value));
        lsm_value_release(&value);
    }
    CHECK_OK(lsm_cursor_open(tree, NULL, &c));
    CHECK_OK(lsm_cursor_first(c));
    for (int i = 0; i < 99; i++)
        CHECK_OK(lsm_cursor_next(c));
    for (int i = 0; i < 99; i++)
        CHECK_OK(lsm_cursor_prev(c));
    lsm_cursor_close(c);
    CHECK_INT(stat_of(db, "nexts"), 198);
    CHECK_INT(lsm_db_histogram(db, "colour", NULL, 0), 0);
    size_t n = lsm_db_latencies(db, l, 16);
    CHECK(n == lsm_db_latencies(db, NULL, 0) && n <= 16);
    for (size_t i = 0; i < n; i++) {
        uint64_t want = strcmp(l[i].name, "get") == 0 ? 10 : strcmp(l[i].name, "commit") == 0 ? 4 + 196 / 32 * 32
                        : strcmp(l[i].name, "flush") == 0 ? 1 : strcmp(l[i].name, "put") == 0 ? 1
                        : strcmp(l[i].name, "next") == 0 ? 3 : 0;
        struct lsm_bucket bucket[200];
        size_t buckets = lsm_db_histogram(db, l[i].name, bucket, 200);
        uint64_t sum = 0;
        for (size_t b = 0; b < buckets; b++) {
            sum += bucket[b].count;
            CHECK(bucket[b].count > 0 && (b == 0 || bucket[b].up_to_us > bucket[b - 1].up_to_us));
        }
        CHECK_INT(sum, l[i].count);
        CHECK(buckets == 0 || bucket[buckets - 1].up_to_us >= l[i].max_us);
        if (strcmp(l[i].name, "sync") == 0)
            CHECK_INT(l[i].count, stat_of(db, "log_syncs"));
        else
            CHECK_INT(l[i].count, want);
        CHECK(l[i].p50_us <= l[i].p99_us && l[i].p99_us <= l[i].p999_us && l[i].p999_us <= l[i].max_us);
    }
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

/* What went into each level, by whom, and for all trees together. */
TEST(stats_of_levels_say_what_was_read_and_written_for_them)
{
    struct lsm_tree_stats stats, all;
    struct lsm_tree *tree, *other;
    struct lsm_db *db;
    uint64_t flushed = 0, read = 0, written = 0;

    disk_begin();
    db = open_seen("a", &tree);
    put_rows(db, tree, 400);
    CHECK_OK(lsm_db_flush(db));                 /* as deep as it goes */
    CHECK_OK(lsm_tree_stats(tree, &stats));
    uint32_t deep = stats.level_count - 1;
    CHECK(deep > 0);
    CHECK_INT(stats.level[deep].jobs, 1);
    CHECK_INT(stats.level[deep].runs, 1);
    CHECK_INT(stats.level[deep].bytes_read, 0);
    CHECK_INT(stats.level[deep].bytes_written, stat_of(db, "flush_bytes_written"));
    for (int i = 0; i < 3; i++) {
        put_rows(db, tree, 100);
        CHECK_OK(lsm_db_delete_range(db, tree, text("0001"), text("0002"), false));
        CHECK_OK(lsm_db_flush(db));
    }
    CHECK_OK(lsm_tree_stats(tree, &stats));
    CHECK_INT(stats.level[0].files, 3);
    CHECK_INT(stats.level[0].runs, 3);
    CHECK_INT(stats.level[0].range_deletes, 3);
    CHECK_INT(stats.level[0].jobs, 3);
    CHECK_OK(lsm_db_compact(db, tree));
    CHECK_OK(lsm_tree_create(db, text("other"), NULL, &other));
    put_rows(db, other, 200);
    CHECK_OK(lsm_db_flush(db));
    CHECK_OK(lsm_tree_stats(tree, &stats));
    CHECK_INT(stats.level[deep].jobs, 2);
    CHECK_INT(stats.level[deep].bytes_read, stat_of(db, "compact_bytes_read"));
    CHECK_OK(lsm_db_levels(db, &all));
    CHECK_INT(all.level[deep].jobs, 3);
    CHECK_INT(all.level[deep].files, 2);
    CHECK_INT(all.level[deep].runs, 1);
    CHECK_INT(all.bytes, stat_of(db, "table_bytes"));
    for (int l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
        read += all.level[l].bytes_read;
        written += all.level[l].bytes_written;
    }
    flushed = stat_of(db, "flush_bytes_written");
    CHECK_INT(read, stat_of(db, "compact_bytes_read"));
    CHECK_INT(written, flushed + stat_of(db, "compact_bytes_written"));
    /* A tree that is dropped takes its files along, not what was written for it. */
    CHECK_OK(lsm_tree_drop(db, other));
    CHECK_OK(lsm_db_levels(db, &all));
    CHECK_INT(all.level[deep].jobs, 3);
    CHECK_INT(all.level[deep].files, 1);
    CHECK_OK(lsm_db_close(db));
    disk_end();
}

TEST(property_says_as_text_what_the_statistics_say)
{
    char text_of[8192], small[8];
    struct lsm_tree *tree;
    struct lsm_db *db;
    size_t needed, again;

    disk_begin();
    db = open_seen("a", &tree);
    put_rows(db, tree, 100);
    CHECK_OK(lsm_db_flush(db));
    CHECK_OK(lsm_db_property(db, "puts", text_of, sizeof text_of, &needed));
    CHECK_STR(text_of, "100");
    CHECK_INT(needed, 4);
    CHECK_OK(lsm_db_property(db, "state", text_of, sizeof text_of, NULL));
    CHECK_STR(text_of, "HEALTHY");
    CHECK_OK(lsm_db_property(db, "levels", text_of, sizeof text_of, NULL));
    CHECK(strstr(text_of, "t level 2: 1 tables, ") && strstr(text_of, " 100 rows"));
    CHECK_OK(lsm_db_property(db, "stats", text_of, sizeof text_of, &needed));
    CHECK_INT(needed, strlen(text_of) + 1);
    CHECK(strstr(text_of, "puts 100 count\n") && strstr(text_of, "stall_max_us "));
    CHECK_OK(lsm_db_property(db, "histograms", text_of, sizeof text_of, NULL));
    CHECK(strncmp(text_of, "commit ", 7) == 0 && strstr(text_of, "\nput ") && strstr(text_of, "\nflush "));
    CHECK_OK(lsm_db_property(db, "stats", small, sizeof small, &again));
    CHECK_INT(strlen(small), 7);
    CHECK(again + 64 > needed);
    CHECK_RC(lsm_db_property(db, "colour", text_of, sizeof text_of, NULL), LSM_NOTFOUND);
    CHECK_STR(lsm_error_text(), "a: there is no property \"colour\" (\"stats\" lists those that are numbers; texts are "
                                "levels, histograms, state)");
    CHECK_RC(lsm_db_property(db, "cache-used", text_of, sizeof text_of, NULL), LSM_NOTFOUND);
    CHECK_STR(lsm_error_text(), "a: there is no property \"cache-used\" (did you mean \"cache_used\"?)");
    CHECK_RC(lsm_db_property(db, "level", text_of, sizeof text_of, NULL), LSM_NOTFOUND);
    CHECK_STR(lsm_error_text(), "a: there is no property \"level\" (did you mean \"levels\"?)");
    CHECK_OK(lsm_db_close(db));
    disk_end();
}
