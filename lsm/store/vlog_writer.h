/*
 * vlog_writer.h -- write values to a file of their own. The format is stated
 * here; vlog.h reads it.
 *
 *     vlog   := header  (value | dict)*  map?  footer
 *     header := magic[8] "LSMVAL\r\n"  compat:u16 ro_compat:u16 incompat:u16 zero:u16
 *               uuid[16]  number:u64  id:u64  tree:u32  zero:u32  sum:u64      = 64 bytes, unsealed
 *     value  := sealed (seal.h), kind VALUE, compressed or not
 *     map    := sealed, kind VALUE_MAP: count:varint  (gap:varint  size:varint)*
 *     dict   := sealed, kind DICT_TABLES (train.h), not compressed; at most one. Until incompat bit 1 was
 *               made: kind DICT, bytes alone
 *     footer := map off:u64  dict off:u64  map size:u32  dict size:u32
 *               value_count:u64  value_bytes:u64  end:u64
 *               header's 64 bytes again, but magic "LSMVALF\n"  and sum over the whole footer
 *
 * In the first file of a log, number is id, there is no map, and a value stands
 * at the place that its handle says. The sum of a sealed value is seeded with
 * lsm_seal_seed(uuid, id) + that place.
 *
 * A log that is rewritten keeps its id and the values that are still referred to,
 * byte for byte, so that their sums stay right; the map says where they went: it
 * lists the stretches of the first file that were kept (each `gap` bytes behind the
 * end of the one before, the first behind the header), which stand in the new
 * file one behind the other from its header on. A handle is good when one
 * stretch holds all of it.
 *
 * Of incompat, bit 0: values may be compressed with lz; bit 1: the dictionary may have tables.
 *
 * Small values have much in common. When enough of them have passed, some of them
 * become a dictionary (train.h), and if it makes the others smaller it stands behind them; those
 * that follow are compressed with it (codec ZSTD_DICT). Its place is one of handles, so a
 * rewritten log keeps it as it keeps values; it counts neither as a value nor as bytes
 * of values.
 *
 * `end` is where the values of the first file end. value_count and value_bytes
 * are the file's own.
 */
#ifndef LSM_STORE_VLOG_WRITER_H
#define LSM_STORE_VLOG_WRITER_H

#include "lsm/format/seal.h"
#include "lsm/format/vlog_meta.h"

struct lsm_vlog_options {       /* how to write */
    int codec, level;           /* enum lsm_codec; zstd's level */
};

struct lsm_vlog_writer;         /* opaque; allocated */

/* Creates N.vlog (exclusively), the first file of log N. The compressor stays the caller's and must
   outlive the writer. */
int lsm_vlog_writer_open(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                         uint64_t number, uint32_t tree, const struct lsm_vlog_options *options,
                         struct lsm_compressor *compressor, uint32_t file_mode,
                         struct lsm_vlog_writer **writer);
/* Creates N.vlog as a later file of the log that `meta` describes: values are copied into it. */
int lsm_vlog_writer_open_copy(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                              uint64_t number, const struct lsm_vlog_meta *meta, uint32_t file_mode,
                              struct lsm_vlog_writer **writer);
/* Write a value; *handle says where. Latches errors, then *handle is void. */
void lsm_vlog_writer_add(struct lsm_vlog_writer *w, struct lsm_slice value,
                         struct lsm_vlog_handle *handle);
/* Copy `count` sealed values that stand at `off` of the first file, one behind the other. In ascending
   order of places. Latches errors. */
void lsm_vlog_writer_copy(struct lsm_vlog_writer *w, uint64_t off, struct lsm_slice sealed,
                          uint64_t count);
/* The same for the dictionary, in its turn. */
void lsm_vlog_writer_copy_dict(struct lsm_vlog_writer *w, uint64_t off, struct lsm_slice sealed);
uint64_t lsm_vlog_writer_size(const struct lsm_vlog_writer *w);        /* bytes so far */
/* Write the rest and sync the file (not the directory). created_us is 0. */
int lsm_vlog_writer_finish(struct lsm_vlog_writer *w, struct lsm_vlog_meta *meta);
/* Free; without a successful finish the file is removed. */
void lsm_vlog_writer_close(struct lsm_vlog_writer *w);

#endif
