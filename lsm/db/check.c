/*
 * check.c -- is all on disk what it should be?
 *
 *     MANIFEST    read again through CURRENT: whole, and the same tables as in memory
 *     logs        every frame and record, each log ends where the next one or memory says
 *     levels      order, no overlap, sequences and numbers within bounds
 *     tables      every byte (store/table_check.c)
 *     value logs  every byte (store/vlog.c), and every value that a row refers to
 *     versions    of a key, the one in the upper level is the newer one
 *     directory   names that are not of a store, files that nothing refers to
 *
 * MANIFEST and logs are read in the log slot, so that nobody appends meanwhile; what
 * the rest reads is held by a view.
 */
#include "lsm/db/db.h"

#include <stdarg.h>
#include <stdio.h>

#include "lsm/format/filename.h"
#include "lsm/util/hash.h"

struct check {
    struct lsm_db *db;
    struct lsm_view *view;
    struct lsm_unit *active;
    uint64_t seq_flushed, next_file;
    bool at_work;               /* a job or a transaction may have files that nothing names yet */
    void (*report)(void *ctx, int kind, const char *text);
    void *ctx;
    int first;                  /* the first fault */
    uint64_t told[16];          /* hashes of the newest lines, in turn */
    uint32_t told_count;
};

/* A value log that is missing would be told of for each row that refers to it. */
static bool is_told(struct check *c, const char *text)
{
    const uint32_t size = sizeof c->told / sizeof *c->told;
    uint64_t hash = lsm_hash64(text, strlen(text), 0);

    for (uint32_t i = 0; i < size && i < c->told_count; i++)
        if (c->told[i] == hash)
            return true;
    c->told[c->told_count++ % size] = hash;
    return false;
}

static void tell(struct check *c, int kind, const char *format, ...)
{
    char text[LSM_ERROR_TEXT_SIZE];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (c->report)
        c->report(c->ctx, kind, text);
    lsm_db_event(c->db, kind, "check: %s", text);
}

static void note(struct check *c, int rc)
{
    char why[LSM_ERROR_TEXT_SIZE];

    if (rc == LSM_OK)
        return;
    lsm_error_save(why, sizeof why);
    if (!is_told(c, why))
        tell(c, LSM_EVENT_ERROR, "%s", why);
    if (!c->first)
        c->first = rc;
}

/* ---- MANIFEST ---- */

struct replay {
    struct lsm_version *version;
};

static int apply_edit(void *ctx, const struct lsm_edit *edit)
{
    struct replay *r = ctx;

    return lsm_version_advance(&r->version, edit);
}

static int encode_version(struct lsm_os *os, const struct lsm_version *v, struct lsm_buf *out)
{
    struct lsm_edit edit;

    lsm_edit_init(&edit, os);
    lsm_version_to_edit(v, &edit);
    lsm_edit_encode(&edit, out);
    lsm_edit_clear(&edit);
    return out->rc;
}

/* As the comparators are asked for with the mutex held. */
static const struct lsm_comparator *comparator_of(void *ctx, uint32_t id)
{
    const struct lsm_comparator *cmp;

    lsm_db_lock(ctx);
    cmp = lsm_tree_comparator(ctx, id);
    lsm_db_unlock(ctx);
    return cmp;
}

