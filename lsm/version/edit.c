/*
 * edit.c -- one MANIFEST record.
 *
 * The fields, by tag. Numbers are varints, a token is txid:varint hash[16]:
 *
 *      1 next_file    2 next_tree    3 log_number    4 seq       5 root token
 *      6 decided token               7 floor token   8 txid      9 memory_bytes
 *     10 carried:u8  11 log_end := number size chain:u64
 *     16 tree   := id block_bytes filter_bits level:u32 name:bytes comparator:bytes
 *                  level_compression:u32[8]?
 *     17 drop   := id
 *     18 add    := level table_meta
 *     19 remove := level tree number
 *     20 vlog   := vlog_meta
 *     21 hash   := id name:bytes         the filters' hash, of the tree right before it
 *     24 .. 31  kept for value logs
 *    127 empty   nothing: an edit of zero bytes could not be framed
 *    128 superseded := number count     of the table that was added last; left out: 0
 *
 * A field is used up exactly; a number stands at most once. What an edit says
 * about tables is checked against the version that it is applied to (version.c).
 *
 * Threads: one an edit.
 */
#include <assert.h>

#include "lsm/format/filename.h"
#include "lsm/util/coding.h"
#include "lsm/version/edit.h"

enum {
    TAG_NEXT_FILE = 1, TAG_NEXT_TREE, TAG_LOG, TAG_SEQ, TAG_ROOT, TAG_DECIDED, TAG_FLOOR, TAG_TXID,
    TAG_MEMORY, TAG_CARRIED, TAG_LOG_END,
    TAG_TREE = 16, TAG_DROP, TAG_ADD, TAG_REMOVE, TAG_VLOG, TAG_HASH,
    TAG_EMPTY = 127,
    TAG_SKIP_MIN = 128, TAG_SUPERSEDED = TAG_SKIP_MIN
};
static const int32_t no_levels[LSM_LEVEL_COUNT_MAX];

#define TAG_ONCE_MAX TAG_LOG_END        /* tag t is has-bit t - 1 */

_Static_assert(1 << (TAG_NEXT_FILE - 1) == LSM_EDIT_NEXT_FILE, "tags and has-bits go together");
_Static_assert(1 << (TAG_ROOT - 1) == LSM_EDIT_ROOT, "tags and has-bits go together");
_Static_assert(1 << (TAG_TXID - 1) == LSM_EDIT_TXID, "tags and has-bits go together");
_Static_assert(1 << (TAG_LOG_END - 1) == LSM_EDIT_LOG_END, "tags and has-bits go together");

void lsm_edit_init(struct lsm_edit *e, struct lsm_os *os)
{
    *e = (struct lsm_edit){ .os = os };
    lsm_buf_init(&e->trees, os);
    lsm_buf_init(&e->dropped, os);
    lsm_buf_init(&e->added, os);
    lsm_buf_init(&e->removed, os);
    lsm_buf_init(&e->vlogs, os);
}

void lsm_edit_clear(struct lsm_edit *e)
{
    lsm_buf_clear(&e->trees);
    lsm_buf_clear(&e->dropped);
    lsm_buf_clear(&e->added);
    lsm_buf_clear(&e->removed);
    lsm_buf_clear(&e->vlogs);
    lsm_edit_init(e, e->os);
}

static void append(struct lsm_edit *e, struct lsm_buf *b, const void *item, size_t size)
{
    if (e->rc != LSM_OK)
        return;
    lsm_buf_append(b, item, size);
    e->rc = b->rc;
}

void lsm_edit_add_tree(struct lsm_edit *e, const struct lsm_edit_tree *tree)
{
    assert(tree->name.size <= LSM_NAME_SIZE_MAX);
    assert(tree->comparator.size <= LSM_NAME_SIZE_MAX);
    assert(tree->hash_name.size <= LSM_NAME_SIZE_MAX);
    append(e, &e->trees, tree, sizeof(*tree));
}

void lsm_edit_drop_tree(struct lsm_edit *e, uint32_t id)
{
    append(e, &e->dropped, &id, sizeof(id));
}

void lsm_edit_add_table(struct lsm_edit *e, uint32_t level, const struct lsm_table_meta *meta)
{
    struct lsm_edit_table table = { .level = level, .meta = *meta };

    assert(level < LSM_LEVEL_COUNT_MAX);
    append(e, &e->added, &table, sizeof(table));
}

void lsm_edit_remove_table(struct lsm_edit *e, uint32_t level, uint32_t tree, uint64_t number)
{
    struct lsm_edit_table table = { .level = level, .meta = { .tree = tree, .number = number } };

    assert(level < LSM_LEVEL_COUNT_MAX);
    append(e, &e->removed, &table, sizeof(table));
}

