/*
 * vlog_meta.h -- what is said about values that stand in value logs: where one
 * is (a handle, in a table row), how many bytes of which log a table refers to
 * (refs, in the table's meta), and what the MANIFEST says about a log.
 *
 * A value log has an id for life: handles name it. Its file may be rewritten
 * under a new number without the values that nobody refers to; places in handles
 * are those of the first file, so that no table is touched (vlog_writer.h).
 */
#ifndef LSM_FORMAT_VLOG_META_H
#define LSM_FORMAT_VLOG_META_H

#include "lsm/util/buf.h"
#include "lsm/util/coding.h"

/*
 *     handle := id:varint  off:varint  size:varint  raw_size:varint
 *
 * The value of a row of kind VLOG.
 */
struct lsm_vlog_handle {
    uint64_t id;
    uint64_t off;               /* in the log's first file */
    uint32_t size;              /* of the sealed value */
    uint32_t raw_size;          /* of the value */
};
#define LSM_VLOG_HANDLE_SIZE_MAX 30u

size_t lsm_vlog_handle_encode(uint8_t p[LSM_VLOG_HANDLE_SIZE_MAX], const struct lsm_vlog_handle *h);
/* Exactly these bytes, and sizes that can be. False: not a handle. */
bool lsm_vlog_handle_decode(struct lsm_slice bytes, struct lsm_vlog_handle *h);

/*
 *     refs := (id:varint  count:varint  bytes:varint)*         ids ascending
 *
 * bytes: sealed sizes of the values that a table's rows refer to. The live bytes
 * of a log are the sum over all tables: what its file has beyond is garbage.
 */
struct lsm_vlog_ref {
    uint64_t id, count, bytes;
};

/* Append; refs ascending by id. */
void lsm_vlog_ref_encode(struct lsm_buf *out, const struct lsm_vlog_ref *ref);
/* The next one; false at the end of the reader or when it is malformed (r->bad). *last: id of the one
   before, 0 at first. */
bool lsm_vlog_ref_next(struct lsm_reader *r, struct lsm_vlog_ref *ref, uint64_t *last);
/* Are these bytes well-formed refs? */
bool lsm_vlog_refs_are_good(struct lsm_slice refs);

/* Refs that are being counted. */
struct lsm_vlog_refs {
    struct lsm_buf list;        /* struct lsm_vlog_ref, ascending by id */
    size_t last;                /* index of the one that was counted last */
};
void lsm_vlog_refs_init(struct lsm_vlog_refs *refs, struct lsm_os *os);
void lsm_vlog_refs_clear(struct lsm_vlog_refs *refs);
/* Count one value. Latches LSM_NOMEM in list.rc. */
void lsm_vlog_refs_add(struct lsm_vlog_refs *refs, uint64_t id, uint64_t bytes);
/* Count what encoded refs do, which are well-formed. The same. */
void lsm_vlog_refs_add_all(struct lsm_vlog_refs *refs, struct lsm_slice encoded);
void lsm_vlog_refs_encode(const struct lsm_vlog_refs *refs, struct lsm_buf *out);

struct lsm_vlog_meta {
    uint64_t id;
    uint64_t number;            /* of its file now; the same as id until it is rewritten */
    uint32_t tree;
    uint64_t size_bytes;        /* of the file */
    uint64_t value_count, value_bytes;  /* in the file; bytes sealed */
    uint64_t end;               /* places in handles lie below */
    uint64_t created_us;        /* wall clock */
};

void lsm_vlog_meta_encode(struct lsm_buf *out, const struct lsm_vlog_meta *meta);
/* False: malformed. */
bool lsm_vlog_meta_decode(struct lsm_reader *r, struct lsm_vlog_meta *meta);

#endif
