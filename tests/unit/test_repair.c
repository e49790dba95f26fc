/*
 * test_repair.c -- what can be read of a damaged store is in the new one, in its
 * order; what cannot is told; the original is as it was.
 */
#include <errno.h>

#include "lsm/store/salvage.h"
#include "lsm/version/manifest.h"
#include "tests/unit/repaired.h"

TEST(repair_of_a_store_that_is_whole_is_the_same_store)
{
    struct store s;

    if (!make(&s, true) || !repaired(&s))
        return;
    CHECK_INT(count_at(&s, NULL), ROWS + 100);
    CHECK_INT(info.rows, ROWS + 100);
    CHECK_INT(info.places_lost + info.files_lost + info.records_lost + info.records_undecided, 0);
    CHECK_STR(report, "");
    /* It goes on as a store does. */
    put_rows(&s, 0, 100, 0);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    CHECK_INT(count_at(&s, NULL), ROWS);
    done(&s);
}

/* The host's note is in each tree, though the block that held it is damaged, or it was never there; and it is no row. */
TEST(repair_keeps_the_hosts_note_whatever_is_damaged)
{
    for (int damaged = 0; damaged < 2; damaged++) {
        struct lsm_repair how = { .report = add_line, .note = text("!note") };
        struct lsm_options o;
        struct lsm_value value;
        struct store s;

        if (!make(&s, true))
            return;
        if (damaged)
            flip("a", file_of("a", ".ldb", 0), 100, 8);
        lsm_options_init(&o);
        o.os = disk.os;
        report[0] = 0;
        if (!CHECK_OK(lsm_db_repair("a", "b", &o, &how, &info)) || !store_open_as(&s, "b", true))
            return;
        CHECK_OK(lsm_db_check(s.db));
        CHECK_INT(info.places_lost, damaged);
        CHECK(damaged ? info.rows < ROWS + 100 : info.rows == ROWS + 100);
        CHECK_INT(count_at(&s, NULL), info.rows + 1);
        if (CHECK_OK(lsm_tree_get(s.tree, NULL, how.note, &value)))
            lsm_value_release(&value);
        put_rows(&s, 0, 10, 3);         /* newer than all that was read, and than the note */
        CHECK_INT(count_versions(&s, 0, 10, 3), 10);
        done(&s);
    }
}

TEST(repair_without_CURRENT)
{
    struct store s;

    if (!make(&s, true))
        return;
    remove_files("a", "CURRENT");
    if (repaired(&s))
        CHECK_INT(count_at(&s, NULL), ROWS + 100);
    CHECK(strstr(report, "CURRENT"));
    done(&s);
}

TEST(repair_without_a_MANIFEST_finds_trees_tables_and_logs)
{
    struct store s;

    if (!make(&s, true))
        return;
    remove_files("a", "MANIFEST");
    remove_files("a", "CURRENT");
    if (repaired(&s)) {
        CHECK_INT(count_versions(&s, 0, ROWS, 1), ROWS);
        CHECK_INT(count_versions(&s, ROWS, ROWS + 100, 2), 100);
        CHECK_INT(info.trees_unnamed, 0);       /* store_open_as would have made another */
    }
    done(&s);
}

TEST(repair_without_a_MANIFEST_keeps_the_order_of_versions)
{
    struct store s;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    for (int v = 1; v <= 5; v++) {
        put_rows(&s, 0, ROWS / v, v);
        CHECK_OK(v == 2 ? lsm_db_compact(s.db, NULL) : lsm_db_flush(s.db));
    }
    put_rows(&s, 0, 100, 0);
    CHECK_OK(lsm_db_flush(s.db));
    put_rows(&s, 50, 60, 6);
    put_rows(&s, 55, 57, 0);
    store_close(&s);
    remove_files("a", "MANIFEST");
    remove_files("a", "CURRENT");
    if (repaired(&s)) {
        CHECK_INT(count_versions(&s, 0, 100, 0), 92);
        CHECK_INT(count_versions(&s, 50, 60, 6), 8);
        CHECK_INT(count_versions(&s, 100, ROWS / 5, 5), ROWS / 5 - 100);
        for (int v = 1; v < 5; v++)
            CHECK_INT(count_versions(&s, ROWS / (v + 1), ROWS / v, v), ROWS / v - ROWS / (v + 1));
    }
    done(&s);
}

