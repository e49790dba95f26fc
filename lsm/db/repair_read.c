/*
 * repair_read.c -- what is left of a damaged store: its MANIFEST as far as it can
 * be read, and the records of its logs.
 *
 * A record counts when it is known to be committed (commit.md R12): it is on the
 * chain of the host's token, or a later record or the MANIFEST names it as its base
 * or as decided. A SOLO counts when its base does, or is out of reach: what a
 * damaged file has taken is no evidence against what came after it.
 */
#include "lsm/db/repair.h"

#include <stdarg.h>
#include <stdio.h>

#include "lsm/format/filename.h"
#include "lsm/format/redo.h"

#define MANIFEST_BYTES_MAX (UINT64_C(4) << 30)  /* read into memory as a whole */

void lsm_repair_say(const struct lsm_repair_state *r, const char *format, ...)
{
    char line[LSM_ERROR_TEXT_SIZE];
    va_list ap;

    if (!r->how->report)
        return;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    r->how->report(r->how->ctx, line);
}

void lsm_repair_lost(struct lsm_repair_state *r, const char *file, uint64_t off, uint64_t size, const char *why)
{
    r->info->places_lost++;
    r->info->bytes_lost += size;
    if (size)
        lsm_repair_say(r, "%s: %llu bytes at %llu cannot be read: %s", file, (unsigned long long)size,
                       (unsigned long long)off, why);
    else
        lsm_repair_say(r, "%s", why);
}

/* ---- trees ---- */

struct lsm_repair_tree *lsm_repair_tree_of(struct lsm_repair_state *r, uint32_t id)
{
    struct lsm_repair_tree *trees = (void *)r->trees.data;

    for (size_t i = 0; i < r->trees.size / sizeof *trees; i++)
        if (trees[i].id == id)
            return &trees[i];
    return NULL;
}

struct lsm_repair_tree *lsm_repair_tree_add(struct lsm_repair_state *r, uint32_t id, struct lsm_slice name)
{
    struct lsm_repair_tree *tree = lsm_repair_tree_of(r, id), fresh = { .id = id };
    size_t at = r->trees.size / sizeof fresh;
    char unnamed[32];

    if (tree && tree->is_unnamed && name.size) {
        lsm_buf_reset(&tree->name);
        lsm_buf_append_slice(&tree->name, name);
        tree->is_unnamed = false;
    }
    if (tree)
        return tree->name.rc ? NULL : tree;
    fresh.block_bytes = 4096;
    fresh.filter_bits = LSM_FILTER_BITS;
    fresh.level = 1;
    fresh.value_log_bytes = LSM_TREE_VALUE_LOG_BYTES;
    lsm_buf_init(&fresh.name, r->os);
    lsm_buf_init(&fresh.comparator, r->os);
    lsm_buf_init(&fresh.hash_name, r->os);
    if (name.size == 0 && r->manifest == LSM_REPAIR_WHOLE && id < r->next_tree) {
        fresh.dropped = true;           /* or the MANIFEST would name it; logs have its rows still */
    } else if (name.size == 0) {
        int n = snprintf(unnamed, sizeof unnamed, "tree-%u", id);
        name = lsm_slice(unnamed, (size_t)n);
        fresh.is_unnamed = true;
    }
    lsm_buf_append_slice(&fresh.name, name);
    lsm_buf_append(&r->trees, &fresh, sizeof fresh);
    if (fresh.name.rc || r->trees.rc) {
        if (r->trees.rc)
            lsm_buf_clear(&fresh.name);
        return NULL;
    }
    tree = (void *)r->trees.data;
    for (; at > 0 && tree[at - 1].id > id; at--)
        tree[at] = tree[at - 1];
    tree[at] = fresh;
    if (r->next_tree <= id)
        r->next_tree = id + 1;
    return &tree[at];
}

const struct lsm_comparator *lsm_repair_comparator(const struct lsm_repair_state *r,
                                                   const struct lsm_repair_tree *tree)
{
    for (size_t i = 0; tree->comparator.size && i < r->comparator_count; i++)
        if (lsm_slice_equal(lsm_slice_str(r->comparators[i]->name), lsm_buf_slice(&tree->comparator)))
            return r->comparators[i];
    return NULL;
}

