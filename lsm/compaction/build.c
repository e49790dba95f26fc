/*
 * build.c -- see build.h.
 */
#include "lsm/compaction/build.h"

#include "lsm/format/filename.h"
#include "lsm/store/table.h"

#define PAUSE_ROWS 4096u                /* or */
#define PAUSE_BYTES (UINT64_C(1) << 20)
#define PIECE_BYTES_MAX PAUSE_BYTES     /* of a partition that is copied whole, which is in memory meanwhile */
#define FILE_EXCESS 8u                  /* by such a part of its size may one make a file too large */

struct output {
    struct lsm_table_writer *writer;
    uint64_t number;
    uint32_t grand_at;          /* first run of the level below that does not end before the file */
    uint64_t grand_bytes;       /* of the runs that the file overlaps so far */
    uint64_t superseded;
};

static int output_open(struct lsm_build *b, struct output *out, struct lsm_slice first)
{
    out->number = b->new_file(b->ctx);
    out->grand_at = b->grand && first.data ? lsm_level_find(b->grand, b->table.comparator, first) : 0;
    out->grand_bytes = out->superseded = 0;
    return lsm_table_writer_open(b->os, b->dir, b->uuid, out->number, b->tree, &b->table, b->compressor,
                                 b->file_mode, &out->writer);
}

static int keep_meta(struct lsm_build *b, const struct lsm_table_meta *meta)
{
    if (b->count == b->cap) {
        size_t cap = b->cap ? 2 * b->cap : 16;
        void *more = b->os->mem_realloc(b->os, b->metas, cap * sizeof *b->metas);
        if (!more)
            return lsm_nomem();
        b->metas = more;
        b->cap = cap;
    }
    struct lsm_table_meta *copy = lsm_table_meta_copy(b->os, meta);
    if (!copy)
        return lsm_nomem();
    b->metas[b->count++] = copy;
    return LSM_OK;
}

static int output_finish(struct lsm_build *b, struct output *out, struct lsm_slice next)
{
    struct lsm_table_meta meta;
    int rc = lsm_table_writer_finish(out->writer, &meta);

    if (rc == LSM_OK) {
        meta.created_us = b->os->wall_us(b->os);
        meta.superseded = out->superseded;
        b->bytes_written += meta.size_bytes;
        b->count_all++;
        if (b->verify)
            rc = b->verify(b->verify_ctx, b->table.comparator, &meta);
        if (rc == LSM_OK)
            rc = keep_meta(b, &meta);
        if (rc) {               /* finished but unknown to anybody */
            char name[LSM_FILENAME_SIZE];
            b->os->file_remove(b->dir, lsm_filename(name, LSM_FILE_TABLE, out->number));
        }
    }
    lsm_table_writer_close(out->writer);
    out->writer = NULL;
    if (rc == LSM_OK && b->file_done)
        rc = b->file_done(b->ctx, next);
    return rc;
}

/* Would the file overlap too much of the level below if this key were added? */
static bool overlaps_too_much(const struct lsm_build *b, struct output *out, struct lsm_slice key)
{
    if (!b->grand)
        return false;
    while (out->grand_at < b->grand->count &&
           lsm_key_compare(b->table.comparator, key,
                           b->grand->runs[out->grand_at]->meta.largest) > 0) {
        out->grand_bytes += b->grand->runs[out->grand_at]->meta.size_bytes;
        out->grand_at++;
    }
    return out->grand_bytes > b->grand_bytes_max;
}

/* Should the file end before this key? */
static bool is_cut(const struct lsm_build *b, struct output *out, struct lsm_slice key)
{
    if (b->cut && b->cut(b->ctx, key))
        return true;
    if (b->file_bytes && lsm_table_writer_size(out->writer) >= b->file_bytes)
        return true;
    return overlaps_too_much(b, out, key);
}

/* ---- range deletes ---- */

struct spans {
    const struct lsm_ranges *ranges;    /* NULL: there are none */
    uint32_t *kept;             /* by stretch: how many of its deletes stay, the newest ones */
    uint32_t row_at;            /* first stretch that does not end before the row */
    uint32_t out_at;            /* first that is not written, */
    struct lsm_buf out_from;    /* or only up to here */
    bool is_cut;
    struct lsm_buf end;         /* scratch */
};