TEST(repair_passes_over_a_damaged_block_and_says_which)
{
    struct store s;
    const char *name;
    int found;

    if (!make(&s, false))
        return;
    name = file_of("a", ".ldb", 0);
    flip("a", name, size_of("a", name) / 3, 8);
    if (repaired(&s)) {
        found = count_versions(&s, 0, ROWS, 1);
        CHECK(found < ROWS && found > ROWS - 200);
        CHECK_INT(count_at(&s, NULL), found);
        CHECK_INT(info.places_lost, 1);
        CHECK(info.bytes_lost > 0 && info.bytes_lost < 5000);
        CHECK(strstr(report, name));
        CHECK(strstr(report, "had replaced or deleted, are back"));
    }
    done(&s);
}

TEST(repair_needs_no_index_no_header_and_no_footer)
{
    for (int what = 0; what < 5; what++) {
        struct store s;
        const char *name;
        uint64_t size;

        if (!make(&s, false))
            return;
        name = file_of("a", ".ldb", 0);
        size = size_of("a", name);
        if (what == 0)
            flip("a", name, 0, 56);             /* the header */
        else if (what == 1)
            flip("a", name, size - 40, 8);      /* the footer */
        else if (what == 2)
            flip("a", name, size - 120, 8);     /* the top index */
        else if (what == 3)
            cut("a", name, size - 100);         /* both of these */
        else                                    /* all that is no row, of the last partition at least */
            flip("a", name, size - 700, 200);
        if (repaired(&s))
            CHECK_INT(count_versions(&s, 0, ROWS, 1), ROWS);
        CHECK(info.places_lost > 0);
        if (test_state.failures)
            printf("  case %d\n", what);
        done(&s);
    }
}

/* Blocks on both sides of the hole, and the rest of a file that was cut. */
TEST(repair_finds_blocks_behind_a_hole_without_an_index)
{
    struct store s;
    const char *name;
    uint64_t size;
    int found;

    if (!make(&s, false))
        return;
    name = file_of("a", ".ldb", 0);
    size = size_of("a", name);
    flip("a", name, size / 2, 100);
    cut("a", name, size - size / 5);
    if (repaired(&s)) {
        found = count_at(&s, NULL);
        CHECK_INT(found, count_versions(&s, 0, ROWS, 1));
        CHECK(found > ROWS / 2 && found < ROWS);
        CHECK_INT(count_versions(&s, 0, 100, 1), 100);
        CHECK(count_versions(&s, ROWS * 6 / 10, ROWS, 1) > 50);         /* behind the hole */
    }
    done(&s);
}

/* Every fourth place of the stretch looks like the end of a block: to try all of them takes hours. */
TEST(repair_does_not_try_for_ever_where_everything_looks_like_a_block)
{
    static uint8_t pattern[1 << 20];
    struct lsm_file *file;
    struct lsm_dir *dir;
    struct store s;
    const char *name;
    size_t size;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    for (int i = 0; i < 40; i++)
        put_rows(&s, i * ROWS, i * ROWS + ROWS, 1);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    store_close(&s);
    name = file_of("a", ".ldb", 0);
    size = (size_t)size_of("a", name);
    CHECK(size > 40000 && size < sizeof pattern);
    for (size_t i = 0; i < size; i++)
        pattern[i] = i % 4 < 2;
    dir = open_dir("a");
    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_WRITE, 0, &file), 0);
    disk.os->file_write(file, pattern, size * 2 / 3, size / 3 - 5);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
    if (repaired(&s)) {
        CHECK(strstr(report, "looks like the end of one"));
        CHECK(count_at(&s, NULL) > 39 * ROWS / 2);
    }
    done(&s);
}

TEST(repair_of_a_store_with_a_table_gone)
{
    struct store s;

    if (!make(&s, true))
        return;
    remove_files("a", ".ldb");
    if (repaired(&s)) {
        CHECK_INT(count_at(&s, NULL), 100);
        CHECK(info.files_lost > 0);
        CHECK(strstr(report, ".ldb"));
        CHECK(strstr(report, "range deletes are lost"));
        CHECK(strstr(report, "had replaced or deleted, are back"));
    }
    done(&s);
}