/* For the version. */
static const struct lsm_comparator *comparator_by_id(void *ctx, uint32_t id)
{
    struct lsm_repair_state *r = ctx;
    const struct lsm_repair_tree *tree = lsm_repair_tree_of(r, id);

    return tree ? lsm_repair_comparator(r, tree) : NULL;
}

static int restore_tree(struct lsm_repair_state *r, const struct lsm_edit_tree *t)
{
    struct lsm_repair_tree *tree = lsm_repair_tree_add(r, t->id, t->name);

    if (!tree)
        return lsm_nomem();
    tree->block_bytes = t->block_bytes;
    tree->filter_bits = t->filter_bits;
    tree->level = t->compression_level;
    tree->value_log_bytes = t->value_log_bytes;
    memcpy(tree->level_compression, t->level_compression, sizeof tree->level_compression);
    lsm_buf_append_slice(&tree->comparator, t->comparator);
    lsm_buf_append_slice(&tree->hash_name, t->hash_name);
    return tree->comparator.rc ? tree->comparator.rc : tree->hash_name.rc;
}

/* ---- the MANIFEST ---- */

static int add_proven(struct lsm_repair_state *r, const struct lsm_token *token)
{
    if (token->txid)
        lsm_buf_append(&r->proven, token, sizeof *token);
    if (r->decided.txid < token->txid)
        r->decided = *token;
    return r->proven.rc;
}

static int apply_edit(struct lsm_repair_state *r, const struct lsm_edit *e)
{
    int rc = LSM_OK;

    for (size_t i = 0; i < lsm_edit_tree_count(e) && rc == LSM_OK; i++)
        rc = restore_tree(r, &lsm_edit_trees(e)[i]);
    if (rc == LSM_OK)
        rc = lsm_version_advance(&r->version, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < lsm_edit_dropped_count(e); i++) {
        struct lsm_repair_tree *tree = lsm_repair_tree_of(r, lsm_edit_dropped(e)[i]);
        if (tree)
            tree->dropped = true;
    }
    for (size_t i = 0; i < lsm_edit_removed_count(e); i++)
        lsm_buf_put_u64(&r->removed, lsm_edit_removed(e)[i].meta.number);
    if (r->removed.rc)
        return r->removed.rc;
    if (e->has & LSM_EDIT_NEXT_FILE)
        r->next_file = e->next_file;
    if (e->has & LSM_EDIT_NEXT_TREE)
        r->next_tree = e->next_tree;
    if (e->has & LSM_EDIT_LOG)
        r->log_number = e->log_number;
    if (e->has & LSM_EDIT_SEQ)
        r->seq = e->seq;
    if (e->has & LSM_EDIT_TXID && r->txid < e->txid)
        r->txid = e->txid;
    if (e->has & LSM_EDIT_MEMORY)
        r->memory_bytes = e->memory_bytes;
    if (e->has & LSM_EDIT_ROOT)
        r->root = e->root;
    if (rc == LSM_OK && e->has & LSM_EDIT_ROOT)
        rc = add_proven(r, &e->root);
    if (rc == LSM_OK && e->has & LSM_EDIT_DECIDED)
        rc = add_proven(r, &e->decided);
    if (rc == LSM_OK && e->has & LSM_EDIT_FLOOR)
        rc = add_proven(r, &e->floor);
    return rc;
}

static void clear_trees(struct lsm_repair_state *r)
{
    struct lsm_repair_tree *trees = (void *)r->trees.data;

    for (size_t i = 0; i < r->trees.size / sizeof *trees; i++) {
        lsm_buf_clear(&trees[i].name);
        lsm_buf_clear(&trees[i].comparator);
        lsm_buf_clear(&trees[i].hash_name);
    }
    lsm_buf_reset(&r->trees);
}