void lsm_edit_add_vlog(struct lsm_edit *e, const struct lsm_vlog_meta *meta)
{
    append(e, &e->vlogs, meta, sizeof(*meta));
}

size_t lsm_edit_vlog_count(const struct lsm_edit *e)
{
    return e->vlogs.size / sizeof(struct lsm_vlog_meta);
}

size_t lsm_edit_tree_count(const struct lsm_edit *e)
{
    return e->trees.size / sizeof(struct lsm_edit_tree);
}

size_t lsm_edit_added_count(const struct lsm_edit *e)
{
    return e->added.size / sizeof(struct lsm_edit_table);
}

size_t lsm_edit_removed_count(const struct lsm_edit *e)
{
    return e->removed.size / sizeof(struct lsm_edit_table);
}

size_t lsm_edit_dropped_count(const struct lsm_edit *e)
{
    return e->dropped.size / sizeof(uint32_t);
}

/* ---- encoding ----------------------------------------------------------- */

/* Move what was collected in `field` to `out`, as one field. */
static void put_field(struct lsm_buf *out, uint64_t tag, struct lsm_buf *field)
{
    lsm_buf_put_varint(out, tag);
    lsm_buf_put_bytes(out, lsm_buf_slice(field));
    if (field->rc != LSM_OK)
        out->rc = field->rc;
    field->size = 0;
}

static void put_token(struct lsm_buf *field, const struct lsm_token *token)
{
    lsm_buf_put_varint(field, token->txid);
    lsm_buf_append(field, token->hash, sizeof(token->hash));
}

static void put_once(struct lsm_buf *field, const struct lsm_edit *e, unsigned tag)
{
    switch (tag) {
    case TAG_NEXT_FILE: lsm_buf_put_varint(field, e->next_file); break;
    case TAG_NEXT_TREE: lsm_buf_put_varint(field, e->next_tree); break;
    case TAG_LOG: lsm_buf_put_varint(field, e->log_number); break;
    case TAG_SEQ: lsm_buf_put_varint(field, e->seq); break;
    case TAG_ROOT: put_token(field, &e->root); break;
    case TAG_DECIDED: put_token(field, &e->decided); break;
    case TAG_FLOOR: put_token(field, &e->floor); break;
    case TAG_TXID: lsm_buf_put_varint(field, e->txid); break;
    case TAG_MEMORY: lsm_buf_put_varint(field, e->memory_bytes); break;
    case TAG_CARRIED: lsm_buf_put_u8(field, e->carried); break;
    case TAG_LOG_END:
        lsm_buf_put_varint(field, e->log_end_number);
        lsm_buf_put_varint(field, e->log_end_size);
        lsm_buf_put_u64(field, e->log_end_chain);
        break;
    }
}

void lsm_edit_encode(const struct lsm_edit *e, struct lsm_buf *out)
{
    const struct lsm_edit_tree *trees = lsm_edit_trees(e);
    const struct lsm_edit_table *added = lsm_edit_added(e), *removed = lsm_edit_removed(e);
    const uint32_t *dropped = lsm_edit_dropped(e);
    size_t begin = out->size;
    struct lsm_buf field;

    assert(e->has >> TAG_ONCE_MAX == 0);
    assert(e->seq <= LSM_SEQ_MAX);
    lsm_buf_init(&field, out->os);
    for (unsigned tag = 1; tag <= TAG_ONCE_MAX; tag++) {
        if (e->has & 1u << (tag - 1)) {
            put_once(&field, e, tag);
            put_field(out, tag, &field);
        }
    }
    for (size_t i = 0; i < lsm_edit_tree_count(e); i++) {
        lsm_buf_put_varint(&field, trees[i].id);
        lsm_buf_put_varint(&field, trees[i].block_bytes);
        lsm_buf_put_varint(&field, trees[i].filter_bits);
        lsm_buf_put_u32(&field, (uint32_t)trees[i].compression_level);
        lsm_buf_put_bytes(&field, trees[i].name);
        lsm_buf_put_bytes(&field, trees[i].comparator);
        lsm_buf_put_varint(&field, trees[i].value_log_bytes);
        if (memcmp(trees[i].level_compression, no_levels, sizeof no_levels) != 0)
            for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
                lsm_buf_put_u32(&field, (uint32_t)trees[i].level_compression[l]);
        put_field(out, TAG_TREE, &field);
        if (trees[i].hash_name.size) {
            lsm_buf_put_varint(&field, trees[i].id);
            lsm_buf_put_bytes(&field, trees[i].hash_name);
            put_field(out, TAG_HASH, &field);
        }
    }
    for (size_t i = 0; i < lsm_edit_dropped_count(e); i++) {
        lsm_buf_put_varint(&field, dropped[i]);
        put_field(out, TAG_DROP, &field);
    }
    for (size_t i = 0; i < lsm_edit_removed_count(e); i++) {
        lsm_buf_put_varint(&field, removed[i].level);
        lsm_buf_put_varint(&field, removed[i].meta.tree);
        lsm_buf_put_varint(&field, removed[i].meta.number);
        put_field(out, TAG_REMOVE, &field);
    }
    for (size_t i = 0; i < lsm_edit_added_count(e); i++) {
        lsm_buf_put_varint(&field, added[i].level);
        lsm_table_meta_encode(&field, &added[i].meta);
        put_field(out, TAG_ADD, &field);
        if (added[i].meta.superseded) {
            lsm_buf_put_varint(&field, added[i].meta.number);
            lsm_buf_put_varint(&field, added[i].meta.superseded);
            put_field(out, TAG_SUPERSEDED, &field);
        }
    }
    for (size_t i = 0; i < lsm_edit_vlog_count(e); i++) {
        lsm_vlog_meta_encode(&field, &lsm_edit_vlogs(e)[i]);
        put_field(out, TAG_VLOG, &field);
    }
    if (out->size == begin)
        put_field(out, TAG_EMPTY, &field);
    if (e->rc != LSM_OK)
        out->rc = e->rc;
    lsm_buf_clear(&field);
}

