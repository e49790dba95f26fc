# list.sh -- what is taken out, one at a time: each sync, each check of the token, each ABORT. Read by run.sh.
#
#   mutant NAME FILE TESTS <<'X'        TESTS: programs of which one must fail; program:filter for part of it
#   the text, once in the file
#   ====
#   what stands there instead
#   X

# ---- syncs of the engine ----

mutant sync_of_a_new_manifest lsm/version/manifest.c 'unit/test_manifest sim/crash_engine' <<'X'
    if (rc == LSM_OK && (error = os->file_sync(*file)))
        rc = fail_sync(error, name);
====
X
mutant directory_sync_of_a_new_manifest lsm/version/manifest.c 'unit/test_manifest sim/crash_engine' <<'X'
    rc = sync_dir(os, dir);                                                         /* step 2 */
====
    rc = LSM_OK;
X
mutant directory_sync_of_CURRENT lsm/version/manifest.c 'unit/test_manifest sim/crash_engine' <<'X'
    return sync_dir(os, dir);                                               /* step 5 */
====
    return LSM_OK;
X
mutant sync_of_an_edit lsm/version/manifest.c 'unit/test_manifest sim/crash_engine' <<'X'
    int error = m->os->file_sync(m->file);
====
    int error = 0;
X
mutant sync_of_a_log_header lsm/store/log.c 'unit/test_log sim/crash_engine sim/crash_commit' <<'X'
    if (rc == LSM_OK && (error = os->file_sync(log->file)))
        rc = fail_sync(error, name);
====
X
mutant sync_of_a_commit lsm/db/write.c 'unit/test_txn sim/crash_engine sim/crash_commit' <<'X'
    return sync ? lsm_write_sync(db) : LSM_OK;
====
    return LSM_OK;
X
mutant sync_of_the_log_itself lsm/store/log.c 'unit/test_log sim/crash_engine' <<'X'
    error = log->os->file_sync(log->file);
    if (error) {
        log->failed = true;
        return fail_sync(error, lsm_filename(name, LSM_FILE_LOG, log->number));
    }
    log->syncs++;
    log->synced = end.size;
====
    error = 0;
    log->syncs++;
    log->synced = end.size;
X
mutant sync_of_a_cut_log lsm/store/log.c 'unit/test_log unit/test_txn' <<'X'
    error = log->os->file_sync(log->file);
    if (error) {
        log->failed = true;
        return fail_sync(error, name);
    }
    log->cuts++;
====
    log->cuts++;
X
mutant sync_of_the_log_before_with_a_record lsm/db/write.c 'unit/test_recover unit/test_commit_threads:power_cut unit/test_order unit/test_chain sim/crash_engine' <<'X'
    int rc = sync ? lsm_write_sync_before(db) : LSM_OK;
====
    int rc = LSM_OK;
X
mutant sync_of_the_log_before_with_a_sync lsm/db/write.c 'unit/test_recover unit/test_writes unit/test_commit_threads:power_cut unit/test_order unit/test_chain sim/crash_engine' <<'X'
    rc = lsm_write_sync_before(db);
    if (rc == LSM_OK)
        rc = lsm_log_sync(&db->log);
    us = db->os->mono_us
====
    rc = lsm_log_sync(&db->log);
    us = db->os->mono_us
X
mutant sync_of_the_log_before_when_a_third_begins lsm/db/write.c 'unit/test_recover unit/test_commit_threads:power_cut unit/test_order unit/test_chain sim/crash_engine' <<'X'
    if (rc == LSM_OK && !later)
        rc = lsm_write_sync_before(db);