static int forget(struct lsm_repair_state *r)
{
    clear_trees(r);
    lsm_version_unref(r->version);
    r->version = NULL;
    lsm_buf_reset(&r->proven);
    lsm_buf_reset(&r->removed);
    r->next_file = r->log_number = r->seq = r->txid = r->memory_bytes = 0;
    r->next_tree = 1;
    r->root = r->decided = (struct lsm_token){ 0 };
    return lsm_version_new(r->os, NULL, comparator_by_id, r, &r->version);
}

/* A file of `uuid`: is it ours? */
static void learn(struct lsm_repair_state *r, const uint8_t uuid[16])
{
    r->has_uuid = !r->uuid_wanted || memcmp(uuid, r->uuid_wanted, 16) == 0;
    r->has_foreign |= !r->has_uuid;
    if (r->has_uuid)
        memcpy(r->uuid, uuid, 16);
}

static void lost(void *ctx, const char *file, uint64_t off, uint64_t size, const char *why)
{
    lsm_repair_lost(ctx, file, off, size, why);
}

/* Its edits, as far as they can be followed; *is_end: up to what may be its end. */
static int read_edits(struct lsm_repair_state *r, struct lsm_slice bytes, const char *name, bool *is_end, uint64_t *edits)
{
    struct lsm_frame_reader reader = { 0 };
    uint8_t header[LSM_MANIFEST_HEADER_SIZE];
    struct lsm_slice payload;
    struct lsm_edit edit;
    int rc;

    lsm_frame_reader_open_bytes(&reader, r->os, bytes, name);
    rc = lsm_frame_read_header(&reader, header, sizeof header);
    if (rc == LSM_OK)
        learn(r, lsm_frame_header_uuid(header));
    if (rc == LSM_OK && !r->has_uuid)
        rc = lsm_fail(LSM_MISMATCH, "%s belongs to another store: it is passed over", name);
    while (rc == LSM_OK) {
        lsm_edit_init(&edit, r->os);
        rc = lsm_frame_read(&reader, &payload);
        if (rc == LSM_OK)
            rc = lsm_edit_decode(&edit, payload, name, reader.off);
        if (rc == LSM_OK)
            rc = apply_edit(r, &edit);
        lsm_edit_clear(&edit);
        *edits += rc == LSM_OK;
    }
    *is_end = rc == LSM_DONE && !reader.torn;   /* else it may have gone on */
    if (rc != LSM_DONE && rc != LSM_NOMEM)
        lsm_repair_say(r, "%s", lsm_error_text());
    lsm_frame_reader_close(&reader);
    return rc == LSM_NOMEM ? rc : LSM_OK;
}

/* LSM_OK: its snapshot and *edits more could be read; *is_whole: to its end. LSM_DONE: not even that. What is
   unread may have been an edit, and is no end: a file of which nobody knows would be left out as an orphan. */
static int read_one(struct lsm_repair_state *r, uint64_t number, bool *is_whole, uint64_t *edits)
{
    const struct lsm_salvage_lost to = { r, lost, NULL };
    struct lsm_salvage_file f;
    char name[LSM_FILENAME_SIZE];
    struct lsm_buf bytes;
    bool is_end = false;
    uint64_t size;
    int rc = forget(r);

    *is_whole = false;
    *edits = 0;
    if (rc)
        return rc;
    lsm_buf_init(&bytes, r->os);
    lsm_salvage_file_init(&f, r->os, r->from, lsm_filename(name, LSM_FILE_MANIFEST, number));
    rc = lsm_salvage_file_read_all(&f, MANIFEST_BYTES_MAX, &bytes, &size);
    if (rc && rc != LSM_NOMEM)
        rc = LSM_DONE;          /* it is missing, or no file */
    if (rc == LSM_OK)
        rc = read_edits(r, lsm_buf_slice(&bytes), name, &is_end, edits);
    if (rc == LSM_OK) {
        *is_whole = is_end && *edits > 0 && f.unread.size == 0;
        rc = *edits ? LSM_OK : LSM_DONE;
        lsm_salvage_file_lost_unread(&f, &to);
    }
    lsm_salvage_file_clear(&f);
    lsm_buf_clear(&bytes);
    return rc;
}

