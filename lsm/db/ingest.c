/*
 * ingest.c -- sorted input becomes tables at once: it passes neither the log nor
 * a memtable. The tables are private ones of a transaction (db/txn.c), so that
 * its commit adopts them with one record, and they lie as deep as nothing older
 * overlaps them (db/flush_job.c, adopt). Long values go to value logs, each of which
 * holds those of many tables: all of them come with the last table.
 *
 * All rows have one op number, which is fixed when the ingest begins: what the
 * transaction wrote before is spilled then, what it writes later is newer.
 */
#include "lsm/db/job.h"

#include <assert.h>

#include "lsm/compaction/flush.h"
#include "lsm/format/filename.h"
#include "lsm/store/table_writer.h"

struct lsm_ingest {
    struct lsm_txn *txn;
    struct lsm_tree *tree;
    uint64_t op;                /* of every row */
    uint64_t rows;
    uint64_t file_bytes;
    struct lsm_build build;     /* for its value logs, and the compressor */
    struct lsm_table_writer *writer;    /* NULL: the next row begins a file */
    struct lsm_buf last;        /* key of the last row */
    struct lsm_run **runs;      /* files that are complete */
    uint32_t run_count, run_cap;
    int rc;                     /* a row is missing: what the finish answers, too */
};

static void remove_file(struct lsm_db *db, uint64_t number)
{
    char name[LSM_FILENAME_SIZE];

    db->os->file_remove(db->dir, lsm_filename(name, LSM_FILE_TABLE, number));
}

static void ingest_free(struct lsm_ingest *ingest, bool keep)
{
    struct lsm_db *db = ingest->txn->db;

    if (!keep)
        lsm_values_remove(&ingest->build);
    lsm_build_clear(&ingest->build);
    lsm_table_writer_close(ingest->writer);
    for (uint32_t i = 0; i < ingest->run_count && !keep; i++) {
        remove_file(db, ingest->runs[i]->meta.number);
        lsm_run_unref(ingest->runs[i]);
    }
    if (ingest->build.compressor)
        lsm_compressor_put(db->compressors, ingest->build.compressor);
    lsm_buf_clear(&ingest->last);
    lsm_mem_free(db->os, ingest->runs);
    lsm_mem_free(db->os, ingest);
}

int lsm_ingest_begin(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_ingest **out)
{
    struct lsm_db *db = txn->db;
    struct lsm_ingest *ingest;
    int rc = lsm_db_usable(db);

    *out = NULL;
    if (rc == LSM_OK)
        rc = lsm_db_writable(db);
    if (rc == LSM_OK)
        rc = lsm_tree_check(db, tree);
    if (rc == LSM_OK && txn->no_spill)
        rc = lsm_nomem();       /* a position that is not known here could not be gone back to */
    if (rc == LSM_OK)
        rc = lsm_txn_spill(txn);
    if (rc == LSM_OK)
        rc = lsm_write_begin(db);
    if (rc)
        return rc;
    ingest = lsm_mem_zalloc(db->os, sizeof *ingest);
    if (!ingest)
        return lsm_nomem();
    ingest->txn = txn;
    ingest->tree = tree;
    ingest->op = txn->batch.op_next;
    lsm_buf_init(&ingest->last, db->os);
    lsm_db_lock(db);
    ingest->file_bytes = db->policy.file_bytes;
    lsm_db_unlock(db);
    lsm_job_build_init(db, &ingest->build, tree, NULL, NULL, 0);
    rc = lsm_compressor_take(db->compressors, &ingest->build.compressor);
    if (rc) {
        ingest->build.compressor = NULL;
        ingest_free(ingest, false);
        return rc;
    }
    *out = ingest;
    return LSM_OK;
}

static int open_file(struct lsm_ingest *ingest)
{
    struct lsm_db *db = ingest->txn->db;
    const struct lsm_tree *tree = ingest->tree;
    struct lsm_table_options options = {
        .block_bytes = tree->block_bytes, .filter_bits = tree->filter_bits, .comparator = tree->cmp
    };

    lsm_table_options_at(&options, LSM_LEVEL_COUNT_MAX - 2, tree->compression);
    return lsm_table_writer_open(db->os, db->dir, db->uuid, lsm_db_new_file(db), tree->id, &options,
                                 ingest->build.compressor, db->file_mode, &ingest->writer);
}

