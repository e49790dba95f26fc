/*
 * test_build_whole.c -- partitions that a compaction takes as they stand, without looking at a row: whatever the inputs
 * are, its outputs have the rows, counts and properties of one that decodes and builds all of them.
 */
#include "lsm/util/hash.h"
#include "tests/unit/copied.h"

TEST(build_with_partitions_that_are_copied_has_the_rows_of_one_that_decodes_all)
{
    uint64_t rounds = test_share(test_long() ? 1500 : 150);

    memset(&seen, 0, sizeof seen);
    for (uint64_t round = 0; round < rounds; round++) {
        int streams = 1 + (int)test_below(3);
        bool same;

        begin_world();
        w.key_max = 4000;
        w.cmp = any_order(test_below(3));
        any_options(&w.options);
        w.options.block_bytes = 512;
        w.is_mixed = test_below(2);
        w.source_count = 1 + (int)test_below(SOURCES);
        w.value_kind = (int)test_below(4);
        make_rows(streams, ROWS_MAX);
        make_surroundings(streams);
        write_sources();
        same = builds_agree(test_below(2) ? 0 : 20000 + test_below(150000));
        end_world();
        if (!same || test_state.failures) {
            printf("  round %d\n", (int)round);
            return;
        }
    }
    printf("%d of %d KB copied, %d whole; of %d blocks %d are small\n", (int)(seen.copied >> 10), (int)(seen.bytes >> 10),
           (int)(seen.whole >> 10), (int)seen.blocks, (int)seen.small);
    CHECK(seen.whole > seen.bytes / 20);
}

/* Build from the inputs, into the first output (which decodes) and the second (which copies). */
static bool build_both(struct lsm_build b[2])
{
    int rc[2];

    for (int i = 0; i < 2; i++) {
        struct lsm_iter *it = open_inputs();

        if (i == 0)
            b[i].is_above = NULL;
        w.next_number = 1000;
        rc[i] = lsm_build_run(&b[i], it);
        lsm_iter_close(it);
    }
    return CHECK_OK(rc[0]) && CHECK_OK(rc[1]) && same_outputs(&b[0], &b[1]);
}

static void clear_both(struct lsm_build b[2])
{
    lsm_build_clear(&b[0]);
    lsm_build_clear(&b[1]);
}

/* How much of one input, of which nothing else keeps a partition from it, is copied whole with these options. */
static uint64_t whole_of_one_input(void (*change)(struct lsm_build *b))
{
    struct lsm_build b[2];
    uint64_t whole;

    begin_world();
    write_one_input(4000);
    for (int i = 0; i < 2; i++) {
        b[i] = new_build(1 + i);
        if (change)
            change(&b[i]);
    }
    CHECK(build_both(b));
    whole = b[1].bytes_whole;
    CHECK(whole <= b[1].bytes_copied && b[1].bytes_copied <= b[1].bytes_written);
    clear_both(b);
    end_world();
    return whole;
}

static void other_bits(struct lsm_build *b) { b->table.filter_bits = 12; }
static void no_filter(struct lsm_build *b) { b->table.filter_bits = 0; }
static void other_codec(struct lsm_build *b) { b->table.codec = LSM_CODEC_NONE; }
static void other_level(struct lsm_build *b) { b->table.codec = LSM_CODEC_ZSTD; b->table.level = 3; }
static void larger_blocks(struct lsm_build *b) { b->table.block_bytes = 2048; }
static void smaller_blocks(struct lsm_build *b) { b->table.block_bytes = 300; }
static void values_to_a_log(struct lsm_build *b) { b->values.bytes_min = 40; }
static void no_values_to_a_log(struct lsm_build *b) { b->values.bytes_min = 41; }