/* A delete that everybody sees goes where nothing older is left for it. */
static int spans_init(struct spans *s, const struct lsm_build *b, const struct lsm_retain *retain)
{
    const struct lsm_ranges *r = b->ranges;

    *s = (struct spans){ .ranges = r };
    lsm_buf_init(&s->out_from, b->os);
    lsm_buf_init(&s->end, b->os);
    if (!r)
        return LSM_OK;
    s->kept = lsm_mem_alloc(b->os, r->count * sizeof *s->kept);
    if (!s->kept)
        return lsm_nomem();
    for (uint32_t i = 0; i < r->count; i++) {
        const struct lsm_range *range = &r->range[i];
        uint64_t oldest = r->seqs[range->seq_at + range->seq_count - 1];

        s->kept[i] = range->seq_count;
        if (lsm_retain_seen_by_all(retain, oldest) && b->is_bottom_range &&
            b->is_bottom_range(b->ctx, range->lo, range->hi))
            s->kept[i]--;
    }
    return LSM_OK;
}

static void spans_clear(struct spans *s, struct lsm_os *os)
{
    lsm_mem_free(os, s->kept);
    lsm_buf_clear(&s->out_from);
    lsm_buf_clear(&s->end);
}

/* Does some delete reach into [first, last]? Keys ascend. */
static bool spans_touch(struct spans *s, const struct lsm_build *b, struct lsm_slice first, struct lsm_slice last)
{
    const struct lsm_comparator *cmp = b->table.comparator;
    const struct lsm_ranges *r = s->ranges;

    if (!r)
        return false;
    while (s->row_at < r->count && lsm_key_compare(cmp, r->range[s->row_at].hi, first) <= 0)
        s->row_at++;
    return s->row_at < r->count && lsm_key_compare(cmp, r->range[s->row_at].lo, last) <= 0;
}

/* Is the row deleted for everybody? *beside: some delete stays that it stands beside, so that it must
   keep its own sequence. Keys ascend. */
static bool spans_hide(struct spans *s, const struct lsm_build *b, const struct lsm_retain *retain,
                       struct lsm_slice key, uint64_t tag, bool *beside)
{
    const struct lsm_comparator *cmp = b->table.comparator;
    const struct lsm_ranges *r = s->ranges;
    const struct lsm_range *range;

    *beside = false;
    if (!r)
        return false;
    while (s->row_at < r->count && lsm_key_compare(cmp, r->range[s->row_at].hi, key) <= 0)
        s->row_at++;
    if (s->row_at == r->count)
        return false;
    range = &r->range[s->row_at];
    if (lsm_key_compare(cmp, range->lo, key) > 0)
        return false;
    *beside = s->kept[s->row_at] > 0;
    return lsm_retain_covered(retain, r->seqs + range->seq_at, range->seq_count, lsm_tag_seq(tag));
}

/* May a file end behind `last`? Where there is no first key behind it, no delete may reach over. */
static bool spans_allow_cut(const struct spans *s, const struct lsm_build *b, struct lsm_slice last)
{
    const struct lsm_comparator *cmp = b->table.comparator;
    uint32_t i;

    if (!s->ranges || (!cmp && last.size < LSM_KEY_SIZE_MAX))
        return true;
    i = lsm_ranges_find(s->ranges, cmp, last);
    return i == s->ranges->count || lsm_key_compare(cmp, s->ranges->range[i].lo, last) > 0;
}

/* Give the file what begins up to its last row (NULL: all), and leave the rest to the next one. */
static int spans_write(struct spans *s, const struct lsm_build *b, struct lsm_table_writer *w,
                       const struct lsm_slice *last)
{
    const struct lsm_comparator *cmp = b->table.comparator;
    const struct lsm_ranges *r = s->ranges;

    for (; r && s->out_at < r->count; s->out_at++) {
        const struct lsm_range *range = &r->range[s->out_at];
        const uint64_t *seqs = r->seqs + range->seq_at;
        uint32_t kept = s->kept[s->out_at];
        struct lsm_slice lo = s->is_cut ? lsm_buf_slice(&s->out_from) : range->lo;

        if (last && lsm_key_compare(cmp, lo, *last) > 0)
            return LSM_OK;
        if (kept && last && lsm_key_compare(cmp, range->hi, *last) > 0 &&
            !lsm_key_is_next(*last, range->hi)) {
            lsm_buf_reset(&s->end);
            lsm_buf_append_slice(&s->end, *last);
            lsm_buf_put_u8(&s->end, 0);
            if (s->end.rc)
                return s->end.rc;
            lsm_table_writer_add_range(w, lo, lsm_buf_slice(&s->end), seqs, kept);
            lsm_buf_reset(&s->out_from);
            lsm_buf_append_slice(&s->out_from, lsm_buf_slice(&s->end));
            s->is_cut = true;
            return s->out_from.rc;
        }
        if (kept)
            lsm_table_writer_add_range(w, lo, range->hi, seqs, kept);
        s->is_cut = false;
    }
    return LSM_OK;
}

