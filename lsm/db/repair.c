/*
 * repair.c -- a new store from what is left of a damaged one.
 *
 *     MANIFEST, logs   repair_read.c     which tables, which records, which trees
 *     tables           salvage.c         rows, damage passed over
 *     per tree         merge, build      one level of new tables, the newest version of each key
 *     new MANIFEST                       last, when all is synced
 *
 * Order of versions. Rows in tables have their sequences, records of the logs come
 * after all of them. Where the MANIFEST is lost, rows of equal sequence (the deepest
 * level's is zero) are taken from the file with the higher number; and a private
 * table that no log names gets a place right behind all tables with lower numbers.
 */
#include "lsm/db/repair.h"

#include <errno.h>

#include "lsm/compaction/build.h"
#include "lsm/format/filename.h"
#include "lsm/version/merge.h"

#define MEMTABLE_BYTES (UINT64_C(256) << 20)
#define CACHE_BYTES (UINT64_C(1) << 20)
#define OPEN_TABLES 16u
#define SEQ_UNKNOWN (UINT64_C(1) << 40)         /* behind a table that does not tell its sequences */
#define OUTPUT_LEVEL (LSM_LEVEL_COUNT_MAX - 2)

struct source {                         /* a table that is read */
    struct lsm_table_meta *meta;        /* owned */
};

struct repair {
    struct lsm_repair_state r;
    struct lsm_salvage salvage;
    struct lsm_repair_values values;
    struct lsm_cache *cache;
    struct lsm_dir *to;
    uint32_t file_mode;
    struct lsm_buf sources;             /* struct source, by number ascending */
    struct lsm_buf mems;                /* struct lsm_memtable *, oldest first */
    uint64_t seq, next_file;
    uint64_t unread;                    /* files, places and records of logs that are there and cannot be read */
    struct lsm_edit edit;
    struct lsm_build *builds;           /* hold the metas of the edit */
    size_t build_count;
    bool has_said_back;
};

/* Once: what is gone may have hidden older rows of its keys, and nobody can tell which. */
static void say_back(struct repair *p)
{
    if (!p->has_said_back)
        lsm_repair_say(&p->r, "rows that stood in older files, and that what is lost had replaced or deleted, are back");
    p->has_said_back = true;
}

static void lost(void *ctx, const char *file, uint64_t off, uint64_t size, const char *why)
{
    struct repair *p = ctx;

    lsm_repair_lost(&p->r, file, off, size, why);
    say_back(p);
}

static void lost_rows(void *ctx, uint64_t count)
{
    struct repair *p = ctx;

    if (count == LSM_SALVAGE_UNCOUNTED)
        p->r.info->tables_uncounted++;
    else
        p->r.info->rows_lost += count;
}

static struct source *sources_of(const struct repair *p, size_t *count)
{
    *count = p->sources.size / sizeof(struct source);
    return (struct source *)p->sources.data;
}

static int add_source(struct repair *p, const struct lsm_table_meta *meta)
{
    struct source s = { lsm_table_meta_copy(p->r.os, meta) }, *all;
    size_t count, at;

    if (!s.meta)
        return lsm_nomem();
    lsm_buf_append(&p->sources, &s, sizeof s);
    if (p->sources.rc) {
        lsm_mem_free(p->r.os, s.meta);
        return p->sources.rc;
    }
    all = sources_of(p, &count);
    for (at = count - 1; at > 0 && all[at - 1].meta->number > meta->number; at--)
        all[at] = all[at - 1];
    all[at] = s;
    if (p->seq < meta->seq_max)
        p->seq = meta->seq_max;
    return LSM_OK;
}

static bool has_source(const struct repair *p, uint64_t number)
{
    size_t count;
    const struct source *s = sources_of(p, &count);

    for (size_t i = 0; i < count; i++)
        if (s[i].meta->number == number)
            return true;
    return false;
}

/* ---- which tables ---- */

static int add_versions_tables(struct repair *p)
{
    const struct lsm_version *v = p->r.version;
    int rc = LSM_OK;

    for (uint32_t t = 0; t < v->tree_count; t++)
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
            for (uint32_t i = 0; i < v->trees[t]->level[l].count && rc == LSM_OK; i++)
                rc = add_source(p, &v->trees[t]->level[l].runs[i]->meta);
    return rc;
}