TEST(repair_reads_the_log_behind_a_damaged_record)
{
    static const struct { int at, size, most; } damage[] = {
        { 40, 8, 10 },          /* a record */
        { 10, 1, 20 },          /* perhaps a head: then the next one has nothing to chain to, but its hash */
        { 5, 200, 30 },
    };

    for (int from = 0; from < 2; from++)
        for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
            struct store s;
            const char *name;
            uint64_t size;
            int found = 0;

            if (!make(&s, true))
                return;
            name = file_of("a", ".log", 0);
            size = size_of("a", name) - 80;
            /* A record begins at every tenth. */
            flip("a", name, from ? 80 + size / 10 * 5 + (uint64_t)damage[i].at : 80 + (uint64_t)damage[i].at,
                 (size_t)damage[i].size);
            if (repaired(&s)) {
                found = count_versions(&s, ROWS, ROWS + 100, 2);
                CHECK(found >= 100 - damage[i].most && found < 100);
                CHECK(found % 10 == 0);         /* transactions are whole */
                CHECK_INT(count_versions(&s, 0, ROWS, 1), ROWS);
                CHECK(info.places_lost + info.records_lost > 0);
            }
            if (test_state.failures)
                printf("  damage %zu, %d rows\n", i, found);
            done(&s);
        }
}

TEST(repair_of_a_log_without_a_header)
{
    struct store s;

    if (!make(&s, true))
        return;
    flip("a", file_of("a", ".log", 0), 0, 40);
    if (repaired(&s))
        CHECK_INT(count_versions(&s, ROWS, ROWS + 100, 2), 100);
    done(&s);
}

TEST(repair_of_a_MANIFEST_damaged_in_its_middle)
{
    struct store s;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    for (int v = 1; v <= 6; v++) {
        put_rows(&s, (v - 1) * 100, ROWS, v);
        CHECK_OK(lsm_db_flush(s.db));
    }
    put_rows(&s, 600, 700, 7);
    store_close(&s);
    flip("a", file_of("a", "MANIFEST", 0), size_of("a", file_of("a", "MANIFEST", 0)) / 2, 8);
    if (repaired(&s)) {
        for (int v = 1; v <= 5; v++)
            CHECK_INT(count_versions(&s, (v - 1) * 100, v * 100, v), 100);
        CHECK_INT(count_versions(&s, 600, 700, 7), 100);
        CHECK_INT(count_versions(&s, 700, ROWS, 6), ROWS - 700);
    }
    done(&s);
}

/* Where the frames of the MANIFEST "a/name" end, behind its snapshot; their count. */
static int edit_ends(const char *name, uint64_t ends[64])
{
    struct lsm_frame_reader reader;
    uint8_t header[LSM_MANIFEST_HEADER_SIZE];
    struct lsm_slice payload;
    struct lsm_file *file;
    struct lsm_dir *dir = open_dir("a");
    int count = 0;

    CHECK_INT(disk.os->file_open(dir, name, LSM_OPEN_READ, 0, &file), 0);
    CHECK_OK(lsm_frame_reader_open(&reader, disk.os, file, name));
    CHECK_OK(lsm_frame_read_header(&reader, header, sizeof header));
    while (count < 64 && lsm_frame_read(&reader, &payload) == LSM_OK)
        ends[count++] = reader.off;
    lsm_frame_reader_close(&reader);
    disk.os->file_close(file);
    disk.os->dir_close(dir);
    return count;
}

/* Wherever it ends, between two edits or in one: what was flushed behind that is there, and what a compaction removed
   behind it does not come back, since that one's output is there, too. */