/* What CURRENT says; 0: nothing. Its sum is not looked at: the MANIFEST has its own. */
static uint64_t read_current(struct lsm_repair_state *r)
{
    char text[LSM_FILENAME_SIZE] = { 0 };
    enum lsm_file_kind kind;
    struct lsm_file *file;
    uint64_t number = 0;
    size_t got = 0;

    if (r->os->file_open(r->from, "CURRENT", LSM_OPEN_READ, 0, &file))
        return 0;
    r->os->file_read(file, text, sizeof text - 1, 0, &got);
    r->os->file_close(file);
    for (size_t i = 0; i < got; i++)
        if (text[i] == '\n')
            text[i] = 0;
    return lsm_filename_parse(text, &kind, &number) && kind == LSM_FILE_MANIFEST ? number : 0;
}

bool lsm_repair_has_number(const struct lsm_buf *numbers, uint64_t number)
{
    const uint64_t *at = (const void *)numbers->data;

    for (size_t i = 0; i < numbers->size / sizeof *at; i++)
        if (at[i] == number)
            return true;
    return false;
}

/* A MANIFEST that ends with a whole edit may have been cut there: then it names what was removed since, or nothing
   yet of what is there. */
static bool may_be_older(const struct lsm_repair_state *r)
{
    const struct lsm_version *v = r->version;
    uint32_t named = 0;

    for (uint32_t t = 0; t < v->tree_count; t++)
        for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
            for (uint32_t i = 0; i < v->trees[t]->level[l].count; i++, named++)
                if (!lsm_repair_has_number(&r->tables, v->trees[t]->level[l].runs[i]->meta.number))
                    return true;
    if (named == 0 && r->tables.size)
        return true;
    return r->log_number && !lsm_repair_has_number(&r->logs, r->log_number);
}

static int use_whole(struct lsm_repair_state *r, uint64_t number)
{
    r->manifest = LSM_REPAIR_WHOLE;
    if (may_be_older(r)) {
        r->manifest = LSM_REPAIR_PART;
        lsm_repair_say(r, "MANIFEST-%06llu does not fit the files beside it and may be older: tables that it does not name are "
                       "used as they are", (unsigned long long)number);
    }
    return LSM_OK;
}

static int read_manifest(struct lsm_repair_state *r)
{
    const uint64_t *numbers = (const void *)r->manifests.data;
    size_t count = r->manifests.size / sizeof *numbers;
    uint64_t current = read_current(r), newest = count ? numbers[count - 1] : 0, tried = current, edits;
    bool is_whole;
    int rc = LSM_DONE;

    if (current) {
        rc = read_one(r, current, &is_whole, &edits);
        if (rc == LSM_OK && is_whole)
            return use_whole(r, current);
    }
    if (rc != LSM_OK && rc != LSM_DONE)
        return rc;
    if (rc == LSM_DONE) {
        lsm_repair_say(r, current ? "CURRENT names a MANIFEST that cannot be read" : "CURRENT is missing or unreadable");
        for (size_t i = count; i-- > 0 && rc == LSM_DONE;) {
            if (numbers[i] == tried)
                continue;
            rc = read_one(r, numbers[i], &is_whole, &edits);
            current = numbers[i];
        }
        if (rc != LSM_OK && rc != LSM_DONE)
            return rc;
        if (rc == LSM_OK && is_whole && current == newest)
            return use_whole(r, current);
    }
    if (rc == LSM_DONE) {
        r->manifest = LSM_REPAIR_NONE;
        lsm_repair_say(r, "no MANIFEST can be read: every table file is used, and rows that were deleted or "
                          "replaced long ago may come back where an obsolete file was left");
        return forget(r);
    }
    r->manifest = LSM_REPAIR_PART;
    lsm_repair_say(r, "MANIFEST-%06llu is used up to its edit %llu; tables that it does not name are used as they are",
                   (unsigned long long)current, (unsigned long long)edits);
    return LSM_OK;
}

/* ---- the directory ---- */