/* Tables that committed records adopt, with their place in the order. *size_bytes: as the record says. */
static bool is_adopted(const struct repair *p, uint64_t number, uint64_t *size_bytes)
{
    const struct lsm_repair_record *records = (const void *)p->r.records.data;

    for (size_t i = 0; i < p->r.records.size / sizeof *records; i++) {
        struct lsm_record rec;
        struct lsm_reader r;
        if (!lsm_record_decode(records[i].payload, p->r.uuid, &rec))
            continue;
        r = lsm_reader(rec.adopted);
        for (uint32_t k = 0; k < rec.adopted_count; k++) {
            struct lsm_table_meta meta;
            if (lsm_record_next_adopted(&r, &rec, &meta, NULL))
                break;
            *size_bytes = meta.size_bytes;
            if (meta.number == number)
                return true;
        }
    }
    return false;
}

static bool has_first_log(const struct repair *p)
{
    return p->r.log_number == 0 || lsm_repair_has_number(&p->r.logs, p->r.log_number);
}

/* A large transaction's table, or one that was never finished, which neither the MANIFEST names nor a record adopts: a process
   died over it, and its rows would come to lie on top of all others. Unless the record was in a log that is gone: not where
   the MANIFEST's log is there, nor of a table that is younger than the oldest log, since the record would be in that or a later
   one (begin_next in write.c). */
static bool was_never_committed(const struct repair *p, const struct lsm_salvage_table *t)
{
    const uint64_t *logs = (const void *)p->r.logs.data;

    return p->r.manifest == LSM_REPAIR_PART && (t->is_private || !t->has_properties) &&
           (has_first_log(p) || (p->r.logs.size && t->number > logs[0])) && p->unread == 0;
}

static int add_file(struct repair *p, uint64_t number, uint64_t seq_below)
{
    struct lsm_salvage_table t;
    struct lsm_table_meta meta = { .number = number };
    char name[LSM_FILENAME_SIZE];
    int rc = lsm_salvage_identify(p->r.os, p->r.from, number, 0, &t);

    lsm_filename(name, LSM_FILE_TABLE, number);
    if (rc == LSM_NOTFOUND) {
        lsm_repair_say(&p->r, "%s: neither its beginning nor its end says what it is: lost", name);
        p->r.info->files_lost++;
        p->r.info->tables_uncounted++;
        rc = LSM_OK;
    } else if (rc == LSM_OK && memcmp(t.uuid, p->r.uuid, 16) != 0) {
        lsm_repair_say(&p->r, "%s: the file of another store: left out", name);
        p->r.info->files_lost++;
    } else if (rc == LSM_OK && was_never_committed(p, &t)) {
        lsm_repair_say(&p->r, "%s: its rows were never committed: left out", name);
    } else if (rc == LSM_OK) {
        struct lsm_repair_tree *tree = lsm_repair_tree_add(&p->r, t.tree, lsm_buf_slice(&t.tree_name));
        if (!tree)
            rc = lsm_nomem();
        else if (t.comparator.size && !tree->comparator.size)
            lsm_buf_append_slice(&tree->comparator, lsm_buf_slice(&t.comparator));
        meta.tree = t.tree;
        meta.size_bytes = t.size_bytes;
        meta.entries = t.entries;
        meta.range_deletes = t.range_deletes;
        meta.smallest = lsm_buf_slice(&t.smallest);
        meta.largest = lsm_buf_slice(&t.largest);
        meta.seq_max = t.has_properties ? t.seq_max : seq_below + SEQ_UNKNOWN;
        if (t.is_private) {
            meta.seq_add = seq_below;
            meta.seq_max += seq_below;
            p->r.info->tables_guessed++;
            lsm_repair_say(&p->r, "%s: rows of one large transaction, whose place in the order is a guess", name);
        }
        if (rc == LSM_OK)
            rc = add_source(p, &meta);
    }
    lsm_salvage_table_clear(&t);
    return rc;
}

/* A table that a record adopts tells which tree it is of: perhaps nothing else does. */
static int learn_tree(struct repair *p, uint64_t number, uint64_t size_bytes)
{
    struct lsm_salvage_table t;
    int rc = lsm_salvage_identify(p->r.os, p->r.from, number, size_bytes, &t);

    if (rc == LSM_OK && memcmp(t.uuid, p->r.uuid, 16) == 0 &&
        !lsm_repair_tree_add(&p->r, t.tree, lsm_buf_slice(&t.tree_name)))
        rc = lsm_nomem();
    lsm_salvage_table_clear(&t);
    return rc == LSM_NOTFOUND ? LSM_OK : rc;
}

