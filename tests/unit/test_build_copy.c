/*
 * test_build_copy.c -- blocks that a compaction takes as they stand: whatever the inputs are, its outputs have the rows
 * of one that decodes and builds all of them.
 */
#include "tests/unit/copied.h"

TEST(build_with_blocks_that_are_copied_has_the_rows_of_one_that_decodes_all)
{
    uint64_t rounds = test_share(test_long() ? 3000 : 240);

    memset(&seen, 0, sizeof seen);
    for (uint64_t round = 0; round < rounds; round++) {
        int streams = 1 + (int)test_below(STREAMS_MAX);
        bool same;

        begin_world();
        w.cmp = any_order(test_below(4));
        any_options(&w.options);
        w.options.block_bytes = 512;
        w.is_mixed = true;
        w.source_count = 1 + (int)test_below(SOURCES);
        w.value_kind = (int)test_below(4);
        make_rows(streams, 1600);
        make_surroundings(streams);
        write_sources();
        same = builds_agree(test_below(2) ? 0 : 3000 + test_below(20000));
        end_world();
        if (!same || test_state.failures) {
            printf("  round %d\n", (int)round);
            return;
        }
    }
    printf("%d of %d KB copied; of %d blocks %d are small\n", (int)(seen.copied >> 10), (int)(seen.bytes >> 10),
           (int)seen.blocks, (int)seen.small);
    CHECK(seen.copied > seen.bytes / 10);
}
/* ---- a block that the cache has and the file has no more ---- */

static void damage_all_blocks(void)
{
    struct lsm_table_scratch s;

    lsm_table_scratch_init(&s, disk.os);
    for (uint32_t i = 0; i < w.source[0].table_count; i++) {
        const struct lsm_table_meta *meta = w.source[0].metas[i];
        struct lsm_table_index *index;
        struct lsm_table *t;
        struct lsm_file *file;

        CHECK_OK(lsm_tables_get(w.tables[0], meta, w.cmp, &t));
        CHECK_INT(disk.os->file_open(w.dir[0], t->name, LSM_OPEN_WRITE, 0644, &file), 0);
        for (uint32_t p = 0; p < t->top->count; p++) {
            CHECK_OK(lsm_table_read_index(t, p, &s, &index));
            for (uint32_t k = 0; k < index->block->count; k++) {
                uint8_t byte;
                size_t got;
                uint64_t at = index->data[k].off + test_below(index->data[k].size);

                CHECK_INT(disk.os->file_read(file, &byte, 1, at, &got), 0);
                byte ^= 0x10;
                CHECK_INT(disk.os->file_write(file, &byte, 1, at), 0);
            }
            lsm_table_index_free(index);
        }
        disk.os->file_close(file);
        lsm_table_unref(t);
    }
    lsm_table_scratch_clear(&s);
}

TEST(build_never_copies_a_block_that_is_damaged_in_its_file)
{
    struct lsm_build b[2];
    struct lsm_iter *it;

    begin_world();
    lsm_cache_set_capacity(w.cache[0], 4 << 20);
    write_one_input(1000);
    it = open_inputs();
    for (lsm_iter_first(it); it->valid; lsm_iter_next(it))
        ;
    CHECK_OK(it->rc);
    lsm_iter_close(it);
    for (int i = 0; i < 2; i++) {
        it = open_inputs();
        b[i] = new_build(1 + i);
        if (i)
            damage_all_blocks();
        CHECK_OK(lsm_build_run(&b[i], it));
        lsm_iter_close(it);
    }
    CHECK(b[0].bytes_copied > b[0].bytes_written / 2);
    CHECK_INT(b[1].bytes_copied, 0);
    CHECK(same_outputs(&b[0], &b[1]));
    lsm_build_clear(&b[0]);
    lsm_build_clear(&b[1]);
    end_world();
}

TEST(build_that_copies_leaves_no_file_when_anything_fails)
{
    uint64_t whole;

    check_failing_builds(1000, &whole);
}

/* Blocks lie across the ends of parts. */
TEST(build_of_a_part_copies_nothing_beyond_it)
{
    static const char *const ends[PART_ENDS] = { "k00000", "k00333", "k00334", "k00700x", "k00999" };
    uint64_t copied, whole;

    check_parts(1000, ends, &copied, &whole);
    CHECK(copied > 0);
}