TEST(repair_of_a_MANIFEST_that_was_cut_uses_the_tables_that_it_does_not_name)
{
    enum { FLUSHES = 12, EACH = 100 };
    int count = 2;

    for (int at = 0; at < 2 * count - 1; at++) {
        uint64_t ends[64] = { 0 };
        struct store s;
        char name[40];

        disk_and_host_begin();
        if (!store_open_as(&s, "a", true))
            return;
        for (int i = 0; i < FLUSHES; i++) {
            put_rows(&s, i * EACH, i * EACH + EACH, 1);
            if (i % 4 == 3)
                put_rows(&s, (i - 3) * EACH, (i - 3) * EACH + 10, 0);
            CHECK_OK(lsm_db_flush(s.db));
            if (i % 4 == 3)
                CHECK_OK(lsm_db_compact(s.db, NULL));
        }
        store_close(&s);
        snprintf(name, sizeof name, "%s", file_of("a", "MANIFEST", 0));
        count = edit_ends(name, ends);
        CHECK(count > 10 && count < 64);
        cut("a", name, ends[at / 2] + (at % 2 ? 9 : 0));
        if (repaired(&s)) {
            CHECK_INT(count_versions(&s, 0, FLUSHES * EACH, 1), FLUSHES * EACH - 3 * 10);
            CHECK_INT(count_at(&s, NULL), FLUSHES * EACH - 3 * 10);
        }
        if (test_state.failures)
            printf("  case %d of %d\n", at, 2 * count - 1);
        done(&s);
    }
}

/* It was removed by an edit that could be read, and is there still: a crash, or no permission. */
TEST(repair_of_a_MANIFEST_that_was_cut_brings_back_no_table_that_was_removed)
{
    struct lsm_dir *dir, *aside;
    uint64_t ends[64];
    struct store s;
    char name[40], table[40];
    bool created;
    int count;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true))
        return;
    put_rows(&s, 0, 100, 1);
    CHECK_OK(lsm_db_flush(s.db));
    snprintf(table, sizeof table, "%s", file_of("a", ".ldb", 0));
    dir = open_dir("a");
    CHECK_INT(disk.os->dir_open(disk.os, "c", true, 0700, &created, &aside), 0);
    CHECK_INT(disk.os->file_link(dir, table, aside, table), 0);
    put_rows(&s, 0, 50, 0);
    CHECK_OK(lsm_db_compact(s.db, NULL));
    put_rows(&s, 100, 200, 1);
    CHECK_OK(lsm_db_flush(s.db));
    CHECK_INT(count_at(&s, NULL), 150);
    store_close(&s);
    CHECK(disk.os->file_link(aside, table, dir, table) == 0);
    disk.os->dir_close(aside);
    disk.os->dir_close(dir);
    snprintf(name, sizeof name, "%s", file_of("a", "MANIFEST", 0));
    count = edit_ends(name, ends);
    cut("a", name, ends[count - 2] + 9);
    if (repaired(&s)) {
        CHECK_INT(count_at(&s, NULL), 150);
        CHECK_INT(count_versions(&s, 0, 50, 1), 0);
    }
    done(&s);
}

/* What is left over from a compaction that a crash cut short is not used, and is said. */
TEST(repair_says_which_tables_it_leaves_out)
{
    struct lsm_dir *dir;
    struct store s;
    char name[40];

    if (!make(&s, false))
        return;
    snprintf(name, sizeof name, "%s", file_of("a", ".ldb", 0));
    dir = open_dir("a");
    CHECK_INT(disk.os->file_link(dir, name, dir, "000077.ldb"), 0);
    disk.os->dir_close(dir);
    if (repaired(&s)) {
        CHECK_INT(count_at(&s, NULL), ROWS);
        CHECK(strstr(report, "000077.ldb: the MANIFEST does not name it: left out"));
    }
    done(&s);
}

static struct store *committing;

/* While a flush makes the next log's file a large transaction writes its tables and commits to the log before. */
static int commit_meanwhile(struct lsm_dir *dir)
{
    struct store *s = committing;
    int error = disk_dir_sync(dir);

    committing = NULL;
    if (s)
        put_rows(s, 1000, 21000, 2);
    return error;
}