static int add_other_tables(struct repair *p)
{
    const uint64_t *numbers = (const void *)p->r.tables.data;
    int rc = LSM_OK;

    for (size_t i = 0; i < p->r.tables.size / 8 && rc == LSM_OK; i++) {
        char name[LSM_FILENAME_SIZE];
        uint64_t size_bytes;

        if (has_source(p, numbers[i]))
            continue;
        if (is_adopted(p, numbers[i], &size_bytes))
            rc = p->r.manifest == LSM_REPAIR_WHOLE ? LSM_OK : learn_tree(p, numbers[i], size_bytes);
        else if (p->r.manifest == LSM_REPAIR_WHOLE)
            lsm_repair_say(&p->r, "%s: the MANIFEST does not name it: left out", lsm_filename(name, LSM_FILE_TABLE, numbers[i]));
        else if (!lsm_repair_has_number(&p->r.removed, numbers[i]))
            rc = add_file(p, numbers[i], p->seq);
    }
    return rc;
}

/* What the MANIFEST names and the directory has not. */
static void say_missing(struct repair *p)
{
    size_t count, kept = 0;
    struct source *s = sources_of(p, &count);

    for (size_t i = 0; i < count; i++) {
        char name[LSM_FILENAME_SIZE];
        struct lsm_file_info info;
        struct lsm_file *file;
        int error = p->r.os->file_open(p->r.from, lsm_filename(name, LSM_FILE_TABLE, s[i].meta->number),
                                       LSM_OPEN_READ, 0, &file);
        if (!error) {
            error = p->r.os->file_info(file, &info);
            p->r.os->file_close(file);
        }
        if (error) {
            lsm_fail_os(error, "open", name);
            lsm_repair_say(&p->r, "%s: %llu rows and %llu range deletes are lost (%llu of the rows were deletes)",
                           lsm_error_text(),
                           (unsigned long long)s[i].meta->entries, (unsigned long long)s[i].meta->range_deletes,
                           (unsigned long long)s[i].meta->tombstones);
            say_back(p);
            p->r.info->files_lost++;
            p->r.info->rows_lost += s[i].meta->entries;
            lsm_mem_free(p->r.os, s[i].meta);
            continue;
        }
        if (info.size != s[i].meta->size_bytes)
            lsm_repair_say(&p->r, "%s: %llu bytes instead of %llu%s", name, (unsigned long long)info.size,
                           (unsigned long long)s[i].meta->size_bytes,
                           info.size > s[i].meta->size_bytes ? ": what stands behind is left out" : "");
        if (info.size < s[i].meta->size_bytes)
            s[i].meta->size_bytes = info.size;
        s[kept++] = s[i];
        p->r.info->tables++;
    }
    p->sources.size = kept * sizeof *s;
}

/* ---- records ---- */

static int memtable_for(struct repair *p, struct lsm_memtable **mem)
{
    struct lsm_memtable **mems = (void *)p->mems.data, *fresh;
    size_t count = p->mems.size / sizeof *mems;
    int rc;

    if (count && lsm_memtable_bytes(mems[count - 1]) < MEMTABLE_BYTES) {
        *mem = mems[count - 1];
        return LSM_OK;
    }
    rc = lsm_memtable_new(p->r.os, &fresh);
    if (rc)
        return rc;
    lsm_buf_append(&p->mems, &fresh, sizeof fresh);
    if (p->mems.rc)
        lsm_memtable_unref(fresh);
    *mem = fresh;
    return p->mems.rc;
}

static int adopt(struct repair *p, const struct lsm_record *rec, uint64_t base)
{
    struct lsm_reader r = lsm_reader(rec->adopted);
    int rc = LSM_OK;

    for (uint32_t i = 0; i < rec->adopted_count && rc == LSM_OK; i++) {
        struct lsm_table_meta meta;
        rc = lsm_record_next_adopted(&r, rec, &meta, NULL);
        if (rc)
            return rc;
        meta.seq_add = base;
        meta.seq_max += base;
        if (!lsm_repair_tree_add(&p->r, meta.tree, lsm_slice(NULL, 0)))
            return lsm_nomem();
        if (!has_source(p, meta.number))
            rc = add_source(p, &meta);
    }
    return rc;
}

