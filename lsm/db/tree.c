/*
 * tree.c -- the trees of a store: names, options, comparators. A tree's rows are
 * in the shared memtables and, as tables, in the version.
 */
#include "lsm/db/db.h"

#include <assert.h>

#include "lsm/compaction/flush.h"
#include "lsm/format/filter.h"
#include "lsm/util/hash.h"

void lsm_tree_options_init(struct lsm_tree_options *options)
{
    memset(options, 0, sizeof *options);
}

struct lsm_tree *lsm_tree_by_id(struct lsm_db *db, uint32_t id)
{
    uint32_t lo = 0, hi = db->tree_count;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (db->trees[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < db->tree_count && db->trees[lo]->id == id ? db->trees[lo] : NULL;
}

const struct lsm_comparator *lsm_tree_comparator(void *ctx, uint32_t id)
{
    struct lsm_tree *tree = lsm_tree_by_id(ctx, id);
    return tree ? tree->cmp : NULL;
}

int lsm_comparator_check(const struct lsm_comparator *cmp)
{
    if (!cmp || !cmp->compare || !cmp->name || !cmp->name[0] || strlen(cmp->name) > LSM_NAME_SIZE_MAX)
        return lsm_fail(LSM_MISUSE, "a comparator needs a compare function and a name of 1 to %u bytes",
                        LSM_NAME_SIZE_MAX);
    if (cmp->hash_name && (!cmp->hash || !cmp->hash_name[0] || strlen(cmp->hash_name) > LSM_NAME_SIZE_MAX))
        return lsm_fail(LSM_MISUSE, "comparator \"%.100s\": a hash_name has 1 to %u bytes and is that of a hash",
                        cmp->name, LSM_NAME_SIZE_MAX);
    return LSM_OK;
}

struct lsm_slice lsm_comparator_hash_name(const struct lsm_comparator *cmp)
{
    return lsm_slice_str(cmp && cmp->hash && cmp->hash_name ? cmp->hash_name : "");
}

/* Without a hash the tree is read without its filters. */
static bool hash_fits(const struct lsm_tree *tree, const struct lsm_comparator *cmp)
{
    return !cmp || !cmp->hash || lsm_slice_equal(lsm_buf_slice(&tree->hash_name), lsm_comparator_hash_name(cmp));
}

int lsm_tree_check_range(const struct lsm_tree *tree, struct lsm_slice begin, struct lsm_slice end)
{
    if (!end.data)
        return lsm_fail(LSM_MISUSE, "delete range: it has no end");
    if (end.size > LSM_KEY_SIZE_MAX)
        return lsm_fail(LSM_TOOBIG, "key of %zu bytes: the limit is %u", end.size, LSM_KEY_SIZE_MAX);
    if (begin.size <= LSM_KEY_SIZE_MAX && lsm_key_compare(tree->cmp, begin, end) >= 0)
        return LSM_DONE;
    return LSM_OK;
}

/* Its slot, or the free one where it would stand. There is always a free one. */
static uint32_t *slot_of(const struct lsm_db *db, struct lsm_slice name)
{
    uint32_t mask = db->tree_slot_count - 1, i = (uint32_t)lsm_hash64(name.data, name.size, 0) & mask;

    while (db->tree_slots[i] &&
           !lsm_slice_equal(lsm_buf_slice(&db->trees[db->tree_slots[i] - 1]->name), name))
        i = (i + 1) & mask;
    return &db->tree_slots[i];
}

static struct lsm_tree *by_name(struct lsm_db *db, struct lsm_slice name)
{
    uint32_t at = db->tree_slot_count ? *slot_of(db, name) : 0;

    return at && !atomic_load(&db->trees[at - 1]->dropped) ? db->trees[at - 1] : NULL;
}

/* Room for one more name, and half of the slots free. */
static int reserve_slot(struct lsm_db *db)
{
    uint32_t count = db->tree_slot_count ? db->tree_slot_count : 16, *old = db->tree_slots,
             old_count = db->tree_slot_count;

    if (db->tree_slots_used < old_count / 2)
        return LSM_OK;
    count *= old_count ? 2 : 1;
    uint32_t *slots = lsm_mem_zalloc(db->os, count * sizeof *slots);
    if (!slots)
        return lsm_nomem();
    db->tree_slots = slots;
    db->tree_slot_count = count;
    for (uint32_t i = 0; i < old_count; i++)
        if (old[i])
            *slot_of(db, lsm_buf_slice(&db->trees[old[i] - 1]->name)) = old[i];
    lsm_mem_free(db->os, old);
    return LSM_OK;
}

void lsm_tree_free(struct lsm_tree *tree)
{
    lsm_buf_clear(&tree->name);
    lsm_buf_clear(&tree->cmp_name);
    lsm_buf_clear(&tree->hash_name);
    lsm_pick_state_clear(&tree->pick);
    lsm_dead_clear(tree);
    lsm_mem_free(tree->db->os, tree);
}

/* Ids only grow, so that appending keeps the order. */
static int add_tree(struct lsm_db *db, const struct lsm_edit_tree *t, struct lsm_tree **out)
{
    struct lsm_tree *tree;

    if (db->tree_count && db->trees[db->tree_count - 1]->id >= t->id)
        return lsm_corrupt("MANIFEST", 0, "tree ids do not ascend");
    if (db->tree_count == db->tree_cap) {
        uint32_t cap = db->tree_cap ? 2 * db->tree_cap : 8;
        void *more = db->os->mem_realloc(db->os, db->trees, cap * sizeof *db->trees);
        if (!more)
            return lsm_nomem();
        db->trees = more;
        db->tree_cap = cap;
    }
    int rc = reserve_slot(db);
    if (rc)
        return rc;
    tree = lsm_mem_zalloc(db->os, sizeof *tree);
    if (!tree)
        return lsm_nomem();
    tree->db = db;
    tree->id = t->id;
    lsm_buf_init(&tree->name, db->os);
    lsm_buf_append_slice(&tree->name, t->name);
    lsm_pick_state_init(&tree->pick, db->os);
    tree->block_bytes = t->block_bytes;
    tree->filter_bits = t->filter_bits;
    tree->compression_level = t->compression_level;
    memcpy(tree->level_compression, t->level_compression, sizeof tree->level_compression);
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        tree->compression[l] = t->level_compression[l] ? t->level_compression[l]
                               : lsm_level_effort(l, t->compression_level);
    tree->value_log_bytes = t->value_log_bytes;
    lsm_buf_init(&tree->cmp_name, db->os);
    lsm_buf_append_slice(&tree->cmp_name, t->comparator);
    lsm_buf_init(&tree->hash_name, db->os);
    lsm_buf_append_slice(&tree->hash_name, t->hash_name);
    atomic_init(&tree->dropped, false);
    if (tree->name.rc || tree->cmp_name.rc || tree->hash_name.rc) {
        lsm_tree_free(tree);
        return LSM_NOMEM;
    }
    uint32_t *slot = slot_of(db, t->name);
    db->tree_slots_used += *slot == 0;
    db->trees[db->tree_count++] = tree;
    *slot = db->tree_count;
    if (out)
        *out = tree;
    return LSM_OK;
}

int lsm_tree_restore(struct lsm_db *db, const struct lsm_edit_tree *t)
{
    struct lsm_tree *tree;
    int rc = add_tree(db, t, &tree);

    for (size_t i = 0; i < db->comparator_count && rc == LSM_OK && t->comparator.size; i++)
        if (lsm_slice_equal(lsm_slice_str(db->comparators[i]->name), t->comparator))
            tree->cmp = db->comparators[i];
    if (rc == LSM_OK)
        tree->is_recorded = true;
    return rc;
}

/* A name for a text: what does not print becomes a question mark. */
static const char *shown(struct lsm_slice name, char text[LSM_NAME_SIZE_MAX + 1])
{
    for (size_t i = 0; i < name.size; i++)
        text[i] = name.data[i] >= 0x20 && name.data[i] < 0x7f ? (char)name.data[i] : '?';
    text[name.size] = 0;
    return text;
}

static int refuse_hash(const struct lsm_db *db, const struct lsm_tree *tree, const struct lsm_comparator *cmp)
{
    char name[LSM_NAME_SIZE_MAX + 1], hash[LSM_NAME_SIZE_MAX + 1];

    return lsm_fail(LSM_MISMATCH, "%.100s: tree \"%.100s\" was made with the hash \"%.100s\", not with \"%.100s\" "
                    "(lsm_comparator.hash_name)", db->path, shown(lsm_buf_slice(&tree->name), name),
                    shown(lsm_buf_slice(&tree->hash_name), hash), cmp->hash_name ? cmp->hash_name : "");
}

int lsm_tree_check_comparators(const struct lsm_db *db)
{
    char name[LSM_NAME_SIZE_MAX + 1], comparator[LSM_NAME_SIZE_MAX + 1];

    for (uint32_t i = 0; i < db->tree_count; i++) {
        const struct lsm_tree *tree = db->trees[i];
        if (atomic_load(&tree->dropped) || tree->cmp_name.size == 0)
            continue;
        if (tree->cmp && !hash_fits(tree, tree->cmp))
            return refuse_hash(db, tree, tree->cmp);
        if (tree->cmp)
            continue;
        return lsm_fail(LSM_MISMATCH, "%.100s: tree \"%.100s\" is ordered by comparator \"%.100s\", which was "
                        "not given (lsm_options.comparators)", db->path,
                        shown(lsm_buf_slice(&tree->name), name),
                        shown(lsm_buf_slice(&tree->cmp_name), comparator));
    }
    return LSM_OK;
}

int lsm_tree_to_edit(struct lsm_db *db, struct lsm_edit *edit)
{
    for (uint32_t i = 0; i < db->tree_count; i++) {
        const struct lsm_tree *tree = db->trees[i];
        /* One that is being created comes with its own edit, behind this one. */
        if (atomic_load(&tree->dropped) || !tree->is_recorded)
            continue;
        struct lsm_edit_tree t = {
            tree->id, lsm_buf_slice(&tree->name), tree->block_bytes, tree->filter_bits,
            tree->compression_level, lsm_buf_slice(&tree->cmp_name), { 0 }, tree->value_log_bytes,
            lsm_buf_slice(&tree->hash_name)
        };
        memcpy(t.level_compression, tree->level_compression, sizeof t.level_compression);
        lsm_edit_add_tree(edit, &t);
    }
    return edit->rc;
}

static int check_compression(int32_t level)
{
    if (level != LSM_COMPRESSION_NONE && (level < -7 || level > 22))
        return lsm_fail(LSM_MISUSE, "compression level %d is not within -7 .. 22", level);
    return LSM_OK;
}

static int options_to_edit(const struct lsm_tree_options *o, struct lsm_edit_tree *t)
{
    t->block_bytes = o && o->block_bytes ? o->block_bytes : 4096;
    if (t->block_bytes < 512 || t->block_bytes > 1u << 20)
        return lsm_fail(LSM_MISUSE, "block size %u is not within 512 .. 1048576", t->block_bytes);
    t->filter_bits = o && o->filter_bits ? o->filter_bits : LSM_FILTER_BITS;
    if (t->filter_bits == LSM_FILTER_NONE)
        t->filter_bits = 0;
    if (t->filter_bits > 32)
        return lsm_fail(LSM_MISUSE, "%u filter bits per key are more than 32", t->filter_bits);
    t->compression_level = o && o->compression_level ? o->compression_level : 1;
    if (check_compression(t->compression_level))
        return LSM_MISUSE;
    for (uint32_t l = 0; o && l < LSM_LEVEL_COUNT_MAX; l++) {
        if (check_compression(o->level_compression[l]))
            return LSM_MISUSE;
        t->level_compression[l] = o->level_compression[l];
    }
    t->value_log_bytes = o && o->value_log_bytes ? o->value_log_bytes : LSM_TREE_VALUE_LOG_BYTES;
    if (t->value_log_bytes == LSM_VALUE_LOG_NONE)
        t->value_log_bytes = 0;
    else if (t->value_log_bytes < 64)
        return lsm_fail(LSM_MISUSE, "values of %u bytes are too small for value logs: 64 and more",
                        t->value_log_bytes);
    if (o && o->comparator) {
        if (lsm_comparator_check(o->comparator))
            return LSM_MISUSE;
        t->comparator = lsm_slice_str(o->comparator->name);
        t->hash_name = lsm_comparator_hash_name(o->comparator);
        if (!o->comparator->hash && o->filter_bits && o->filter_bits != LSM_FILTER_NONE)
            return lsm_fail(LSM_MISUSE, "filters for comparator \"%.100s\" need its hash function",
                            o->comparator->name);
    }
    return LSM_OK;
}

int lsm_tree_create(struct lsm_db *db, struct lsm_slice name, const struct lsm_tree_options *options,
                    struct lsm_tree **tree)
{
    struct lsm_edit_tree t = { .name = name };
    struct lsm_edit edit;
    int rc = lsm_db_usable(db);

    *tree = NULL;
    if (rc == LSM_OK && (name.size == 0 || name.size > LSM_NAME_SIZE_MAX))
        rc = lsm_fail(LSM_MISUSE, "a tree's name has 1 to %u bytes", LSM_NAME_SIZE_MAX);
    if (rc == LSM_OK)
        rc = options_to_edit(options, &t);
    if (rc == LSM_OK)
        rc = lsm_db_writable(db);
    if (rc)
        return rc;

    lsm_db_lock(db);
    lsm_write_slot_take(db);
    if (by_name(db, name))
        rc = lsm_fail(LSM_EXISTS, "%s: there is a tree \"%.*s\" already", db->path, (int)name.size,
                      (const char *)name.data);
    t.id = db->next_tree;
    lsm_db_unlock(db);

    lsm_edit_init(&edit, db->os);
    if (rc == LSM_OK)
        rc = lsm_recover_begin_writing(db);
    if (rc == LSM_OK) {
        edit.has |= LSM_EDIT_NEXT_TREE;
        edit.next_tree = t.id + 1;
        lsm_edit_add_tree(&edit, &t);
        /* The tree must stand in the array before a version that has it: its comparator orders runs. */
        lsm_db_lock(db);
        rc = add_tree(db, &t, tree);
        if (rc == LSM_OK) {
            (*tree)->cmp = options ? options->comparator : NULL;
            db->next_tree = t.id + 1;
        }
        lsm_db_unlock(db);
    }
    if (rc == LSM_OK) {
        rc = lsm_write_edit(db, &edit, 0);
        if (rc) {
            atomic_store(&(*tree)->dropped, true);      /* its id is burnt */
            *tree = NULL;
        } else {
            (*tree)->is_recorded = true;
        }
    }
    lsm_edit_clear(&edit);
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_db_unlock(db);
    return rc;
}

int lsm_tree_find(struct lsm_db *db, struct lsm_slice name, struct lsm_tree **tree)
{
    int rc = lsm_db_usable(db);

    *tree = NULL;
    if (rc == LSM_OK && name.size > LSM_NAME_SIZE_MAX)
        rc = lsm_fail(LSM_NOTFOUND, "%s: there is no tree with a name of %zu bytes", db->path, name.size);
    if (rc)
        return rc;
    lsm_db_lock(db);
    *tree = by_name(db, name);
    lsm_db_unlock(db);
    if (!*tree)
        return lsm_fail(LSM_NOTFOUND, "%s: there is no tree \"%.*s\"", db->path, (int)name.size,
                        (const char *)name.data);
    return LSM_OK;
}

struct lsm_slice lsm_tree_name(const struct lsm_tree *tree)
{
    return lsm_buf_slice(&tree->name);
}

/* What makes such a tree again. */
void lsm_tree_options_get(const struct lsm_tree *tree, struct lsm_tree_options *options)
{
    bool has_filters = tree->filter_bits && lsm_filter_is_possible(tree->cmp);

    *options = (struct lsm_tree_options){
        .block_bytes = tree->block_bytes, .filter_bits = has_filters ? tree->filter_bits : LSM_FILTER_NONE,
        .compression_level = tree->compression_level, .comparator = tree->cmp,
        .value_log_bytes = tree->value_log_bytes ? tree->value_log_bytes : LSM_VALUE_LOG_NONE
    };
    memcpy(options->level_compression, tree->level_compression, sizeof options->level_compression);
}

int lsm_tree_check(const struct lsm_db *db, const struct lsm_tree *tree)
{
    if (tree->db != db)         /* its number is another tree's here */
        return lsm_fail(LSM_MISUSE, "%s: the tree is another store's", db->path);
    if (atomic_load_explicit(&tree->dropped, memory_order_relaxed))
        return lsm_fail(LSM_NOTFOUND, "%s: the tree was dropped", db->path);
    return LSM_OK;
}

int lsm_tree_open(struct lsm_db *db, struct lsm_slice name, const struct lsm_tree_options *options,
                  struct lsm_tree **tree)
{
    const struct lsm_comparator *cmp = options ? options->comparator : NULL;
    char own[LSM_NAME_SIZE_MAX + 1];
    int rc = lsm_tree_find(db, name, tree);

    if (rc == LSM_NOTFOUND) {
        rc = lsm_tree_create(db, name, options, tree);
        if (rc == LSM_EXISTS)   /* another thread was faster */
            rc = lsm_tree_find(db, name, tree);
    }
    if (rc == LSM_OK && !lsm_slice_equal(lsm_buf_slice(&(*tree)->cmp_name),
                                         lsm_slice_str(cmp ? cmp->name : ""))) {
        rc = lsm_fail(LSM_MISMATCH, "%.100s: the tree is ordered by %s%.100s, not by %s%.100s "
                                    "(lsm_tree_options.comparator)", db->path,
                      (*tree)->cmp ? "comparator " : "",
                      (*tree)->cmp ? shown(lsm_buf_slice(&(*tree)->cmp_name), own) : "its bytes",
                      cmp ? "comparator " : "", cmp ? cmp->name : "its bytes");
        *tree = NULL;
    }
    if (rc == LSM_OK && !hash_fits(*tree, cmp)) {
        rc = refuse_hash(db, *tree, cmp);
        *tree = NULL;
    }
    return rc;
}

int lsm_tree_drop(struct lsm_db *db, struct lsm_tree *tree)
{
    struct lsm_edit edit;
    int rc = lsm_db_usable(db);

    if (rc == LSM_OK)
        rc = lsm_db_writable(db);
    if (rc)
        return rc;
    lsm_db_lock(db);
    lsm_write_slot_take(db);
    lsm_db_unlock(db);

    lsm_edit_init(&edit, db->os);
    rc = lsm_tree_check(db, tree);
    if (rc == LSM_OK)
        rc = lsm_recover_begin_writing(db);
    if (rc == LSM_OK) {
        /* A job that is running would install tables of a tree that is gone: the version refuses
           them, and the job ends. */
        lsm_edit_drop_tree(&edit, tree->id);
        rc = lsm_write_edit(db, &edit, 0);
    }
    if (rc == LSM_OK)
        atomic_store(&tree->dropped, true);
    lsm_edit_clear(&edit);
    lsm_db_lock(db);
    lsm_write_slot_give(db);
    lsm_worker_wake(db);
    lsm_db_unlock(db);
    if (rc == LSM_OK)
        lsm_db_event(db, LSM_EVENT_INFO, "dropped tree %u", tree->id);
    return rc;
}

bool lsm_tree_is_dropped(const struct lsm_tree *tree)
{
    return atomic_load(&tree->dropped);
}

bool lsm_tree_was_dropped(struct lsm_db *db, struct lsm_slice name)
{
    bool was = false;

    lsm_db_lock(db);
    for (uint32_t i = 0; i < db->tree_count && !was; i++)
        was = atomic_load(&db->trees[i]->dropped) && lsm_slice_equal(lsm_buf_slice(&db->trees[i]->name), name);
    lsm_db_unlock(db);
    return was;
}

struct lsm_tree *lsm_tree_at(struct lsm_db *db, uint32_t i)
{
    struct lsm_tree *tree;

    lsm_db_lock(db);
    tree = i < db->tree_count ? db->trees[i] : NULL;
    lsm_db_unlock(db);
    return tree;
}

int lsm_tree_list(struct lsm_db *db, int (*fn)(void *ctx, struct lsm_slice name), void *ctx)
{
    int rc = lsm_db_usable(db);

    for (uint32_t i = 0; rc == LSM_OK; i++) {
        struct lsm_tree *tree = lsm_tree_at(db, i);

        if (!tree)
            break;
        if (!atomic_load(&tree->dropped))
            rc = fn(ctx, lsm_buf_slice(&tree->name));
    }
    return rc;
}