TEST(repair_takes_a_large_transaction_that_committed_while_the_next_log_was_made)
{
    struct store s;
    char name[40];
    uint64_t named;

    disk_and_host_begin();
    disk.os->dir_sync = commit_meanwhile;
    if (!store_open_as(&s, "a", true))
        return;
    put_rows(&s, 0, 100, 1);
    CHECK_OK(lsm_db_flush(s.db));
    put_rows(&s, 100, 200, 1);
    snprintf(name, sizeof name, "%s", file_of("a", "MANIFEST", 0));
    named = size_of("a", name);
    committing = &s;
    CHECK_OK(lsm_db_flush(s.db));
    CHECK(!committing);
    disk_kill("a", "k");
    store_close(&s);
    remove_files("a", "");
    cut("k", name, named + 5);          /* the flush's own edit is lost */
    if (CHECK_OK(repair("k", "b", NULL)) && store_open_as(&s, "b", true)) {
        CHECK_INT(count_versions(&s, 1000, 21000, 2), 20000);
        CHECK_INT(count_versions(&s, 0, 200, 1), 200);
    }
    done(&s);
}

/* A process died over a large UPDATE. Whatever is lost beside it, its rows were never committed. */
TEST(repair_takes_no_rows_of_a_large_transaction_that_was_never_committed)
{
    for (int lost = 0; lost < 4; lost++) {      /* nothing; a table; nothing, and no table is named; the MANIFEST's end */
        struct lsm_txn *txn;
        struct store s;
        char key[16], value[64], table[40] = "";
        int found;

        disk_and_host_begin();
        if (!store_open_as(&s, "a", true))
            return;
        put_rows(&s, 0, lost == 2 ? 20000 : 1000, 1);
        if (lost != 2) {
            CHECK_OK(lsm_db_flush(s.db));
            snprintf(table, sizeof table, "%s", file_of("a", ".ldb", 0));
        }
        put_rows(&s, 1000, 1100, 1);
        CHECK_OK(lsm_txn_begin(s.db, NULL, &txn));
        for (int i = 0; i < 20000; i++) {
            snprintf(key, sizeof key, "%08d", i);
            CHECK_OK(lsm_txn_put(txn, s.tree, text(key), value_of(value, i, 9)));
        }
        disk_kill("a", "k");
        lsm_txn_abort(txn);
        store_close(&s);
        remove_files("a", "");
        CHECK(disk_count("k", ".ldb") > (lost == 2 ? 2 : 1));
        if (lost == 1) {
            struct lsm_dir *dir = open_dir("k");
            CHECK_INT(disk.os->file_remove(dir, table), 0);
            disk.os->dir_close(dir);
        } else if (lost == 3) {
            char name[40];
            snprintf(name, sizeof name, "%s", file_of("k", "MANIFEST", 0));
            cut("k", name, size_of("k", name) - 3);
        }
        if (CHECK_OK(repair("k", "b", NULL)) && store_open_as(&s, "b", true)) {
            found = count_versions(&s, 0, 20000, 1);
            CHECK_INT(count_at(&s, NULL), found);
            CHECK_INT(count_versions(&s, 0, 20000, 9), 0);
            if (lost == 1)
                CHECK(found >= 100 && found < 1100);
            else
                CHECK_INT(found, lost == 2 ? 20000 : 1100);
        }
        if (test_state.failures)
            printf("  case %d\n%s", lost, report);
        done(&s);
    }
}

TEST(repair_of_large_transactions_that_are_only_in_the_log)
{
    for (int without = 0; without < 3; without++) {
        struct store s;

        disk_and_host_begin();
        if (!store_open_as(&s, "a", true))
            return;
        if (without < 2) {                      /* else nothing but the private tables says the tree's name */
            put_rows(&s, 0, 1000, 1);
            CHECK_OK(lsm_db_flush(s.db));
        }
        put_rows(&s, 500, 20000, 2);            /* spills to private tables */
        put_rows(&s, 600, 700, 3);
        store_close(&s);
        if (without) {
            remove_files("a", "MANIFEST");
            remove_files("a", "CURRENT");
        }
        if (repaired(&s)) {
            CHECK_INT(count_versions(&s, 0, 500, 1), without < 2 ? 500 : 0);
            CHECK_INT(count_versions(&s, 600, 700, 3), 100);
            CHECK_INT(count_versions(&s, 500, 20000, 2), 19400);
        }
        done(&s);
    }
}