static int list_name(void *ctx, const char *name)
{
    struct lsm_repair_state *r = ctx;
    enum lsm_file_kind kind;
    struct lsm_buf *to;
    uint64_t number;

    if (!lsm_filename_parse(name, &kind, &number))
        return 0;
    to = kind == LSM_FILE_TABLE ? &r->tables : kind == LSM_FILE_LOG ? &r->logs
         : kind == LSM_FILE_VLOG ? &r->vlogs : kind == LSM_FILE_MANIFEST ? &r->manifests : NULL;
    if (to)
        lsm_buf_put_u64(to, number);
    return 0;
}

static void sort(struct lsm_buf *numbers)
{
    uint64_t *n = (void *)numbers->data, t;
    size_t count = numbers->size / 8;

    for (size_t gap = count / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < count; i++)
            for (size_t k = i; k >= gap && n[k] < n[k - gap]; k -= gap) {
                t = n[k];
                n[k] = n[k - gap];
                n[k - gap] = t;
            }
}

static int learn_uuid(struct lsm_repair_state *r)
{
    const uint64_t *numbers = (const void *)r->tables.data;

    if (r->tables.size + r->logs.size + r->vlogs.size + r->manifests.size == 0)
        return lsm_fail(LSM_NOTFOUND, "there is nothing of a store in this directory");
    for (size_t i = r->tables.size / 8; i-- > 0 && !r->has_uuid;) {
        struct lsm_salvage_table table;
        if (lsm_salvage_identify(r->os, r->from, numbers[i], 0, &table) == LSM_OK)
            learn(r, table.uuid);
        lsm_salvage_table_clear(&table);
    }
    numbers = (const void *)r->logs.data;
    for (size_t i = r->logs.size / 8; i-- > 0 && !r->has_uuid;) {
        uint8_t header[LSM_LOG_HEADER_SIZE];
        char name[LSM_FILENAME_SIZE];
        struct lsm_file *file;
        size_t got;

        if (r->os->file_open(r->from, lsm_filename(name, LSM_FILE_LOG, numbers[i]), LSM_OPEN_READ, 0, &file))
            continue;
        if (r->os->file_read(file, header, sizeof header, 0, &got) == 0 && got == sizeof header &&
            lsm_frame_header_is_whole(header, sizeof header))
            learn(r, lsm_frame_header_uuid(header));
        r->os->file_close(file);
    }
    if (!r->has_uuid && r->has_foreign)
        return lsm_fail(LSM_MISMATCH, "the store belongs to another database");
    if (!r->has_uuid && !r->uuid_wanted)
        return lsm_fail(LSM_NOTFOUND, "there is nothing of a store in this directory");
    if (!r->has_uuid)
        memcpy(r->uuid, r->uuid_wanted, 16);
    r->has_uuid = true;
    return LSM_OK;
}

int lsm_repair_read(struct lsm_repair_state *r)
{
    int error, rc;

    lsm_buf_init(&r->trees, r->os);
    lsm_buf_init(&r->tables, r->os);
    lsm_buf_init(&r->logs, r->os);
    lsm_buf_init(&r->manifests, r->os);
    lsm_buf_init(&r->vlogs, r->os);
    lsm_buf_init(&r->records, r->os);
    lsm_buf_init(&r->proven, r->os);
    lsm_buf_init(&r->removed, r->os);
    error = r->os->dir_list(r->from, list_name, r);
    if (error)
        return lsm_fail_os(error, "list", "the damaged store");
    if (r->tables.rc || r->logs.rc || r->manifests.rc || r->vlogs.rc)
        return lsm_nomem();
    sort(&r->tables);
    sort(&r->logs);
    sort(&r->manifests);
    sort(&r->vlogs);
    rc = read_manifest(r);
    return rc ? rc : learn_uuid(r);
}

/* ---- records ---- */

static struct lsm_repair_record *records_of(const struct lsm_repair_state *r, size_t *count)
{
    *count = r->records.size / sizeof(struct lsm_repair_record);
    return (struct lsm_repair_record *)r->records.data;
}