/* Log slot held. */
static int check_manifest(struct check *c)
{
    struct lsm_db *db = c->db;
    struct lsm_manifest again = { 0 };
    struct replay r = { NULL };
    struct lsm_buf want, found;
    int rc;

    if (db->manifest.is_guessed)
        tell(c, LSM_EVENT_WARNING, "CURRENT does not name the MANIFEST that is in use: the next write begins a "
             "new one");
    if (db->manifest.failed)    /* the next edit begins a new one */
        return LSM_OK;
    rc = lsm_version_new(db->os, NULL, comparator_of, db, &r.version);
    if (rc)
        return rc;
    lsm_buf_init(&want, db->os);
    lsm_buf_init(&found, db->os);
    rc = lsm_manifest_open(&again, db->os, db->dir, true, apply_edit, &r);
    if (rc == LSM_OK && (again.number != db->manifest.number || again.size != db->manifest.size ||
                         again.chain != db->manifest.chain))
        rc = lsm_corrupt("MANIFEST", again.size, "it is not the one that this process has written");
    if (rc == LSM_OK)
        rc = encode_version(db->os, c->view->version, &want);
    if (rc == LSM_OK)
        rc = encode_version(db->os, r.version, &found);
    if (rc == LSM_OK && !lsm_slice_equal(lsm_buf_slice(&want), lsm_buf_slice(&found)))
        rc = lsm_corrupt("MANIFEST", 0, "it does not name the tables that are in use");
    lsm_manifest_close(&again);
    lsm_version_unref(r.version);
    lsm_buf_clear(&want);
    lsm_buf_clear(&found);
    return rc;
}

/* ---- logs ---- */

static int check_record(void *ctx, struct lsm_slice payload, uint64_t off)
{
    struct lsm_db *db = ctx;
    struct lsm_record rec;
    int rc;

    if (!lsm_record_decode(payload, db->uuid, &rec))
        return lsm_corrupt("log", off, "not a record of this store");
    lsm_db_lock(db);
    rc = lsm_recover_check_trees(db, &rec);
    lsm_db_unlock(db);
    return rc;
}

/* Log slot held. */
static int check_logs(struct check *c)
{
    struct lsm_db *db = c->db;
    struct lsm_log_end last = { 0, 0, 0 }, end, prev;
    struct lsm_buf logs;
    int rc = lsm_write_logs(db, db->log_number_min, &logs);
    bool torn;

    for (size_t i = 0; i + 8 <= logs.size && rc == LSM_OK; i += 8) {
        uint64_t number = lsm_get_u64(logs.data + i);

        rc = lsm_log_read(db->os, db->dir, db->uuid, number, check_record, db, &end, &prev, &torn);
        if (rc == LSM_OK && !torn && prev.number && prev.number >= db->log_number_min)
            rc = lsm_log_check_prev(number, &prev, &last);
        if (rc == LSM_OK && end.size)
            last = end;
    }
    lsm_buf_clear(&logs);
    if (rc == LSM_OK && db->has_log && !db->log.failed &&
        (last.number != db->log.number || last.size != db->log.size || last.chain != db->log.chain)) {
        char name[LSM_FILENAME_SIZE];
        rc = lsm_corrupt(lsm_filename(name, LSM_FILE_LOG, db->log.number), last.size,
                         "the log does not end where this process has written it to");
    }
    return rc;
}

/* ---- levels ---- */

static int check_meta(const struct check *c, uint32_t tree, const struct lsm_table_meta *m)
{
    char name[LSM_FILENAME_SIZE];

    lsm_filename(name, LSM_FILE_TABLE, m->number);
    if (m->tree != tree || m->number >= c->next_file || m->tombstones > m->entries || m->seq_min > m->seq_max ||
        m->seq_max > c->seq_flushed)
        return lsm_corrupt(name, 0, "what the MANIFEST says of it is impossible");
    return LSM_OK;
}

static void check_levels(struct check *c, const struct lsm_tree_version *tv, const struct lsm_comparator *cmp)
{
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++) {
        const struct lsm_level *level = &tv->level[l];
        uint64_t bytes = 0;

        for (uint32_t i = 0; i < level->count; i++) {
            const struct lsm_table_meta *m = &level->runs[i]->meta, *before = i ? &level->runs[i - 1]->meta : NULL;
            char name[LSM_FILENAME_SIZE];

            bytes += m->size_bytes;
            note(c, check_meta(c, tv->tree, m));
            lsm_filename(name, LSM_FILE_TABLE, m->number);
            if (lsm_key_compare(cmp, m->smallest, m->largest) > 0)
                note(c, lsm_corrupt(name, 0, "its first key is behind its last"));
            if (before && l == 0 && before->seq_max < m->seq_max)
                note(c, lsm_corrupt(name, 0, "level 0 is not in the order of age"));
            if (before && l > 0 && lsm_key_compare(cmp, before->largest, m->smallest) >= 0)
                note(c, lsm_corrupt(name, 0, "it overlaps the table before it in its level"));
        }
        if (bytes != level->bytes)
            note(c, lsm_corrupt("MANIFEST", 0, "a level's size is not the sum of its tables'"));
    }
}