static bool spans_left(struct spans *s)
{
    while (s->ranges && s->out_at < s->ranges->count && s->kept[s->out_at] == 0) {
        s->out_at++;
        s->is_cut = false;
    }
    return s->ranges && s->out_at < s->ranges->count;
}

/* ---- the run ---- */

struct pass {                   /* over the rows */
    struct lsm_build *b;
    struct lsm_iter *it;
    struct output out;
    struct lsm_retain retain;
    struct spans spans;
    struct lsm_buf last;        /* key of the last row written: versions of a key stay in one file */
    uint64_t tag_before, worked;
    struct lsm_buf piece;       /* a partition that is copied */
    uint32_t source;            /* of the row before */
};

static int pause_if_due(struct pass *p)
{
    if (p->worked < PAUSE_BYTES || !p->b->pause)
        return LSM_OK;
    p->worked = 0;
    return p->b->pause(p->b->ctx);
}

/* Is there room in the file for as much more at once? */
static bool has_room(const struct lsm_build *b, const struct output *out, uint64_t more)
{
    return !b->file_bytes || lsm_table_writer_size(out->writer) + more <= b->file_bytes + b->file_bytes / FILE_EXCESS;
}

/* A file for the row of this key, perhaps the next one: also where `more` bytes come at once (0: no more than usual) and
   this one, by half, has no room. It may be asked twice, where a block is not copied after all: a file that has no row is
   never ended. */
static int output_for(struct pass *p, struct lsm_slice key, uint64_t more)
{
    const struct lsm_slice last = lsm_buf_slice(&p->last);
    struct lsm_build *b = p->b;
    int rc = LSM_OK;

    if (p->out.writer && lsm_table_writer_entries(p->out.writer) > 0 &&
        (is_cut(b, &p->out, key) ||
         (more && !has_room(b, &p->out, more) && lsm_table_writer_size(p->out.writer) >= b->file_bytes / 2)) &&
        lsm_key_compare(b->table.comparator, key, last) != 0 && spans_allow_cut(&p->spans, b, last)) {
        rc = spans_write(&p->spans, b, p->out.writer, &last);
        if (rc == LSM_OK)
            rc = output_finish(b, &p->out, key);
    }
    if (rc == LSM_OK && !p->out.writer)
        rc = output_open(b, &p->out, key);
    return rc;
}

static int set_last(struct pass *p, struct lsm_slice key)
{
    lsm_buf_reset(&p->last);
    lsm_buf_append_slice(&p->last, key);
    return p->last.rc;
}

/* ---- blocks that are copied ---- */

/* Would each row be written as it is? */
static bool rows_are_unchanged(const struct lsm_build *b, const struct lsm_block *block)
{
    const struct lsm_comparator *cmp = b->table.comparator;
    const struct lsm_values *v = &b->values;
    /* Where one row tells of all: a tag for all admits no two of one key */
    uint32_t count = block->tag_size == 0 && block->row_size ? 1 : block->count;
    struct lsm_slice before = { NULL, 0 }, suffix, value;
    uint64_t tag;

    for (uint32_t i = 0; i < count; i++, before = suffix) {
        lsm_block_row(block, i, &suffix, &tag, &value);
        if (lsm_tag_kind(tag) == LSM_KIND_VLOG ? v->rewrite_count > 0
                                               : v->bytes_min && value.size >= v->bytes_min)
            return false;
        if (block->tag_size && i && lsm_key_compare(cmp, before, suffix) == 0)
            return false;               /* an older version: it may go, and counts if it stays */
    }
    return true;
}

/* Would each row of [first, last] be kept as it is, and none be set back to sequence 0, as far as keys and sequences tell? */
static bool stretch_is_unchanged(struct pass *p, struct lsm_slice first, struct lsm_slice last, uint64_t seq_max)
{
    const struct lsm_build *b = p->b;

    if (p->retain.has_key && lsm_key_compare(b->table.comparator, lsm_buf_slice(&p->retain.key), first) >= 0)
        return false;
    return !spans_touch(&p->spans, b, first, last) && (seq_max == 0 || b->is_above(b->ctx, first, last));
}