static int apply_record(struct repair *p, const struct lsm_repair_record *record)
{
    uint64_t base = p->seq, op;
    struct lsm_memtable *mem;
    struct lsm_record rec;
    struct lsm_reader r;
    int rc = LSM_OK;

    if (!lsm_record_decode(record->payload, p->r.uuid, &rec))
        return lsm_corrupt("log", 0, "a record changed while it was read");
    rc = adopt(p, &rec, base);
    r = lsm_reader(rec.ops);
    for (op = rec.op_first; lsm_reader_left(&r) && rc == LSM_OK; op++) {
        const struct lsm_comparator *cmp;
        struct lsm_repair_tree *tree;
        struct lsm_slice key, value;
        enum lsm_kind kind;
        uint32_t id;
        if (!lsm_op_decode(&r, &kind, &id, &key, &value))
            return lsm_corrupt("log", 0, "malformed operation in a record whose sum is right");
        tree = lsm_repair_tree_add(&p->r, id, lsm_slice(NULL, 0));
        if (!tree)
            return lsm_nomem();
        cmp = lsm_repair_comparator(&p->r, tree);
        if ((tree->comparator.size && !cmp) ||
            (kind == LSM_KIND_RANGE_DELETE && lsm_key_compare(cmp, key, value) >= 0))
            continue;
        rc = memtable_for(p, &mem);
        if (rc == LSM_OK)
            rc = lsm_memtable_add(mem, id, cmp, key, lsm_tag(base + op, kind), value);
    }
    if (p->seq < base + rec.op_first + rec.op_count)
        p->seq = base + rec.op_first + rec.op_count;
    return rc;
}

static int apply_records(struct repair *p)
{
    const struct lsm_repair_record *records = (const void *)p->r.records.data;
    int rc = LSM_OK;

    for (size_t i = 0; i < p->r.records.size / sizeof *records && rc == LSM_OK; i++)
        if (records[i].committed)
            rc = apply_record(p, &records[i]);
    return rc;
}

/* The host's note, above all that was read: a damaged block may have held it, and rows that it tells of are elsewhere. */
static int add_notes(struct repair *p)
{
    const struct lsm_repair_tree *trees = (const void *)p->r.trees.data;
    struct lsm_memtable *mem;
    int rc = LSM_OK;

    p->seq += p->r.how->note.size > 0;
    for (size_t i = 0; p->r.how->note.size && i < p->r.trees.size / sizeof *trees && rc == LSM_OK; i++) {
        if (trees[i].dropped || trees[i].comparator.size)
            continue;
        rc = memtable_for(p, &mem);
        if (rc == LSM_OK)
            rc = lsm_memtable_add(mem, trees[i].id, NULL, p->r.how->note, lsm_tag(p->seq, LSM_KIND_PUT), lsm_slice(NULL, 0));
    }
    return rc;
}

/* ---- new tables ---- */

static uint64_t new_file(void *ctx)
{
    return ((struct repair *)ctx)->next_file++;
}

static bool is_bottom(void *ctx, struct lsm_slice key)
{
    (void)ctx;
    (void)key;
    return true;
}

/* Newest first: memtables, then tables by falling number. */
static int merge_tree(struct repair *p, uint32_t tree, const struct lsm_comparator *cmp, struct lsm_iter **it)
{
    struct lsm_memtable **mems = (void *)p->mems.data;
    size_t mem_count = p->mems.size / sizeof *mems, table_count, count = 0;
    const struct source *tables = sources_of(p, &table_count);
    struct lsm_iter **sources = lsm_mem_alloc(p->r.os, (mem_count + table_count + 1) * sizeof *sources);
    int rc = sources ? LSM_OK : lsm_nomem();

    for (size_t i = mem_count; i-- > 0 && rc == LSM_OK;) {
        rc = lsm_memtable_iter_new(mems[i], tree, cmp, 0, &sources[count]);
        count += rc == LSM_OK;
    }
    for (size_t i = table_count; i-- > 0 && rc == LSM_OK;)
        if (tables[i].meta->tree == tree) {
            rc = lsm_salvage_iter_new(&p->salvage, tables[i].meta, cmp, &sources[count]);
            count += rc == LSM_OK;
        }
    if (rc == LSM_OK) {
        rc = lsm_merge_new(p->r.os, cmp, sources, count, it);
        count = 0;
    }
    while (count)
        lsm_iter_close(sources[--count]);
    lsm_mem_free(p->r.os, sources);
    return rc;
}

static bool is_bottom_range(void *ctx, struct lsm_slice lo, struct lsm_slice hi)
{
    (void)hi;
    return is_bottom(ctx, lo);
}