====
X
mutant R11_sync_of_a_fresh_log lsm/db/write.c 'unit/test_chain sim/crash_engine sim/crash_commit' <<'X'
        rc = lsm_log_sync(&log);
    if (rc == LSM_OK) {
====
        rc = LSM_OK;
    if (rc == LSM_OK) {
X
mutant R11_directory_sync_of_a_fresh_log lsm/db/write.c 'unit/test_chain sim/crash_engine sim/crash_commit' <<'X'
        int error = db->os->dir_sync(db->dir);
====
        int error = 0;
X
mutant C_05_sync_of_the_old_log_before_the_next lsm/db/write.c 'unit/test_chain sim/crash_engine sim/crash_commit' <<'X'
    if (rc == LSM_OK && !later)
        rc = lsm_log_sync(&db->log);
====
X
mutant directory_sync_of_the_next_log lsm/db/write.c 'unit/test_order unit/test_chain sim/crash_engine sim/crash_commit' <<'X'
        if (rc == LSM_OK && (error = db->os->dir_sync(db->dir)) != 0) {
====
        if (error) {
X
mutant directory_sync_of_a_prepared_log lsm/db/write.c 'unit/test_order unit/test_chain sim/crash_engine sim/crash_commit' <<'X'
    if (db->os->dir_sync(db->dir))
        lsm_write_discard_next(db);
====
X
mutant a_prepared_log_is_not_one_of_the_logs lsm/db/write.c 'unit/test_room_threads:prepared' <<'X'
        number <= list->max && number != list->next && number != atomic_load(&list->db->log_next_number) &&
====
X
mutant C_05_sync_of_the_log_before lsm/db/write.c 'unit/test_recover' <<'X'
    rc = lsm_log_sync(&db->log_before);
====
    rc = LSM_OK;
X
mutant C_05_records_tell_that_the_log_before_is_synced lsm/db/commit.c 'unit/test_recover' <<'X'
    if (sync)                   /* before the records
====
    if (0)                      /* before the records
X
mutant a_flush_gives_way_to_a_fresh_log lsm/db/flush_job.c 'unit/test_recover' <<'X'
    if (db->log_fresh > f->log_number) {
====
    if (0) {
X
mutant a_fresh_log_is_whole lsm/db/write.c 'unit/test_recover' <<'X'
    if (end->size >= size)
        return LSM_OK;
====
    if (size || !size)
        return LSM_OK;
X
mutant a_fresh_log_has_all_that_was_read lsm/db/write.c 'unit/test_recover' <<'X'
    if (rc == LSM_OK && !db->has_log && bytes < bytes_read)
====
    if (0)
X
mutant a_log_that_is_read_is_not_cut lsm/db/write.c 'unit/test_backup' <<'X'
    are_read = db->backups != NULL;
====
    are_read = false;
X
mutant only_files_written_in_place_are_mapped lsm/os/os_posix.c 'unit/test_os_posix_map' <<'X'
        (fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != TMPFS_MAGIC) ||
====
        fs.f_type == 0 ||
X
mutant C_05_a_void_log_is_not_copied lsm/db/write.c 'unit/test_recover' <<'X'
        (number < list->db->void_first || number > list->db->void_last))
====
        true)
X
mutant C_03_sync_of_a_table lsm/store/outfile.c 'unit/test_table unit/test_build sim/crash_engine' <<'X'
    int error = f->os->file_sync(f->file), rc;
====
    int error = 0, rc;
X
mutant C_04_directory_sync_of_flushed_tables lsm/db/flush_job.c 'unit/test_order unit/test_chain sim/crash_engine' <<'X'
    int error = lsm_edit_added_count(&f->edit) ? db->os->dir_sync(db->dir) : 0, rc;
====
    int error = 0, rc;
X
mutant C_04_directory_sync_of_compacted_tables lsm/db/compact_job.c 'unit/test_order unit/test_chain sim/crash_engine' <<'X'
    int error = lsm_edit_added_count(edit) ? db->os->dir_sync(db->dir) : 0, rc;
====
    int error = 0, rc;
X
mutant directory_sync_of_spilled_tables lsm/db/spill.c 'unit/test_order unit/test_txn_spill sim/crash_engine sim/crash_commit' <<'X'
        error = db->os->dir_sync(db->dir);
        if (error)
            rc = lsm_fail_os(error, "sync directory", db->path);
====
        error = 0;
X
mutant sync_at_a_clean_close lsm/db/db.c 'unit/test_order unit/test_db unit/test_chain sim/crash_engine' <<'X'
    else if (db->has_log)
        rc = lsm_write_sync(db);
    if (rc == LSM_OK && !db->manifest.failed
====
    if (rc == LSM_OK && !db->manifest.failed
X

mutant sync_of_a_group_of_commits lsm/db/commit.c 'unit/test_commit_threads:survive_a_power_cut' <<'X'
        rc = lsm_write_sync(db);
        db->commit_sync_us
====
        db->commit_sync_us
X
mutant sync_when_it_is_asked_for lsm/db/commit.c 'unit/test_writes' <<'X'
    else if (db->has_log)
        rc = lsm_write_sync(db);
====
X
mutant directory_sync_of_ingested_tables lsm/db/ingest.c 'unit/test_ingest sim/crash_engine' <<'X'
        error = db->os->dir_sync(db->dir);
        if (error)
            rc = lsm_fail_os(error, "sync directory", db->path);
====
        error = 0;
X
mutant directory_sync_of_a_creation_that_failed lsm/db/db.c 'unit/test_order' <<'X'
    if (os->file_remove(dir, "CURRENT") == 0 && os->dir_sync(dir))
        return;
====
    os->file_remove(dir, "CURRENT");
X
mutant directory_sync_of_a_rewritten_value_log lsm/db/reclaim.c 'unit/test_value_damage sim/crash_engine' <<'X'
    int error = db->os->dir_sync(db->dir), rc;
====
    int error = 0, rc;
X
mutant sync_of_a_copied_table lsm/db/backup.c 'unit/test_backup sim/crash_backup' <<'X'
    error = c->to_os->file_sync(to);
====
    error = 0;
X
mutant sync_of_a_copied_log lsm/db/backup.c 'unit/test_backup sim/crash_backup' <<'X'
        rc = lsm_log_sync(&c->log);
====
        rc = LSM_OK;
X
mutant directory_sync_of_a_copy lsm/db/backup.c 'unit/test_backup sim/crash_backup' <<'X'
    if (rc == LSM_OK && (error = c->to_os->dir_sync(c->to)) != 0)
====
    error = 0;
    if (rc == LSM_OK && error)
X
mutant directory_sync_of_a_repaired_store lsm/db/repair.c 'unit/test_repair sim/crash_backup' <<'X'
    error = p->r.os->dir_sync(p->to);
====
    error = 0;
X
mutant file_sync_of_the_machine lsm/os/os_posix.c 'unit/test_os_posix' <<'X'
        rc = fdatasync(file->fd) ? errno : 0;
====
        rc = 0;
X
mutant directory_sync_of_the_machine lsm/os/os_posix.c 'unit/test_os_posix' <<'X'
        rc = fsync(fd) ? errno : 0;
====
        rc = 0;
X

# ---- syncs beside the database ----

mutant R16_sync_of_the_machine ext/vtab_machine.c 'unit/test_vtab_machine' <<'X'
    while (fsync(fd) != 0 && (error = errno) == EINTR)
        error = 0;
====
X
mutant R16_a_tree_goes_only_with_a_settled_DROP ext/vtab_txn.c 'sim/crash_commit:R16_' <<'X'
        if (!is_settled)
            rc = lsm_vtab_settle(store, false);
====
X
mutant R16_a_sync_that_failed_is_remembered ext/vtab_settle.c 'sim/sweep_commit:R16_' <<'X'
    if (rc == LSM_FSYNC)
        atomic_store(&store->settle_failed, true);
====
X

mutant R16_sync_of_the_wal ext/vtab_settle.c 'sim/crash_commit:R6_ sim/crash_commit' <<'X'
    rc = sync_beside(store->db_path, "-wal");
====
    rc = LSM_OK;
X
mutant R16_sync_of_the_journal ext/vtab_settle.c 'sim/crash_commit:R6_ sim/crash_commit' <<'X'
        rc = sync_beside(store->db_path, "-journal");
====
        rc = LSM_OK;
X
mutant R16_directory_sync_beside_the_database ext/vtab_settle.c 'sim/crash_commit:delete sim/crash_commit' <<'X'
    rc = sync_path(directory, true);
====
    rc = LSM_OK;
X
mutant R16_checkpoint_of_a_suspect_wal ext/vtab_settle.c 'sim/sweep_commit:R16_' <<'X'
    if (suspect) {
====
    if (0 && suspect) {
X

# ---- the rules ----

mutant R1_txid_above_all lsm/db/txn.c 'unit/test_txn' <<'X'
        rec.id.txid = ++db->txid_max;
====
        rec.id.txid = db->decided.txid > db->root.txid ? db->decided.txid + 1 : db->root.txid + 1;
X
mutant R1_a_nonce_in_each_identity lsm/db/write.c 'unit/test_order' <<'X'
    rec->nonce = lsm_hash64(&db->nonce_count, sizeof db->nonce_count, db->nonce_seed[0]) ^ db->nonce_seed[1];
====
    rec->nonce = db->nonce_count;
X
mutant R2_decided_in_each_record lsm/db/txn.c 'unit/test_txn' <<'X'
        rec.decided = db->decided;
        rec.floor = db->floor;
        lsm_db_unlock(db);
        db->os->mutex_unlock(db->publish);
====
        rec.floor = db->floor;
        lsm_db_unlock(db);
        db->os->mutex_unlock(db->publish);
X
mutant R2_floor_in_each_record lsm/db/txn.c 'unit/test_order' <<'X'
        rec.decided = db->decided;
        rec.floor = db->floor;
        lsm_db_unlock(db);
        db->os->mutex_unlock(db->publish);
====
        rec.decided = db->decided;
        lsm_db_unlock(db);
        db->os->mutex_unlock(db->publish);
X
mutant R3_begin_waits_for_the_last_solo lsm/db/txn.c 'unit/test_txn' <<'X'
        bool busy = db->solo_in_flight != NULL;
====
        bool busy = false;
X
mutant R3_begin_publishes_what_its_token_proves lsm/db/txn.c 'unit/test_txn' <<'X'
        rc = lsm_chain_publish_newest(db, base);
        if (rc)
            return rc;
    }
    txn = lsm_mem_zalloc
====
    }
    txn = lsm_mem_zalloc
X
mutant R3_a_database_that_went_back_is_refused lsm/db/chain.c 'unit/test_chain' <<'X'
    if (seen && token->txid < newest.txid)
====
    if (seen && false)
X
mutant R4_a_write_over_what_was_not_seen ext/vtab_txn.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
    return ctx->seq_viewed < lsm_db_seq_published(ctx->store->db);
====
    return 0 && ctx->seq_viewed < lsm_db_seq_published(ctx->store->db);
X
# R5a stands twice: the statement of xBegin is not the COMMIT that runs xSync, either.
mutant R5a_R5b_autocommit_and_one_writer ext/vtab_txn.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
    return ctx->autocommit && ctx->writer && !ctx->token_written && ctx->created == NULL
           && ctx->conn->txn_count == 1 && ctx->page_count >= 0 && atomic_load(&ctx->store->has_joint)
           && page_count(db) == ctx->page_count && lsm_vtab_conn_busy(db).writer == ctx->writer
====
    return !ctx->token_written && ctx->created == NULL
           && ctx->conn->txn_count == 1 && ctx->page_count >= 0 && atomic_load(&ctx->store->has_joint)
           && page_count(db) == ctx->page_count
X
mutant R5b_no_page_was_touched ext/vtab_txn.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
           && page_count(db) == ctx->page_count && lsm_vtab_conn_busy(db).writer == ctx->writer
====
           && lsm_vtab_conn_busy(db).writer == ctx->writer
X
mutant R5b_one_writer ext/vtab_txn.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
           && page_count(db) == ctx->page_count && lsm_vtab_conn_busy(db).writer == ctx->writer
====
           && page_count(db) == ctx->page_count
X
mutant R5c_one_store ext/vtab_txn.c 'unit/test_vtab_txn unit/test_vtab_seen sim/crash_commit' <<'X'
           && ctx->conn->txn_count == 1 && ctx->page_count >= 0
====
           && ctx->page_count >= 0
X
mutant R5d_quiet lsm/db/txn.c 'unit/test_txn' <<'X'
    quiet = lsm_chain_is_quiet(db, &txn->base) && !txn->joint_once;
    lsm_db_unlock(db);
    if (!quiet)
====
    quiet = true;
    lsm_db_unlock(db);
    if (!quiet)
X
mutant R6_a_synced_solo_settles lsm/db/txn.c 'unit/test_txn sim/crash_commit' <<'X'
    if (how->settle)
        return lsm_chain_settle(db);    /* R6 */
====
X
mutant R7_the_record_before_the_token ext/vtab_txn.c 'unit/test_vtab_txn unit/test_vtab_seen sim/crash_commit' <<'X'
    struct lsm_prepare how = { .kind = LSM_PREPARE_JOINT, .sync = synchronous > 0 };
====
    struct lsm_prepare how = { .kind = LSM_PREPARE_JOINT };
X
mutant R7_token_written ext/vtab_txn.c 'unit/test_vtab_txn unit/test_vtab_seen sim/crash_commit' <<'X'
    rc = lsm_vtab_shadow_write_token(ctx, &token, error);
====
    rc = SQLITE_OK;
X
mutant R8_floor_only_where_the_mode_syncs ext/vtab_txn.c 'unit/test_vtab_txn unit/test_vtab_seen sim/crash_commit' <<'X'
    if (synchronous < 2)
        return SQLITE_OK;
====
    *settled = true;
    if (synchronous >= 0)
        return SQLITE_OK;
X
mutant R8_no_floor_while_suspect lsm/db/txn.c 'unit/test_txn' <<'X'
            if (settled && !db->suspect && db->floor.txid < rec->id.txid)
====
            if (settled && db->floor.txid < rec->id.txid)
X
mutant R9_the_ABORT lsm/db/txn.c 'unit/test_txn' <<'X'
    rc = append_abort(db, solo);
    if (rc && db->log.number
====
    rc = LSM_OK;
    if (rc && db->log.number
X
mutant R9_the_ABORT_is_synced lsm/db/txn.c 'unit/test_txn sim/crash_commit' <<'X'
    return lsm_write_append(db, &rec, true);
====
    return lsm_write_append(db, &rec, false);
X
# The second ABORT, in a fresh log, is not alone: where it is missing the log is cut.
mutant R9_the_log_is_cut lsm/db/txn.c 'unit/test_txn' <<'X'
        rc = db->log.number == txn->cut_log ? lsm_log_cut(&db->log, txn->cut_size, txn->cut_chain)
                                            : LSM_OK;
====
        rc = LSM_OK;
X
mutant R9_read_only_at_last lsm/db/txn.c 'unit/test_txn' <<'X'
        lsm_db_set_health(db, LSM_HEALTH_READ_ONLY, rc, why);
        rc = lsm_fail(LSM_READONLY, "%s: a transaction could not
====
        rc = lsm_fail(LSM_READONLY, "%s: a transaction could not
X
mutant R9_a_failed_sync_is_taken_back_too lsm/db/txn.c 'unit/test_txn' <<'X'
    if (rc && (rec.type == LSM_RECORD_JOINT || !db->log.failed)) {
====
    if (rc) {
X
mutant R9_recovery_heeds_the_ABORT lsm/db/chain.c 'unit/test_txn sim/crash_commit' <<'X'
        else if (!lsm_series_is_aborted(db, &r->rec.id))
====
        else
X
mutant R10_a_rolled_back_joint_stays lsm/db/txn.c 'unit/test_chain' <<'X'
        disown_prepared(txn);           /* R10: decides nothing */
====
        { db->os->mutex_lock(db->publish); lsm_chain_remove_hidden(db, rec); db->os->mutex_unlock(db->publish); }
X
mutant R11_after_a_failure_a_fresh_log lsm/db/write.c 'unit/test_chain' <<'X'
    return atomic_load(&db->writing_begun) && db->has_log && !db->log.failed && !atomic_load(&db->carry.is_pending);
====
    return atomic_load(&db->writing_begun) && db->has_log && !atomic_load(&db->carry.is_pending);
X
mutant R11_live_records_are_copied lsm/db/write.c 'unit/test_chain sim/crash_engine' <<'X'
    rc = copy_live(db, &log, taken);
====
    rc = LSM_OK;
X
mutant R12_exact_match lsm/db/chain.c 'unit/test_chain' <<'X'
    rc = mark_path(db, token, on_path);
====
    rc = mark_path(db, token, on_path);
    for (uint32_t i = 0; i < db->record_count; i++)
        on_path[i] |= db->records[i]->type == LSM_RECORD_JOINT && db->records[i]->id.txid <= token->txid;
X
mutant R12_a_solo_needs_its_base lsm/db/chain.c 'unit/test_series' <<'X'
        if (rec->series && (on_path[i] || (rec->series->has_solos_first && is_next)))
====
        if (rec->series && (on_path[i] || rec->series->has_solos_first))
X
mutant R13_a_token_shows_what_it_proves lsm/db/snapshot.c 'unit/test_chain unit/test_txn' <<'X'
        rc = lsm_chain_publish(db, token);
====
        rc = LSM_OK;
X
mutant R14_own_token_is_no_evidence ext/vtab_pin.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
    if (ctx->txn) {             /* R14
====
    if (0) {                    /* R14
X
mutant R15_nothing_is_flushed_before_a_token lsm/db/flush_job.c 'unit/test_chain' <<'X'
    if (hidden && !seen) {
====
    if (0 && hidden && !seen) {
X
mutant R15_a_database_older_than_the_store lsm/db/chain.c 'unit/test_chain' <<'X'
    if (token->txid < oldest.txid && !seen)
====
    if (0 && token->txid < oldest.txid && !seen)
X
mutant R14_the_own_token_is_no_evidence ext/vtab_pin.c 'unit/test_vtab_txn:R14' <<'X'
    if (ctx->txn) {             /* R14
====
    if (0 && ctx->txn) {             /* R14
X
mutant R15_a_carried_record_needs_its_log lsm/db/carry.c 'unit/test_carry_taken' <<'X'
        if (rc == LSM_OK && !had_log(db, lsm_redo_log(bytes)))
====
        if (0 && rc == LSM_OK && !had_log(db, lsm_redo_log(bytes)))
X
mutant R11_copies_of_what_was_flushed_are_none lsm/db/recover.c 'unit/test_order' <<'X'
    if (rec->id.txid < r->first_txid)
        return LSM_OK;
====
X
mutant R15_the_first_commit_settles ext/vtab_txn.c 'unit/test_vtab_process' <<'X'
        (void)lsm_db_settle_creation(ctx->store->db);   /* R15; of a failure nobody can be told any more */
====
X
mutant R15_the_first_commit_asks_the_host lsm/db/db.c 'unit/test_chain' <<'X'
    if (rc == LSM_OK)
        rc = lsm_chain_settle(db);
    if (rc == LSM_OK) {
        lsm_db_lock(db);
        edit.has
====
    if (rc == LSM_OK) {
        lsm_db_lock(db);
        edit.has
X
mutant R15_the_first_commit_syncs_a_bare_record lsm/db/db.c 'unit/test_chain' <<'X'
    if (rc == LSM_OK && db->carry.bare)
        rc = lsm_write_sync(db);
====
X
mutant R15_the_first_commit_asks_whether_it_is_quiet lsm/db/db.c 'unit/test_chain' <<'X'
        rc = lsm_fail(LSM_BUSY, "%s: another joint transaction is undecided", db->path);
    lsm_db_unlock(db);
    if (rc == LSM_OK && db->carry.bare)
====
        rc = LSM_OK;
    lsm_db_unlock(db);
    if (rc == LSM_OK && db->carry.bare)
X
mutant R15_the_creation_is_not_tried_at_each_commit lsm/db/db.c 'unit/test_chain' <<'X'
    if (tries & (tries - 1))    /* where it fails, each commit would cost a sync */
        return LSM_OK;
====
X
mutant R15_the_creation_is_tried_again lsm/db/db.c 'unit/test_chain' <<'X'
    if (tries & (tries - 1))    /* where it fails, each commit would cost a sync */
====
    if (tries > 1)
X
mutant R16_a_checkpoint_leaves_no_older_frames ext/vtab_settle.c 'sim/sweep_commit:R16_' <<'X'
"main", SQLITE_CHECKPOINT_TRUNCATE,
====
"main", SQLITE_CHECKPOINT_PASSIVE,
X
mutant R16_an_undecided_base_is_suspect lsm/db/txn.c 'unit/test_order' <<'X'
        if (!lsm_token_equal(&txn->base, &db->decided))
            db->suspect = true;
====
X
mutant R16_suspect_also_after_an_open lsm/db/recover.c 'unit/test_chain' <<'X'
        if (!lsm_token_equal(&rec->base, &rec->decided))
            db->suspect = true;
====
X
mutant R16_a_failed_sync_is_not_tried_again lsm/db/chain.c 'unit/test_txn' <<'X'
    if (failed)
        return lsm_fail(LSM_BUSY
====
    if (0 && failed)
        return lsm_fail(LSM_BUSY
X
mutant R17_flush_only_when_quiet lsm/db/flush_job.c 'unit/test_chain' <<'X'
    if (!lsm_flush_is_quiet(db)) {
        lsm_write_slot_give(db);
====
    if (0 && !lsm_flush_is_quiet(db)) {
        lsm_write_slot_give(db);
X
mutant R17_flush_after_settling lsm/db/flush_job.c 'unit/test_chain' <<'X'
        if (rc == LSM_OK && db->has_host)
            rc = lsm_chain_settle(db);
====
X
mutant R18_the_token_of_the_own_snapshot ext/vtab_pin.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
    is_known = has_version && ctx->token_cached && ctx->token_data_version == data_version;
====
    is_known = ctx->token_cached;
X
mutant R19_the_pin_stays_in_a_transaction ext/vtab_pin.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
    if (--ctx->cursor_count == 0 && !ctx->pin_explicit)
====
    if (--ctx->cursor_count == 0)
X
mutant R19_the_pin_ends_with_the_transaction ext/vtab_pin.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
        if (ctx->pin_explicit && ctx->cursor_count == 0)
            lsm_vtab_pin_end(ctx);
====
X
mutant R20_the_horizon lsm/db/snapshot.c 'unit/test_chain' <<'X'
        if (*seq >= db->horizon)
            return LSM_OK;
====
        return LSM_OK;
X
mutant R20_a_flush_raises_the_horizon lsm/db/snapshot.c 'unit/test_chain' <<'X'
    if (db->horizon < now)
        db->horizon = now;
====
X

mutant R6_a_solo_asks_what_synchronous_is ext/vtab_txn.c 'unit/test_vtab_redo' <<'X'
    if (!is_solo && ctx->normal_left) {
====
    if (ctx->normal_left) {
X

# ---- keys that are new ----

mutant insert_asks_its_own_tables lsm/db/absent.c 'unit/test_absent' <<'X'
    for (uint32_t i = 0; i < txn->run_count; i++)
        if (!begin_run(a, txn->runs[i]))
            return false;
====
    (void)txn;
X
mutant insert_asks_the_newest_view lsm/db/absent.c 'unit/test_absent' <<'X'
    if (a->view && a->view == atomic_load_explicit(&db->view, memory_order_acquire))
====
    if (a->view)
X
mutant insert_asks_memtables lsm/db/absent.c 'unit/test_absent' <<'X'
    if (!units_lack(a, key))
        return false;
====
    (void)units_lack;
X
mutant insert_looks_for_its_own_key lsm/db/absent.c 'unit/test_absent' <<'X'
    return a->look.begun && a->look.tree == tree && a->look.hash == hash && a->look.key_size == key.size &&
====
    (void)hash;
    return a->look.begun && a->look.tree == tree && a->look.key_size == key.size &&
X
mutant insert_looks_into_what_it_spilled_since lsm/db/absent.c 'unit/test_absent' <<'X'
           a->look.op_next == txn->batch.op_next && a->look.txn_runs == txn->run_count;
====
           a->look.op_next == txn->batch.op_next;
X
mutant insert_spills_before_it_asks lsm/db/txn.c 'unit/test_absent' <<'X'
    int rc = prepare_write(txn, tree, key, value);    /* first: it may move the key's row to a table */

    if (rc)
        return rc;
    if (!lsm_absent_from_tables(txn, tree, key))
        return LSM_EXISTS;
====
    int rc = lsm_absent_from_tables(txn, tree, key) ? prepare_write(txn, tree, key, value) : LSM_EXISTS;

    if (rc)
        return rc;
X
mutant memtable_the_next_leaf_may_have_the_key lsm/store/memtree.c 'unit/test_memtable' <<'X'
    uint32_t row = path->high;
====
    uint32_t row = 0;
X

mutant memtable_ways_of_a_group_are_looked_at_again lsm/store/memtree.c 'unit/test_memtable' <<'X'
        if (node_perm(&path->step[level].node->keys) != path->step[level].perm)
            return false;
====
X
mutant memtable_ways_of_a_group_begin_at_the_root lsm/store/memtree.c 'unit/test_memtable' <<'X'
    if (!place->root || place->root != atomic_load_explicit(&tree->root, memory_order_relaxed))
====
    if (!place->root)
X

# ---- carried records ----

mutant R7a_not_behind_a_bare_record lsm/db/carry.c 'unit/test_carry unit/test_carry_taken sim/crash_commit' <<'X'
    if (db->carry.bare || rec->adopted_count
====
    if (rec->adopted_count
X
mutant R7a_not_what_adopts_tables lsm/db/carry.c 'unit/test_carry unit/test_carry_taken unit/test_order sim/crash_commit' <<'X'
    if (db->carry.bare || rec->adopted_count
====
    if (db->carry.bare
X
mutant R7b_a_row_stays_until_a_sync_covers_it lsm/db/carry.c 'unit/test_carry:R7b sim/crash_commit' <<'X'
        lsm_area_take(&db->carry.area, off, frame->size);
====
        lsm_area_take(&db->carry.area, off, frame->size);
        lsm_area_reset(&db->carry.area);
X
mutant R7b_what_a_sync_beside_writers_covers lsm/db/ahead.c 'unit/test_carry:R7b_a_record' <<'X'
        lsm_carry_covered_to(db, &a->end, a->mark);
====
        lsm_carry_covered_to(db, &a->end, lsm_area_mark(&db->carry.area));
X
mutant R7b_the_sync_beside_writers lsm/db/ahead.c 'unit/test_carry:R7b_a_sync sim/crash_commit' <<'X'
    error = db->os->file_sync(file);
====
    error = 0;
X
mutant R7b_a_sync_beside_writers_that_failed lsm/db/ahead.c 'unit/test_carry:R7b_nor unit/test_ahead_threads' <<'X'
        db->ahead_failed = a->end.number;
====
        rc = LSM_OK;
X
mutant no_two_syncs_of_the_log_at_a_time lsm/db/write.c 'unit/test_ahead_threads' <<'X'
    assert(db->log_busy);
    lsm_ahead_wait(db);
====
    assert(db->log_busy);
X
mutant R7b_the_lap_before lsm/db/area.c 'unit/test_area' <<'X'
        area->old_from = area->from;
====
        area->old_from = area->next;
X

mutant R7a_the_flag_before_the_first lsm/db/carry.c 'unit/test_carry unit/test_carry_taken sim/crash_commit' <<'X'
    rc = lsm_write_edit(db, &edit, 0);
    lsm_edit_clear(&edit);
    if (rc == LSM_OK) {
        lsm_db_lock(db);
        db->carry.flag = true;
====
    rc = LSM_OK;
    lsm_edit_clear(&edit);
    if (rc == LSM_OK) {
        lsm_db_lock(db);
        db->carry.flag = true;
X

mutant R15_rows_only_where_the_log_may_lack_some lsm/db/carry.c 'unit/test_carry_taken sim/crash_pair' <<'X'
    if (!lsm_chain_has(db, token) && !flag)
====
    if (0)
X
mutant R15_no_row_behind_a_solo_that_is_missing lsm/db/carry.c 'unit/test_carry_taken' <<'X'
        if (rc == LSM_OK && !has_solo)
            return
====
        if (0)
            return
X
mutant R15_a_solo_that_cannot_be_looked_for_is_not_missing lsm/db/carry.c 'unit/test_carry_taken' <<'X'
        if (rc == LSM_OK && !has_solo)
            return
====
        if (!has_solo)
            return
X
mutant R15_a_solo_in_tables_is_not_missed lsm/db/carry.c 'unit/test_carry_taken' <<'X'
    if (lsm_token_equal(base, &root))
        return LSM_OK;
====
X
mutant M_06_writers_work_where_there_is_no_thread lsm/db/throttle.c 'unit/test_machine' <<'X'
        work_instead(db);
====
        lsm_worker_wake(db);
X
mutant R12_a_repair_follows_the_token lsm/db/repair_read.c 'sim/crash_commit:C_02' <<'X'
        if (!is_exact || (!is_whole
====
        if (1 || (!is_whole
X
mutant R15_a_repair_takes_what_the_host_carries lsm/db/repair_read.c 'unit/test_carry_taken' <<'X'
        rc = keep_carried(r);
====
        rc = LSM_OK;
X
mutant R15_lsm_accept_asks_the_rows ext/vtab_repair.c 'sim/crash_commit:C_0' <<'X'
            redo_rc = lsm_vtab_redo_supply(&w->ctx, error);
====
            redo_rc = SQLITE_OK;
X
mutant R15_lsm_check_asks_the_rows ext/vtab_check.c 'sim/crash_commit:C_0' <<'X'
        rc = lsm_vtab_redo_supply(ctx, error);
====
        rc = SQLITE_OK;
X
mutant R15_lsm_backup_all_asks_the_rows ext/vtab_backup.c 'sim/crash_commit:C_0' <<'X'
        rc = supply_redo(p, error);
====
        rc = SQLITE_OK;
X

# ---- a tree that the MANIFEST has lost ----

mutant rows_of_a_lost_tree_are_the_next_trees lsm/db/recover.c 'unit/test_tree' <<'X'
    if (rec->tree_max < db->next_tree)
====
    if (1)
X

mutant the_MANIFEST_grows_for_ever lsm/db/write.c 'unit/test_tree:begins_anew' <<'X'
    if (rc == LSM_OK && (db->manifest.failed || lsm_manifest_is_long(&db->manifest))) {
====
    if (rc == LSM_OK && db->manifest.failed) {
X

# ---- scans ----

mutant a_scan_asks_for_no_value_ahead lsm/db/value.c 'unit/test_cursor_scan' <<'X'
            lsm_vlog_prefetch(vlog, &h, s->window);
====
X

mutant no_cache_is_not_heard lsm/db/cursor.c 'unit/test_cursor_scan' <<'X'
    bool no_cache = read && read->no_cache, same;
====
    bool no_cache = false, same;
X

# ---- back-pressure ----

mutant G_writers_pay_nothing lsm/db/throttle.c 'unit/test_throttle_threads' <<'X'
        us = us < PAY_US_MAX ? us : PAY_US_MAX;
====
        us = 0;
X
mutant G_small_writes_are_stopped lsm/db/throttle.c 'unit/test_throttle_threads' <<'X'
#define STOP_DEBT 1500
====
#define STOP_DEBT 1000
X
mutant G_the_end_of_a_stall_waits_for_a_writer lsm/db/throttle.c 'unit/test_throttle_threads' <<'X'
        tell_stall(db, false);
}

void lsm_throttle_flushed(
====
        (void)db;
}

void lsm_throttle_flushed(
X

# ---- what a damaged file says ----

mutant paranoid_takes_a_log_with_a_hole lsm/db/recover.c 'unit/test_options' <<'X'
    else if (db->paranoid)
====
    else if (0)
X
mutant records_behind_a_hole_are_not_told lsm/store/frame.c 'unit/test_options' <<'X'
            r->beyond += off + i > bad;
====
X
mutant check_tells_of_a_value_log_for_each_row lsm/db/check.c 'unit/test_check' <<'X'
    if (!is_told(c, why))
====
X
mutant a_failed_move_is_forgotten lsm/db/cursor.c 'unit/test_check' <<'X'
    return c->visible.rc ? c->visible.rc : lsm_fail(
====
    return lsm_fail(
X

# ---- which log a large transaction's record is in ----

mutant the_next_log_may_be_older_than_what_committed_before_it lsm/db/write.c 'unit/test_repair' <<'X'
    if (number > db->log.number && number + 1 == atomic_load(&db->next_file)) {
====
    if (number > db->log.number) {
X

# ---- one shared cache ----

mutant P_a_shared_cache_commits_under_a_reader ext/vtab_txn.c 'unit/test_vtab_surroundings' <<'X'
    if (lsm_vtab_pin_is_in_the_way(ctx))
====
    if (0)
X
mutant P_a_private_reader_is_in_the_way_of_a_shared_cache ext/vtab_pin.c 'unit/test_vtab_surroundings' <<'X'
 || atomic_load(&ctx->store->is_shared);
====
;
X
mutant P_an_opened_store_has_no_uuid_yet ext/vtab_conn.c 'unit/test_vtab_open_threads' <<'X'
        lsm_db_uuid(db, store->uuid);   /* first: whoever waited compares it as soon as it is let go on */
    store->db = db;
    store->opening = false;
    registry_leave();
====
        store->db = db;
    store->opening = false;
    registry_leave();
    if (db)
        lsm_db_uuid(db, store->uuid);
X

mutant P_nobody_sees_that_a_cache_is_shared ext/vtab_conn.c 'unit/test_vtab_surroundings' <<'X'
            atomic_store(&store->is_shared, true);
====
            ;
X

# ---- an older copy put into an open database; a backup beside a writer ----

mutant D_check_takes_an_older_copy_for_a_transaction_from_before ext/vtab_check.c 'unit/test_vtab_seen' <<'X'
    return rc == SQLITE_OK ? check_newest(ctx, &token, error) : rc;
====
    return rc;
X
mutant D_check_takes_a_transaction_from_before_for_an_older_copy ext/vtab_shadow.c 'unit/test_vtab_seen' <<'X'
        *is_old = memcmp(token, &newest, sizeof newest) != 0;
====
        *is_old = false;
X
mutant D_backup_of_an_older_copy_says_begin_anew lsm/db/backup.c 'unit/test_backup' <<'X'
        rc = lsm_chain_publish_newest(db, token);
====
        rc = lsm_chain_publish(db, token);
X
mutant a_log_that_a_flush_gave_up_is_looked_for lsm/db/write.c 'unit/test_backup' <<'X'
.max = db->has_log ? db->log.number : UINT64_MAX,
====
.max = UINT64_MAX,
X
mutant backup_reads_what_a_writer_writes lsm/db/backup.c 'unit/test_backup' <<'X'
    if (number == c->b->end.number)
====
    if (0)
X

# ---- a cursor that a transaction uses again ----

mutant used_cursor_of_another_memtable lsm/db/cursor.c 'unit/test_cursor_txn' <<'X'
    return c->own_mem == own->batch.mem && !c->own_runs
====
    return !c->own_runs
X
mutant used_cursor_without_later_range_deletes lsm/db/cursor.c 'unit/test_cursor_txn' <<'X'
           !own_has_ranges(own);
====
           true;
X
mutant used_cursor_without_spilled_tables lsm/db/cursor.c 'unit/test_cursor_txn' <<'X'
!c->own_runs && !own->run_count &&
====
X

# ---- bytes that are hostile ----

mutant lz_match_begins_within_what_was_written lsm/format/lz.c 'unit/test_lz' <<'X'
            s->offset > (size_t)(to - raw) + s->literals)
====
            0)
X
mutant lz_match_ends_within_the_block lsm/format/lz.c 'unit/test_lz' <<'X'
        if (s->match > room - s->literals || s->offset == 0 ||
====
        if (s->offset == 0 ||
X
mutant lz_literals_are_there lsm/format/lz.c 'unit/test_lz' <<'X'
        if (s->literals > left || s->literals > room)
====
        if (s->literals > room)
X
mutant lz_is_said_in_the_header lsm/store/table_writer.c 'unit/test_table_damage' <<'X'
    return (w->options.codec == LSM_CODEC_LZ || may_choose(w) ? LSM_TABLE_INCOMPAT_LZ : 0) |
====
    return
X

# ---- what SQLite is told ----

mutant moved_database_file ext/vtab_txn.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
            == SQLITE_OK && moved)
====
            == SQLITE_OK && 0 && moved)
X
mutant discarded_tables_of_a_rolled_back_create ext/vtab_txn.c 'unit/test_vtab_txn unit/test_vtab_seen unit/test_vtab_faults' <<'X'
            lsm_txn_discard_tree(ctx->txn, created->tree);
====
            (void)0;
X
mutant drop_behind_a_write_ends_with_its_transaction ext/vtab_pin.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
        if (ctx->has_stand_in)
            lsm_vtab_txn_end(ctx, commit);
====
X
mutant read_uncommitted_is_refused ext/vtab_pin.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
    if (is_on)
====
    if (0 && is_on)
X
mutant transaction_rolled_back_beneath_us ext/vtab_txn.c 'unit/test_vtab_faults' <<'X'
    if (sqlite3_txn_state(ctx->conn->db, ctx->schema) == SQLITE_TXN_WRITE)
====
    if (1)
X
mutant idle_store_flushes_its_deletes lsm/db/idle.c 'unit/test_idle_threads' <<'X'
        db->idle_flush = db->flush_wanted = true;
====
X
mutant idle_store_is_woken_by_deletes lsm/db/idle.c 'unit/test_idle_threads' <<'X'
    return db->is_resting && atomic_load(&db->seq_published) != db->idle_seq && has_deletes(db);
====
    return false;
X
mutant close_ends_a_compaction lsm/db/compact_job.c 'unit/test_close_threads' <<'X'
    if (stop)
        return lsm_fail(LSM_BUSY, "%s: closing", db->path);
====
X
mutant hole_in_a_log_is_not_read lsm/store/frame.c 'unit/test_log_hole' <<'X'
    if (data > r->file_size)
        return r->file_size;
====
    return r->file_size;
X
mutant files_without_a_job_are_swept lsm/db/worker.c 'unit/test_idle_threads:files' <<'X'
    if (rc == LSM_DONE && lsm_obsolete_waits(db))
====
    if (0 && lsm_obsolete_waits(db))
X
mutant last_cursor_wakes_the_sweep lsm/db/cursor.c 'unit/test_idle_threads:files' <<'X'
    if (lsm_obsolete_waits(db))         /* it may have been the last that saw a file */
====
    if (0)
X
mutant new_MANIFEST_says_where_a_closed_log_ends lsm/db/recover.c 'unit/test_recover' <<'X'
    if (!db->has_log && db->log_closed.number) {
====
    if (false) {
X
mutant closed_log_behind_which_one_was_begun_ends_where_it_did lsm/db/recover.c 'unit/test_recover' <<'X'
        if (rc == LSM_OK && number == clean_end->number &&
====
        if (false &&
X

# ---- the records of the logs, as places ----

mutant series_have_no_bytes lsm/db/series.c 'unit/test_series' <<'X'
    bare.ops = lsm_slice(NULL, 0);
====
X
mutant series_are_of_more_than_one_record lsm/db/series.c 'unit/test_series' <<'X'
        grow(last, rec, from, to);
        return LSM_OK;
====
        (void)grow;
X
mutant series_ends_where_a_joint_was_abandoned lsm/db/series.c 'unit/test_series' <<'X'
    if (last && last->series->log == from->number && !last->series->is_alone && !is_alone &&
        lsm_token_equal(&rec->base, newest_joint(last))) {
====
    if (last && last->series->log == from->number && !last->series->is_alone && !is_alone) {
X
mutant series_ends_with_its_log lsm/db/series.c 'unit/test_series unit/test_recover unit/test_chain' <<'X'
    if (last && last->series->log == from->number && !last->series->is_alone
====
    if (last && !last->series->is_alone
X
mutant series_of_what_adopts_tables_is_alone lsm/db/series.c 'unit/test_private_values unit/test_txn_spill unit/test_order' <<'X'
    if (last && last->series->log == from->number && !last->series->is_alone && !is_alone &&
====
    if (last && last->series->log == from->number &&
X
mutant R11_a_copy_is_not_copied_again lsm/db/write.c 'unit/test_series' <<'X'
    if (is_copied(c, &rec))
        return LSM_OK;
====
    (void)is_copied;
X
mutant R11_an_ABORT_is_copied_once lsm/db/write.c 'unit/test_series' <<'X'
    bool was_copied = known ? known->is_copied : rec->id.txid <= c->txid;
====
    bool was_copied = !known && rec->id.txid <= c->txid;
X
mutant series_passes_over_copies lsm/db/series.c 'unit/test_series' <<'X'
        if (r->rec.type == LSM_RECORD_ABORT || r->rec.id.txid <= r->txid)       /* that: a copy */
====
        if (r->rec.type == LSM_RECORD_ABORT)
X
mutant series_passes_over_ABORTs lsm/db/series.c 'unit/test_series' <<'X'
        if (r->rec.type == LSM_RECORD_ABORT || r->rec.id.txid <= r->txid)       /* that: a copy */
====
        if (r->rec.id.txid <= r->txid)
X
mutant series_is_cut_where_the_token_lies lsm/db/chain.c 'unit/test_series' <<'X'
        rc = lsm_series_cut(db, i, id);
====
        rc = LSM_NOTFOUND;
X
mutant series_is_cut_behind_the_solos_on_the_token lsm/db/series.c 'unit/test_series' <<'X'
        if (found)
            break;
====
X
mutant series_cut_keeps_what_comes_next lsm/db/series.c 'unit/test_series' <<'X'
    lsm_chain_add_hidden(db, rest);
====
    lsm_prepared_free(db->os, rest); rest = NULL;
X
mutant series_that_changed_is_damage lsm/db/series.c 'unit/test_series' <<'X'
        if (rc == LSM_DONE)
            return changed(r);
====
        if (rc == LSM_DONE)
            return rc;
X
mutant series_first_solos_are_not_published_twice lsm/db/chain.c 'unit/test_series' <<'X'
        advance(s, off, chain, g->id.txid + 1);
====
        (void)off, (void)chain;
X
mutant series_solos_of_a_token_that_is_not_shown_stay_hidden lsm/db/chain.c 'unit/test_series unit/test_chain' <<'X'
        if (r->rec.type == LSM_RECORD_JOINT && !is_all)
            break;
====
X
mutant series_last_solos_are_published lsm/db/chain.c 'unit/test_series unit/test_recover' <<'X'
        rc = publish_group(p, s, lsm_buf_slice(&p->group.ops), s->end, s->end_chain);
====
        rc = LSM_OK;
X
mutant series_solos_come_before_the_joint_behind_them lsm/db/chain.c 'unit/test_series' <<'X'
    int rc = publish_gathered(p, series->series);

    if (rc)
        return rc;
    one.seq_begin
====
    int rc = LSM_OK;

    one.seq_begin
X
mutant series_solos_come_before_the_large_one_behind_them lsm/db/chain.c 'unit/test_series' <<'X'
    int rc = is_small ? LSM_OK : publish_gathered(p, s);
====
    int rc = LSM_OK;
X
mutant series_that_failed_half_way_is_not_whole lsm/db/chain.c 'unit/test_series' <<'X'
        return db->token_seen && !db->is_half_published;
====
        return db->token_seen;
X
mutant series_that_failed_half_way_goes_on_there lsm/db/chain.c 'unit/test_series' <<'X'
    advance(series->series, frames->off, frames->chain, rec->id.txid + 1);
====
X
mutant series_rows_that_a_failure_left_are_behind_the_link lsm/db/chain.c 'unit/test_series' <<'X'
    series->seq_begin = rc ? one.seq_begin : 0;
====
    series->seq_begin = 0;
X
mutant series_keeps_its_log lsm/db/obsolete.c 'unit/test_series' <<'X'
    old.log_min = hidden_min < old.log_min ? hidden_min : old.log_min;
====
    (void)hidden_min;
X
mutant series_copy_is_of_the_same_record lsm/db/recover.c 'unit/test_series' <<'X'
        if (rc == LSM_OK && !lsm_token_equal(&c->rec.id, &rec->id))
            rc = LSM_DONE;
====
X
mutant series_solo_is_looked_for_within lsm/db/series.c 'unit/test_carry_taken' <<'X'
    while (rc == LSM_OK && !*has && (rc = lsm_series_next(&r, db)) == LSM_OK)
====
    while (false)
X

# ---- a compaction in parts ----

mutant a_part_ends_within_a_run_of_the_output_level lsm/compaction/divide.c 'unit/test_divide' <<'X'
    if (p->lower_at < job->lower_count && is_open_at(p, job->lower[p->lower_at], key))
        return false;
====
X
mutant a_part_ends_within_a_range_delete_of_a_comparator lsm/compaction/divide.c 'unit/test_divide' <<'X'
        if (job->upper[i]->meta.range_deletes && is_open_at(p, job->upper[i], key))
            return false;
====
        ;
X
mutant a_part_ends_with_the_longest_key lsm/compaction/divide.c 'unit/test_divide' <<'X'
        return key.size < LSM_KEY_SIZE_MAX;     /* a range delete goes on from key ‖ 0 */
====
        return true;
X
mutant parts_of_one_file lsm/compaction/divide.c 'unit/test_divide' <<'X'
    uint64_t parts = bytes / (PART_FILES * file_bytes), slices
====
    uint64_t parts = bytes / file_bytes, slices
X
mutant a_part_leaves_out_its_last_key lsm/compaction/compact.c 'unit/test_parts' <<'X'
    b->base.valid = b->it->valid && (!b->upto.data || lsm_key_compare(b->cmp, b->it->key, b->upto) <= 0);
====
    b->base.valid = b->it->valid && (!b->upto.data || lsm_key_compare(b->cmp, b->it->key, b->upto) < 0);
X
mutant a_part_begins_with_the_last_key_before_it lsm/compaction/compact.c 'unit/test_parts' <<'X'
        lsm_iter_seek(b->it, b->after, 0);      /* behind its versions, where that is a key */
        while (b->it->valid && lsm_key_compare(b->cmp, b->it->key, b->after) <= 0)
            lsm_iter_next(b->it);
====
        lsm_iter_seek(b->it, b->after, LSM_TAG_MAX);
X
mutant a_range_delete_is_whole_in_each_part lsm/compaction/compact.c 'unit/test_parts' <<'X'
        hi = lsm_buf_slice(&c->to);
====
        ;
X
mutant a_range_delete_ends_before_the_last_key_of_a_part lsm/compaction/compact.c 'unit/test_parts' <<'X'
    lsm_buf_put_u8(bound, 0);
    return bound->rc;
====
    return bound->rc;
X
mutant parts_are_installed_before_they_are_done lsm/compaction/parts.c 'unit/test_parts_threads' <<'X'
    while (p->installed + n < p->admitted && p->part[(p->installed + n) % p->slots].state == DONE)
====
    while (p->installed + n < p->admitted && p->part[(p->installed + n) % p->slots].state != FREE)
X
mutant a_part_that_failed_is_not_missed lsm/compaction/parts.c 'unit/test_parts' <<'X'
    note_failure(p, rc);
    os->cond_broadcast(p->changed);
    return true;
====
    os->cond_broadcast(p->changed);
    return true;
X
mutant parts_that_are_done_leave_their_files lsm/compaction/parts.c 'unit/test_parts_threads' <<'X'
            if (p->part[i].is_built)
                lsm_compact_remove(&p->part[i].c);
====
X
mutant the_store_waits_for_parts_of_others lsm/compaction/parts.c 'unit/test_parts_threads' <<'X'
    rc = whole->pause ? whole->pause(whole->ctx) : LSM_OK;
====
    rc = LSM_OK;
X
mutant more_parts_than_memory_has_room_for lsm/db/compact_job.c 'unit/test_parts_threads' <<'X'
    return (uint32_t)(parts < fit ? parts : fit);
====
    return (uint32_t)(parts + 0 * fit);
X
mutant two_processors_have_two_parts lsm/db/compact_job.c 'unit/test_parts_threads' <<'X'
        parts = cpus / PART_CPUS;
====
        parts = cpus;
X
mutant processors_that_are_used_are_free lsm/db/compact_job.c 'unit/test_parts_threads' <<'X'
        parts = parts < 1 + free ? parts : 1 + free;    /* the worker's own is none of the free ones */
====
        (void)free;
X
mutant a_copy_below_older_versions_is_damage lsm/db/check.c 'unit/test_parts' <<'X'
            rc = check_copy(r, s->place, key, s->it->tag);
====
            rc = lsm_corrupt("tables", 0, "an older version of a key lies above a newer one");
X

# ---- what one compaction takes ----

mutant no_bound_of_level0_for_the_worker lsm/compaction/pick.c 'unit/test_pick unit/test_compact' <<'X'
    keep_oldest(set, count, policy->level0_inputs_max);
    return true;
====
    return true;
X
mutant the_newest_of_level0_sink_first lsm/compaction/pick.c 'unit/test_pick unit/test_compact' <<'X'
    memmove(set, set + (*count - max), max * sizeof *set);
====
X
mutant a_range_is_not_widened_by_what_sinks lsm/compaction/pick.c 'unit/test_pick' <<'X'
        widen(cmp, set, job->upper_of[i], &r.lo, &r.hi);
====
X
mutant inputs_stay_until_the_end_of_a_compaction lsm/db/compact_job.c 'unit/test_compact_room' <<'X'
    if (rc == LSM_OK && run->compact)
        let_go(run);
====
X
mutant a_newer_input_goes_before_an_older_one lsm/compaction/compact.c 'unit/test_compact_room sim/crash_compact' <<'X'
                r = (struct reached){ run->meta.smallest, false, false };
====
                continue;
X
mutant old_versions_are_not_counted lsm/compaction/build.c 'unit/test_compact:old_versions' <<'X'
        meta.superseded = out->superseded;
====
X
mutant old_versions_are_not_in_the_MANIFEST lsm/version/edit.c 'unit/test_edit unit/test_compact:old_versions' <<'X'
        if (added[i].meta.superseded) {
====
        if (false) {
X
mutant old_versions_are_picked_while_a_snapshot_sees_them lsm/compaction/pick.c 'unit/test_pick' <<'X'
    if (is_deepest && run->meta.seq_max > state->seq_oldest)
        return false;
====
X
mutant reads_in_vain_are_not_counted lsm/db/cursor.c 'unit/test_compact:in_vain' <<'X'
    lsm_vain_seek(c->db, c->view->version, c->tree, key);
====
X
mutant gets_in_vain_are_not_counted lsm/db/get.c 'unit/test_compact:in_vain' <<'X'
        lsm_vain_get(s->db, s->tree, run);
====
        s->is_counted = false;
X
mutant scans_in_vain_are_not_counted lsm/db/cursor.c 'unit/test_compact:in_vain' <<'X'
        lsm_vain_scan(db, c->view->version, c->tree, c->visible.key);
====
        (void)db;
X
mutant a_move_spares_reads lsm/compaction/pick.c 'unit/test_pick' <<'X'
    return !job->is_move && reads
====
    return reads
X
mutant old_tombstones_only_move lsm/compaction/pick.c 'unit/test_pick' <<'X'
        !(reason == BY_WASTE && is_old(job->upper[0], policy, state))) {
====
        true) {
X
mutant the_last_reader_of_a_unit_wakes_nobody lsm/db/view.c 'unit/test_obsolete' <<'X'
        atomic_store(&db->obsolete_fresh, true);        /* it may have kept files that are obsolete */
====
X
mutant a_cursor_wakes_the_worker_before_the_first_write lsm/db/obsolete.c 'unit/test_obsolete' <<'X'
    return atomic_load(&db->obsolete_fresh) && atomic_load(&db->writing_begun);
====
    return atomic_load(&db->obsolete_fresh);
X
mutant a_sweep_leaves_its_flag lsm/db/obsolete.c 'unit/test_obsolete' <<'X'
    atomic_store(&db->obsolete_fresh, false);
====
X
mutant a_version_for_each_tree_that_was_created lsm/db/recover.c 'unit/test_tree:proportion' <<'X'
    bool later = has_only_trees(e);
====
    bool later = false;
X
mutant trees_that_were_created_come_after_their_tables lsm/db/recover.c 'unit/test_tree:among_many' <<'X'
    int rc = later ? LSM_OK : apply_trees(r);
====
    int rc = LSM_OK;
X
mutant a_dropped_tree_keeps_its_name lsm/db/tree.c 'unit/test_tree:among_many' <<'X'
    return at && !atomic_load(&db->trees[at - 1]->dropped) ? db->trees[at - 1] : NULL;
====
    return at ? db->trees[at - 1] : NULL;
X
mutant close_does_not_look_for_values lsm/db/db.c 'unit/test_get:held' <<'X'
    uint64_t values = lsm_values_held(db);
====
    uint64_t values = 0;
X

# ---- what a comparator says ----

mutant a_hash_of_another_name_is_taken lsm/db/tree.c 'unit/test_tree:hash' <<'X'
        if (tree->cmp && !hash_fits(tree, tree->cmp))
            return refuse_hash(db, tree, tree->cmp);
====
X
mutant a_separator_is_believed_below lsm/store/table_writer.c 'unit/test_table_separators' <<'X'
    if (size >= last.size || lsm_key_compare(cmp, last, key) >= 0 || (next && lsm_key_compare(cmp, key, *next) >= 0))
====
    if (size >= last.size || (next && lsm_key_compare(cmp, key, *next) >= 0))
X
mutant a_separator_is_believed_above lsm/store/table_writer.c 'unit/test_table_separators' <<'X'
    if (size >= last.size || lsm_key_compare(cmp, last, key) >= 0 || (next && lsm_key_compare(cmp, key, *next) >= 0))
====
    if (size >= last.size || lsm_key_compare(cmp, last, key) >= 0)
X
mutant a_seek_behind_the_last_key_stays_in_its_block lsm/store/table_iter.c 'unit/test_table_separators' <<'X'
    } else if (t->has_separators) {     /* it is between the last key and its separator */
====
    } else if (0) {
X
mutant a_table_with_separators_says_nothing_of_them lsm/store/table_writer.c 'unit/test_table_separators' <<'X'
           (cmp && (cmp->separator || cmp->successor) ? LSM_TABLE_INCOMPAT_SEPARATORS : 0);
====
           0;
X

# ---- a store that is destroyed ----

mutant destroy_believes_names lsm/db/destroy.c 'unit/test_destroy' <<'X'
        e->is_ours = got == sizeof head && memcmp(head, magic_of[e->kind], 8) == 0;
====
        e->is_ours = true;
X
mutant destroy_asks_for_no_uuid lsm/db/destroy.c 'unit/test_destroy' <<'X'
    if (wanted && memcmp(best->uuid, wanted, 16) != 0)
====
    if (0)
X
mutant destroy_takes_files_of_another_store lsm/db/destroy.c 'unit/test_destroy' <<'X'
        return e->is_blank || (e->is_ours ? memcmp(e->uuid, uuid, 16) == 0 : e->is_named);
====
        return e->is_blank || e->is_ours || e->is_named;
X
mutant destroy_keeps_what_the_store_names lsm/db/destroy.c 'unit/test_destroy' <<'X'
        return e->is_blank || (e->is_ours ? memcmp(e->uuid, uuid, 16) == 0 : e->is_named);
====
        return e->is_blank || (e->is_ours && memcmp(e->uuid, uuid, 16) == 0);
X
mutant read_by_another_stores_snapshot lsm/db/view.c 'unit/test_get' <<'X'
    if (rc == LSM_OK && read && read->snapshot && read->snapshot->db != db)
====
    if (rc == LSM_OK && read && read->snapshot && !db)
X
mutant files_of_an_edit_that_failed_go lsm/db/write.c 'sim/sweep_engine sim/crash_engine unit/test_compact unit/test_order unit/test_obsolete' <<'X'
        edit->may_be_on_disk = true;
====
        edit->may_be_on_disk = false;
X
mutant files_of_edits_that_were_never_appended_stay lsm/db/write.c 'unit/test_obsolete' <<'X'
    edit->has |= LSM_EDIT_NEXT_FILE;
====
    edit->has |= LSM_EDIT_NEXT_FILE;
    edit->may_be_on_disk = true;
X
mutant LOCK_stays_in_a_directory_of_others lsm/db/db.c 'unit/test_options' <<'X'
    else if ((rc == LSM_MISMATCH || rc == LSM_EXISTS) && db->lock_created)
====
    else if (rc == LSM_MISMATCH && db->lock_created)
X
mutant oldest_of_equal_keys_backwards lsm/version/visible.c 'unit/test_visible' <<'X'
        if (!same || v->cmp)
====
        if (!same)
X
mutant destroy_makes_a_LOCK_before_it_knows lsm/db/destroy.c 'unit/test_destroy' <<'X'
         error ? lsm_fail_os(error, "open directory", path) : look(&d, path, wanted, uuid);
====
         error ? lsm_fail_os(error, "open directory", path) : LSM_OK;
X
mutant directory_sync_of_a_store_that_is_destroyed lsm/db/destroy.c 'unit/test_destroy' <<'X'
    if (rc == LSM_OK && (error = d->os->dir_sync(d->dir)))
        rc = lsm_fail_os(error, "sync directory", path);
    if (rc)
        return rc;
====
    if (rc)
        return rc;
X
mutant a_tree_that_is_being_created_is_in_the_snapshot lsm/db/tree.c 'unit/test_tree' <<'X'
        if (atomic_load(&tree->dropped) || !tree->is_recorded)
            continue;
====
        if (atomic_load(&tree->dropped))
            continue;
X

# ---- value logs of private tables ----

mutant value_logs_of_records_are_orphans lsm/db/recover.c 'unit/test_private_values sim/crash_engine:large' <<'X'
        if (runs_need_vlog(db->records[i]->runs, db->records[i]->run_count, number))
            return true;
====
X
mutant value_logs_of_units_are_orphans lsm/db/recover.c 'unit/test_private_values sim/crash_engine:large' <<'X'
        if (runs_need_vlog(unit->runs, unit->run_count, number))
            return true;
====
X
mutant value_logs_of_units_go_with_the_version lsm/db/obsolete.c 'unit/test_private_values' <<'X'
        if (o->is_vlog && lsm_runs_vlog(unit->runs, unit->run_count, o->number))    /* a first file */
            return true;
====
X
mutant flush_adopts_no_value_logs lsm/db/flush_job.c 'unit/test_private_values sim/crash_engine:large' <<'X'
            lsm_edit_add_vlog(&f->edit, &unit->runs[i]->vlogs[k]);
====
            (void)k;
X
mutant backup_without_the_value_logs_of_a_record lsm/db/backup.c 'unit/test_private_values' <<'X'
            rc = copy_whole(c, LSM_FILE_VLOG, vlog.number, vlog.size_bytes);
====
X
mutant cursor_holds_no_private_value_logs lsm/db/cursor.c 'unit/test_private_values' <<'X'
            rc = lsm_value_hold(own, &c->own_vlogs, &c->own_vlog_count);
====
            rc = LSM_OK;
X
mutant private_value_log_is_not_checked lsm/db/check.c 'unit/test_private_values' <<'X'
                note(&c, check_vlog(db, &unit->runs[k]->vlogs[n]));
====
                (void)n;
X
mutant aborted_value_logs_stay lsm/db/txn.c 'unit/test_private_values' <<'X'
        db->os->file_remove(db->dir, lsm_filename(name, LSM_FILE_VLOG, run->vlogs[i].number));
====
X
mutant an_ingest_that_missed_a_row_is_finished lsm/db/ingest.c 'unit/test_ingest' <<'X'
    if (ingest->rc)
====
    if (false)
X

# ---- what readers share without a lock ----

mutant view_counts_what_was_taken lsm/db/view.c 'unit/test_view_threads' <<'X'
(view_of(word) == old ? (int64_t)(word & TAKEN_MASK) : 0) - CURRENT_REFS
====
-CURRENT_REFS
X
mutant view_moves_its_count_in_time lsm/db/view.c 'unit/test_view_threads' <<'X'
    if ((word & TAKEN_MASK) >= TAKEN_MOVE)
        move_taken(db, word);
====
    (void)move_taken;
X
mutant tables_keep_half_of_the_descriptors lsm/store/tables.c 'unit/test_tables' <<'X'
    *is_kept = atomic_fetch_add(&ts->kept_count, 1) < ts->open_max / 2 &&
====
    *is_kept = atomic_fetch_add(&ts->kept_count, 1) < ts->open_max * 2 &&
X
mutant a_seek_that_was_announced_for_another_table lsm/store/table_iter.c 'unit/test_table:reopened' <<'X'
    it->aimed = NULL;
    it->run = 0;
====
    it->run = 0;
X

# ---- dictionaries, and which codec ----

mutant lz_though_zstd_finds_more lsm/store/vlog_writer.c 'unit/test_vlog' <<'X'
        w->is_lz = light != SIZE_MAX && try_codec(w, value, LSM_CODEC_LZ, 0) <= light + light / LZ_LOSS_MAX;
====
        w->is_lz = light != 0;
X
mutant tables_without_what_the_samples_say lsm/format/train.c 'unit/test_train' <<'X'
        count_sample(p, lsm_slice(samples, sizes[i]));
====
X
mutant a_code_of_any_length lsm/format/train.c 'unit/test_train' <<'X'
h->longest > LITERAL_BITS_MAX; make_code
====
h->longest > 2 * LITERAL_BITS_MAX; make_code
X
mutant shares_of_more_than_there_is lsm/format/train.c 'unit/test_train' <<'X'
        shares[most] += left > 0 ? left : -1;   /* those of less than one have taken more than there was */
====
        shares[most] += left > 0 ? left : 0;
X
mutant weights_end_in_a_state_that_reads_nothing lsm/format/train.c 'unit/test_train' <<'X'
                        : best == size || states[i].bits > states[best].bits)
====
                        : best == size || states[i].bits < states[best].bits)
X
mutant an_old_dictionary_has_tables lsm/store/vlog.c 'unit/test_vlog' <<'X'
        has_tables = sealed.data[sealed.size - LSM_SEAL_TRAILER_SIZE + 1] == LSM_BLOCK_DICT_TABLES;
====
        has_tables = true;
X

# ---- one row a commit, without a transaction ----

mutant a_stretch_is_told_before_the_look_at_the_epoch lsm/db/dead.c 'unit/test_dead_threads' <<'X'
        atomic_store(&d->known, true);  /* before the look at the epoch: lsm_dead_publish */
====
X
mutant a_single_row_that_failed_is_taken_back lsm/db/single.c 'unit/test_single' <<'X'
        lsm_commit_undo(db, rec.id.txid, &before, rc);
====
        ;
X
mutant a_single_row_waits_for_a_prepared_one lsm/db/single.c 'unit/test_single' <<'X'
!db->commit_first && !db->solo_in_flight && db->active
====
!db->commit_first && db->active
X
mutant a_single_row_is_not_written_to_a_failed_log lsm/db/single.c 'unit/test_single sim/sweep_engine' <<'X'
           lsm_write_is_ready(db);
====
           db->has_log;
X
mutant the_slot_is_given_in_turn lsm/db/write.c 'unit/test_commit_threads' <<'X'
    while (db->log_busy || db->log_turn != turn)
====
    while (db->log_busy)
X
mutant a_transaction_asks_for_the_memory_that_comes_next lsm/db/chain.c 'unit/test_room_threads:memtable' <<'X'
    if (db->active)
        lsm_room_look_memory(db);
====
X
mutant parts_so_far_may_have_written_nothing lsm/compaction/compact.c 'unit/test_parts_edges' <<'X'
             (c->build.count &&             /* the parts so far may have had nothing to write */
====
             (
X
mutant no_part_ends_at_the_empty_key lsm/compaction/divide.c 'unit/test_parts_edges' <<'X'
    if (key.size == 0)
        return false;           /* a border of no bytes would be none */
====
X
mutant room_that_was_made_last_is_cut_off lsm/db/db.c 'unit/test_room_threads:closed' <<'X'
        lsm_room_take_back(db);         /* it is cut off with the rest */
====
X
mutant no_record_is_written_where_room_is_being_made lsm/db/write.c 'unit/test_room_threads:late' <<'X'
    lsm_room_keep_out(db, db->log.size + lsm_frame_size(bytes.size));
====
X
mutant a_single_row_has_its_room_beforehand lsm/store/memtable.c 'unit/test_memtable' <<'X'
    if (!tree || !lsm_memtree_reserve(&mem->space, tree) ||
        !lsm_arena_reserve
====
    if (!tree ||
        !lsm_arena_reserve
X
mutant a_delete_stays_for_what_was_not_looked_at lsm/db/drop.c 'unit/test_rangedel' <<'X'
    if (level == 0 && level0_end(d, i) < d->tv->level[0].count)
        return true;
====
X
mutant a_delete_looks_at_so_many_tables_of_level_0 lsm/db/drop.c 'unit/test_rangedel' <<'X'
    return count - i > LEVEL0_OLDER ? i + 1 + LEVEL0_OLDER : count;
====
    return i < count ? count : i;
X
mutant rows_of_a_short_stretch_are_sorted lsm/db/spill.c 'unit/test_txn_spill unit/test_rangedel' <<'X'
    lsm_sort(rows, p->count, sizeof *rows, compare_rows, p);
====
    (void)compare_rows;
X
mutant rows_of_a_short_stretch_are_found lsm/store/batch.c 'unit/test_batch' <<'X'
        if (op >= from && row.tree == tree && lsm_tag_kind(row.tag) != LSM_KIND_VOID)
====
        if (row.tree == tree && lsm_tag_kind(row.tag) != LSM_KIND_VOID)
X
mutant a_value_log_takes_the_descriptors_of_tables lsm/store/vlog.c 'unit/test_compact' <<'X'
           (close_oldest(vs) || (vs->relief && vs->relief(vs->relief_ctx) > 0)));
====
           close_oldest(vs));
X
mutant a_table_takes_the_descriptors_of_value_logs lsm/store/table_open.c 'unit/test_compact' <<'X'
 || (ts->relief && ts->relief(ts->relief_ctx) > 0)
====
X
mutant LOCK_is_empty_after_a_close lsm/db/lock.c 'unit/test_options' <<'X'
    if (db->lock_signed)        /* the next
====
    if (false)        /* the next
X
mutant a_repair_keeps_compression_by_level lsm/db/repair_read.c 'unit/test_repair' <<'X'
    memcpy(tree->level_compression, t->level_compression, sizeof tree->level_compression);
====
X
mutant a_repair_keeps_the_hash_of_a_comparator lsm/db/repair.c 'unit/test_repair' <<'X'
                                   cmp && !cmp->hash ? lsm_buf_slice(&trees[i].hash_name)
                                                     : lsm_comparator_hash_name(cmp) };
====
                                   lsm_comparator_hash_name(cmp) };
X

# ---- blocks that a compaction takes as they stand ----

mutant copied_with_tombstones lsm/store/table_iter.c 'unit/test_build_copy' <<'X'
    if (h->tombstones)
        return false;
    *block
====
    *block
X
mutant copied_although_sequences_are_added lsm/store/table_iter.c 'unit/test_build_copy' <<'X'
    if (!base->valid || it->row != 0 || it->table->tag_add)
====
    if (!base->valid || it->row != 0)
X
mutant copied_around_a_row_of_another_input lsm/version/merge.c 'unit/test_build_copy' <<'X'
           (next->ended || lsm_key_compare(m->cmp, block->last, next->it->key) < 0);
====
           (next->ended || next->it->valid);
X
mutant copied_before_another_version_of_its_last_key lsm/version/merge.c 'unit/test_build_copy' <<'X'
           (next->ended || lsm_key_compare(m->cmp, block->last, next->it->key) < 0);
====
           (next->ended || lsm_key_compare(m->cmp, block->last, next->it->key) <= 0);
X
mutant copied_behind_a_newer_version_of_its_first_key lsm/compaction/build.c 'unit/test_compact_copy' <<'X'
    if (p->retain.has_key && lsm_key_compare(b->table.comparator, lsm_buf_slice(&p->retain.key), first) >= 0)
====
    if (p->retain.has_key && lsm_key_compare(b->table.comparator, lsm_buf_slice(&p->retain.key), first) > 0)
X
mutant copied_with_old_versions lsm/compaction/build.c 'unit/test_build_copy' <<'X'
        if (block->tag_size && i && lsm_key_compare(cmp, before, suffix) == 0)
====
        if (0)
X
mutant copied_under_a_range_delete lsm/compaction/build.c 'unit/test_build_copy' <<'X'
    return !spans_touch(&p->spans, b, first, last) && (
====
    return (
X
mutant copied_with_sequences_at_the_bottom lsm/compaction/build.c 'unit/test_build_copy' <<'X'
    return !spans_touch(&p->spans, b, first, last) && (seq_max == 0 || b->is_above(b->ctx, first, last));
====
    return !spans_touch(&p->spans, b, first, last);
X
mutant copied_with_values_for_a_log lsm/compaction/build.c 'unit/test_build_copy' <<'X'
                                               : v->bytes_min && value.size >= v->bytes_min)
====
                                               : false)
X
mutant copied_with_values_of_a_log_that_is_written_anew lsm/compaction/build.c 'unit/test_build_copy' <<'X'
        if (lsm_tag_kind(tag) == LSM_KIND_VLOG ? v->rewrite_count > 0
====
        if (lsm_tag_kind(tag) == LSM_KIND_VLOG ? false
X
mutant copied_across_too_much_of_the_level_below lsm/compaction/build.c 'unit/test_build_copy' <<'X'
    if (rc || would_overlap_too_much(b, &p->out, block->last) || !lsm_table_iter_sealed
====
    if (rc || !lsm_table_iter_sealed
X
mutant copied_or_not_no_file_without_a_row_is_ended lsm/compaction/build.c 'unit/test_build' <<'X'
    if (p->out.writer && lsm_table_writer_entries(p->out.writer) > 0 &&
====
    if (p->out.writer &&
X
mutant copied_or_not_a_look_ahead_changes_nothing lsm/compaction/build.c 'unit/test_build_copy' <<'X'
    if (rc || would_overlap_too_much(b, &p->out, block->last) || !lsm_table_iter_sealed
====
    if (rc || overlaps_too_much(b, &p->out, block->last) || !lsm_table_iter_sealed
X
mutant copied_and_its_last_key_is_forgotten lsm/compaction/build.c 'unit/test_build_copy' <<'X'
    lsm_retain_row(&p->retain, last, &tag, false);
====
X
mutant copied_without_its_sum lsm/store/table.c 'unit/test_build_copy' <<'X'
    return lsm_seal_is_intact(lsm_slice(data, size), LSM_BLOCK_DATA, t->seed + off);
====
    return true;
X
mutant copied_with_the_sum_of_its_old_place lsm/format/seal.c 'unit/test_build_copy' <<'X'
    lsm_buf_append(out, sealed.data, sealed.size - SUM_SIZE);
    lsm_buf_put_u32(out, lsm_hash32(sealed.data, sealed.size - SUM_SIZE, place));
====
    lsm_buf_append(out, sealed.data, sealed.size);
X
mutant copied_with_another_codec lsm/store/table_writer.c 'unit/test_build_copy' <<'X'
        return codec == w->options.codec;
    if (!may_choose
====
        return true;
    if (!may_choose
X
mutant copied_where_another_level_is_asked_for lsm/store/table_writer.c 'unit/test_build_copy' <<'X'
    if (!may_choose(w))                 /* nobody knows the level that it was compressed with */
        return false;
====
    if (!may_choose(w))
        return codec == LSM_CODEC_ZSTD;
X
mutant copied_and_never_looked_at lsm/store/table_writer.c 'unit/test_build_copy' <<'X'
    if (w->look_in)
        w->look_in--;
    w->copied_off
====
    w->copied_off
X
mutant copied_with_another_size lsm/store/table_writer.c 'unit/test_build_copy' <<'X'
    if (raw_size < limit / 2 || (count > 1 && raw_size > limit + limit / 4))
        return false;
====
X
mutant copied_behind_blocks_of_a_few_rows lsm/store/table_writer.c 'unit/test_build_copy' <<'X'
    if (before == 0 || before >= limit / 2 || (count == 1 && before + raw_size > limit))
        return true;
====
    if (before < SIZE_MAX)
        return true;
X
mutant copied_and_denied_by_the_filter lsm/store/table_writer.c 'unit/test_build_copy' <<'X'
            hashes += sizeof hash;
        }
====
        }
X
mutant copied_without_its_refs lsm/store/table_writer.c 'unit/test_build_copy' <<'X'
        count_value(w, tag, value);
        seq = lsm_tag_seq(tag);
====
        seq = lsm_tag_seq(tag);
X
mutant copied_from_what_was_read_before lsm/store/table_iter.c 'unit/test_build_copy' <<'X'
    it->was_read = !it->block_entry;
====
    it->was_read |= !it->block_entry;
X
mutant copied_beyond_the_end_of_its_part lsm/compaction/compact.c 'unit/test_build_copy' <<'X'
    return lsm_iter_block(b->it, block) &&
           (!b->upto.data || lsm_key_compare(b->cmp, block->last, b->upto) <= 0);
====
    return lsm_iter_block(b->it, block);
X
mutant copied_whole_with_tombstones lsm/store/table_iter.c 'unit/test_build_whole' <<'X'
    if (t->has_separators || p->tombstones)
====
    if (t->has_separators)
X
mutant copied_whole_with_separators_for_keys lsm/store/table_iter.c 'unit/test_build_whole' <<'X'
    if (t->has_separators || p->tombstones)
====
    if (p->tombstones)
X
mutant copied_whole_around_a_row_of_another_input lsm/version/merge.c 'unit/test_build_whole' <<'X'
           (next->ended || lsm_key_compare(m->cmp, part->last, next->it->key) < 0);
====
           (next->ended || next->it->valid);
X
mutant copied_whole_before_another_version_of_its_last_key lsm/version/merge.c 'unit/test_build_whole' <<'X'
           (next->ended || lsm_key_compare(m->cmp, part->last, next->it->key) < 0);
====
           (next->ended || lsm_key_compare(m->cmp, part->last, next->it->key) <= 0);
X
mutant copied_whole_beyond_the_end_of_its_part lsm/compaction/compact.c 'unit/test_build_whole' <<'X'
    return lsm_iter_part(b->it, part) && (!b->upto.data || lsm_key_compare(b->cmp, part->last, b->upto) <= 0);
====
    return lsm_iter_part(b->it, part);
X
mutant copied_whole_with_old_versions lsm/store/table_writer.c 'unit/test_build_whole' <<'X'
    if (w->f.rc || piece->meta.older > 0 ||
====
    if (w->f.rc ||
X
mutant copied_whole_with_fewer_refs_than_the_manifest_counts lsm/store/table_iter.c 'unit/test_build_whole' <<'X'
         lsm_slice_equal(lsm_buf_slice(&encoded), t->meta->refs);
====
         lsm_slice_equal(lsm_buf_slice(&encoded), lsm_buf_slice(&encoded));
X
mutant copied_whole_with_other_bytes_than_the_manifest_counts lsm/store/table_iter.c 'unit/test_build_whole' <<'X'
    ok = encoded.rc == LSM_OK && raw_bytes == t->meta->raw_bytes &&
====
    ok = encoded.rc == LSM_OK && raw_bytes == raw_bytes &&
X
mutant copied_whole_although_it_is_small lsm/store/table_iter.c 'unit/test_build_whole' <<'X'
    if (p->blocks < LSM_TABLE_PIECE_BLOCKS_MIN)
        return false;
====
X
mutant copied_whole_with_values_for_a_log lsm/compaction/build.c 'unit/test_build_whole' <<'X'
    return (v->bytes_min == 0 || meta->value_max < v->bytes_min) && !
====
    return !
X
mutant copied_whole_with_values_of_a_log_that_is_written_anew lsm/compaction/build.c 'unit/test_build_whole' <<'X'
    return (v->bytes_min == 0 || meta->value_max < v->bytes_min) && !lsm_values_are_rewritten(v, meta->refs);
====
    return (v->bytes_min == 0 || meta->value_max < v->bytes_min);
X
mutant copied_whole_across_too_much_of_the_level_below lsm/compaction/build.c 'unit/test_build_whole' <<'X'
    if (rc || !has_room(b, &p->out, part.size) || would_overlap_too_much(b, &p->out, part.last) ||
====
    if (rc || !has_room(b, &p->out, part.size) ||
X
mutant copied_whole_into_a_file_without_room lsm/compaction/build.c 'unit/test_build_whole' <<'X'
    if (rc || !has_room(b, &p->out, part.size) || would
====
    if (rc || would
X
mutant copied_whole_behind_half_a_file_without_room lsm/compaction/build.c 'unit/test_build_whole' <<'X'
         (more && !has_room(b, &p->out, more) && lsm_table_writer_size(p->out.writer) >= b->file_bytes / 2)) &&
====
         (more && !has_room(b, &p->out, more))) &&
X
mutant copied_whole_however_large lsm/compaction/build.c 'unit/test_build_whole' <<'X'
    if (!lsm_iter_part(p->it, &part) || part.size > PIECE_BYTES_MAX ||
====
    if (!lsm_iter_part(p->it, &part) ||
X
mutant copied_whole_without_a_pause lsm/compaction/build.c 'unit/test_build_whole' <<'X'
    p->worked += bytes + raw_bytes;
====
X
mutant copied_whole_or_not_the_block_is_asked_for_again lsm/compaction/build.c 'unit/test_build_whole' <<'X'
        if (rc || *copied || !lsm_iter_block(p->it, &block))
====
        if (rc || *copied)
X
mutant copied_whole_with_other_bits_in_its_filter lsm/store/table_writer.c 'unit/test_build_whole' <<'X'
        piece->filter_size != (bits ? lsm_filter_size(piece->entries, bits) + LSM_SEAL_TRAILER_SIZE : 0))
====
        (piece->filter_size == 0) != (bits == 0))
X
mutant copied_whole_or_not_no_file_is_ended_for_another_codec lsm/store/table_writer.c 'unit/test_build_whole' <<'X'
    return w->f.rc == LSM_OK && has_right_codec(w, codec, raw_size, true);
====
    return w->f.rc == LSM_OK && (codec || raw_size);
X
mutant copied_whole_with_blocks_of_another_codec lsm/store/table_writer.c 'unit/test_build_whole' <<'X'
            if (!may_choose(w) || codec == LSM_CODEC_NONE)
                return false;           /* nobody knows which was tried */
====
X
mutant copied_whole_and_never_looked_at lsm/store/table_writer.c 'unit/test_build_copy' <<'X'
    w->look_in = w->look_in > blocks ? w->look_in - blocks : 0;
====
X
mutant copied_whole_with_other_sizes lsm/store/table_writer.c 'unit/test_build_whole' <<'X'
    return others <= index->block->count / 2 && sum >= index->block->count * limit / 2;
====
    return others <= index->block->count / 2;
X
mutant copied_whole_with_larger_sizes lsm/store/table_writer.c 'unit/test_build_whole' <<'X'
        if (raw_size > limit + limit / 4 + piece->meta.value_max)
            return false;
====
X
mutant copied_whole_with_damaged_blocks lsm/store/table.c 'unit/test_build_whole' <<'X'
        is_intact = lsm_seal_is_intact(lsm_slice(buf->data + (h->off - off), h->size), LSM_BLOCK_DATA, t->seed + h->off);
====
        is_intact = h->size > 0;
X
mutant copied_whole_with_a_damaged_filter lsm/store/table.c 'unit/test_build_whole' <<'X'
        is_intact = lsm_seal_is_intact(filter, LSM_BLOCK_FILTER, t->seed + part->filter_off);
====
        is_intact = filter.size > 0;
X
mutant copied_whole_with_a_damaged_index lsm/store/table.c 'unit/test_build_whole' <<'X'
    return is_intact && lsm_seal_is_intact(lsm_slice(buf->data + (part->index_off - off), part->index_size),
                                           LSM_BLOCK_INDEX, t->seed + part->index_off);
====
    return is_intact;
X
mutant copied_whole_without_its_refs lsm/store/table_writer.c 'unit/test_build_whole' <<'X'
    lsm_vlog_refs_add_all(&w->refs, meta->refs);
====
X
mutant copied_whole_without_its_bytes lsm/store/table_writer.c 'unit/test_build_whole' <<'X'
    w->raw += raw;
    return true;
====
    return raw > 0;
X
mutant copied_whole_and_its_last_key_is_forgotten lsm/store/table_writer.c 'unit/test_build_whole' <<'X'
    lsm_buf_append_slice(&w->last_key, piece->last);
====
X
mutant copied_whole_and_its_first_key_is_forgotten lsm/store/table_writer.c 'unit/test_build_whole' <<'X'
        lsm_buf_append_slice(&w->first_key, first);
    lsm_buf_reset
====
        ;
    lsm_buf_reset
X
mutant partitions_of_mixed_inputs_do_not_end_early lsm/store/table_writer.c 'unit/test_build_whole' <<'X'
    if (is_older && since >= w->options.block_bytes && w
====
    if (is_older && since > 0 && w
X
mutant partitions_end_where_appended_rows_do lsm/compaction/build.c 'unit/test_compact_copy' <<'X'
        lsm_table_writer_turn(p->out.writer, p->it->key, p->it->source > p->source);
====
        ;
X
mutant properties_tell_of_partitions_what_is_so lsm/store/table_check.c 'unit/test_build_whole' <<'X'
            ok = lsm_slice_equal(value, lsm_buf_slice(&c->part_metas));
====
X
mutant many_marks_share_tables lsm/db/spill.c 'unit/test_txn_spill' <<'X'
#define TABLES_MAX 16u
====
#define TABLES_MAX 4096u
X
mutant a_mark_within_a_table_cuts_it lsm/db/txn.c 'unit/test_txn_spill' <<'X'
        txn->stretches[i].is_cut = txn->has_cut = true;
====
        txn->stretches[i].is_cut = true;
X
mutant deletes_that_a_mark_would_show_stay lsm/db/spill.c 'unit/test_txn_spill unit/test_rangedel' <<'X'
        rc = lsm_range_set_finish(&set, tree->cmp, limits, limit_count, ranges);
====
        rc = lsm_range_set_finish(&set, tree->cmp, NULL, 0, ranges);
X
mutant rows_that_a_mark_would_show_stay lsm/db/spill.c 'unit/test_txn_spill unit/test_rangedel' <<'X'
    lsm_retain_init(&marks, db->os, tree->cmp, limits, limit_count);
====
    lsm_retain_init(&marks, db->os, tree->cmp, NULL, 0);
X
mutant a_trimmed_table_has_no_newer_deletes lsm/db/spill.c 'unit/test_txn_spill unit/test_rangedel' <<'X'
        while (gone < range->seq_count && seqs[gone] >= end)
====
        while (gone < range->seq_count && seqs[gone] >= UINT64_MAX)
X
mutant what_was_cut_is_trimmed_before_a_record_names_it lsm/db/txn.c 'unit/test_txn_spill' <<'X'
    rc = lsm_txn_trim(txn);
    if (rc)
        return rc;
    if (lsm_txn_is_empty(txn) && !txn->joint_once
====
    if (lsm_txn_is_empty(txn) && !txn->joint_once
X
mutant what_was_cut_is_trimmed_before_a_commit_alone lsm/db/commit.c 'unit/test_rangedel' <<'X'
        me.rc = lsm_txn_trim(txn);
====
        me.rc = LSM_OK;
X
mutant what_was_cut_is_trimmed_before_a_get lsm/db/get.c 'unit/test_txn_spill' <<'X'
    if (own->has_cut) {
====
    if (false) {
X
mutant what_was_cut_is_trimmed_before_a_scan lsm/db/view.c 'unit/test_rangedel unit/test_txn_spill' <<'X'
        rc = lsm_txn_trim((struct lsm_txn *)own);
====
        rc = LSM_OK;
X
mutant directory_sync_of_a_trimmed_table lsm/db/spill.c 'unit/test_txn_spill' <<'X'
    if (rc == LSM_OK && fresh && (error = db->os->dir_sync(db->dir))) {
====
    if (false && (error = db->os->dir_sync(db->dir))) {
X

# ---- rows that a cursor takes from a block ----

mutant streak_around_a_row_of_another_source lsm/version/merge.c 'unit/test_visible_streak' <<'X'
        streak->last = at - 1;
    return streak->last > streak->row;
====
        streak->last = at;
    return streak->last > streak->row;
X
mutant streak_with_another_version_of_its_key lsm/version/visible.c 'unit/test_visible_streak' <<'X'
    return lsm_slice_equal(a, b);
====
    return false;
X
mutant streak_with_a_row_that_is_not_seen lsm/version/visible.c 'unit/test_visible_streak' <<'X'
    if (lsm_tag_kind(tag) == LSM_KIND_DELETE || !lsm_view_sees(&v->at, tag))
====
    if (lsm_tag_kind(tag) == LSM_KIND_DELETE)
X
mutant streak_with_a_tombstone lsm/version/visible.c 'unit/test_visible_streak' <<'X'
    if (lsm_tag_kind(tag) == LSM_KIND_DELETE || !lsm_view_sees(&v->at, tag))
====
    if (!lsm_view_sees(&v->at, tag))
X
mutant streak_that_the_source_does_not_follow lsm/version/visible.c 'unit/test_visible_streak' <<'X'
    lsm_iter_to_row(v->it, s->row);
====
X
mutant streak_that_goes_on_after_a_seek lsm/version/visible.c 'unit/test_visible_streak' <<'X'
    v->streak.block = NULL;
    v->asks = STREAK_ASKS;
====
    v->asks = STREAK_ASKS;
X
mutant pin_of_a_block_that_the_row_is_not_in lsm/version/visible.h 'unit/test_visible_streak' <<'X'
    return v->streak.block != NULL;
====
    return v->valid;
X

# ---- a key that was taken for one row ----

mutant write_compiled_again_in_its_middle ext/vtab_again.c 'unit/test_vtab_guess' <<'X'
    *takes_each = writes == WRITES_ORDINARY;
    return rc == SQLITE_OK && writes == WRITES_VIRTUAL ?
====
    *takes_each = writes == WRITES_ORDINARY;
    return rc == SQLITE_OK ?
X
mutant statement_that_goes_on_without_its_transaction ext/vtab_again.c 'unit/test_vtab_faults' <<'X'
    return again.is_bereft &&
====
    return false &&
X
mutant write_of_several_rows_taken_for_one ext/vtab_again.c 'unit/test_vtab_guess' <<'X'
    *takes_each = busy.writer_count == 0;
====
    *takes_each = true;
    if (busy.writer)
        return SQLITE_OK;
X
mutant row_of_another_key_counted_as_equal ext/vtab_cursor.c 'unit/test_vtab_guess' <<'X'
    if (rc != SQLITE_OK || type == SQLITE_INTEGER || type == SQLITE_FLOAT)
        return rc;
====
    if (rc != SQLITE_OK || type != SQLITE_NULL) {
        *may = *may || (type != SQLITE_INTEGER && type != SQLITE_FLOAT);
        return rc;
    }
X
mutant write_that_nobody_knows_goes_on ext/vtab_again.c 'unit/test_vtab_guess' <<'X'
    *takes_each = writes == WRITES_ORDINARY;
====
    *takes_each = true;
X
mutant interrupted_question_taken_for_an_answer ext/vtab_again.c 'unit/test_vtab_guess' <<'X'
    return (rc & 0xff) == SQLITE_NOMEM || (rc & 0xff) == SQLITE_INTERRUPT ? rc : SQLITE_OK;
====
    return (rc & 0xff) == SQLITE_NOMEM ? rc : SQLITE_OK;
X
mutant infinity_taken_for_an_integer_as_text ext/vtab_range.c 'unit/test_vtab_note' <<'X'
        if (lsm_vtab_text_is_number(rendered->u.bytes))
            return narrow_integer_text(range, part, op, number);
====
        if (rendered)
            return narrow_integer_text(range, part, op, number);
X

mutant note_of_integers_that_is_not_raised ext/vtab_note.c 'unit/test_vtab_note' <<'X'
    if (level < needed)
====
    if (level == LSM_VTAB_NUMBER_TEXT_NONE)
X
mutant integer_text_that_has_leading_zeros ext/vtab_value.c 'unit/test_vtab_note' <<'X'
    if (digits.data[0] == '0' && (digits.size > 1 || is_negative))
====
    if (digits.data[0] == '0' && is_negative)
X
mutant untyped_key_that_is_looked_for_as_a_number_only ext/vtab_span.c 'unit/test_vtab_note' <<'X'
    } while (rc == SQLITE_OK && ++m->way < 1u << m->ways);
====
    } while (false);
X
mutant text_compared_with_a_number_that_no_integer_is ext/vtab_range.c 'unit/test_vtab_note' <<'X'
    if (is_equal(op) || known & (LSM_VTAB_KNOWN_PLAIN | LSM_VTAB_KNOWN_NO_NUMERIC_TEXT))
====
    if (is_equal(op) || known)
X
mutant repair_that_loses_the_hosts_note lsm/db/repair.c 'unit/test_repair' <<'X'
    p->seq += p->r.how->note.size > 0;
    for (size_t i = 0; p->r.how->note.size &&
====
    for (size_t i = 0; false &&
X

# ---- what a repair makes of damage ----

mutant repair_that_tries_each_block_of_a_dead_device lsm/store/salvage_file.c 'unit/test_salvage_file' <<'X'
    if (f->skip > 0) {
====
    if (false) {
X
mutant repair_that_begins_large_where_it_cannot_read lsm/store/salvage_file.c 'unit/test_salvage_file' <<'X'
    f->rescue.ctx = f;
====
    f->rescue.ctx = f, f->rescue.row = 1000;
X
mutant repair_that_says_nothing_of_an_unread_end lsm/store/salvage_log.c 'unit/test_repair_unread' <<'X'
        lsm_salvage_file_lost_unread(&f, &s->lost);
====
        (void)0;
X
mutant repair_that_needs_the_header_of_a_log lsm/store/salvage_log.c 'unit/test_repair_unread' <<'X'
    if (head->size == 0 ||
====
    if (true || head->size == 0 ||
X
mutant repair_that_cuts_zeros_off_a_record lsm/store/salvage_log.c 'unit/test_repair_unread' <<'X'
            head.size > end - off - LSM_FRAME_HEAD_SIZE) {
====
            head.size > log.size - off - LSM_FRAME_HEAD_SIZE) {
X
mutant repair_that_reads_holes lsm/store/salvage.c 'unit/test_repair_unread' <<'X'
            rc = pass_hole(it, &from, to);
====
            rc = LSM_OK;
X
mutant repair_that_opens_no_table_that_has_grown lsm/store/table_open.c 'unit/test_repair_unread' <<'X'
(info.size > size && !t->tables->allow_longer)
====
info.size > size
X
mutant repair_that_opens_no_value_log_that_has_grown lsm/db/repair_values.c 'unit/test_value_damage' <<'X'
            return v->vlogs[i].file->meta.size_bytes;
====
            return 0;
X
mutant repair_that_finds_no_range_deletes_without_a_foot lsm/store/salvage.c 'unit/test_repair_unread' <<'X'
        rc = find_blocks(s, meta, LSM_BLOCK_RANGE_DELETE, &found);
====
X
mutant repair_that_finds_no_properties_without_a_foot lsm/store/salvage.c 'unit/test_repair_unread' <<'X'
    return find_blocks(&s, &meta, LSM_BLOCK_PROPERTIES, extents);
====
    return LSM_OK;
X
mutant repair_that_forgets_a_name_that_it_learns_later lsm/db/repair_read.c 'unit/test_repair_unread' <<'X'
    if (tree && tree->is_unnamed && name.size) {
====
    if (false) {
X
mutant repair_that_counts_no_lost_rows lsm/store/salvage.c 'unit/test_repair_unread' <<'X'
            if (rc == LSM_DONE)
                lost_rows(it);
====
X

# ---- many versions of a key ----

mutant leap_that_is_not_made lsm/version/visible.c 'unit/test_visible_leap' <<'X'
#define LEAP_AFTER 8u
====
#define LEAP_AFTER 100000u
X
mutant leap_over_rows_of_its_own lsm/version/visible.c 'unit/test_visible_leap' <<'X'
    else if (lsm_tag_seq(tag) > LSM_SEQ_OWN || !v->at.own_max)
====
    else if (true)
X
mutant leap_to_a_row_that_is_not_seen lsm/version/visible.c 'unit/test_visible_leap' <<'X'
    lsm_iter_leap(v->it, lsm_buf_slice(&v->key_buf), newest_seen(v, v->it->tag), false);
====
    lsm_iter_leap(v->it, lsm_buf_slice(&v->key_buf), LSM_TAG_MAX, false);
X

# ---- a full disk ----

mutant no_cut_of_what_had_no_room lsm/store/log.c 'sim/crash_engine' <<'X'
    rc = lsm_log_cut(log, log->size, log->chain);
    if (rc)
        return rc;
    log->failed = false;
====
    rc = LSM_OK;
    log->failed = false;
X
mutant no_log_goes_on_when_there_was_no_room lsm/db/write.c 'unit/test_machine' <<'X'
    if (rc == LSM_FULL)
        take_back(db);
====
X
mutant another_log_for_each_flush_that_fails lsm/db/flush_job.c 'unit/test_machine' <<'X'
        if (rc == LSM_OK && !(lsm_write_is_ready(db) && db->log.size == LSM_LOG_HEADER_SIZE))
====
        if (rc == LSM_OK)
X
mutant a_log_whose_sync_failed_goes_on_when_there_was_no_room lsm/db/write.c 'unit/test_ahead_threads' <<'X'
    if (!logs_are_read(db) && db->ahead_failed != db->log.number)       /* what that sync lost is lost (R11) */
====
    if (!logs_are_read(db))
X
mutant a_sync_ahead_counts_for_a_log_that_was_cut lsm/db/ahead.c 'unit/test_ahead_threads' <<'X'
 && db->log.cuts == a->cuts) {
====
) {
X
mutant a_flush_without_room_for_a_log_fails_the_present_one lsm/db/write.c 'unit/test_machine' <<'X'
    if (rc && (error || rc != LSM_FULL || !is_gone(db, number)))
====
    if (rc)
X
mutant directory_sync_of_a_next_log_that_was_removed lsm/db/write.c 'sim/crash_engine' <<'X'
    return (error == 0 || error == ENOENT) && db->os->dir_sync(db->dir) == 0;
====
    return error == 0 || error == ENOENT;
X

# ---- what a SELECT has from before the end of a transaction ----

mutant R18_a_pin_goes_with_the_transaction_although_a_select_is_open ext/vtab_pin.c 'unit/test_vtab_txn unit/test_vtab_seen' <<'X'
        if (ctx->pin_explicit && ctx->cursor_count == 0)
====
        if (ctx->pin_explicit)
X
mutant R4_anothers_write_between_sqlites_end_and_ours ext/vtab_txn.c 'unit/test_vtab_seen' <<'X'
        ctx->seq_viewed = has_written ? lsm_db_seq_published(ctx->store->db) : ctx->begin_seq;
====
        ctx->seq_viewed = lsm_db_seq_published(ctx->store->db);
X
mutant a_select_is_put_right_with_what_another_wrote_since ext/vtab_cursor.c 'unit/test_vtab_seen' <<'X'
           && (read->snapshot || lsm_db_seq_published(ctx->store->db) == ctx->begin_seq);
====
           && (read->snapshot || ctx->begin_seq + 1 > 0);
X
mutant R19_with_query_only_a_pin_outlives_its_transaction ext/vtab_pin.c 'unit/test_vtab_seen' <<'X'
        ctx->pin_explicit = !ctx->conn->is_query_only;
====
        ctx->pin_explicit = true;
X
mutant R7_area_beyond_max_page_count ext/vtab_redo.c 'unit/test_vtab_redo' <<'X'
    if (rc == SQLITE_OK && has)
        return add_slots
====
    if (rc == SQLITE_OK)
        return add_slots
X
mutant R16_settle_at_a_close lsm/db/db.c 'unit/test_chain' <<'X'
        settle_at_close(db);
====
X
mutant R16_settle_at_a_close_only_when_quiet lsm/db/db.c 'unit/test_chain' <<'X'
    can = db->has_host && lsm_flush_is_quiet(db);
====
    can = db->has_host;
X
mutant R16_floor_of_a_close_without_a_sync lsm/db/db.c 'sim/crash_commit' <<'X'
    if (can && lsm_chain_settle(db) != LSM_OK)
====
    if (can)
        db->floor = lsm_chain_newest(db);
    if (0)
X
mutant room_with_zeros_for_large_records_too lsm/store/log.c 'unit/test_room_threads:zeros' <<'X'
    if (*synced ? !log->os->file_zero || log->size / (log->frames + 1) >= ZEROED_MEAN
====
    if (*synced ? !log->os->file_zero
X
mutant rescue_begins_small_again_where_it_can_read lsm/store/rescue.c 'unit/test_repair_disk' <<'X'
            rescue->row = 0;
====
X
mutant repair_of_a_table_that_has_grown lsm/db/repair.c 'unit/test_repair_unread' <<'X'
        if (info.size < s[i].meta->size_bytes)
====
        if (true)
X
mutant repair_of_a_MANIFEST_that_may_be_older lsm/db/repair_read.c 'unit/test_repair' <<'X'
    if (may_be_older(r)) {
====
    if (false) {
X
mutant repair_takes_no_table_that_was_removed lsm/db/repair.c 'unit/test_repair' <<'X'
        else if (!lsm_repair_has_number(&p->r.removed, numbers[i]))
====
        else
X
mutant R16_settled_by_a_wal_that_is_not_empty ext/vtab_settle.c 'sim/sweep_commit' <<'X'
    if (rc == SQLITE_OK && has_wal(store))
====
    if (false)
X
mutant R15_backup_of_one_that_only_reads lsm/db/backup.c 'unit/test_carry_taken' <<'X'
    else if (atomic_load(&db->carry.is_pending))
====
    else if (false)
X
mutant repair_of_what_was_never_committed lsm/db/repair.c 'unit/test_repair' <<'X'
    } else if (rc == LSM_OK && was_never_committed(p, &t)) {
====
    } else if (false) {
X

# ---- logs are flushed before the next one is read ----

mutant R17_a_replay_flushes_beyond_the_floor lsm/db/flush_job.c 'unit/test_series' <<'X'
        if ((lsm_token_equal(&newest, &db->root) || newest.txid <= db->floor.txid) && db->view->unit_count > 0 &&
====
        if (db->view->unit_count > 0 &&
X
mutant R12_copies_are_replayed_as_records lsm/db/recover.c 'unit/test_series' <<'X'
        db->replays_whole = true;       /* without the log before it a copy would be taken for a new record */
====
X
mutant I_an_open_holds_all_logs_in_memory lsm/db/chain.c 'unit/test_series' <<'X'
    return used >= memtable_bytes && used + more >= 2 * memtable_bytes;
====
    return false && used + more >= memtable_bytes;
X
mutant I_03_an_open_that_cannot_flush_is_no_open lsm/db/chain.c 'unit/test_series' <<'X'
        if (lsm_flush_replayed(db) == LSM_OK || flushes != atomic_load(&db->counters.flushes))
            continue;           /* this one's, or another reader's */
====
        rc = lsm_flush_replayed(db);
        if (rc == LSM_OK)
            continue;
        if (rc != LSM_DONE || flushes != atomic_load(&db->counters.flushes))
            return rc;
X
mutant R11_a_fresh_log_asks_for_logs_that_were_flushed lsm/db/write.c 'unit/test_series' <<'X'
        bytes_read += was[i].number >= db->log_number_min ? was[i].size : 0;
====
        bytes_read += was[i].size;
X
mutant a_mark_is_never_released lsm/db/txn.c 'unit/test_said' <<'X'
    while (txn->mark_count && txn->marks[txn->mark_count - 1] > mark)
        txn->mark_count--;
====
    (void)txn;
    (void)mark;
X