TEST(build_copies_partitions_whole_only_where_the_table_would_have_them_so)
{
    CHECK(whole_of_one_input(NULL) > 20000);
    CHECK_INT(whole_of_one_input(other_bits), 0);
    CHECK_INT(whole_of_one_input(no_filter), 0);
    CHECK_INT(whole_of_one_input(other_codec), 0);
    CHECK_INT(whole_of_one_input(other_level), 0);
    CHECK_INT(whole_of_one_input(larger_blocks), 0);
    CHECK_INT(whole_of_one_input(smaller_blocks), 0);
    CHECK_INT(whole_of_one_input(values_to_a_log), 0);
    CHECK(whole_of_one_input(no_values_to_a_log) > 20000);
}

/* ---- what the file has ---- */

/* The table `meta` of the inputs, open. */
static struct lsm_table *open_input(const struct lsm_table_meta *meta)
{
    struct lsm_table *t;

    CHECK_OK(lsm_tables_get(w.tables[0], meta, w.cmp, &t));
    return t;
}

static struct lsm_file *file_of(const struct lsm_table *t)
{
    struct lsm_file *file;

    CHECK_INT(disk.os->file_open(w.dir[0], t->name, LSM_OPEN_WRITE, 0644, &file), 0);
    return file;
}

static void flip(struct lsm_file *file, uint64_t at)
{
    uint8_t byte;
    size_t got;

    CHECK_INT(disk.os->file_read(file, &byte, 1, at, &got), 0);
    byte ^= 0x10;
    CHECK_INT(disk.os->file_write(file, &byte, 1, at), 0);
}

/* Nothing is known of the inputs any more but what their files have. */
static void forget_inputs(void)
{
    lsm_tables_free(w.tables[0]);
    lsm_cache_free(w.cache[0]);
    CHECK_OK(lsm_cache_new(disk.os, 4 << 20, &w.cache[0]));
    CHECK_OK(lsm_tables_new(disk.os, w.dir[0], uuid, w.cache[0], w.pool, 64, &w.tables[0]));
}

/* A byte of the second partition of each table that has one: of a block, of its filter or its index. */
static void damage_parts(int what)
{
    struct lsm_table_scratch s;

    lsm_table_scratch_init(&s, disk.os);
    for (uint32_t i = 0; i < w.source[0].table_count; i++) {
        struct lsm_table *t = open_input(w.source[0].metas[i]);
        struct lsm_file *file = file_of(t);

        if (t->top->count > 1) {
            const struct lsm_table_part *part = &t->parts[1];
            struct lsm_table_index *index;

            CHECK_OK(lsm_table_read_index(t, 1, &s, &index));
            flip(file, what == 0 ? index->data[5].off + 20 : what == 1 ? part->filter_off + 20 : part->index_off + 20);
            lsm_table_index_free(index);
        }
        disk.os->file_close(file);
        lsm_table_unref(t);
    }
    lsm_table_scratch_clear(&s);
}

/* A filter is never read by a compaction, so that one is built anew; else it is told what is wrong, as it is of a block. */
TEST(build_that_meets_a_damaged_partition_says_what_one_that_decodes_says)
{
    for (int what = 0; what < 3; what++) {
        char text[2][LSM_ERROR_TEXT_SIZE] = { "", "" };
        struct lsm_build b[2];
        uint64_t whole;
        int rc[2];

        begin_world();
        write_one_input(6000);
        for (int i = 0; i < 2; i++)
            b[i] = new_build(1 + i);
        CHECK(build_both(b));
        whole = b[1].bytes_whole;
        clear_both(b);
        damage_parts(what);
        for (int i = 0; i < 2; i++) {
            struct lsm_iter *it;

            forget_inputs();
            it = open_inputs();
            for (size_t k = 0; k < 40; k++) {
                char name[LSM_FILENAME_SIZE];
                lsm_tables_forget(w.tables[1 + i], 1000 + k);
                disk.os->file_remove(w.dir[1 + i], lsm_filename(name, LSM_FILE_TABLE, 1000 + k));
            }
            b[i] = new_build(1 + i);
            if (i == 0)
                b[i].is_above = NULL;
            rc[i] = lsm_build_run(&b[i], it);
            if (rc[i])
                lsm_error_save(text[i], sizeof text[i]);
            lsm_iter_close(it);
        }
        CHECK_RC(rc[0], what == 1 ? LSM_OK : LSM_CORRUPT);
        CHECK_RC(rc[1], rc[0]);
        CHECK_STR(text[1], text[0]);
        CHECK(what != 1 || same_outputs(&b[0], &b[1]));
        CHECK(b[1].bytes_whole < whole);
        if (what == 1)
            clear_both(b);
        end_world();
    }
}