/* A look only: if its rows follow one by one they are asked for again, and a file without any must not be cut. */
static bool would_overlap_too_much(const struct lsm_build *b, const struct output *out, struct lsm_slice last)
{
    struct output ahead = *out;

    return overlaps_too_much(b, &ahead, last);
}

/* What was copied is as if its last row had come, which is neither dropped nor changed above the bottom. */
static int passed(struct pass *p, struct lsm_slice last, uint64_t tag, uint64_t rows, uint64_t bytes, uint64_t raw_bytes)
{
    p->b->bytes_copied += bytes;
    p->b->rows_read += rows;
    p->b->rows_written += rows;
    p->worked += bytes + raw_bytes;
    p->tag_before = tag;
    lsm_retain_row(&p->retain, last, &tag, false);
    return p->retain.key.rc ? lsm_nomem() : set_last(p, last);
}

/* The block goes to the output as it stands, and the iterator behind it. *copied is false: its rows do. */
static int copy_block(struct pass *p, const struct lsm_iter_block *block, bool *copied)
{
    struct lsm_build *b = p->b;
    const uint32_t count = block->block->count;
    struct lsm_slice sealed, suffix, value;
    uint64_t tag;
    int rc;

    if (!stretch_is_unchanged(p, p->it->key, block->last, block->seq_max) || !rows_are_unchanged(b, block->block))
        return LSM_OK;
    rc = output_for(p, p->it->key, 0);
    if (rc || would_overlap_too_much(b, &p->out, block->last) || !lsm_table_iter_sealed(block->owner, &sealed) ||
        !lsm_table_writer_copy(p->out.writer, p->it->key, block->block, sealed))
        return rc;
    *copied = true;
    lsm_block_row(block->block, count - 1, &suffix, &tag, &value);
    rc = passed(p, block->last, tag, count, sealed.size, block->block->size);
    if (rc == LSM_OK)
        lsm_iter_next_block(p->it);
    return rc;
}

/* ---- partitions that are copied ---- */

/* The same of a whole partition's rows, as far as what the table says of them tells. */
static bool values_are_unchanged(const struct lsm_build *b, const struct lsm_part_meta *meta)
{
    const struct lsm_values *v = &b->values;

    return (v->bytes_min == 0 || meta->value_max < v->bytes_min) && !lsm_values_are_rewritten(v, meta->refs);
}

/* The partition goes to the output, and nobody looks into it. *copied is false: its blocks or rows do. What costs least
   is asked first; no file is ended for one that the table would not have so. */
static int copy_part(struct pass *p, bool *copied)
{
    struct lsm_build *b = p->b;
    struct lsm_slice first = p->it->key;
    struct lsm_table_piece piece;
    struct lsm_iter_part part;
    int rc;

    if (!lsm_iter_part(p->it, &part) || part.size > PIECE_BYTES_MAX ||
        !stretch_is_unchanged(p, first, part.last, part.seq_max) || !lsm_table_iter_piece(part.owner, &piece) ||
        !values_are_unchanged(b, &piece.meta) ||
        (p->out.writer && !lsm_table_writer_would_copy(p->out.writer, &piece)))
        return LSM_OK;
    rc = output_for(p, first, part.size);
    if (rc || !has_room(b, &p->out, part.size) || would_overlap_too_much(b, &p->out, part.last) ||
        !lsm_table_writer_would_copy(p->out.writer, &piece) ||
        !lsm_table_iter_read_piece(part.owner, &piece, &p->piece) ||
        !lsm_table_writer_copy_piece(p->out.writer, first, &piece))
        return rc;
    *copied = true;
    b->bytes_whole += part.size;
    rc = passed(p, part.last, part.last_tag, part.entries, part.size, piece.meta.raw_bytes);
    if (rc == LSM_OK)
        lsm_iter_next_part(p->it);
    return rc;
}

/* A partition or a block, if it may be. */
static int copy_some(struct pass *p, bool *copied)
{
    struct lsm_iter_block block;
    int rc = LSM_OK;

    if (!p->b->is_above || !lsm_iter_block(p->it, &block))
        return LSM_OK;
    if (block.begins_part) {
        rc = copy_part(p, copied);
        if (rc || *copied || !lsm_iter_block(p->it, &block))    /* again: its last key stood where the partition's does */
            return rc;
    }
    return copy_block(p, &block, copied);
}