/* Text, which zstd makes smaller, then what lz makes as small: all of it with zstd, as no look would leave it. */
static void look_for_the_codec(bool in_blocks)
{
    const struct lsm_table_options o = { .block_bytes = 512, .filter_bits = 10, .codec = LSM_CODEC_ZSTD, .level = 3 };
    struct lsm_table_writer *writer;
    struct lsm_table_meta meta;
    struct lsm_build b;
    struct lsm_iter *it;
    struct layout layout;

    begin_world();
    CHECK_OK(lsm_table_writer_open(disk.os, w.dir[0], uuid, 1, 1, &o, w.compressor, 0644, &writer));
    for (int i = 0; i < 4000; i++) {
        uint8_t value[80];
        char key[KEY_MAX];

        for (int k = 0; k < 40; k++)
            value[k] = i < 2000 ? (uint8_t)("etaoinsh"[test_below(8)]) : (uint8_t)test_random();
        memcpy(value + 40, value, 40);
        snprintf(key, KEY_MAX, "k%05d", i);
        lsm_table_writer_add(writer, text(key), lsm_tag(0, LSM_KIND_PUT), lsm_slice(value, sizeof value));
    }
    CHECK_OK(lsm_table_writer_finish(writer, &meta));
    w.source_count = 1;
    w.source[0].metas[w.source[0].table_count++] = lsm_table_meta_copy(disk.os, &meta);
    lsm_table_writer_close(writer);

    w.options = o;
    w.options.level = 1;
    if (in_blocks)
        w.options.filter_bits = 12;     /* so that no partition is copied whole */
    it = open_inputs();
    b = new_build(2);
    CHECK_OK(lsm_build_run(&b, it));
    lsm_iter_close(it);
    look_at_layout(&b, w.tables[2], &layout);
    printf("%d of %d blocks with lz, %d of %d KB copied\n", (int)layout.lz, (int)layout.blocks,
           (int)(b.bytes_copied >> 10), (int)(b.bytes_written >> 10));
    CHECK(b.bytes_copied > b.bytes_written / 8);
    CHECK(in_blocks == (b.bytes_whole == 0));
    CHECK(layout.lz > layout.blocks / 4);
    lsm_build_clear(&b);
    end_world();
}

TEST(build_looks_for_the_right_codec_while_blocks_are_copied)
{
    look_for_the_codec(true);
}

TEST(build_looks_for_the_right_codec_while_partitions_are_copied)
{
    look_for_the_codec(false);
}

/* Of the first block, which is not copied since it overlaps too much: it is cut where its rows need it. */
TEST(build_of_a_block_that_alone_overlaps_too_much_leaves_no_file_empty)
{
    struct lsm_build b[2];
    struct lsm_iter *it;

    begin_world();
    write_one_input(1000);
    memset(w.runs, 0, sizeof w.runs);
    for (int i = 0; i < 12; i++) {      /* between its keys */
        snprintf(w.ends[i][0], KEY_MAX, "k%05d5", i);
        snprintf(w.ends[i][1], KEY_MAX, "k%05d7", i);
        w.runs[i].meta.smallest = text(w.ends[i][0]);
        w.runs[i].meta.largest = text(w.ends[i][1]);
        w.runs[i].meta.size_bytes = 100;
        w.run_list[i] = &w.runs[i];
    }
    w.grand = (struct lsm_level){ .runs = w.run_list, .count = 12 };
    for (int copies = 0; copies < 2; copies++) {
        it = open_inputs();
        b[copies] = new_build(1 + copies);
        b[copies].grand = &w.grand;
        b[copies].grand_bytes_max = 250;
        b[copies].file_bytes = 1 << 20;
        if (!copies)
            b[copies].is_above = NULL;
        CHECK_OK(lsm_build_run(&b[copies], it));
        lsm_iter_close(it);
    }
    CHECK_INT(b[1].count, b[0].count);
    for (size_t k = 0; k < b[0].count && k < b[1].count; k++)
        CHECK_INT(b[1].metas[k]->entries, b[0].metas[k]->entries);
    lsm_build_clear(&b[0]);
    lsm_build_clear(&b[1]);
    end_world();
}

TEST(build_puts_blocks_of_one_small_row_together)
{
    enum { SMALL_TABLES = 150 };
    static struct lsm_table_meta *metas[SMALL_TABLES];
    struct lsm_iter *its[SMALL_TABLES], *it;
    struct layout layout;
    struct lsm_build b;

    begin_world();
    w.options = (struct lsm_table_options){ .block_bytes = 4096, .filter_bits = 10, .codec = LSM_CODEC_NONE, .level = 1 };
    for (uint32_t i = 0; i < SMALL_TABLES; i++) {
        struct lsm_table_writer *writer;
        struct lsm_table_meta meta;
        struct lsm_table *t;
        char key[KEY_MAX], value[300];

        memset(value, 'a', sizeof value);
        snprintf(key, KEY_MAX, "k%05u", i);
        CHECK_OK(lsm_table_writer_open(disk.os, w.dir[0], uuid, 1 + (uint64_t)i, 1, &w.options, w.compressor, 0644,
                                       &writer));
        lsm_table_writer_add(writer, text(key), lsm_tag(0, LSM_KIND_PUT), lsm_slice(value, sizeof value));
        CHECK_OK(lsm_table_writer_finish(writer, &meta));
        metas[i] = lsm_table_meta_copy(disk.os, &meta);
        lsm_table_writer_close(writer);
        CHECK_OK(lsm_tables_get(w.tables[0], metas[i], w.cmp, &t));
        CHECK_OK(lsm_table_iter_new(t, true, &its[i]));
        lsm_table_unref(t);
    }
    CHECK_OK(lsm_merge_new(disk.os, w.cmp, its, SMALL_TABLES, &it));
    b = new_build(2);
    CHECK_OK(lsm_build_run(&b, it));
    lsm_iter_close(it);
    look_at_layout(&b, w.tables[2], &layout);
    CHECK(layout.blocks < SMALL_TABLES / 8);
    lsm_build_clear(&b);
    for (uint32_t i = 0; i < SMALL_TABLES; i++)
        lsm_mem_free(disk.os, metas[i]);
    end_world();
}