/* What a cache has may be older than the damage: then the rows come from there, and nothing is copied whole. */
TEST(build_takes_rows_from_the_cache_where_a_partition_is_damaged_in_its_file)
{
    for (int what = 0; what < 3; what++) {
        struct lsm_build b[2];
        struct lsm_iter *it;

        begin_world();
        lsm_cache_set_capacity(w.cache[0], 4 << 20);
        write_one_input(6000);
        for (int i = 0; i < 2; i++)
            b[i] = new_build(1 + i);
        b[0].is_above = NULL;
        it = open_inputs();
        CHECK_OK(lsm_build_run(&b[0], it));
        lsm_iter_close(it);
        damage_parts(what);
        w.next_number = 1000;
        it = open_inputs();
        CHECK_OK(lsm_build_run(&b[1], it));
        lsm_iter_close(it);
        CHECK(same_outputs(&b[0], &b[1]));
        clear_both(b);
        end_world();
    }
}

/* ---- the properties ---- */

/* Change the properties of each input, and their sum with them. */
static void change_properties(void (*change)(uint8_t *parts_name))
{
    for (uint32_t i = 0; i < w.source[0].table_count; i++) {
        struct lsm_table *t = open_input(w.source[0].metas[i]);
        struct lsm_file *file = file_of(t);
        uint8_t *bytes = malloc(t->footer.properties_size), *name;
        size_t size = t->footer.properties_size, got;

        CHECK_INT(disk.os->file_read(file, bytes, size, t->footer.properties_off, &got), 0);
        name = memmem(bytes, size, "\5parts", 6);
        if (CHECK(name != NULL))
            change(name);
        lsm_put_u32(bytes + size - 4, lsm_hash32(bytes, size - 4, t->seed + t->footer.properties_off));
        CHECK_INT(disk.os->file_write(file, bytes, size, t->footer.properties_off), 0);
        free(bytes);
        disk.os->file_close(file);
        lsm_table_unref(t);
    }
    forget_inputs();
}

static void rename_parts(uint8_t *name) { name[5] = 'z'; }
static void change_parts(uint8_t *name) { name[7] ^= 1; }      /* behind the value's size: raw bytes of the first one */

TEST(build_of_tables_of_an_older_version_copies_only_blocks)
{
    struct lsm_build b[2];

    begin_world();
    write_one_input(4000);
    change_properties(rename_parts);
    for (uint32_t i = 0; i < w.source[0].table_count; i++) {
        struct lsm_table *t = open_input(w.source[0].metas[i]);
        CHECK_OK(lsm_table_check(t));
        lsm_table_unref(t);
    }
    for (int i = 0; i < 2; i++)
        b[i] = new_build(1 + i);
    CHECK(build_both(b));
    CHECK_INT(b[1].bytes_whole, 0);
    CHECK(b[1].bytes_copied > b[1].bytes_written / 2);
    clear_both(b);
    end_world();
}

TEST(check_of_a_table_knows_what_its_properties_should_say_of_partitions)
{
    begin_world();
    write_one_input(4000);
    change_properties(change_parts);
    for (uint32_t i = 0; i < w.source[0].table_count; i++) {
        struct lsm_table *t = open_input(w.source[0].metas[i]);
        CHECK_RC(lsm_table_check(t), LSM_CORRUPT);
        CHECK(strstr(lsm_error_text(), "the properties do not describe the rows") != NULL);
        lsm_table_unref(t);
    }
    end_world();
}