/* ---- tables ---- */

static struct lsm_tree *tree_of(struct lsm_db *db, uint32_t id)
{
    struct lsm_tree *tree;

    lsm_db_lock(db);
    tree = lsm_tree_by_id(db, id);
    lsm_db_unlock(db);
    return tree && !atomic_load(&tree->dropped) ? tree : NULL;
}

/* Every value that the table's rows refer to. */
static void check_values(struct check *c, const struct lsm_table_meta *meta, struct lsm_table *table)
{
    const struct lsm_value_source from = { .view = c->view };
    struct lsm_buf scratch, out;
    struct lsm_slice value;
    struct lsm_iter *it;
    int rc = meta->refs.size ? lsm_table_iter_new(table, true, &it) : LSM_DONE;

    if (rc == LSM_DONE)
        return;
    if (rc) {
        note(c, rc);
        return;
    }
    lsm_buf_init(&scratch, c->db->os);
    lsm_buf_init(&out, c->db->os);
    for (lsm_iter_first(it); it->valid; lsm_iter_next(it))
        if (lsm_tag_kind(it->tag) == LSM_KIND_VLOG)
            note(c, lsm_value_read(c->db, &from, it->value, &scratch, &out, &value));
    note(c, it->rc);
    lsm_iter_close(it);
    lsm_buf_clear(&scratch);
    lsm_buf_clear(&out);
}

static void check_run(struct check *c, const struct lsm_run *run)
{
    struct lsm_db *db = c->db;
    struct lsm_tree *tree = tree_of(db, run->meta.tree);
    struct lsm_table *table;
    int rc;

    if (!tree)
        return;
    rc = lsm_tables_get(db->tables, &run->meta, tree->cmp, &table);
    if (rc == LSM_OK) {
        rc = lsm_table_check(table);
        if (rc == LSM_OK)
            check_values(c, &run->meta, table);
        lsm_table_unref(table);
    }
    note(c, rc);
}

/* ---- value logs ---- */

static int check_vlog(struct lsm_db *db, const struct lsm_vlog_meta *meta)
{
    struct lsm_vlog *vlog;
    int rc = lsm_vlogs_get(db->vlogs, meta, &vlog);

    if (rc == LSM_OK) {
        rc = lsm_vlog_check(vlog);
        lsm_vlog_unref(vlog);
    }
    return rc;
}

static int open_vlog(struct lsm_db *db, const struct lsm_vlog_meta *meta)
{
    struct lsm_vlog *vlog;
    int rc = lsm_vlogs_get(db->vlogs, meta, &vlog);

    if (rc == LSM_OK)
        lsm_vlog_unref(vlog);
    return rc;
}

/* ---- versions: the upper level has the newer ones ---- */

struct run_source {             /* a run of level 0, or a level */
    struct lsm_run **runs;
    uint32_t count, at;
    uint32_t place;             /* sources of a lower one are newer */
    struct lsm_iter *it;
};

struct run_sources {            /* those that stand side by side, */
    struct lsm_db *db;
    const struct lsm_comparator *cmp;
    struct run_source *some;
    uint32_t some_count;
    struct run_source *all;     /* and all of the tree, by place */
};

static int open_next(struct lsm_db *db, struct run_source *s, const struct lsm_comparator *cmp)
{
    int rc;

    lsm_iter_close(s->it);
    s->it = NULL;
    if (s->at == s->count)
        return LSM_DONE;
    rc = lsm_tables_iter(db->tables, &s->runs[s->at++]->meta, cmp, &s->it);
    if (rc)
        return rc;
    lsm_iter_first(s->it);
    return s->it->valid ? LSM_OK : s->it->rc ? s->it->rc : open_next(db, s, cmp);
}

