/*
 * vlog_meta.c -- handles, refs and metas as bytes.
 *
 *     vlog_meta := id number tree size_bytes value_count value_bytes end created_us   (varints)
 *
 * Threads: pure.
 */
#include "lsm/format/vlog_meta.h"

#include "lsm/format/seal.h"

size_t lsm_vlog_handle_encode(uint8_t p[LSM_VLOG_HANDLE_SIZE_MAX], const struct lsm_vlog_handle *h)
{
    size_t n = lsm_varint_put(p, h->id);

    n += lsm_varint_put(p + n, h->off);
    n += lsm_varint_put(p + n, h->size);
    n += lsm_varint_put(p + n, h->raw_size);
    return n;
}

bool lsm_vlog_handle_decode(struct lsm_slice bytes, struct lsm_vlog_handle *h)
{
    struct lsm_reader r = lsm_reader(bytes);

    h->id = lsm_read_varint(&r);
    h->off = lsm_read_varint(&r);
    h->size = lsm_read_varint32(&r);
    h->raw_size = lsm_read_varint32(&r);
    return !r.bad && lsm_reader_left(&r) == 0 && h->id > 0 && h->size >= LSM_SEAL_TRAILER_SIZE &&
           h->raw_size <= LSM_VALUE_SIZE_MAX;
}

void lsm_vlog_ref_encode(struct lsm_buf *out, const struct lsm_vlog_ref *ref)
{
    lsm_buf_put_varint(out, ref->id);
    lsm_buf_put_varint(out, ref->count);
    lsm_buf_put_varint(out, ref->bytes);
}

bool lsm_vlog_ref_next(struct lsm_reader *r, struct lsm_vlog_ref *ref, uint64_t *last)
{
    if (r->bad || lsm_reader_left(r) == 0)
        return false;
    ref->id = lsm_read_varint(r);
    ref->count = lsm_read_varint(r);
    ref->bytes = lsm_read_varint(r);
    if (ref->id <= *last || ref->count == 0 || ref->bytes / LSM_SEAL_TRAILER_SIZE < ref->count)
        r->bad = true;
    *last = ref->id;
    return !r->bad;
}

bool lsm_vlog_refs_are_good(struct lsm_slice refs)
{
    struct lsm_reader r = lsm_reader(refs);
    struct lsm_vlog_ref ref;
    uint64_t last = 0;

    while (lsm_vlog_ref_next(&r, &ref, &last))
        ;
    return !r.bad;
}

void lsm_vlog_refs_init(struct lsm_vlog_refs *refs, struct lsm_os *os)
{
    lsm_buf_init(&refs->list, os);
    refs->last = 0;
}

void lsm_vlog_refs_clear(struct lsm_vlog_refs *refs)
{
    lsm_buf_clear(&refs->list);
    refs->last = 0;
}

static void add_ref(struct lsm_vlog_refs *refs, uint64_t id, uint64_t values, uint64_t bytes)
{
    struct lsm_vlog_ref *list = (void *)refs->list.data, new_ref = { id, 0, 0 };
    size_t count = refs->list.size / sizeof *list, at = refs->last;

    if (at >= count || list[at].id != id) {
        for (at = 0; at < count && list[at].id < id; at++)      /* few */
            ;
        if (at == count || list[at].id != id) {
            lsm_buf_append(&refs->list, &new_ref, sizeof new_ref);
            if (refs->list.rc)
                return;
            list = (void *)refs->list.data;
            memmove(list + at + 1, list + at, (count - at) * sizeof *list);
            list[at] = new_ref;
        }
        refs->last = at;
    }
    list[at].count += values;
    list[at].bytes += bytes;
}

void lsm_vlog_refs_add(struct lsm_vlog_refs *refs, uint64_t id, uint64_t bytes)
{
    add_ref(refs, id, 1, bytes);
}

void lsm_vlog_refs_add_all(struct lsm_vlog_refs *refs, struct lsm_slice encoded)
{
    struct lsm_reader r = lsm_reader(encoded);
    struct lsm_vlog_ref ref;
    uint64_t last = 0;

    while (refs->list.rc == LSM_OK && lsm_vlog_ref_next(&r, &ref, &last))
        add_ref(refs, ref.id, ref.count, ref.bytes);
}

void lsm_vlog_refs_encode(const struct lsm_vlog_refs *refs, struct lsm_buf *out)
{
    const struct lsm_vlog_ref *list = (const void *)refs->list.data;

    for (size_t i = 0; i < refs->list.size / sizeof *list; i++)
        lsm_vlog_ref_encode(out, &list[i]);
    if (refs->list.rc)
        out->rc = refs->list.rc;
}

void lsm_vlog_meta_encode(struct lsm_buf *out, const struct lsm_vlog_meta *meta)
{
    lsm_buf_put_varint(out, meta->id);
    lsm_buf_put_varint(out, meta->number);
    lsm_buf_put_varint(out, meta->tree);
    lsm_buf_put_varint(out, meta->size_bytes);
    lsm_buf_put_varint(out, meta->value_count);
    lsm_buf_put_varint(out, meta->value_bytes);
    lsm_buf_put_varint(out, meta->end);
    lsm_buf_put_varint(out, meta->created_us);
}

bool lsm_vlog_meta_decode(struct lsm_reader *r, struct lsm_vlog_meta *meta)
{
    meta->id = lsm_read_varint(r);
    meta->number = lsm_read_varint(r);
    meta->tree = lsm_read_varint32(r);
    meta->size_bytes = lsm_read_varint(r);
    meta->value_count = lsm_read_varint(r);
    meta->value_bytes = lsm_read_varint(r);
    meta->end = lsm_read_varint(r);
    meta->created_us = lsm_read_varint(r);
    /* The id is the number of the first file. */
    if (meta->id == 0 || meta->number < meta->id || meta->value_bytes > meta->size_bytes ||
        meta->value_bytes / LSM_SEAL_TRAILER_SIZE < meta->value_count)
        r->bad = true;
    return !r->bad;
}
