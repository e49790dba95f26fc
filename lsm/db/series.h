/*
 * series.h -- records that an open found in the logs, as places: their rows are read
 * again when it is known which of them count.
 *
 *     log       S1  J2  S3  S4  J5  S6       one series: SOLOs on its base, then joints, each on the one
 *     base      T0  T0  J2  J2  J2  J5       before it, each with the SOLOs on it
 *
 *     struct lsm_prepared that stands for it: base T0, type JOINT, id J5 (of SOLOs alone: type SOLO, id the newest)
 *
 * What counts of a series is a beginning of it (commit.md R12): the SOLOs on its base if that is the newest published
 * joint, and the joints up to the host's token with theirs. So its ends are enough, however many records it has, and
 * memory does not grow with the log. Where the token lies within one it is read and cut in two; behind the last joint
 * but one it is cut at once, for that is where writers abandon one.
 *
 * A record that adopts tables is a series by itself. ABORTs, and copies of what came before, may stand within: they are
 * passed over. The SOLOs that ABORTs name are kept by name (db->aborted).
 *
 * A log stays as long as a hidden series stands in it, also when the MANIFEST needs it no more (obsolete.c).
 *
 * Threads: publish mutex. Included by db.h only.
 */
#ifndef LSM_DB_SERIES_H
#define LSM_DB_SERIES_H

#include "lsm/format/record.h"
#include "lsm/store/log.h"

struct lsm_db;
struct lsm_prepared;

struct lsm_series {
    uint64_t log, off, chain;       /* where it begins: behind what is published of it */
    uint64_t end, end_chain;        /* behind its last record */
    uint64_t txid_first;            /* no record of it has a lower one */
    uint32_t joint_count;
    bool is_alone;                  /* nothing is added to it */
    bool has_solos_first;           /* it may begin with SOLOs on its base */
    struct lsm_token joint_before;  /* the last joint but one; txid 0: there is none, or it is not known */
    uint64_t joint_off, joint_chain;    /* where the last one begins, if joint_before is known */
    struct lsm_token solo_last;     /* the newest SOLO behind the last joint; txid 0: none, or it is not known */
};

/* One more that was read at open, with a higher txid than all before it; it stands in [from, to). */
int lsm_series_add(struct lsm_db *db, const struct lsm_record *rec, const struct lsm_log_end *from,
                   const struct lsm_log_end *to);
/* An ABORT was read at open. */
int lsm_series_abort(struct lsm_db *db, const struct lsm_token *solo);
bool lsm_series_is_aborted(const struct lsm_db *db, const struct lsm_token *solo);
/* Cut db->records[i] behind its joint `token` and the SOLOs on it: it keeps the beginning. LSM_NOTFOUND: it has no
   such joint, or that is its last one. */
int lsm_series_cut(struct lsm_db *db, uint32_t i, const struct lsm_token *token);
/* Has it, aborted ones left out, a SOLO on `base` that lsm_redo_solo_mark() gives this mark? mark 0: any. */
int lsm_series_has_solo(struct lsm_db *db, const struct lsm_prepared *rec, const struct lsm_token *base, uint32_t mark,
                        bool *has);
/* The lowest log that one stands in; UINT64_MAX: none does. Without those that a root of this number makes dead
   (lsm_chain_prune); 0: of all. */
uint64_t lsm_series_log_min(const struct lsm_db *db, uint64_t root_txid);

/* One after the other, in the order of the log. One reader for many series: zeroed at first, closed at last. */
struct lsm_series_reader {
    struct lsm_log_reader log;
    uint64_t number;            /* of the log that is open; 0: none */
    const struct lsm_series *of;
    uint64_t txid;              /* of the record */
    struct lsm_token joint;     /* what the next one must be based on */
    struct lsm_record rec;      /* points into the reader: until the next */
    uint64_t off, chain;        /* where it begins; log.frames has where it ends */
};
int lsm_series_read(struct lsm_series_reader *r, struct lsm_db *db, const struct lsm_prepared *rec);
/* LSM_DONE: that was all. LSM_CORRUPT: not what was read before. */
int lsm_series_next(struct lsm_series_reader *r, struct lsm_db *db);
void lsm_series_reader_close(struct lsm_series_reader *r);

#endif
