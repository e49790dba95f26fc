/*
 * job.c -- what a flush and a compaction have in common: how their tables are
 * built, and what they do between two MiB.
 */
#include "lsm/db/job.h"

/* What the cache gave up is free, but the process still has it: the kernel must get it before the
   memtables take as much, also while a job runs. It takes milliseconds: without the mutex. */
void lsm_job_trim(struct lsm_db *db)
{
    bool wanted;

    lsm_db_lock(db);
    wanted = db->trim_wanted;
    lsm_db_unlock(db);
    if (!wanted)
        return;
    db->os->mem_trim(db->os);
    lsm_db_lock(db);
    lsm_db_trimmed(db);
    lsm_db_memory_changed(db);
    lsm_db_unlock(db);
}

void lsm_job_pause(struct lsm_db *db)
{
    bool wanted;

    lsm_room_make(db);
    lsm_job_trim(db);
    lsm_db_lock(db);
    wanted = db->ahead_wanted;
    lsm_db_unlock(db);
    if (wanted)
        lsm_ahead_sync(db, 0);
}

static uint64_t new_file(void *ctx)
{
    return lsm_db_new_file(ctx);
}

static int stop_asked(void *ctx)
{
    lsm_job_pause(ctx);
    return LSM_OK;              /* a flush is finished, also at close: it is short */
}

void lsm_job_build_init(struct lsm_db *db, struct lsm_build *b, const struct lsm_tree *tree,
                       struct lsm_compressor *compressor, const uint64_t *snapshots, size_t snapshot_count)
{
    b->os = db->os;
    b->dir = db->dir;
    b->uuid = db->uuid;
    b->tree = tree->id;
    b->table.block_bytes = tree->block_bytes;
    b->table.filter_bits = tree->filter_bits;
    b->table.comparator = tree->cmp;
    b->table.tree_name = lsm_buf_slice(&tree->name);
    b->compressor = compressor;
    b->file_mode = db->file_mode;
    b->values.bytes_min = tree->value_log_bytes;
    b->values.options = (struct lsm_vlog_options){
        tree->compression_level == LSM_COMPRESSION_NONE ? LSM_CODEC_NONE : LSM_CODEC_ZSTD, tree->compression_level };
    b->snapshots = snapshots;
    b->snapshot_count = snapshot_count;
    b->ctx = db;
    b->new_file = new_file;
    b->pause = stop_asked;
    b->verify = db->paranoid ? lsm_paranoid_table : NULL;
    b->verify_ctx = db;
}