/* From the end: what is asked for stands there nearly always. */
static struct lsm_repair_record *find_record(const struct lsm_repair_state *r, const struct lsm_token *id)
{
    size_t count;
    struct lsm_repair_record *records = records_of(r, &count);

    while (count-- > 0)
        if (lsm_token_equal(&records[count].id, id))
            return &records[count];
    return NULL;
}

static int keep_record(void *ctx, struct lsm_slice payload, bool is_chained)
{
    struct lsm_repair_state *r = ctx;
    struct lsm_repair_record *old, rec = { 0 };
    struct lsm_record decoded;
    uint8_t *copy;
    int rc;

    (void)is_chained;           /* a record has a hash of its own; an ABORT names a SOLO by hash */
    if (!lsm_record_decode(payload, r->uuid, &decoded)) {
        r->info->records_lost++;
        return LSM_OK;
    }
    rc = add_proven(r, &decoded.decided);
    if (rc == LSM_OK)
        rc = add_proven(r, &decoded.floor);
    if (rc)
        return rc;
    if (r->txid < decoded.id.txid)
        r->txid = decoded.id.txid;
    old = find_record(r, &decoded.id);
    if (decoded.type == LSM_RECORD_ABORT) {
        if (old)
            old->dead = true;
        return LSM_OK;
    }
    if (old)
        return LSM_OK;
    copy = lsm_mem_alloc(r->os, payload.size);
    if (!copy)
        return lsm_nomem();
    memcpy(copy, payload.data, payload.size);
    rec.type = decoded.type;
    rec.id = decoded.id;
    rec.base = decoded.base;
    rec.payload = lsm_slice(copy, payload.size);
    lsm_buf_append(&r->records, &rec, sizeof rec);
    if (r->records.rc)
        lsm_mem_free(r->os, copy);
    else
        r->info->records++;
    return r->records.rc;
}

/* What the logs lack and the host carries, on the way from its token to what is there. */
static int keep_carried(struct lsm_repair_state *r)
{
    struct lsm_slice area = r->how->redo, bytes;
    struct lsm_token at = r->how->token ? *r->how->token : (struct lsm_token){ 0 };
    size_t off = area.size;
    int rc = LSM_OK;

    while (rc == LSM_OK && area.size && at.txid > r->root.txid) {
        struct lsm_repair_record *rec = find_record(r, &at), new;
        struct lsm_record decoded;
        size_t count;

        if (rec) {
            at = rec->base;
            continue;
        }
        rc = lsm_redo_find(area, &at, r->uuid, &off, &bytes, &decoded);
        if (rc == LSM_NOTFOUND)
            return LSM_OK;
        if (rc == LSM_CORRUPT) {
            lsm_repair_say(r, "%s", lsm_error_text());
            return LSM_OK;
        }
        if (rc == LSM_OK)
            rc = keep_record(r, bytes, false);
        if (rc)
            return rc;
        at = decoded.base;
        /* Numbers grow along the logs. */
        rec = records_of(r, &count);
        new = rec[count - 1];
        for (count--; count > 0 && rec[count - 1].id.txid > new.id.txid; count--)
            rec[count] = rec[count - 1];
        rec[count] = new;
    }
    return rc;
}

/* Everything on which `token` rests is committed. True: nothing is missing on the way to what is in tables. */
static bool prove(struct lsm_repair_state *r, struct lsm_token token)
{
    struct lsm_repair_record *rec;

    while (token.txid && (rec = find_record(r, &token)) != NULL && !rec->committed) {
        rec->committed = true;
        token = rec->base;
    }
    return token.txid == 0 || (r->manifest != LSM_REPAIR_NONE && lsm_token_equal(&token, &r->root));
}