/* ---- decoding ----------------------------------------------------------- */

static void read_token(struct lsm_reader *r, struct lsm_token *token)
{
    struct lsm_slice hash;

    token->txid = lsm_read_varint(r);
    hash = lsm_read_fixed(r, sizeof(token->hash));
    if (!r->bad)
        memcpy(token->hash, hash.data, sizeof(token->hash));
}

/* Forged numbers: counted on from the last possible one they would wrap, and files be written over. */
static bool is_beyond(const struct lsm_edit *e)
{
    const uint64_t files[] = { e->next_file, e->log_number, e->log_end_number };
    const uint64_t txids[] = { e->txid, e->root.txid, e->decided.txid, e->floor.txid };

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i] > LSM_FILE_NUMBER_MAX)
            return true;
    for (size_t i = 0; i < sizeof txids / sizeof *txids; i++)
        if (txids[i] > LSM_TXID_MAX)
            return true;
    return e->seq > LSM_EDIT_SEQ_MAX || e->next_tree > LSM_EDIT_TREE_MAX;
}

static bool is_level(int32_t compression)
{
    return compression == LSM_COMPRESSION_NONE || (compression >= -7 && compression <= 22);
}

/* As lsm_tree_create() makes them: a compaction has its memory and its time by these. */
static bool is_possible(const struct lsm_edit_tree *tree)
{
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX; l++)
        if (!is_level(tree->level_compression[l]))
            return false;
    return tree->block_bytes >= 512 && tree->block_bytes <= 1u << 20 && tree->filter_bits <= 32 &&
           is_level(tree->compression_level) && (tree->value_log_bytes == 0 || tree->value_log_bytes >= 64);
}

/* The three below answer NULL, or what is wrong with the field. */
static const char *read_once(struct lsm_edit *e, unsigned tag, struct lsm_reader *r)
{
    uint8_t flag;

    if (e->has & 1u << (tag - 1))
        return "a field stands twice";
    e->has |= 1u << (tag - 1);

    switch (tag) {
    case TAG_NEXT_FILE: e->next_file = lsm_read_varint(r); break;
    case TAG_NEXT_TREE: e->next_tree = lsm_read_varint32(r); break;
    case TAG_LOG: e->log_number = lsm_read_varint(r); break;
    case TAG_SEQ:
        e->seq = lsm_read_varint(r);
        break;
    case TAG_ROOT: read_token(r, &e->root); break;
    case TAG_DECIDED: read_token(r, &e->decided); break;
    case TAG_FLOOR: read_token(r, &e->floor); break;
    case TAG_TXID: e->txid = lsm_read_varint(r); break;
    case TAG_MEMORY: e->memory_bytes = lsm_read_varint(r); break;
    case TAG_CARRIED:
        flag = lsm_read_u8(r);
        if (flag > 1)
            return "a flag that is neither 0 nor 1";
        e->carried = flag;
        break;
    case TAG_LOG_END:
        e->log_end_number = lsm_read_varint(r);
        e->log_end_size = lsm_read_varint(r);
        e->log_end_chain = lsm_read_u64(r);
        break;
    }
    return NULL;
}

