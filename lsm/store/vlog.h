/*
 * vlog.h -- open value logs: read a value by its handle. The format is stated in
 * vlog_writer.h.
 *
 * A handle is hostile until it was checked: against the log's places, then the
 * value's sum, which knows log and place, then its size.
 *
 * Values do not go through the block cache: the kernel has them, and one of
 * 64 KiB would displace sixteen blocks.
 *
 * Threads: any, at the same time.
 */
#ifndef LSM_STORE_VLOG_H
#define LSM_STORE_VLOG_H

#include "lsm/format/compress.h"
#include "lsm/format/vlog_meta.h"

struct lsm_vlog;
struct lsm_vlogs;               /* the open value logs of a store, bounded by descriptors */

int lsm_vlogs_new(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                  struct lsm_compressor_pool *compressors, uint32_t open_max,
                  struct lsm_vlogs **vlogs);
void lsm_vlogs_free(struct lsm_vlogs *vlogs);           /* nothing may be in use */
/* Where descriptors run out and no log is idle: close idle files of others; how many were. */
void lsm_vlogs_set_relief(struct lsm_vlogs *vlogs, uint32_t (*relief)(void *ctx), void *ctx);
/* Close idle logs, all of them; how many were. */
uint32_t lsm_vlogs_close_idle(struct lsm_vlogs *vlogs);
/* The log of `meta`, opened if need be. LSM_CORRUPT: missing, of another size, store, log or tree,
   damaged. The caller unrefs it. */
int lsm_vlogs_get(struct lsm_vlogs *vlogs, const struct lsm_vlog_meta *meta, struct lsm_vlog **vlog);
void lsm_vlog_ref(struct lsm_vlog *vlog);
void lsm_vlog_unref(struct lsm_vlog *vlog);             /* NULL is fine */
uint64_t lsm_vlog_id(const struct lsm_vlog *vlog);
/* For a repair: what the file itself says, checked as by get; created_us is 0. size_bytes: what it had when it was
   written, if it has grown since; 0: not known. LSM_CORRUPT, LSM_FORMAT as there. */
int lsm_vlogs_identify(struct lsm_vlogs *vlogs, uint64_t number, uint64_t size_bytes, struct lsm_vlog_meta *meta);
/* A file that is longer than its meta says is opened as if it were not. Before any is opened. */
void lsm_vlogs_allow_longer(struct lsm_vlogs *vlogs);
/* A value out of the first file of its log, whose frame is damaged: only the value's own sum is believed.
   As lsm_vlog_read. */
int lsm_vlogs_read_unframed(struct lsm_vlogs *vlogs, const struct lsm_vlog_handle *handle,
                            struct lsm_buf *scratch, struct lsm_buf *out, struct lsm_slice *value);
/* The file is obsolete: close it when its last user is gone. */
void lsm_vlogs_forget(struct lsm_vlogs *vlogs, uint64_t number);
uint64_t lsm_vlogs_memory(struct lsm_vlogs *vlogs);     /* bytes held by open logs */
uint32_t lsm_vlogs_open_count(struct lsm_vlogs *vlogs);

/* A buffer for values: one that was given back, or a new one. A few are kept, since a fresh page costs
   a fault and a value of 64 KiB has sixteen. `buf` is uninitialised, and void after give. */
void lsm_vlogs_take_buf(struct lsm_vlogs *vlogs, struct lsm_buf *buf);
void lsm_vlogs_give_buf(struct lsm_vlogs *vlogs, struct lsm_buf *buf);

/*
 * Read a value. *value points into `out` (which is reset first; `scratch` too, if
 * need be). LSM_CORRUPT names file and offset: a handle of another log or of a
 * place that the log does not have, a damaged value, one of another size.
 */
int lsm_vlog_read(struct lsm_vlog *vlog, const struct lsm_vlog_handle *handle,
                  struct lsm_buf *scratch, struct lsm_buf *out, struct lsm_slice *value);
/* The sealed bytes as they are, checked as above but for the size of the value; for a copy. */
int lsm_vlog_read_sealed(struct lsm_vlog *vlog, const struct lsm_vlog_handle *handle,
                         struct lsm_buf *out);
/* The log's dictionary as a handle (for lsm_vlog_read_sealed); false: it has none. */
bool lsm_vlog_dict(const struct lsm_vlog *vlog, struct lsm_vlog_handle *handle);
/* A hint that values from this one on, `bytes` of them, will be read. */
void lsm_vlog_prefetch(struct lsm_vlog *vlog, const struct lsm_vlog_handle *handle, uint64_t bytes);
/* The frame and the map anew from the file. */
int lsm_vlog_check(struct lsm_vlog *vlog);

#endif