TEST(repair_keeps_range_deletes_in_their_order)
{
    for (int how = 0; how < 3; how++) {
        struct store s;

        disk_and_host_begin();
        if (!store_open_as(&s, "a", true))
            return;
        put_rows(&s, 0, ROWS, 1);
        CHECK_OK(lsm_db_compact(s.db, NULL));
        CHECK_OK(lsm_db_delete_range(s.db, s.tree, text("00000100"), text("00001000"), true));
        put_rows(&s, 200, 300, 2);
        if (how != 1)
            CHECK_OK(lsm_db_flush(s.db));
        CHECK_OK(lsm_db_delete_range(s.db, s.tree, text("00000250"), text("00000260"), true));
        store_close(&s);
        if (how == 2) {
            remove_files("a", "MANIFEST");
            remove_files("a", "CURRENT");
        }
        if (repaired(&s)) {
            CHECK_INT(count_versions(&s, 100, 1000, 0), 810);
            CHECK_INT(count_versions(&s, 200, 300, 2), 90);
            CHECK_INT(count_versions(&s, 0, ROWS, 1), ROWS - 900);
        }
        done(&s);
    }
}

/* ---- trees with a comparator ---- */

static const struct lsm_comparator backward_order = { .name = "backward", .compare = compare_reverse };
static const struct lsm_comparator *const orders[] = { &backward_order };

static bool open_backward(struct store *s, const char *path)
{
    struct lsm_tree_options how;
    struct lsm_options o = small_options(orders);

    lsm_tree_options_init(&how);
    how.comparator = &backward_order;
    return CHECK_OK(lsm_db_open(path, &o, &s->db)) &&
           CHECK_OK(lsm_tree_open(s->db, text("down"), &how, &s->tree));
}

static bool is_falling(struct store *s)
{
    char last[16] = "99999999";
    struct lsm_cursor *c;
    bool ok = true;

    if (!CHECK_OK(lsm_cursor_open(s->tree, NULL, &c)))
        return false;
    for (int rc = lsm_cursor_first(c); rc == LSM_OK; rc = lsm_cursor_next(c)) {
        struct lsm_slice key = lsm_cursor_key(c);
        ok = ok && memcmp(key.data, last, 8) < 0;
        memcpy(last, key.data, 8);
    }
    lsm_cursor_close(c);
    return ok;
}

TEST(repair_follows_the_comparators_that_it_is_given)
{
    struct lsm_repair how = { .report = add_line };
    struct lsm_options o;

    for (int damage = 0; damage < 4; damage++) {
        struct store s;

        disk_and_host_begin();
        if (!open_backward(&s, "a"))
            return;
        put_rows(&s, 0, ROWS, 1);
        CHECK_OK(lsm_db_compact(s.db, NULL));
        put_rows(&s, 500, 600, 2);
        CHECK_OK(lsm_db_flush(s.db));
        CHECK_OK(lsm_db_delete_range(s.db, s.tree, text("00000299"), text("00000199"), true));
        put_rows(&s, 550, 560, 3);
        store_close(&s);
        if (damage == 1 || damage == 2) {
            remove_files("a", "MANIFEST");
            remove_files("a", "CURRENT");
        }
        if (damage == 2)
            flip("a", file_of("a", ".ldb", 1), 5000, 1);
        lsm_options_init(&o);
        o.os = disk.os;
        o.comparators = orders;
        o.comparator_count = damage < 3;
        report[0] = 0;
        CHECK_OK(lsm_db_repair("a", "b", &o, &how, &info));
        if (damage == 3) {
            CHECK(strstr(report, "tree \"down\" is ordered by comparator \"backward\", which was not given"));
            CHECK_INT(info.trees, 0);
        } else if (open_backward(&s, "b")) {
            CHECK_OK(lsm_db_check(s.db));
            CHECK(is_falling(&s));
            CHECK(damage > 0 || !report[0]);
            CHECK_INT(count_versions(&s, 200, 300, 0), 100);
            CHECK_INT(count_versions(&s, 500, 600, 2), 90);
            CHECK_INT(count_versions(&s, 550, 560, 3), 10);
            if (damage < 2)
                CHECK_INT(count_at(&s, NULL), ROWS - 100);
            else
                CHECK(info.places_lost == 1 && count_at(&s, NULL) < ROWS - 100 && count_at(&s, NULL) > ROWS - 400);
            CHECK_INT(info.trees_unnamed, 0);
        } else {
            s.db = NULL;
        }
        if (damage == 3)
            s.db = NULL;
        done(&s);
    }
}