/* Has the source this very row? */
static int look_in(const struct run_sources *r, const struct run_source *s, struct lsm_slice key, uint64_t tag, bool *has)
{
    const struct lsm_level level = { .runs = s->runs, .count = s->count };
    uint32_t i = lsm_level_find(&level, r->cmp, key);
    struct lsm_iter *it;
    int rc;

    if (i == s->count || lsm_key_compare(r->cmp, key, s->runs[i]->meta.smallest) < 0)
        return LSM_OK;
    rc = lsm_tables_iter(r->db->tables, &s->runs[i]->meta, r->cmp, &it);
    if (rc)
        return rc;
    lsm_iter_seek(it, key, tag);
    *has = it->valid && it->tag == tag && lsm_key_compare(r->cmp, it->key, key) == 0;
    rc = it->rc;
    lsm_iter_close(it);
    return rc;
}

/* A compaction that was cut short leaves rows of inputs that stay in its outputs, too: under older
   versions in whatever lies between. */
static int check_copy(const struct run_sources *r, uint32_t place, struct lsm_slice key, uint64_t tag)
{
    bool has = false;
    int rc = LSM_OK;

    for (uint32_t p = 0; p < place && rc == LSM_OK && !has; p++)
        rc = look_in(r, &r->all[p], key, tag, &has);
    if (rc == LSM_OK && !has)
        rc = lsm_corrupt("tables", 0, "an older version of a key lies above a newer one");
    return rc;
}

/* Walk over all versions of `key`, where the source stands; *oldest is that of the sources above. */
static int pass_key(const struct run_sources *r, struct run_source *s, struct lsm_slice key, uint64_t *oldest)
{
    uint64_t above = *oldest;
    int rc = LSM_OK;

    while (rc == LSM_OK && lsm_key_compare(r->cmp, s->it->key, key) == 0) {
        if (s->it->tag > above)
            rc = check_copy(r, s->place, key, s->it->tag);
        if (rc)
            break;
        *oldest = s->it->tag < *oldest ? s->it->tag : *oldest;
        lsm_iter_next(s->it);
        if (!s->it->valid)
            rc = s->it->rc ? s->it->rc : open_next(r->db, s, r->cmp);
    }
    return rc;
}

static int check_key(const struct run_sources *r, struct lsm_buf *key)
{
    uint32_t least = r->some_count;
    uint64_t oldest = LSM_TAG_MAX;
    int rc = LSM_OK;

    for (uint32_t i = 0; i < r->some_count; i++)
        if (r->some[i].it && (least == r->some_count ||
                              lsm_key_compare(r->cmp, r->some[i].it->key, r->some[least].it->key) < 0))
            least = i;
    if (least == r->some_count)
        return LSM_DONE;
    lsm_buf_reset(key);
    lsm_buf_append_slice(key, r->some[least].it->key);
    if (key->rc)
        return key->rc;
    for (uint32_t i = least; i < r->some_count && (rc == LSM_OK || rc == LSM_DONE); i++)
        if (r->some[i].it && lsm_key_compare(r->cmp, r->some[i].it->key, lsm_buf_slice(key)) == 0)
            rc = pass_key(r, &r->some[i], lsm_buf_slice(key), &oldest);
    return rc == LSM_DONE ? LSM_OK : rc;
}

/* Runs and levels side by side. */
static int compare_sources(const struct run_sources *r)
{
    struct lsm_buf key;
    int rc = LSM_OK;

    lsm_buf_init(&key, r->db->os);
    for (uint32_t i = 0; i < r->some_count && rc == LSM_OK; i++) {
        r->some[i].at = 0;
        rc = open_next(r->db, &r->some[i], r->cmp);
        rc = rc == LSM_DONE ? LSM_OK : rc;
    }
    while (rc == LSM_OK && r->some_count > 1)
        rc = check_key(r, &key);
    for (uint32_t i = 0; i < r->some_count; i++) {
        lsm_iter_close(r->some[i].it);
        r->some[i].it = NULL;
    }
    lsm_buf_clear(&key);
    return rc == LSM_DONE ? LSM_OK : rc;
}