/* ---- rows ---- */

static int put_row(struct pass *p)
{
    struct lsm_build *b = p->b;
    const struct lsm_comparator *cmp = b->table.comparator;
    struct lsm_slice key = p->it->key, value = p->it->value;
    uint64_t tag = p->it->tag;
    bool beside;
    int rc;

    b->rows_read++;
    p->worked += key.size + value.size + PAUSE_BYTES / PAUSE_ROWS;
    if (p->retain.has_key) {    /* H-08: never act on an order that is not there */
        int c = lsm_key_compare(cmp, lsm_buf_slice(&p->retain.key), key);
        if (c > 0 || (c == 0 && tag > p->tag_before))
            return lsm_corrupt("a table or memtable", 0, "rows are not in order");
    }
    if (spans_hide(&p->spans, b, &p->retain, key, tag, &beside))
        return LSM_OK;
    p->tag_before = tag;
    bool keep = lsm_retain_row(&p->retain, key, &tag, !beside && b->is_bottom && b->is_bottom(b->ctx, key));
    if (p->retain.key.rc)
        return lsm_nomem();
    if (!keep)
        return LSM_OK;
    rc = output_for(p, key, 0);
    if (rc == LSM_OK)
        rc = lsm_values_put(b, &tag, &value);
    if (rc)
        return rc;
    lsm_table_writer_add(p->out.writer, key, tag, value);
    b->rows_written++;
    p->out.superseded += p->retain.is_older && lsm_key_compare(cmp, key, lsm_buf_slice(&p->last)) == 0;
    return set_last(p, key);
}

static void turn(struct pass *p)
{
    if (p->out.writer)
        lsm_table_writer_turn(p->out.writer, p->it->key, p->it->source > p->source);
    p->source = p->it->source;
}

int lsm_build_run(struct lsm_build *b, struct lsm_iter *it)
{
    const struct lsm_slice end = { NULL, 0 };
    struct pass p = { .b = b, .it = it };
    int rc;

    lsm_retain_init(&p.retain, b->os, b->table.comparator, b->snapshots, b->snapshot_count);
    lsm_buf_init(&p.last, b->os);
    lsm_buf_init(&p.piece, b->os);
    rc = spans_init(&p.spans, b, &p.retain);

    for (lsm_iter_first(it); it->valid && rc == LSM_OK;) {
        bool copied = false;

        if (it->source != p.source)
            turn(&p);
        rc = pause_if_due(&p);
        if (rc == LSM_OK && it->begins_block)
            rc = copy_some(&p, &copied);
        if (rc == LSM_OK && !copied) {
            rc = put_row(&p);
            if (rc == LSM_OK)
                lsm_iter_next(it);
        }
    }
    if (rc == LSM_OK)
        rc = it->rc;
    if (rc == LSM_OK && !p.out.writer && spans_left(&p.spans))
        rc = output_open(b, &p.out, end);
    if (p.out.writer) {
        if (rc == LSM_OK)
            rc = spans_write(&p.spans, b, p.out.writer, NULL);
        if (rc == LSM_OK)
            rc = output_finish(b, &p.out, end);
        else
            lsm_table_writer_close(p.out.writer);
    }
    if (rc == LSM_OK)
        rc = lsm_values_finish(b);
    if (rc && !b->file_done) {  /* with file_done, files may be installed: their owner removes */
        for (size_t i = 0; i < b->count; i++) {
            char name[LSM_FILENAME_SIZE];
            b->os->file_remove(b->dir, lsm_filename(name, LSM_FILE_TABLE, b->metas[i]->number));
        }
        lsm_values_remove(b);
        lsm_build_clear(b);
    }
    lsm_buf_clear(&p.last);
    lsm_buf_clear(&p.piece);
    spans_clear(&p.spans, b->os);
    lsm_retain_clear(&p.retain);
    return rc;
}

void lsm_build_clear(struct lsm_build *b)
{
    for (size_t i = 0; i < b->count; i++)
        lsm_mem_free(b->os, b->metas[i]);
    lsm_mem_free(b->os, b->metas);
    lsm_values_clear(b);
    b->metas = NULL;
    b->count = b->cap = 0;
}
