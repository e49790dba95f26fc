/*
 * table_writer.h -- write one sorted run as a table file. The format is stated
 * here; table.h reads it.
 *
 *     table     := header  (data*  filter  index)*  range_delete?  properties  top_index  footer
 *     header    := magic[8] "LSMTAB\r\n"  compat:u16 ro_compat:u16 incompat:u16 zero:u16
 *                  uuid[16]  number:u64  tree:u32  zero:u32  sum:u64            = 56 bytes, unsealed
 *                  incompat bit 0: data blocks may be compressed with lz (lz.h)
 *                  bit 1: keys of indexes may be separators of the tree's comparator
 *     every block is sealed (seal.h)
 *     index     := a block (block.h) whose keys are the data blocks' last user keys (tag of that row), or with
 *                  bit 1 keys behind them and before the next block's first
 *                  values := off:varint size:varint tombstones:varint seq_max:varint
 *                  (off: from the partition's first block, so that a copied index is still right)
 *     top_index := a block whose keys are the last ones of the partitions' indexes,
 *                  values := index off,size  filter off,size (size 0: none)  blocks:varint entries:varint
 *                            tombstones:varint seq_min:varint seq_max:varint
 *     range_delete := stretches of range deletes (format/ranges.h), within smallest and largest
 *     properties:= (name:bytes value:bytes)*     sorted; unknown names are skipped; known are
 *                  comparator (empty: bytes) entries largest raw_bytes seq_max seq_min smallest
 *                  tombstones writer      numbers as u64
 *                  parts (part_meta.h); an older version does not write it: then no partition is copied whole
 *                  if there are some range_deletes (stretches)
 *                  and refs (to value logs, vlog_meta.h); and, for a repair that has no MANIFEST:
 *                  tree (its name), private (empty; a transaction's rows, numbered from 1)
 *     footer    := top_index off:u64 size:u32  properties off:u64 size:u32  range_delete off:u64 size:u32
 *                  header's 56 bytes again, but magic "LSMTABF\n"  and sum over the whole footer
 *
 * Sizes of blocks are those of the sealed form. Nothing lies between the blocks:
 * each begins where the one before it ends. (filter off is 0 when there is none,
 * so are range_delete's off and size.)
 *
 * A data block says nothing of its place but in its sum, so one of another table can be
 * copied, and so can a partition: blocks, filter and index. Data blocks are compressed as asked; nothing else is. Filters hold
 * lsm_filter_key_hash(): a tree with a comparator that does not hash has none.
 */
#ifndef LSM_STORE_TABLE_WRITER_H
#define LSM_STORE_TABLE_WRITER_H

#include "lsm/format/block.h"
#include "lsm/format/part_meta.h"
#include "lsm/format/ranges.h"
#include "lsm/format/seal.h"
#include "lsm/format/table_meta.h"

struct lsm_table_options {      /* how to write */
    uint32_t block_bytes;       /* raw size at which a data block is cut */
    uint32_t filter_bits;       /* per key, 0: no filter */
    int codec, level;           /* enum lsm_codec; zstd's level */
    const struct lsm_comparator *comparator;
    struct lsm_slice tree_name; /* borrowed until finish; empty: not told */
    bool is_private;
};

struct lsm_table_writer;        /* opaque; allocated */

/* Creates N.ldb (exclusively). The compressor stays the caller's and must outlive the writer. */
int lsm_table_writer_open(struct lsm_os *os, struct lsm_dir *dir, const uint8_t uuid[16],
                          uint64_t number, uint32_t tree, const struct lsm_table_options *options,
                          struct lsm_compressor *compressor, uint32_t file_mode,
                          struct lsm_table_writer **writer);
/* Rows in order. Latches errors. */
void lsm_table_writer_add(struct lsm_table_writer *w, struct lsm_slice key, uint64_t tag,
                          struct lsm_slice value);
/*
 * The rows of a whole block of another table, which come next, `first` being the first one's key: the block as it
 * stands there (`sealed`, intact), without building and compressing it again. False: this table would not have it
 * so (another codec, another size, or the rows before it would be left in a block of less than half); then nothing
 * was taken, and its rows are added one by one. No two rows may be of one key. Latches errors.
 */
bool lsm_table_writer_copy(struct lsm_table_writer *w, struct lsm_slice first, const struct lsm_block *block,
                           struct lsm_slice sealed);

#define LSM_TABLE_PIECE_BLOCKS_MIN 16u  /* a partition that is copied, or ends early, has so many */

/* A whole partition of another table, as it stands there: from its first block to the end of its index. */
struct lsm_table_piece {
    struct lsm_slice last;              /* its last key, */
    uint64_t last_tag;
    uint64_t entries, seq_min, seq_max; /* no tombstone */
    struct lsm_part_meta meta;          /* no row is older than another of its key */
    const struct lsm_table_index *index;        /* its blocks */
    uint32_t filter_size, index_size;   /* sealed; without a filter 0 */
    const struct lsm_block *block;      /* the first one, */
    struct lsm_slice block_sealed;
    struct lsm_slice sealed;            /* all of it, intact */
};
/* Would this table have a partition of the same blocks and filter, as far as the first block tells? It may be compressed
   to see. `sealed` is not asked for. Latches errors. */
bool lsm_table_writer_would_copy(struct lsm_table_writer *w, const struct lsm_table_piece *piece);
/* Its rows come next, `first` being the first one's key, and it would be copied: as it stands, without looking at a row.
   False: nothing was taken. Latches errors. */
bool lsm_table_writer_copy_piece(struct lsm_table_writer *w, struct lsm_slice first, const struct lsm_table_piece *piece);
/* What comes next, from this key on, is of another input than the rows before; is_older: of an older one. Where rows are
   appended behind stretches of keys, here one ends, and the next rows come here, too: a partition that ends here stays as
   it is then, and so does the next one. Latches errors. */
void lsm_table_writer_turn(struct lsm_table_writer *w, struct lsm_slice next, bool is_older);
/* A stretch of range deletes, in order among themselves; whenever, before finish. `seqs` descend.
   What it covers widens smallest and largest. Latches errors. */
void lsm_table_writer_add_range(struct lsm_table_writer *w, struct lsm_slice lo, struct lsm_slice hi,
                                const uint64_t *seqs, uint32_t count);
uint64_t lsm_table_writer_size(const struct lsm_table_writer *w);      /* bytes so far, about */
uint64_t lsm_table_writer_entries(const struct lsm_table_writer *w);
/* Write the rest and sync the file (not the directory). *meta's keys and refs are the writer's and
   live until close; created_us and seq_add are 0. */
int lsm_table_writer_finish(struct lsm_table_writer *w, struct lsm_table_meta *meta);
/* Free; without a successful finish the file is removed. */
void lsm_table_writer_close(struct lsm_table_writer *w);

#endif