static void decide(struct lsm_repair_state *r)
{
    const struct lsm_token *proven = (const void *)r->proven.data;
    size_t count;
    struct lsm_repair_record *records = records_of(r, &count);
    bool is_whole = false, is_exact;

    if (r->how->token)
        is_whole = prove(r, *r->how->token);
    /* What a power cut took back from the host was decided, too. Only where the host's word is not to be
       followed, because tables are ahead of it or records are missing, others count. */
    is_exact = r->how->token && r->how->token->txid >= r->root.txid;
    for (size_t i = 0; i < r->proven.size / sizeof *proven; i++)
        if (!is_exact || (!is_whole && proven[i].txid <= r->how->token->txid))
            prove(r, proven[i]);
    for (size_t i = 0; i < count; i++) {
        const struct lsm_repair_record *base = find_record(r, &records[i].base);
        if (records[i].type == LSM_RECORD_SOLO)
            records[i].committed = !records[i].dead && (!base || base->committed);
    }
    for (size_t i = 0; i < count; i++)
        if (!records[i].committed && !records[i].dead) {
            r->info->records_undecided++;
            lsm_repair_say(r, "transaction %llu was prepared and never committed: left out",
                           (unsigned long long)records[i].id.txid);
        }
    if (r->how->token && r->how->token->txid < r->root.txid)
        lsm_repair_say(r, "the database is older (transaction %llu) than what is in tables (%llu): lsm tables "
                       "will show what its ordinary tables do not", (unsigned long long)r->how->token->txid,
                       (unsigned long long)r->root.txid);
    if (r->manifest != LSM_REPAIR_NONE && r->how->token && r->how->token->txid && !lsm_token_equal(r->how->token, &r->root) &&
        !find_record(r, r->how->token) && r->how->token->txid > r->root.txid)
        lsm_repair_say(r, "the database's newest transaction, %llu, is not in the store",
                       (unsigned long long)r->how->token->txid);
}

static void drop_records(struct lsm_repair_state *r)
{
    size_t count;
    struct lsm_repair_record *records = records_of(r, &count);

    for (size_t i = 0; i < count; i++)
        lsm_mem_free(r->os, (void *)records[i].payload.data);
    lsm_buf_reset(&r->records);
}

int lsm_repair_read_logs(struct lsm_repair_state *r, const struct lsm_salvage *salvage)
{
    const uint64_t *numbers = (const void *)r->logs.data;
    size_t first = 0, count = r->logs.size / 8;
    int rc = LSM_OK;

    if (r->manifest != LSM_REPAIR_NONE)
        while (first < count && numbers[first] < r->log_number)
            first++;
    if (r->manifest != LSM_REPAIR_NONE && r->log_number && (first == count || numbers[first] != r->log_number)) {
        lsm_repair_say(r, "log %06llu is missing: what was in it is lost", (unsigned long long)r->log_number);
        r->info->files_lost++;
    }
    for (size_t i = first; i < count && rc == LSM_OK; i++) {
        uint64_t prev;

        rc = lsm_salvage_log(salvage, numbers[i], keep_record, r, &prev);
        /* Without a MANIFEST only the logs that follow each other up to the newest can be told from
           leftovers, whose rows newer tables have already. */
        if (rc == LSM_OK && r->manifest == LSM_REPAIR_NONE && i > first && prev && prev != numbers[i - 1]) {
            lsm_repair_say(r, "log %06llu follows one that is missing: older logs are left out",
                           (unsigned long long)numbers[i]);
            first = i;
            drop_records(r);
            i--;
            continue;
        }
        if (rc && rc != LSM_NOMEM && rc != LSM_TOOBIG) {
            lsm_repair_say(r, "%s", lsm_error_text());
            r->info->files_lost++;
            rc = LSM_OK;
        } else {
            r->info->logs++;
        }
    }
    if (rc == LSM_OK)
        rc = keep_carried(r);
    if (rc == LSM_OK)
        decide(r);
    return rc;
}

void lsm_repair_clear(struct lsm_repair_state *r)
{
    drop_records(r);
    clear_trees(r);
    lsm_version_unref(r->version);
    lsm_buf_clear(&r->trees);
    lsm_buf_clear(&r->tables);
    lsm_buf_clear(&r->logs);
    lsm_buf_clear(&r->manifests);
    lsm_buf_clear(&r->vlogs);
    lsm_buf_clear(&r->records);
    lsm_buf_clear(&r->proven);
    lsm_buf_clear(&r->removed);
}