/* The MANIFEST alone has them; and who repairs may not have the hash, which the next to open it has. */
TEST(repair_keeps_what_a_tree_was_made_with)
{
    static const struct lsm_comparator with_hash = { .name = "backward", .compare = compare_reverse,
                                                     .hash = hash_bytes, .hash_name = "fnv" };
    static const struct lsm_comparator *const hashed[] = { &with_hash };

    for (int damage = 0; damage < 2; damage++)
        for (int has_hash = 0; has_hash < 2; has_hash++) {
            struct lsm_tree_options how = { .comparator = &with_hash, .block_bytes = 2048, .filter_bits = 14,
                                            .compression_level = 3, .value_log_bytes = 512 }, seen;
            struct lsm_options o;
            struct store s;

            how.level_compression[1] = 7;
            how.level_compression[LSM_LEVEL_COUNT_MAX - 2] = LSM_COMPRESSION_NONE;
            disk_and_host_begin();
            lsm_options_init(&o);
            o.os = disk.os;
            o.create_if_missing = o.no_worker = true;
            o.comparators = hashed;
            o.comparator_count = 1;
            if (!CHECK_OK(lsm_db_open("a", &o, &s.db)) || !CHECK_OK(lsm_tree_create(s.db, text("down"), &how, &s.tree)))
                return;
            for (int v = 1; v <= 6; v++) {
                put_rows(&s, 0, ROWS, v);
                CHECK_OK(lsm_db_flush(s.db));
            }
            store_close(&s);
            if (damage)
                flip("a", file_of("a", "MANIFEST", 0), size_of("a", file_of("a", "MANIFEST", 0)) - 40, 8);
            o.comparators = has_hash ? hashed : orders;
            CHECK_OK(lsm_db_repair("a", "b", &o, NULL, &info));
            CHECK_INT(info.trees, 1);
            o.comparators = hashed;
            if (CHECK_OK(lsm_db_open("b", &o, &s.db)) && CHECK_OK(lsm_tree_find(s.db, text("down"), &s.tree))) {
                lsm_tree_options_get(s.tree, &seen);
                CHECK(memcmp(&seen, &how, sizeof seen) == 0);
                CHECK_INT(count_versions(&s, 0, ROWS, 6), ROWS);
                CHECK_OK(lsm_db_check(s.db));
                store_close(&s);
            }
            disk_end();
        }
}

TEST(repair_takes_what_the_host_committed_and_nothing_else)
{
    struct store s;
    struct lsm_token k1, k2, t, u;
    struct lsm_txn *txn;

    if (!store_begin(&s))
        return;
    k1 = joint(&s, no_token, "k1", true);
    solo(&s, k1, "s1", true);
    abandoned(&s, k1, "x");
    txn = begin_put(&s, &k1, "solo taken back");
    if (prepare_solo(txn, true, &u) == LSM_OK)
        lsm_txn_abort(txn);
    else
        lsm_txn_abort(txn);
    k2 = joint(&s, k1, "k2", true);
    txn = begin_put(&s, &k2, "prepared");
    CHECK_OK(prepare_joint(txn, &t));
    disk_kill("a", "c");
    lsm_txn_abort(txn);
    store_close(&s);

    CHECK_OK(repair("c", "b", &k2));
    CHECK_INT(info.records_undecided, 2);
    if (store_open_at(&s, "b", &k2)) {
        CHECK(has(&s, "k1") && has(&s, "s1") && has(&s, "k2"));
        CHECK_INT(count_at(&s, NULL), 3);
        store_close(&s);
    }
    /* The host did commit it. */
    CHECK_OK(repair("c", "d", &t));
    if (store_open_at(&s, "d", &t)) {
        CHECK_INT(count_at(&s, NULL), 4);
        solo(&s, t, "goes on", true);
        store_close(&s);
    }
    disk_end();
}