/* Where there are more sources than tables may be open at once, in groups, each group beside each other
   one: any two stand side by side once. */
static int check_versions(struct lsm_db *db, const struct lsm_tree_version *tv, const struct lsm_comparator *cmp)
{
    uint32_t cap = tv->level[0].count + LSM_LEVEL_COUNT_MAX, count = 0, open_max, group;
    struct run_source *sources = lsm_mem_zalloc(db->os, 2 * cap * sizeof *sources), *some = sources + cap;
    struct run_sources r = { .db = db, .cmp = cmp, .some = some, .all = sources };
    int rc = LSM_OK;

    if (!sources)
        return lsm_nomem();
    for (uint32_t i = 0; i < tv->level[0].count; i++)
        sources[count++] = (struct run_source){ .runs = &tv->level[0].runs[i], .count = 1 };
    for (uint32_t l = 1; l < LSM_LEVEL_COUNT_MAX; l++)
        if (tv->level[l].count)
            sources[count++] = (struct run_source){ .runs = tv->level[l].runs, .count = tv->level[l].count };
    for (uint32_t i = 0; i < count; i++)
        sources[i].place = i;
    lsm_db_lock(db);
    open_max = db->policy.level0_inputs_max;
    lsm_db_unlock(db);
    group = count <= open_max ? count : open_max / 2;
    for (uint32_t a = 0; a < count && rc == LSM_OK; a += group) {
        uint32_t n = count - a < group ? count - a : group, b = a + group;

        do {
            uint32_t m = b >= count ? 0 : count - b < group ? count - b : group;
            memcpy(some, sources + a, n * sizeof *some);
            if (m)
                memcpy(some + n, sources + b, m * sizeof *some);
            r.some_count = n + m;
            rc = compare_sources(&r);
            b += group;
        } while (b < count && rc == LSM_OK);
    }
    lsm_mem_free(db->os, sources);
    return rc;
}

static void check_tree(struct check *c, const struct lsm_tree_version *tv)
{
    struct lsm_tree *tree = tree_of(c->db, tv->tree);
    int before = c->first;

    if (!tree)
        return;
    check_levels(c, tv, tree->cmp);
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        for (uint32_t i = 0; i < tv->level[l].count; i++)
            check_run(c, tv->level[l].runs[i]);
    if (c->first == before)     /* else it would only say so again */
        note(c, check_versions(c->db, tv, tree->cmp));
}

/* ---- the directory ---- */

struct listing {
    struct check *c;
    uint64_t orphans;
};

static int check_name(void *ctx, const char *name)
{
    struct listing *l = ctx;
    const struct lsm_db *db = l->c->db;
    enum lsm_file_kind kind;
    uint64_t number;

    if (!lsm_filename_parse(name, &kind, &number))
        tell(l->c, LSM_EVENT_WARNING, "\"%.100s\" is not a store's file", name);
    else if (!l->c->at_work && number < l->c->next_file &&
             (kind == LSM_FILE_TEMP || (kind == LSM_FILE_MANIFEST && number != db->manifest.number) ||
              (kind == LSM_FILE_LOG && number < db->log_number_min)))
        l->orphans++;
    return 0;
}

static int orphan_file(void *ctx, const char *name)
{
    struct listing *l = ctx;
    enum lsm_file_kind kind;
    uint64_t number;

    if (!lsm_filename_parse(name, &kind, &number) || number >= l->c->next_file)
        return 0;
    if ((kind == LSM_FILE_TABLE && !lsm_recover_needs_table(l->c->db, number)) ||
        (kind == LSM_FILE_VLOG && !lsm_recover_needs_vlog(l->c->db, number)))
        l->orphans++;
    return 0;
}