static void change_refs(uint8_t *name)          /* the first partition's bytes in its first log */
{
    struct lsm_reader r = lsm_reader(lsm_slice(name + 6, 100));

    for (int i = 0; i < 1 + 3 + 1 + 2; i++)     /* behind sizes, three numbers, log and count */
        lsm_read_varint(&r);
    name[6 + 100 - lsm_reader_left(&r)] ^= 1;
}

/* Refs that are less than the rows' would be the end of a value log that they stand in. */
TEST(build_believes_nothing_of_partitions_that_is_not_what_the_manifest_counts)
{
    for (int what = 0; what < 3; what++) {
        struct lsm_build b[2];

        begin_world();
        write_one_input_with_refs(5000, 2);
        if (what)
            change_properties(what == 1 ? change_parts : change_refs);
        for (int i = 0; i < 2; i++)
            b[i] = new_build(1 + i);
        CHECK(build_both(b));
        CHECK_INT(b[1].bytes_whole > 0, what == 0);
        clear_both(b);
        end_world();
    }
}

/* ---- bounds ---- */

/* A newer row of the partition's last key, which comes before that one. */
TEST(build_copies_no_partition_whole_whose_last_key_another_input_has_too)
{
    struct lsm_table *t;
    struct lsm_build b[2];
    struct lsm_slice key;
    struct lsm_buf buf;
    uint64_t tag;

    begin_world();
    write_one_input(4000);
    lsm_buf_init(&buf, disk.os);
    t = open_input(w.source[0].metas[0]);
    CHECK_OK(lsm_table_row_key(t->top, 0, &buf, &key, &tag));
    lsm_table_unref(t);
    w.source[1] = w.source[0];
    w.source[0] = (struct source){ .count = 1 };
    w.source[0].rows[0] = (struct row){ .tag = lsm_tag(7, LSM_KIND_PUT), .size = 30, .fill = 9 };
    snprintf(w.source[0].rows[0].key, KEY_MAX, "%.*s", (int)key.size, (const char *)key.data);
    write_sources();                    /* this one */
    w.source_count = 2;
    for (int i = 0; i < 2; i++)
        b[i] = new_build(1 + i);
    CHECK(build_both(b));
    CHECK_INT(b[1].rows_read, 4001);
    CHECK_INT(b[1].rows_written, 4000);
    clear_both(b);
    lsm_buf_clear(&buf);
    end_world();
}

TEST(build_that_copies_partitions_leaves_no_file_when_anything_fails)
{
    uint64_t whole;

    check_failing_builds(2000, &whole);
    CHECK(whole > 3);
}

/* Partitions lie across the ends of parts. */
TEST(build_of_a_part_copies_no_partition_beyond_it)
{
    static const char *const ends[PART_ENDS] = { "k00000", "k01333", "k01334", "k03700x", "k05999" };
    uint64_t copied, whole;

    check_parts(6000, ends, &copied, &whole);
    CHECK(whole > 0);
}

/* One input in a table, of rows that no codec makes smaller: a partition has 64 blocks. */
static void write_large_input(int rows, uint32_t size, uint32_t block_bytes)
{
    struct lsm_table_writer *writer;
    struct lsm_table_meta meta;

    w.options = (struct lsm_table_options){ .block_bytes = block_bytes, .filter_bits = 10, .codec = LSM_CODEC_NONE, .level = 1 };
    CHECK_OK(lsm_table_writer_open(disk.os, w.dir[0], uuid, 1, 1, &w.options, w.compressor, 0644, &writer));
    for (int i = 0; i < rows; i++) {
        struct row r = { .tag = lsm_tag(0, LSM_KIND_PUT), .size = size, .fill = (uint8_t)i };
        snprintf(r.key, KEY_MAX, "k%05d", i);
        lsm_table_writer_add(writer, text(r.key), r.tag, value_of(&r));
    }
    CHECK_OK(lsm_table_writer_finish(writer, &meta));
    w.source_count = 1;
    w.source[0].table_count = 1;
    w.source[0].metas[0] = lsm_table_meta_copy(disk.os, &meta);
    lsm_table_writer_close(writer);
}