/* The log has its rows still; the MANIFEST was begun anew since and says nothing of it. */
TEST(repair_leaves_a_dropped_tree_out_and_keeps_the_order_of_the_others)
{
    struct lsm_tree *u, *w;
    struct store s;

    disk_and_host_begin();
    if (!store_open_as(&s, "a", true) || !CHECK_OK(lsm_tree_create(s.db, text("u"), NULL, &u)) ||
        !CHECK_OK(lsm_tree_create(s.db, text("w"), NULL, &w)))
        return;
    CHECK_OK(lsm_db_put(s.db, u, text("of u"), text("v"), true));
    CHECK_OK(lsm_db_put(s.db, w, text("of w"), text("v"), true));
    CHECK_OK(lsm_tree_drop(s.db, u));
    store_close(&s);
    if (!store_open_as(&s, "a", true))
        return;
    CHECK_OK(lsm_db_put(s.db, s.tree, text("k"), text("v"), true));
    disk_kill("a", "b");
    store_close(&s);

    CHECK_OK(repair("b", "c", NULL));
    CHECK_INT(info.trees, 2);
    CHECK_INT(info.trees_unnamed, 0);
    if (store_open_as(&s, "c", true)) {
        CHECK_INT(count_at(&s, NULL), 1);
        CHECK_RC(lsm_tree_find(s.db, text("u"), &u), LSM_NOTFOUND);
        CHECK_OK(lsm_tree_find(s.db, text("w"), &w));
        CHECK_OK(lsm_db_check(s.db));
        store_close(&s);
    }
    disk_end();
}

TEST(repair_refuses_what_is_no_store_is_open_or_belongs_to_another)
{
    struct store s;
    struct lsm_options o;
    uint8_t uuid[16] = { 1, 2, 3 };
    struct lsm_dir *dir;
    bool created;

    if (!make(&s, true))
        return;
    CHECK_INT(disk.os->dir_open(disk.os, "empty", true, 0755, &created, &dir), 0);
    disk.os->dir_close(dir);
    CHECK_RC(repair("empty", "b", NULL), LSM_NOTFOUND);
    CHECK_RC(repair("nowhere", "b", NULL), LSM_NOTFOUND);
    CHECK_RC(repair("a", "a", NULL), LSM_EXISTS);
    CHECK_RC(repair("a", "empty", NULL), LSM_EXISTS);
    lsm_options_init(&o);
    o.os = disk.os;
    o.uuid = uuid;
    CHECK_RC(lsm_db_repair("a", "b", &o, NULL, NULL), LSM_MISMATCH);
    if (!store_open_as(&s, "a", true))
        return;
    CHECK_RC(repair("a", "b", NULL), LSM_BUSY);
    CHECK_INT(disk_count("b", ""), 0);
    done(&s);
}

TEST(repair_that_fails_leaves_nothing)
{
    static const unsigned kinds[] = { DISK_WRITE, DISK_SYNC, DISK_DIR_SYNC, DISK_CREATE, DISK_MEMORY };

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        bool failed = true;
        for (int at = 1; failed && at < 600; at += k == 4 ? 3 : 1) {
            struct store s;
            int rc;

            disk_and_host_begin();
            if (!store_open_as(&s, "a", true))
                return;
            put_rows(&s, 0, 300, 1);
            CHECK_OK(lsm_db_flush(s.db));
            put_rows(&s, 0, 10, 2);
            store_close(&s);
            disk_fail(kinds[k], at, false, NULL);
            rc = repair("a", "b", NULL);
            failed = rc != LSM_OK;
            disk_heal();
            if (failed)
                CHECK_INT(disk_count("b", ""), 0);
            else if (store_open_as(&s, "b", true))
                CHECK_INT(count_at(&s, NULL), 300);
            done(&s);
            if (test_state.failures) {
                printf("  kind %zu, call %d\n", k, at);
                return;
            }
        }
        CHECK(!failed);
    }
}

static void cut_or_flip(const char *name, uint64_t size)
{
    if (test_random() % 8 == 0 && size)
        cut("a", name, test_random() % size);
    else if (size)
        flip("a", name, test_random() % size, 1 + test_random() % 100);
}

/* B-14: Whatever is damaged: no crash, and every row is one that was written. */
TEST(repair_of_random_damage_invents_nothing)
{
    repair_at_random(cut_or_flip, false);
}