/* All range deletes of the tree, wherever they stand. */
static int gather_ranges(struct repair *p, uint32_t tree, const struct lsm_comparator *cmp,
                         struct lsm_ranges **ranges)
{
    struct lsm_memtable **mems = (void *)p->mems.data;
    size_t count;
    const struct source *tables = sources_of(p, &count);
    struct lsm_range_set set;
    int rc = LSM_OK;

    lsm_range_set_init(&set, p->r.os);
    for (size_t i = 0; i < count && rc == LSM_OK; i++)
        if (tables[i].meta->tree == tree)
            rc = lsm_salvage_ranges(&p->salvage, tables[i].meta, cmp, &set);
    for (size_t i = 0; i < p->mems.size / sizeof *mems; i++)
        for (uint32_t k = 0; k < lsm_memtable_range_count(mems[i], tree); k++) {
            struct lsm_slice lo, hi;
            uint64_t seq;
            lsm_memtable_range(mems[i], tree, k, &lo, &hi, &seq);
            lsm_range_set_add(&set, lo, hi, seq);
        }
    if (rc == LSM_OK)
        rc = lsm_range_set_finish(&set, cmp, NULL, 0, ranges);
    lsm_range_set_clear(&set);
    return rc;
}

static int build_tree(struct repair *p, const struct lsm_repair_tree *tree, struct lsm_build *b)
{
    struct lsm_compressor *compressor;
    struct lsm_policy policy;
    struct lsm_ranges *ranges = NULL;
    struct lsm_iter *it;
    const struct lsm_comparator *cmp = lsm_repair_comparator(&p->r, tree);
    int32_t effort = tree->level_compression[OUTPUT_LEVEL] ? tree->level_compression[OUTPUT_LEVEL] : tree->level;
    int rc = gather_ranges(p, tree->id, cmp, &ranges);

    if (rc == LSM_OK)
        rc = merge_tree(p, tree->id, cmp, &it);
    if (rc == LSM_OK)
        rc = lsm_repair_values_iter(&p->values, it, &it);
    if (rc) {
        lsm_ranges_free(ranges);
        return rc;
    }
    lsm_policy_init(&policy, UINT64_C(16) << 20);
    *b = (struct lsm_build){ .os = p->r.os, .dir = p->to, .uuid = p->r.uuid, .tree = tree->id,
                             .file_mode = p->file_mode, .file_bytes = policy.file_bytes, .ctx = p,
                             .new_file = new_file, .is_bottom = is_bottom,
                             .is_bottom_range = is_bottom_range, .ranges = ranges };
    b->table.block_bytes = tree->block_bytes;
    b->table.filter_bits = tree->filter_bits;
    b->table.codec = effort == LSM_COMPRESSION_NONE ? LSM_CODEC_NONE : LSM_CODEC_ZSTD;
    b->table.level = effort == LSM_COMPRESSION_NONE ? 1 : effort;
    b->table.tree_name = lsm_buf_slice(&tree->name);
    b->table.comparator = cmp;
    b->values.bytes_min = tree->value_log_bytes;
    b->values.options = (struct lsm_vlog_options){
        tree->level == LSM_COMPRESSION_NONE ? LSM_CODEC_NONE : LSM_CODEC_ZSTD, tree->level };
    rc = lsm_compressor_take(p->salvage.compressors, &compressor);
    if (rc == LSM_OK) {
        b->compressor = compressor;
        rc = lsm_build_run(b, it);
        lsm_compressor_put(p->salvage.compressors, compressor);
    }
    lsm_iter_close(it);
    b->ranges = NULL;
    lsm_ranges_free(ranges);
    for (size_t i = 0; i < b->count && rc == LSM_OK; i++)
        lsm_edit_add_table(&p->edit, OUTPUT_LEVEL, b->metas[i]);
    for (size_t i = 0; i < b->values.count && rc == LSM_OK; i++)
        lsm_edit_add_vlog(&p->edit, &b->values.metas[i]);
    p->r.info->rows += rc == LSM_OK ? b->rows_written : 0;
    p->r.info->rows -= rc == LSM_OK && p->r.how->note.size && !tree->comparator.size;
    return rc ? rc : p->edit.rc;
}