TEST(build_makes_no_file_too_large_or_much_too_small_for_a_partition)
{
    static const uint64_t sizes[] = { 100000, 20000 };          /* several partitions, less than one */

    for (int n = 0; n < 2; n++) {
        struct lsm_build b[2];

        begin_world();
        write_large_input(20000, 100, 512);     /* partitions of 31 KB and a filter */
        for (int i = 0; i < 2; i++) {
            b[i] = new_build(1 + i);
            b[i].file_bytes = sizes[n];
        }
        CHECK(build_both(b));
        CHECK(n ? b[1].bytes_whole == 0 : b[1].bytes_whole > b[1].bytes_written / 2);
        for (size_t i = 0; i < b[1].count; i++) {
            CHECK(b[1].metas[i]->size_bytes < sizes[n] + sizes[n] / 8 + 3000);
            CHECK(b[1].metas[i]->size_bytes > sizes[n] / 2 || i + 1 == b[1].count);
        }
        clear_both(b);
        end_world();
    }
}

/* Blocks of the outputs for each of their partitions. */
static double blocks_for_a_partition(const struct lsm_build *b, struct lsm_tables *tables)
{
    uint64_t blocks = 0, parts = 0;

    for (size_t i = 0; i < b->count; i++) {
        struct lsm_table *t;

        CHECK_OK(lsm_tables_get(tables, b->metas[i], w.cmp, &t));
        parts += t->top->count;
        for (uint32_t p = 0; p < t->top->count; p++)
            blocks += t->parts[p].blocks;
        lsm_table_unref(t);
    }
    return (double)blocks / (double)parts;
}

/* More partitions cost memory and time, for nothing where keys come in no order. */
TEST(build_of_mixed_inputs_ends_no_partition_early)
{
    struct lsm_build b[2];

    begin_world();
    w.options = (struct lsm_table_options){ .block_bytes = 512, .filter_bits = 10, .codec = LSM_CODEC_LZ, .level = 1 };
    w.source_count = 2;
    for (int i = 0; i < 12000; i++) {
        struct source *s = &w.source[test_below(2)];
        if (s->count == ROWS_MAX)
            continue;
        s->rows[s->count] = (struct row){ .tag = lsm_tag(0, LSM_KIND_PUT), .size = 40, .fill = (uint8_t)i };
        snprintf(s->rows[s->count++].key, KEY_MAX, "k%05d", i);
    }
    write_sources();
    for (int i = 0; i < 2; i++)
        b[i] = new_build(1 + i);
    CHECK(build_both(b));
    CHECK(blocks_for_a_partition(&b[1], w.tables[2]) > 50);
    clear_both(b);
    end_world();
}