static const char *read_tree(struct lsm_edit *e, struct lsm_reader *r)
{
    struct lsm_edit_tree tree = { 0 };

    tree.id = lsm_read_varint32(r);
    tree.block_bytes = lsm_read_varint32(r);
    tree.filter_bits = lsm_read_varint32(r);
    tree.compression_level = (int32_t)lsm_read_u32(r);
    tree.name = lsm_read_bytes(r);
    tree.comparator = lsm_read_bytes(r);
    tree.value_log_bytes = lsm_read_varint32(r);
    for (uint32_t l = 0; l < LSM_LEVEL_COUNT_MAX && lsm_reader_left(r); l++)
        tree.level_compression[l] = (int32_t)lsm_read_u32(r);
    if (r->bad)
        return NULL;            /* the caller sees it */
    if (tree.name.size > LSM_NAME_SIZE_MAX || tree.comparator.size > LSM_NAME_SIZE_MAX)
        return "a name is too long";
    if (!is_possible(&tree))
        return "a tree's options are beyond what is possible";
    lsm_edit_add_tree(e, &tree);
    return NULL;
}

static const char *read_hash(struct lsm_edit *e, struct lsm_reader *r)
{
    uint32_t id = lsm_read_varint32(r);
    struct lsm_slice name = lsm_read_bytes(r);
    size_t count = lsm_edit_tree_count(e);
    struct lsm_edit_tree *tree = count ? (struct lsm_edit_tree *)(void *)e->trees.data + count - 1 : NULL;

    if (r->bad)
        return NULL;
    if (!tree || tree->id != id || tree->hash_name.size)
        return "a hash of no tree";
    if (name.size == 0 || name.size > LSM_NAME_SIZE_MAX)
        return "a name is too long, or empty";
    tree->hash_name = name;
    return NULL;
}

static const char *read_table(struct lsm_edit *e, unsigned tag, struct lsm_reader *r)
{
    uint32_t level = lsm_read_varint32(r);
    struct lsm_table_meta meta = { 0 };

    if (tag == TAG_ADD) {
        if (!lsm_table_meta_decode(r, &meta))
            r->bad = true;
    } else {
        meta.tree = lsm_read_varint32(r);
        meta.number = lsm_read_varint(r);
    }
    if (r->bad)
        return NULL;
    if (level >= LSM_LEVEL_COUNT_MAX)
        return "a level beyond the deepest";
    if (tag == TAG_ADD)
        lsm_edit_add_table(e, level, &meta);
    else
        lsm_edit_remove_table(e, level, meta.tree, meta.number);
    return NULL;
}

/* What does not fit is passed over, as by a version that does not know the field. */
static void read_superseded(struct lsm_edit *e, struct lsm_reader *r)
{
    struct lsm_edit_table *added = (void *)e->added.data;
    size_t count = lsm_edit_added_count(e);
    uint64_t number = lsm_read_varint(r), superseded = lsm_read_varint(r);

    if (!r->bad && count && added[count - 1].meta.number == number && superseded <= added[count - 1].meta.entries)
        added[count - 1].meta.superseded = superseded;
}

int lsm_edit_decode(struct lsm_edit *e, struct lsm_slice bytes, const char *file, uint64_t off)
{
    struct lsm_reader r = lsm_reader(bytes);

    assert(e->has == 0 && e->trees.size == 0 && e->added.size == 0 && e->removed.size == 0);

    while (lsm_reader_left(&r) > 0 && e->rc == LSM_OK) {
        uint64_t at = off + (uint64_t)(r.p - bytes.data), tag = lsm_read_varint(&r);
        struct lsm_slice content = lsm_read_bytes(&r);
        struct lsm_reader field;
        const char *why = NULL;

        if (r.bad)
            return lsm_corrupt(file, at, "an edit's field reaches past its end");
        field = lsm_reader(content);
        if (tag == TAG_SUPERSEDED)
            read_superseded(e, &field);
        if (tag >= TAG_SKIP_MIN)
            continue;
        if (tag >= 1 && tag <= TAG_ONCE_MAX)
            why = read_once(e, (unsigned)tag, &field);
        else if (tag == TAG_TREE)
            why = read_tree(e, &field);
        else if (tag == TAG_HASH)
            why = read_hash(e, &field);
        else if (tag == TAG_DROP) {
            uint32_t id = lsm_read_varint32(&field);

            if (!field.bad)
                lsm_edit_drop_tree(e, id);
        } else if (tag == TAG_ADD || tag == TAG_REMOVE)
            why = read_table(e, (unsigned)tag, &field);
        else if (tag == TAG_VLOG) {
            struct lsm_vlog_meta meta;

            if (lsm_vlog_meta_decode(&field, &meta))
                lsm_edit_add_vlog(e, &meta);
        } else if (tag != TAG_EMPTY)
            return lsm_fail(LSM_FORMAT, "%s: written by a newer version (field %u at offset %llu); "
                            "open it with that", file, (unsigned)tag, (unsigned long long)at);

        if (!why && is_beyond(e))
            why = "a number beyond the last possible one";
        if (why)
            return lsm_corrupt(file, at, why);
        if (field.bad || lsm_reader_left(&field) > 0)
            return lsm_corrupt(file, at, "an edit's field is malformed");
    }
    return e->rc;
}