static int build_trees(struct repair *p)
{
    const struct lsm_repair_tree *trees = (const void *)p->r.trees.data;
    size_t count = p->r.trees.size / sizeof *trees;
    int rc = LSM_OK;

    p->builds = lsm_mem_zalloc(p->r.os, (count + 1) * sizeof *p->builds);
    if (!p->builds)
        return lsm_nomem();
    p->build_count = count;
    for (size_t i = 0; i < count && rc == LSM_OK; i++) {
        const struct lsm_comparator *cmp = lsm_repair_comparator(&p->r, &trees[i]);
        struct lsm_edit_tree t = { trees[i].id, lsm_buf_slice(&trees[i].name), trees[i].block_bytes,
                                   trees[i].filter_bits, trees[i].level, lsm_buf_slice(&trees[i].comparator), { 0 },
                                   trees[i].value_log_bytes,
                                   cmp && !cmp->hash ? lsm_buf_slice(&trees[i].hash_name)
                                                     : lsm_comparator_hash_name(cmp) };
        memcpy(t.level_compression, trees[i].level_compression, sizeof t.level_compression);
        if (trees[i].dropped)
            continue;
        if (trees[i].comparator.size && !cmp) {
            lsm_repair_say(&p->r, "tree \"%.*s\" is ordered by comparator \"%.*s\", which was not given "
                           "(lsm_options.comparators): lost", (int)trees[i].name.size,
                           (const char *)trees[i].name.data, (int)trees[i].comparator.size,
                           (const char *)trees[i].comparator.data);
            continue;
        }
        lsm_edit_add_tree(&p->edit, &t);
        p->r.info->trees++;
        rc = build_tree(p, &trees[i], &p->builds[i]);
    }
    return rc;
}

static int write_manifest(struct repair *p)
{
    struct lsm_manifest manifest = { 0 };
    struct lsm_edit *e = &p->edit;
    uint64_t number = p->next_file++;
    int error, rc;

    e->has |= LSM_EDIT_NEXT_FILE | LSM_EDIT_NEXT_TREE | LSM_EDIT_LOG | LSM_EDIT_SEQ | LSM_EDIT_ROOT |
              LSM_EDIT_DECIDED | LSM_EDIT_FLOOR | LSM_EDIT_TXID;
    e->next_file = p->next_file;
    e->next_tree = p->r.next_tree;
    e->seq = p->seq;
    e->root = p->r.how->token ? *p->r.how->token : p->r.decided;
    e->decided = e->floor = e->root;
    e->txid = p->r.txid > e->root.txid ? p->r.txid : e->root.txid;
    if (p->r.memory_bytes) {
        e->has |= LSM_EDIT_MEMORY;
        e->memory_bytes = p->r.memory_bytes;
    }
    error = p->r.os->dir_sync(p->to);
    if (error)
        return lsm_fail_os(error, "sync", "the new store's directory");
    rc = lsm_manifest_create(&manifest, p->r.os, p->to, p->r.uuid, number, p->file_mode, e);
    lsm_manifest_close(&manifest);
    return rc;
}

/* ---- all of it ---- */

/* Nobody may write meanwhile. Where there is no LOCK, or it may not be written, nobody does. */
static int lock_source(struct repair *p, const char *path, struct lsm_file **lock)
{
    int error = p->r.os->file_open(p->r.from, "LOCK", LSM_OPEN_WRITE, 0, lock);

    if (error) {
        *lock = NULL;
        return error == ENOMEM ? lsm_nomem() : LSM_OK;
    }
    error = p->r.os->file_lock(*lock);
    return error == EAGAIN ? lsm_lock_fail_held(p->r.os, path, *lock, false, ": close it before it is repaired")
                           : LSM_OK;
}

static int open_salvage(struct repair *p)
{
    struct lsm_os *os = p->r.os;
    int rc = lsm_compressor_pool_new(os, &p->salvage.compressors);

    p->salvage.os = os;
    p->salvage.dir = p->r.from;
    p->salvage.lost = (struct lsm_salvage_lost){ p, lost, lost_rows };
    memcpy(p->salvage.uuid, p->r.uuid, 16);
    if (rc == LSM_OK)
        rc = lsm_cache_new(os, CACHE_BYTES, &p->cache);
    if (rc == LSM_OK)
        rc = lsm_tables_new(os, p->r.from, p->r.uuid, p->cache, p->salvage.compressors, OPEN_TABLES,
                            &p->salvage.tables);
    if (rc == LSM_OK)
        lsm_tables_allow_longer(p->salvage.tables);
    if (rc == LSM_OK)
        rc = lsm_repair_values_open(&p->r, p->salvage.compressors, &p->values);
    return rc;
}