static int finish_file(struct lsm_ingest *ingest)
{
    struct lsm_db *db = ingest->txn->db;
    struct lsm_table_meta meta;
    struct lsm_run *run;
    int rc;

    if (ingest->run_count == ingest->run_cap) {
        uint32_t cap = ingest->run_cap ? 2 * ingest->run_cap : 8;
        void *more = db->os->mem_realloc(db->os, ingest->runs, cap * sizeof *ingest->runs);
        if (!more)
            return lsm_nomem();
        ingest->runs = more;
        ingest->run_cap = cap;
    }
    rc = lsm_table_writer_finish(ingest->writer, &meta);
    if (rc)
        return rc;
    meta.created_us = db->os->wall_us(db->os);
    meta.seq_add = LSM_SEQ_OWN;         /* seen as the transaction's own rows until it is published */
    rc = lsm_run_new(db->os, &meta, &run);
    if (rc) {
        remove_file(db, meta.number);
    } else {
        run->goes_deep = true;
        ingest->runs[ingest->run_count++] = run;
    }
    lsm_table_writer_close(ingest->writer);
    ingest->writer = NULL;
    return rc;
}

int lsm_ingest_add(struct lsm_ingest *ingest, struct lsm_slice key, struct lsm_slice value)
{
    struct lsm_db *db = ingest->txn->db;
    uint64_t tag = lsm_tag(ingest->op, LSM_KIND_PUT);
    int rc = LSM_OK;

    if (key.size > LSM_KEY_SIZE_MAX)
        return lsm_fail(LSM_TOOBIG, "key of %zu bytes: the limit is %u", key.size, LSM_KEY_SIZE_MAX);
    if (value.size > LSM_VALUE_SIZE_MAX)
        return lsm_fail(LSM_TOOBIG, "value of %zu bytes: the limit is %u", value.size, LSM_VALUE_SIZE_MAX);
    if (ingest->rows && lsm_key_compare(ingest->tree->cmp, lsm_buf_slice(&ingest->last), key) >= 0)
        return lsm_fail(LSM_MISUSE, "%s: ingest: the key of row %llu is not greater than the one before it: "
                        "sort the input and leave one row per key, or use lsm_txn_put()", db->path,
                        (unsigned long long)ingest->rows + 1);
    if (ingest->writer && lsm_table_writer_size(ingest->writer) >= ingest->file_bytes)
        rc = finish_file(ingest);
    if (rc == LSM_OK && !ingest->writer)
        rc = open_file(ingest);
    if (rc == LSM_OK) {
        lsm_buf_reset(&ingest->last);
        lsm_buf_append_slice(&ingest->last, key);
        rc = ingest->last.rc ? lsm_nomem() : lsm_values_put(&ingest->build, &tag, &value);
    }
    if (rc) {
        ingest->rc = rc;
        return rc;
    }
    lsm_table_writer_add(ingest->writer, key, tag, value);
    ingest->rows++;
    return LSM_OK;              /* the writer keeps its failure until the file is finished */
}

int lsm_ingest_finish(struct lsm_ingest *ingest)
{
    struct lsm_txn *txn = ingest->txn;
    struct lsm_db *db = txn->db;
    const struct lsm_values *values = &ingest->build.values;
    int rc = LSM_OK, error;

    if (ingest->rc)
        rc = lsm_fail(ingest->rc, "%s: ingest: a row could not be added", db->path);
    if (rc == LSM_OK && txn->batch.op_next != ingest->op)
        rc = lsm_fail(LSM_MISUSE, "%s: ingest: the transaction was written to before it was finished", db->path);
    if (rc == LSM_OK)
        rc = lsm_values_finish(&ingest->build);
    if (rc == LSM_OK && ingest->writer)
        rc = finish_file(ingest);
    if (rc == LSM_OK && ingest->run_count)
        rc = lsm_run_set_vlogs(ingest->runs[ingest->run_count - 1], values->metas, values->count);
    if (rc == LSM_OK && ingest->run_count) {
        error = db->os->dir_sync(db->dir);
        if (error)
            rc = lsm_fail_os(error, "sync directory", db->path);
    }
    if (rc == LSM_OK)
        rc = lsm_txn_take_runs(txn, ingest->tree, ingest->runs, ingest->run_count, ingest->op);
    if (rc == LSM_OK)
        atomic_fetch_add_explicit(&db->counters.rows_ingested, ingest->rows, memory_order_relaxed);
    ingest_free(ingest, rc == LSM_OK);
    return rc;
}

void lsm_ingest_abort(struct lsm_ingest *ingest)
{
    if (ingest)
        ingest_free(ingest, false);
}
