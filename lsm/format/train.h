/*
 * train.h -- a dictionary in zstd's format (RFC 8878, 5) out of samples: some bytes of
 * them, and what zstd would have to say with each small value otherwise, which is
 * tables for the literals that no match covers and for lengths and offsets of matches.
 *
 *     dict := magic:u32 (0xEC30A437)  id:u32 (0)  literals  offsets  match lengths  literal lengths
 *             3 offsets:u32  content
 *
 * zstd's own trainer cannot be linked into a shared object (Debian's libzstd.a has it refer to
 * stderr without a GOT), and takes malloc's memory. Measured: all values behind the first 128 KiB,
 * compressed with level 1 and 8 KiB of dictionary; size beside the raw one, us a value.
 *
 *     JSON                without a dictionary   the bytes alone   with tables     zstd's trainer
 *     documents of 1 KB   0.528   7.5            0.325   8.5       0.280   4.1     0.276   4.1
 *     rows of 210 B       0.902   4.4            0.576   4.4       0.427   1.5     0.436   1.4
 *     lines of a log      0.866   4.7            0.504   4.7       0.385   1.4     0.391   1.4
 *     1 to 4 KiB          0.370   11.8           0.267   13.6      0.251   8.0     0.249   8.0
 *
 * To make one takes 1 to 2 ms, zstd's trainer 20 to 30. The bytes alone were of fewer samples; which bytes
 * matters little.
 */
#ifndef LSM_FORMAT_TRAIN_H
#define LSM_FORMAT_TRAIN_H

#include "lsm/util/buf.h"

#define LSM_TRAIN_CONTENT_MIN 8u

/* Append a dictionary of `content` with tables for `count` samples that stand one behind the other. At least
   LSM_TRAIN_CONTENT_MIN bytes of content. Latches LSM_NOMEM. */
void lsm_train(struct lsm_buf *out, struct lsm_slice content, const uint8_t *samples, const size_t *sizes,
               size_t count);

#endif