static void number_files(struct repair *p)
{
    const struct lsm_buf *lists[] = { &p->r.tables, &p->r.logs, &p->r.manifests, &p->r.vlogs };

    p->next_file = p->r.next_file ? p->r.next_file : 1;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (lists[i]->size && p->next_file <= lsm_get_u64(lists[i]->data + lists[i]->size - 8))
            p->next_file = lsm_get_u64(lists[i]->data + lists[i]->size - 8) + 1;
}

/* The name that the host has a tree for and nothing here says so. NULL: there are none, or several. */
static const struct lsm_slice *name_without_tree(const struct repair *p)
{
    const struct lsm_repair_tree *trees = (const void *)p->r.trees.data;
    const struct lsm_slice *found = NULL;

    for (size_t i = 0; i < p->r.how->name_count; i++) {
        const struct lsm_slice *name = &p->r.how->names[i];
        bool has = false;

        for (size_t t = 0; t < p->r.trees.size / sizeof *trees; t++)
            has |= lsm_slice_equal(*name, lsm_buf_slice(&trees[t].name));
        if (has)
            continue;
        if (found)
            return NULL;
        found = name;
    }
    return found;
}

static int name_trees(struct repair *p)
{
    struct lsm_repair_tree *trees = (void *)p->r.trees.data;
    size_t count = p->r.trees.size / sizeof *trees, unnamed = 0;
    const struct lsm_slice *name = name_without_tree(p);
    int rc = LSM_OK;

    for (size_t i = 0; i < count; i++)
        unnamed += trees[i].is_unnamed;
    for (size_t i = 0; i < count && rc == LSM_OK; i++) {
        if (!trees[i].is_unnamed)
            continue;
        if (unnamed == 1 && name) {
            lsm_buf_reset(&trees[i].name);
            lsm_buf_append_slice(&trees[i].name, *name);
            rc = trees[i].name.rc;
            lsm_repair_say(&p->r, "the name of tree %u is lost: it is taken for the one table that no other tree is of "
                           "(look at its rows: they may be those of a table that was dropped)", trees[i].id);
        } else {
            p->r.info->trees_unnamed++;
            lsm_repair_say(&p->r, "the name of tree %u is lost: it becomes \"%.*s\"", trees[i].id,
                           (int)trees[i].name.size, (const char *)trees[i].name.data);
        }
    }
    return rc;
}

static int repair_into(struct repair *p)
{
    const struct lsm_repair_info *info = p->r.info;
    int rc = lsm_repair_read_logs(&p->r, &p->salvage);

    p->unread = info->files_lost + info->places_lost + info->records_lost - !has_first_log(p);     /* that one counts as lost */
    p->seq = p->r.seq;
    number_files(p);
    if (rc == LSM_OK)
        rc = add_versions_tables(p);
    if (rc == LSM_OK)
        rc = add_other_tables(p);
    if (rc == LSM_OK)
        rc = apply_records(p);
    if (rc == LSM_OK)
        rc = add_notes(p);
    if (rc == LSM_OK)
        rc = name_trees(p);
    if (rc == LSM_OK)
        say_missing(p);
    if (rc == LSM_OK)
        rc = build_trees(p);
    return rc ? rc : write_manifest(p);
}

static int remove_name(void *ctx, const char *name)
{
    struct lsm_buf *names = ctx;
    char fixed[LSM_FILENAME_SIZE] = { 0 };

    memcpy(fixed, name, strlen(name) < sizeof fixed ? strlen(name) : sizeof fixed - 1);
    lsm_buf_append(names, fixed, sizeof fixed);
    return 0;
}

/* The directory was made here, so that everything in it was, too. */
static void remove_all(struct repair *p, const char *to)
{
    struct lsm_buf names;

    lsm_buf_init(&names, p->r.os);
    p->r.os->file_remove(p->to, "CURRENT");
    if (p->r.os->dir_list(p->to, remove_name, &names) == 0)
        for (size_t i = 0; i + LSM_FILENAME_SIZE <= names.size; i += LSM_FILENAME_SIZE)
            p->r.os->file_remove(p->to, (const char *)names.data + i);
    lsm_buf_clear(&names);
    p->r.os->dir_remove(p->r.os, to);
}

