/* redo.c -- carried records as they stand in the host's database. */
#include <assert.h>

#include "lsm/format/redo.h"

#define TXID_AT 8u
#define HASH_AT 16u

static const uint8_t magic[4] = { 'L', 'S', 'M', 'R' };

void lsm_redo_begin(struct lsm_buf *frame)
{
    static const uint8_t head[LSM_REDO_HEAD_SIZE];

    assert(frame->size == 0);
    lsm_buf_append(frame, head, sizeof head);
}

void lsm_redo_finish(struct lsm_buf *frame, uint32_t log, uint32_t solo)
{
    static const uint8_t zeros[LSM_REDO_ALIGN];
    size_t size = frame->size;

    assert(frame->rc || size >= LSM_REDO_HEAD_SIZE + LSM_RECORD_SIZE_MIN);
    lsm_buf_append(frame, zeros, (LSM_REDO_ALIGN - size % LSM_REDO_ALIGN) % LSM_REDO_ALIGN);
    if (frame->rc)
        return;
    memcpy(frame->data, magic, sizeof magic);
    lsm_put_u32(frame->data + 4, log);
    lsm_put_u32(frame->data + 8, (uint32_t)(size - LSM_REDO_HEAD_SIZE));
    lsm_put_u32(frame->data + 12, solo);
}

/* Is this the head of a frame with the record of `token`, by its name? */
static bool is_frame_of(const uint8_t *p, size_t left, const struct lsm_token *token)
{
    const uint8_t *record = p + LSM_REDO_HEAD_SIZE;
    uint32_t size;

    if (left < LSM_REDO_HEAD_SIZE + LSM_RECORD_SIZE_MIN || memcmp(p, magic, sizeof magic) != 0)
        return false;
    size = lsm_get_u32(p + 8);
    return size >= LSM_RECORD_SIZE_MIN && size <= LSM_REDO_RECORD_MAX &&
           size <= left - LSM_REDO_HEAD_SIZE && lsm_get_u64(record + TXID_AT) == token->txid &&
           memcmp(record + HASH_AT, token->hash, sizeof token->hash) == 0;
}

int lsm_redo_find(struct lsm_slice area, const struct lsm_token *token, const uint8_t uuid[16],
                  size_t *off, struct lsm_slice *bytes, struct lsm_record *rec)
{
    size_t count = (area.size + LSM_REDO_ALIGN - 1) / LSM_REDO_ALIGN, damaged = SIZE_MAX;
    size_t at = *off / LSM_REDO_ALIGN < count ? *off / LSM_REDO_ALIGN : 0;

    for (size_t i = 0; i < count; i++, at = at ? at - 1 : count - 1) {
        const uint8_t *p = area.data + at * LSM_REDO_ALIGN;

        if (!is_frame_of(p, area.size - at * LSM_REDO_ALIGN, token))
            continue;
        *off = at * LSM_REDO_ALIGN;
        *bytes = lsm_slice(p + LSM_REDO_HEAD_SIZE, lsm_get_u32(p + 8));
        if (lsm_record_decode(*bytes, uuid, rec) && rec->type == LSM_RECORD_JOINT &&
            rec->adopted_count == 0 && rec->base.txid < rec->id.txid)
            return LSM_OK;
        damaged = *off;
    }
    if (damaged != SIZE_MAX)
        return lsm_corrupt("redo record in the database", damaged,
                           "the bytes are not those that the token stands for");
    return LSM_NOTFOUND;
}