/* Log slot held. */
static int check_directory(struct check *c)
{
    struct lsm_db *db = c->db;
    struct listing l = { c, 0 };
    int error = db->os->dir_list(db->dir, check_name, &l);

    if (!error && !c->at_work) {
        db->os->mutex_lock(db->publish);
        lsm_db_lock(db);
        error = db->os->dir_list(db->dir, orphan_file, &l);
        lsm_db_unlock(db);
        db->os->mutex_unlock(db->publish);
    }
    if (error)
        return lsm_fail_os(error, "list", db->path);
    if (l.orphans)
        tell(c, LSM_EVENT_INFO, "%llu files are not needed any more; they go with the first write after the "
             "next open", (unsigned long long)l.orphans);
    return LSM_OK;
}

/* ---- all ---- */

static void begin(struct check *c)
{
    struct lsm_db *db = c->db;

    lsm_db_lock(db);
    lsm_write_slot_take(db);
    c->view = db->view;
    atomic_fetch_add_explicit(&c->view->refs, 1, memory_order_relaxed);
    c->active = db->active;
    c->seq_flushed = db->seq_flushed;
    c->next_file = atomic_load(&db->next_file);
    c->at_work = db->flushing || db->compacting || db->txn_count || db->oldest_snapshot || db->cursor_count ||
                 db->backups;
    lsm_db_unlock(db);
}

int lsm_db_check_report(struct lsm_db *db, void (*report)(void *ctx, int kind, const char *text), void *ctx)
{
    struct check c = { .db = db, .report = report, .ctx = ctx };
    const struct lsm_unit *unit;
    int rc = lsm_db_usable(db);

    if (rc)
        return rc;
    begin(&c);
    note(&c, check_manifest(&c));
    note(&c, check_logs(&c));
    note(&c, check_directory(&c));
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);

    unit = c.view->newest;
    for (uint32_t i = 0; i < c.view->unit_count; i++, unit = unit->older) {
        if (unit->mem && unit != c.active)      /* a memtable that grows is not walked */
            note(&c, lsm_memtable_check(unit->mem));
        for (uint32_t k = 0; k < unit->run_count; k++) {
            check_run(&c, unit->runs[k]);
            for (uint32_t n = 0; n < unit->runs[k]->vlog_count; n++)
                note(&c, check_vlog(db, &unit->runs[k]->vlogs[n]));
        }
    }
    for (uint32_t t = 0; t < c.view->version->tree_count; t++)
        check_tree(&c, c.view->version->trees[t]);
    for (uint32_t i = 0; i < c.view->version->vlog_count; i++)
        note(&c, check_vlog(db, &c.view->version->vlogs[i].file->meta));
    lsm_view_unref(c.view);
    return c.first;
}

/* ---- files alone ---- */

static int open_files(struct lsm_db *db, struct lsm_run *const *runs, uint32_t count)
{
    int rc = LSM_OK;

    for (uint32_t i = 0; i < count && rc == LSM_OK; i++) {
        struct lsm_table *table;

        rc = lsm_tables_get(db->tables, &runs[i]->meta, comparator_of(db, runs[i]->meta.tree), &table);
        if (rc == LSM_OK)
            lsm_table_unref(table);
        for (uint32_t k = 0; k < runs[i]->vlog_count && rc == LSM_OK; k++)
            rc = open_vlog(db, &runs[i]->vlogs[k]);
    }
    return rc;
}

int lsm_db_check_files(struct lsm_db *db)
{
    const struct lsm_unit *unit;
    struct lsm_view *view;
    int rc = lsm_db_usable(db);

    if (rc)
        return rc;
    view = lsm_view_current(db);
    unit = view->newest;
    for (uint32_t i = 0; i < view->unit_count && rc == LSM_OK; i++, unit = unit->older)
        rc = open_files(db, unit->runs, unit->run_count);
    for (uint32_t t = 0; t < view->version->tree_count && rc == LSM_OK; t++)
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX && rc == LSM_OK; l++)
            rc = open_files(db, view->version->trees[t]->level[l].runs, view->version->trees[t]->level[l].count);
    for (uint32_t i = 0; i < view->version->vlog_count && rc == LSM_OK; i++)
        rc = open_vlog(db, &view->version->vlogs[i].file->meta);
    lsm_view_unref(view);
    return rc;
}

int lsm_db_check(struct lsm_db *db)
{
    return lsm_db_check_report(db, NULL, NULL);
}