/* A quarter of the blocks was not made smaller by a codec: nobody knows which was tried. */
TEST(build_copies_no_partition_whole_of_which_some_blocks_are_not_compressed)
{
    struct lsm_table_writer *writer;
    struct lsm_table_meta meta;
    struct lsm_build b[2];

    begin_world();
    w.options = (struct lsm_table_options){ .block_bytes = 512, .filter_bits = 10, .codec = LSM_CODEC_LZ, .level = 1 };
    CHECK_OK(lsm_table_writer_open(disk.os, w.dir[0], uuid, 1, 1, &w.options, w.compressor, 0644, &writer));
    for (int i = 0; i < 2000; i++) {
        uint8_t value[60] = { 0 };
        char key[KEY_MAX];

        for (size_t k = 0; k < sizeof value && i % 400 >= 300; k++)
            value[k] = (uint8_t)test_random();
        snprintf(key, KEY_MAX, "k%05d", i);
        lsm_table_writer_add(writer, text(key), lsm_tag(0, LSM_KIND_PUT), lsm_slice(value, sizeof value));
    }
    CHECK_OK(lsm_table_writer_finish(writer, &meta));
    w.source_count = w.source[0].table_count = 1;
    w.source[0].metas[0] = lsm_table_meta_copy(disk.os, &meta);
    lsm_table_writer_close(writer);
    for (int i = 0; i < 2; i++)
        b[i] = new_build(1 + i);
    CHECK(build_both(b));
    CHECK_INT(b[1].bytes_whole, 0);
    CHECK(b[1].bytes_copied > 0);
    clear_both(b);
    end_world();
}

/* Else the one before it could be small, too. */
TEST(build_copies_no_small_partition_whole)
{
    static const struct { int rows; bool whole; } cases[] = { { 15, false }, { 16, true } };

    for (int n = 0; n < 2; n++) {
        struct lsm_build b[2];

        begin_world();
        write_large_input(cases[n].rows, 500, 512);     /* a block each */
        for (int i = 0; i < 2; i++)
            b[i] = new_build(1 + i);
        CHECK(build_both(b));
        CHECK_INT(b[1].bytes_whole > 0, cases[n].whole);
        clear_both(b);
        end_world();
    }
}

TEST(build_ends_no_file_for_a_partition_that_it_does_not_copy)
{
    struct lsm_build b[2];

    begin_world();
    write_large_input(20000, 100, 512);
    w.options.codec = LSM_CODEC_LZ;
    for (int i = 0; i < 2; i++) {
        b[i] = new_build(1 + i);
        b[i].file_bytes = 60000;
    }
    CHECK(build_both(b));
    CHECK_INT(b[1].bytes_whole, 0);
    CHECK_INT(b[1].count, b[0].count);
    clear_both(b);
    end_world();
}

static int pauses;

static int count_pause(void *ctx)
{
    (void)ctx;
    pauses++;
    return LSM_OK;
}

static int give_up(void *ctx)
{
    (void)ctx;
    return ++pauses < 3 ? LSM_OK : LSM_BUSY;
}

/* A flush or a close that waits is heard as often as where each row is looked at: at least once for 2 MiB. */
TEST(build_that_copies_partitions_pauses_and_ends_in_between)
{
    struct lsm_build b;
    struct lsm_iter *it;

    begin_world();
    write_large_input(8000, 2000, 4096);
    for (int ends = 0; ends < 2; ends++) {
        b = new_build(1);
        b.pause = ends ? give_up : count_pause;
        pauses = 0;
        it = open_inputs();
        CHECK_RC(lsm_build_run(&b, it), ends ? LSM_BUSY : LSM_OK);
        lsm_iter_close(it);
        if (!ends) {
            CHECK(b.bytes_whole > b.bytes_written * 9 / 10);
            CHECK((uint64_t)pauses >= b.bytes_written >> 21);
            CHECK_INT(disk.os->file_remove(w.dir[1], "001000.ldb"), 0);
        } else {
            CHECK_INT(disk_count("decoded", ".ldb"), 0);
        }
        lsm_build_clear(&b);
    }
    end_world();
}

/* A partition is in memory while it is copied. */
TEST(build_copies_no_partition_of_more_than_a_mebibyte_whole)
{
    struct lsm_build b[2];

    begin_world();
    write_large_input(3000, 2000, 65536);
    for (int i = 0; i < 2; i++)
        b[i] = new_build(1 + i);
    CHECK(build_both(b));
    CHECK_INT(b[1].bytes_whole, 0);
    CHECK(b[1].bytes_copied > 0);
    clear_both(b);
    end_world();
}