static int open_target(struct repair *p, const char *to, const struct lsm_options *o, bool *made)
{
    uint32_t dir_mode = p->file_mode | ((p->file_mode & 0444) >> 2);
    int error = p->r.os->dir_open(p->r.os, to, true, dir_mode, made, &p->to);

    if (error)
        return lsm_fail_os(error, "make directory", to);
    if (!*made)
        return lsm_fail(LSM_EXISTS, "%s: is there already, and nothing is overwritten: move it away", to);
    if (o->owner && p->r.os->dir_give)
        error = p->r.os->dir_give(p->to, o->owner->uid, o->owner->gid, true);
    return error ? lsm_fail_os(error, "give to the database's owner", to) : LSM_OK;
}

static void repair_clear(struct repair *p)
{
    struct lsm_memtable **mems = (void *)p->mems.data;
    size_t count;
    struct source *s = sources_of(p, &count);

    for (size_t i = 0; i < count; i++)
        lsm_mem_free(p->r.os, s[i].meta);
    for (size_t i = 0; i < p->build_count; i++)
        if (p->builds[i].os)            /* else it was never begun */
            lsm_build_clear(&p->builds[i]);
    lsm_mem_free(p->r.os, p->builds);
    for (size_t i = 0; i < p->mems.size / sizeof *mems; i++)
        lsm_memtable_unref(mems[i]);
    lsm_buf_clear(&p->mems);
    lsm_buf_clear(&p->sources);
    lsm_edit_clear(&p->edit);
    lsm_tables_free(p->salvage.tables);
    lsm_repair_values_clear(&p->values);
    lsm_cache_free(p->cache);
    lsm_compressor_pool_free(p->salvage.compressors);
    lsm_repair_clear(&p->r);
}

static int repair(struct repair *p, const char *from, const char *to, const struct lsm_options *o)
{
    struct lsm_file *lock = NULL;
    bool created, made = false;
    int error = p->r.os->dir_open(p->r.os, from, false, 0, &created, &p->r.from), rc;

    if (error == ENOENT)
        return lsm_fail(LSM_NOTFOUND, "%s: there is no such directory; what is repaired is the directory of a store, "
                                      "or a copy of it", from);
    if (error)
        return lsm_fail_os(error, "open directory", from);
    rc = o->owner ? lsm_db_check_directory(p->r.os, p->r.from, from, o->owner, o->file_mode) : LSM_OK;
    if (rc == LSM_OK)
        rc = lock_source(p, from, &lock);
    if (rc == LSM_OK)
        rc = lsm_repair_read(&p->r);
    if (rc == LSM_OK)
        rc = open_salvage(p);
    if (rc == LSM_OK)
        rc = open_target(p, to, o, &made);
    if (rc == LSM_OK)
        rc = repair_into(p);
    if (rc && made) {
        char why[LSM_ERROR_TEXT_SIZE];
        lsm_error_save(why, sizeof why);
        remove_all(p, to);
        lsm_fail(rc, "%s", why);
    }
    if (lock)
        p->r.os->file_close(lock);
    repair_clear(p);
    if (p->to)
        p->r.os->dir_close(p->to);
    p->r.os->dir_close(p->r.from);
    return rc;
}

int lsm_db_repair(const char *from, const char *to, const struct lsm_options *options,
                  const struct lsm_repair *how, struct lsm_repair_info *info)
{
    static const struct lsm_repair alone;
    struct lsm_options defaults;
    struct lsm_repair_info counts = { 0 };
    struct repair *p;
    struct lsm_os *os;
    int rc;

    if (!options) {
        lsm_options_init(&defaults);
        options = &defaults;
    }
    os = options->os ? options->os : lsm_os_posix_new();
    p = os ? lsm_mem_zalloc(os, sizeof *p) : NULL;
    if (!p) {
        if (os && !options->os)
            lsm_os_posix_free(os);
        return lsm_nomem();
    }
    p->r.os = os;
    p->r.how = how ? how : &alone;
    p->r.info = &counts;
    p->r.uuid_wanted = options->uuid;
    p->r.next_tree = 1;
    p->r.comparators = options->comparators;
    p->r.comparator_count = options->comparator_count;
    p->file_mode = options->file_mode ? (options->file_mode & 0666) | 0600 : 0644;    /* its maker can write to it */
    lsm_buf_init(&p->sources, os);
    lsm_buf_init(&p->mems, os);
    lsm_edit_init(&p->edit, os);
    rc = repair(p, from, to, options);
    if (info)
        *info = counts;
    lsm_mem_free(os, p);
    if (!options->os)
        lsm_os_posix_free(os);
    return rc;
}
