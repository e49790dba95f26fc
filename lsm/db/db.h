/*
 * db.h -- the open store, shared by the files of lsm/db/ and by nobody else.
 *
 * A record is prepared (in the log), published (its rows get sequence numbers
 * and are seen), flushed (in tables). Published rows in memory stand in units:
 * the active memtable, sealed ones, the memtable of a large transaction, the
 * private tables of a very large one. A view is one consistent set: the units,
 * newest first, and a version.
 *
 * Locks, taken in this order:
 *   log slot   (log_busy)  whoever appends to or changes the log or the MANIFEST; held over I/O
 *   publish    mutex       whoever moves rows into memtables and numbers them
 *   mutex                  everything else below; never held over I/O
 */
#ifndef LSM_DB_DB_H
#define LSM_DB_DB_H

#include "lsm/compaction/pick.h"
#include "lsm/db/carry.h"
#include "lsm/db/dead.h"
#include "lsm/db/series.h"
#include "lsm/format/compress.h"
#include "lsm/format/record.h"
#include "lsm/os/os.h"
#include "lsm/store/batch.h"
#include "lsm/store/cache.h"
#include "lsm/store/log.h"
#include "lsm/store/memfilter.h"
#include "lsm/store/memtable.h"
#include "lsm/store/table.h"
#include "lsm/store/vlog.h"
#include "lsm/util/histogram.h"
#include "lsm/version/cover.h"
#include "lsm/version/manifest.h"
#include "lsm/version/version.h"
#include "lsm/version/visible.h"

/* ---- view.c: what a reader reads ---- */

/* Published rows in memory, or private tables not yet in the MANIFEST. Immutable but for the active
   memtable, which grows. */
struct lsm_unit {
    atomic_uint refs;
    struct lsm_os *os;
    struct lsm_unit *older;     /* weak: a view follows it only as far as it holds references */
    struct lsm_memtable *mem;   /* or NULL */
    struct lsm_memfilter filter; /* of mem's keys; not made: says maybe */
    atomic_bool has_ranges;     /* mem has range deletes */
    uint64_t seq_add;           /* to the rows of mem */
    struct lsm_run **runs;      /* seq_add is in their meta; newest first */
    uint32_t run_count;
    /* Of units with runs: their files must outlive them, also when the version has them no more. */
    struct lsm_db *db;
    struct lsm_unit *prev, *next;       /* obsolete mutex */
};

struct lsm_view {
    atomic_int_least64_t refs;          /* of the current one: see lsm_view_install */
    struct lsm_os *os;
    struct lsm_version *version;
    struct lsm_unit *newest;
    uint32_t unit_count;
};

struct lsm_unit *lsm_unit_new(struct lsm_os *os);               /* NULL: no memory */
void lsm_unit_unref(struct lsm_unit *unit);
/* Memory for a view, to be filled where nothing may fail. */
struct lsm_view *lsm_view_alloc(struct lsm_os *os);
/* Fill: the `unit_count` units from `newest` on, and the version; takes references. */
void lsm_view_fill(struct lsm_view *view, struct lsm_unit *newest, uint32_t unit_count,
                   struct lsm_version *version);
void lsm_view_unref(struct lsm_view *view);
uint64_t lsm_view_memory(const struct lsm_view *view);  /* of its memtables */
uint64_t lsm_view_used(const struct lsm_view *view);    /* without the room left in them: how full they are */

/* ---- the parts of a store ---- */

#define LSM_TREE_VALUE_LOG_BYTES 1024u   /* unless the tree's options say otherwise */

struct lsm_tree {
    struct lsm_db *db;
    uint32_t id;
    struct lsm_buf name;
    uint32_t block_bytes, filter_bits;  /* filter_bits 0: none */
    int32_t compression_level;
    int32_t level_compression[LSM_LEVEL_COUNT_MAX];     /* as recorded */
    int32_t compression[LSM_LEVEL_COUNT_MAX];           /* of each level: zstd's, or LSM_COMPRESSION_NONE */
    uint32_t value_log_bytes;   /* values from this size on go to value logs; 0: none */
    const struct lsm_comparator *cmp;
    struct lsm_buf cmp_name;    /* empty: bytes */
    struct lsm_buf hash_name;   /* of its hash, as recorded; empty: it had none, or it has no name */
    atomic_bool dropped;
    bool is_recorded;           /* an edit that the MANIFEST has makes it; log slot */
    struct lsm_pick_state pick; /* worker only */
    struct lsm_dead dead;
    struct lsm_level_work {     /* into this level, since the store was opened; relaxed */
        atomic_uint_least64_t jobs, bytes_read, bytes_written;
    } work[LSM_LEVEL_COUNT_MAX];
};

enum lsm_record_state { LSM_RECORD_HIDDEN, LSM_RECORD_PUBLISHED, LSM_RECORD_DEAD };

/* A record in the log whose rows are not, or not all, where readers find them. */
struct lsm_prepared {
    uint8_t type;
    uint8_t state;              /* enum lsm_record_state; publish mutex */
    bool owned;                 /* a transaction holds it and will free it */
    struct lsm_token id, base;
    struct lsm_series *series;  /* of one that stands for records in a log (read at open), or NULL */
    struct lsm_memtable *mem;   /* rows numbered as in the batch; NULL: in `ops`, or of a series */
    uint64_t op_max;            /* rows of mem above it came later and are not the record's */
    uint64_t op_first;
    struct lsm_buf ops;         /* encoded, of one that the host carried */
    struct lsm_run **runs;      /* adopted private tables, newest first */
    uint32_t run_count;
    uint64_t seq_begin;         /* its first row's, also of rows that a failed publishing left; 0: none. Of a series:
                                   of the joint that it begins with */
    struct lsm_unit *unit;      /* memory for publishing, so that it cannot fail */
    struct lsm_view *view;
};

struct lsm_chain_link {         /* a published joint transaction (the first: the root) */
    struct lsm_token token;
    uint64_t seq_begin;         /* its first row's */
};

struct lsm_snapshot {
    struct lsm_db *db;
    uint64_t seq;
    struct lsm_snapshot *prev, *next;   /* ascending by seq */
};

enum lsm_health { LSM_HEALTHY, LSM_DEGRADED, LSM_HEALTH_READ_ONLY, LSM_HEALTH_CORRUPT };

enum lsm_latency_of {           /* names: stats.c */
    LSM_LATENCY_GET, LSM_LATENCY_SEEK, LSM_LATENCY_COMMIT, LSM_LATENCY_SYNC, LSM_LATENCY_FLUSH,
    LSM_LATENCY_COMPACTION, LSM_LATENCY_STALL, LSM_LATENCY_PUT, LSM_LATENCY_NEXT, LSM_LATENCY_PREPARE,
    LSM_LATENCY_COUNT
};

#define LSM_LATENCY_SAMPLE 32u  /* of gets, seeks, puts and prepares one in so many is timed */
#define LSM_LATENCY_NEXT_SAMPLE 64u     /* of a cursor's steps: a power of two */

struct lsm_counters {           /* statistics; relaxed atomics */
    atomic_uint_least64_t puts, deletes, gets, get_hits, seeks, rows_passed_over, commits_solo, commits_joint, aborts,
        commit_groups, records_carried;
    atomic_uint_least64_t range_deletes, tables_dropped, rows_ingested;
    atomic_uint_least64_t log_bytes, log_bytes_mapped, log_syncs, flushes, flush_bytes, compactions, subcompactions,
        compact_bytes_read, compact_bytes_copied, compact_bytes_whole, compact_bytes_written, moves, stall_us, settles,
        vlog_rewrites, vlog_bytes_rewritten;
    atomic_uint_least64_t nexts, prepares;
    atomic_uint_least64_t values_pinned, values_released;   /* with get_hits: which are still held */
    atomic_uint_least64_t user_bytes, spill_bytes, tables_searched, gets_timed;
    atomic_uint_least64_t single_puts, single_deletes, single_bytes;    /* single.c's, not in the others; mutex */
    struct lsm_histogram *latency;      /* LSM_LATENCY_COUNT of them, us */
};

/* By whoever has what all who change it must have. */
static inline void lsm_count(atomic_uint_least64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more, memory_order_relaxed);
}

struct lsm_room {               /* room.c: what the worker makes ready for writers */
    atomic_int state;
    struct lsm_file *file;      /* these: of the log slot's holder, but from ASKED to MADE the worker's */
    uint64_t from, end;
    bool ok;
    bool synced;                /* for records that are synced */
    bool is_filled;             /* a log has asked for the largest step: the next ones begin with it */
    bool is_awaited;            /* mutex */
    uint64_t memory_seen;       /* of the active memtable; both mutexes */
    atomic_uint_least64_t used; /* of it, as far as it is full */
    _Atomic size_t memory;      /* that it will ask for next; 0: the worker knows */
};

struct lsm_db {
    struct lsm_os *os;
    struct lsm_os *own_os, *own_mem_os; /* freed at close */
    struct lsm_os *disk_os;     /* where copies of the store go: os, but for a store in memory */
    struct lsm_dir *dir;
    struct lsm_file *lock_file;
    bool lock_created;          /* there was no LOCK */
    bool lock_signed;
    char *path;
    uint32_t fork_generation;
    uint8_t uuid[16];
    struct lsm_host host;
    bool has_host, read_only, wait_for_token, no_worker, paranoid;
    bool no_thread;             /* the machine gave none: whoever begins a transaction does the work */
    const struct lsm_comparator **comparators;  /* that were given at open */
    size_t comparator_count;
    const char *read_only_why;  /* NULL: it was asked for */
    uint32_t file_mode;
    uint32_t max_subcompactions;        /* as it was given */
    bool has_owner;
    struct lsm_owner owner;
    void (*event)(void *ctx, const struct lsm_event *event);
    void *event_ctx;
    struct lsm_file *info_log;
    uint64_t info_log_size;
    struct lsm_mutex *info_mutex;

    struct lsm_compressor_pool *compressors;
    struct lsm_cache *cache;
    struct lsm_tables *tables;
    struct lsm_vlogs *vlogs;
    struct lsm_counters counters;

    struct lsm_carry carry;     /* carry.h says what guards it */

    /* ---- log slot ---- */
    struct lsm_manifest manifest;
    struct lsm_log log;         /* open for append when has_log */
    bool has_log;
    struct lsm_log log_before;  /* the log before it, whose tail is not synced: before anything in `log` is */
    bool has_log_before;
    struct lsm_room room;       /* of `log`, and of `active` */
    struct lsm_log log_next;    /* prepared by the flush (`flushing`), off the slot */
    atomic_uint_least64_t log_next_number;      /* 0: there is none */
    uint64_t log_fresh;         /* the newest log that was begun fresh: it may be there even if it is not `log` */
    uint64_t void_first, void_last;     /* logs behind a hole that an open found: they hold nothing */
    atomic_bool writing_begun;  /* a new MANIFEST was begun and orphans were swept since the open */
    struct lsm_buf encode;      /* scratch of prepare */
    uint64_t nonce_seed[2], nonce_count;    /* random at open: a system call per record is too much */
    atomic_uint_least64_t log_size;     /* of the newest log, for whoever does not hold the slot */
    struct lsm_log_end log_last;/* where the newest log ends, when has_log is false */
    struct lsm_buf logs_read;   /* of those with records that were there at open: struct lsm_log_end, ascending */
    struct lsm_log_end log_closed;      /* where the last clean close says that its log ends; number 0: nowhere */
    uint64_t undo_first, undo_last;     /* txids of solos that failed: no fresh log gets them */

    /* ---- publish mutex ---- */
    struct lsm_mutex *publish;
    struct lsm_prepared **records;      /* hidden ones, by txid ascending */
    uint32_t record_count, record_cap;
    struct lsm_buf aborted;     /* struct lsm_token, by txid ascending: SOLOs in `records` that do not count */
    uint64_t log_published;     /* the newest of which something was published since the open; 0: none */
    bool replays_whole;         /* no flush comes between what the logs held at open (chain.c) */
    struct lsm_unit *active;    /* the newest unit, when it may grow; changed under mutex as well */

    /* ---- mutex ---- */
    struct lsm_mutex *mutex;
    struct lsm_cond *changed;   /* log slot free, flush done, solo ended */
    struct lsm_cond *work;      /* the worker's: woken only when there is something to do */
    struct lsm_cond *committed; /* a group is done */
    bool log_busy;
    uint64_t log_turns, log_turn;       /* so many have asked for it; so many have given it back */
    bool ahead_wanted, ahead_runs;      /* ahead.c */
    uint64_t ahead_failed;      /* the log whose sync failed there; 0: none */
    uint64_t seq_alloc;         /* highest sequence given to rows, published or burnt; publish mutex */
    struct lsm_view *_Atomic view;      /* without the mutex it may be compared, not followed */
    atomic_uint_least64_t current;      /* the same, for readers (view.c); on it they meet */
    struct lsm_memtable *spare; /* an empty one for the next small transaction, or NULL */
    struct lsm_tree **trees;    /* by order of creation; never shrinks */
    uint32_t tree_count, tree_cap;
    /* By name, for those that live: a hash table of places in `trees`, one more; 0: free. Of a name, the
       newest tree; what was dropped stands there until its name is used again. */
    uint32_t *tree_slots;
    uint32_t tree_slot_count, tree_slots_used;  /* count: a power of two, or 0 */
    struct lsm_snapshot *oldest_snapshot, *newest_snapshot;
    uint64_t horizon;           /* a new snapshot below it may miss versions */
    atomic_uint_least64_t seq_published;
    struct lsm_chain_link *chain;
    uint32_t chain_count, chain_cap;
    struct lsm_token root, decided, floor, newest_joint;
    uint64_t txid_max;
    bool suspect;               /* commit.md R16 */
    atomic_bool creation_settled;   /* lsm_db_settle_creation() */
    atomic_uint creation_tries;
    struct lsm_token unsettled; /* settling it failed, and must not be tried again; txid 0: none */
    bool token_seen;            /* the host has shown a token since the open */
    bool is_half_published;     /* a token's records are not all published: it must be tried again, or goes on */
    uint32_t joints_in_flight;  /* between prepare and commit or abort */
    struct lsm_prepared *solo_in_flight;
    struct lsm_token solo_newest, solo_base;    /* the newest SOLO that was published, and its base */
    uint32_t txn_count, cursor_count, writes_count;
    struct lsm_commit *commit_first, **commit_last;     /* waiting for a group; commit.c */
    uint32_t commit_count;      /* how many wait */
    uint32_t commit_expected;   /* how many were in the last group: they may be about to come again */
    bool commit_led;            /* a group is being committed */
    bool commit_gathering;      /* the leader waits for commit_expected */
    uint64_t commit_sync_us;    /* what the last group's sync took */
    uint64_t log_number_min;    /* logs below are not needed */
    struct lsm_buf log_marks;   /* of those that were there at open, u32s (lsm_log_mark) */
    struct lsm_backup *backups; /* that hold logs */
    atomic_uint_least64_t next_file;
    uint32_t next_tree;
    uint64_t seq_flushed;       /* newest sequence in tables */
    uint64_t memory_bytes;
    atomic_uint_least64_t memtable_bytes, batch_bytes;
    uint64_t cache_bytes;
    uint64_t memory_lost;       /* free room of the allocator that the last trim could not give back */
    bool trim_wanted;
    bool memory_recorded;       /* set by the user: stands in the MANIFEST */
    atomic_uint_least64_t batch_memory; /* held by transactions now */
    struct lsm_policy policy;
    int health;                 /* enum lsm_health */
    char health_text[LSM_ERROR_TEXT_SIZE];
    int health_code;

    /* worker */
    struct lsm_thread *worker;
    bool stop, flush_wanted, flushing, compacting;
    /* idle.c */
    uint64_t idle_seq, idle_since_us;   /* published when the worker looked last, and since when; 0: never */
    bool is_resting;            /* it has done what an idle store owes at idle_seq, or is about to */
    bool idle_flush;            /* flush_wanted is for that */
    bool is_aging;              /* some tree holds a little waste that is not old enough for a job */
    /* throttle.c: what writers owe and pay */
    atomic_uint_least64_t pace_bytes;   /* put into batches since the last look */
    uint64_t pace_owed_ns, pace_paid_us;
    uint64_t flush_ns_per_kib;          /* how long a flush takes, measured */
    bool stalling;
    bool drop_blocked;          /* a snapshot keeps tables that lie within a range delete, or much of them */
    bool settle_refused;        /* the host was busy: no writer may wait for a flush */
    uint32_t compact_turns;     /* jobs since garbage of value logs came first */
    uint32_t compact_wait;      /* callers of lsm_db_compact who want the worker to keep off */
    uint64_t retry_us;          /* not before: maintenance failed */
    bool works_instead;         /* a writer does the work of the worker that there is not */

    /* ---- dead mutex: innermost ---- */
    struct lsm_mutex *dead_mutex;
    atomic_uint_least64_t dead_epoch;

    /* ---- obsolete mutex: innermost, since a version may die anywhere ---- */
    struct lsm_mutex *obsolete_mutex;
    struct lsm_unit *with_runs; /* living units that have private tables */
    struct lsm_obsolete {       /* to unlink */
        uint64_t number;
        bool is_vlog;           /* else a table */
    } *obsolete;
    uint32_t obsolete_count, obsolete_cap;
    atomic_bool obsolete_fresh; /* a sweep could find what the last one did not: asked without the mutex */
};

/* ---- db.c ---- */
void lsm_db_lock(struct lsm_db *db);
void lsm_db_unlock(struct lsm_db *db);
/* LSM_MISUSE in a forked child; every entry asks. */
int lsm_db_usable(const struct lsm_db *db);
/* Degrade: only ever for the worse. */
void lsm_db_set_health(struct lsm_db *db, int health, int code, const char *text);
int lsm_db_writable(struct lsm_db *db);         /* LSM_READONLY with the reason */
uint64_t lsm_db_new_file(struct lsm_db *db);
void lsm_db_set_budget(struct lsm_db *db, uint64_t bytes);      /* mutex held, or at open */
void lsm_db_memory_changed(struct lsm_db *db);  /* give the cache what the rest does not use; mutex held */
void lsm_db_trimmed(struct lsm_db *db);         /* free memory went back to the kernel; mutex held */

/* ---- lock.c ---- */
/* A directory without a store gets no LOCK unless `create`. May make the store read-only. LSM_BUSY. */
int lsm_lock_take(struct lsm_db *db, bool create);
/* LSM_BUSY, with who has the lock of this LOCK as far as it says so, and `way_out` behind it. */
int lsm_lock_fail_held(struct lsm_os *os, const char *path, struct lsm_file *lock, bool read_only, const char *way_out);
/* Write in it whose it is. Not before the store is known to be the one that was meant: nothing is
   written in another's. */
void lsm_lock_sign(struct lsm_db *db);
/* At close, also of what was not opened. */
void lsm_lock_release(struct lsm_db *db);

/* ---- stats.c ---- */
/* A flush or compaction into this level is done. */
void lsm_level_worked(struct lsm_tree *tree, uint32_t level, uint64_t bytes_read, uint64_t bytes_written);

/* ---- options.c ---- */
int lsm_options_check(const char *path, const struct lsm_options *options);    /* LSM_MISUSE */
int lsm_options_keep(struct lsm_db *db, const struct lsm_options *options);    /* the comparators */
int lsm_paranoid_open(struct lsm_db *db);       /* opens every table if that was asked for; at open */
/* Read a table back that was just written. ctx: db. */
int lsm_paranoid_table(void *ctx, const struct lsm_comparator *cmp, const struct lsm_table_meta *meta);

/* ---- event.c ---- */
void lsm_db_event(struct lsm_db *db, int kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* One with figures, but for its text. A beginning goes to the callback only, not to LOG. */
void lsm_db_tell(struct lsm_db *db, const struct lsm_event *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void lsm_db_event_close(struct lsm_db *db);
#define LSM_TIME_TEXT_SIZE 40
/* "2026-11-21 11:13:32.007", UTC */
void lsm_time_text(uint64_t us, char text[LSM_TIME_TEXT_SIZE]);

/* ---- tree.c ---- */
int lsm_tree_check(const struct lsm_db *db, const struct lsm_tree *tree);  /* LSM_MISUSE: another store's;
                                                                              LSM_NOTFOUND: dropped */
struct lsm_tree *lsm_tree_by_id(struct lsm_db *db, uint32_t id);        /* mutex held; dropped ones too */
struct lsm_tree *lsm_tree_at(struct lsm_db *db, uint32_t i);    /* the same; NULL: no more; takes mutex */
int lsm_tree_restore(struct lsm_db *db, const struct lsm_edit_tree *t); /* at open */
void lsm_tree_free(struct lsm_tree *tree);
int lsm_tree_to_edit(struct lsm_db *db, struct lsm_edit *edit);         /* living trees; mutex held */
int lsm_comparator_check(const struct lsm_comparator *cmp);     /* LSM_MISUSE */
struct lsm_slice lsm_comparator_hash_name(const struct lsm_comparator *cmp);   /* empty: none. NULL is fine */
/* LSM_MISMATCH if a living tree's comparator was not given. At open. */
int lsm_tree_check_comparators(const struct lsm_db *db);
const struct lsm_comparator *lsm_tree_comparator(void *ctx, uint32_t id);  /* ctx: db; mutex held */

/* [begin, end) of a range delete; LSM_DONE: no key is in it. */
int lsm_tree_check_range(const struct lsm_tree *tree, struct lsm_slice begin, struct lsm_slice end);

/* ---- recover.c ---- */
int lsm_recover(struct lsm_db *db, bool create, const uint8_t *uuid_wanted);
/* Does the version, a unit or a record have this table? Publish mutex and mutex held. */
bool lsm_recover_needs_table(const struct lsm_db *db, uint64_t number);
bool lsm_recover_needs_vlog(const struct lsm_db *db, uint64_t number);
/* Before anything is written: a new MANIFEST, then a sweep of orphans. Log slot held. */
int lsm_recover_begin_writing(struct lsm_db *db);
/* A record as it was read, hidden: *prep is the caller's. */
int lsm_recover_prepared(struct lsm_db *db, const struct lsm_record *rec, struct lsm_prepared **prep);
/* LSM_CORRUPT: it has rows of a tree that no MANIFEST has told of, whose edit is on disk before any row. Prevents: the
   next tree that is made gets the id, and the rows. Mutex held, or at open. */
int lsm_recover_check_trees(const struct lsm_db *db, const struct lsm_record *rec);
/* What a record says beside its rows: what is decided, settled, suspect. Mutex held, or at open. */
void lsm_recover_note(struct lsm_db *db, const struct lsm_record *rec);
/* A snapshot edit of everything; log slot held, mutex not. */
int lsm_recover_snapshot(struct lsm_db *db, struct lsm_edit *edit);

/* ---- copy.c: a record's rows to the active memtable ---- */
/* Of one that was prepared here, and of one that was read. `base` is added to the op numbers. Publish held. */
int lsm_copy_batch(struct lsm_db *db, const struct lsm_prepared *rec, struct lsm_unit *to, uint64_t base);
int lsm_copy_ops(struct lsm_db *db, struct lsm_slice ops, uint64_t op_first, struct lsm_unit *to, uint64_t base);
/* One row in two steps, as lsm_memtable_expect says; *hash is for the second. Log slot held; then publish, too. */
int lsm_copy_expect(struct lsm_unit *to, struct lsm_tree *tree, struct lsm_slice key, size_t value_size,
                    uint64_t *hash);
void lsm_copy_expected(struct lsm_unit *to, struct lsm_tree *tree, const struct lsm_memtable_row *row, uint64_t hash);

/* ---- commit.c and single.c: commits without a host ---- */
/* The log has failed, and none of the records from first_txid on may come to life, which was where `before` says. Keeps
   the thread's error, `rc`. True: they may all the same. Log slot held. */
bool lsm_commit_undo(struct lsm_db *db, uint64_t first_txid, const struct lsm_log_end *before, int rc);
/* A PUT or DELETE that is a commit by itself and need not be synced. LSM_DONE: nothing was done, it needs a
   transaction. */
int lsm_single_write(struct lsm_db *db, struct lsm_tree *tree, enum lsm_kind kind, struct lsm_slice key,
                     struct lsm_slice value);

/* ---- chain.c: what is committed ---- */
bool lsm_chain_is_quiet(const struct lsm_db *db, const struct lsm_token *t);   /* mutex held */
/* Publish all that `token` proves. Takes publish and mutex. */
int lsm_chain_publish(struct lsm_db *db, const struct lsm_token *token);
int lsm_chain_publish_newest(struct lsm_db *db, const struct lsm_token *token);
/* Publish one record; cannot fail. Publish mutex held, mutex not. */
void lsm_chain_publish_one(struct lsm_db *db, struct lsm_prepared *rec);
/* Room for one more hidden record and one more link, so that later steps cannot fail. Both locks held. */
int lsm_chain_reserve(struct lsm_db *db);
void lsm_chain_add_hidden(struct lsm_db *db, struct lsm_prepared *rec);        /* publish held */
struct lsm_prepared *lsm_chain_hidden(const struct lsm_db *db, const struct lsm_token *id);  /* publish held */
/* The hidden joint, the last of its series: one that lies within is cut there. NULL: there is none. Publish held; may
   read a log. */
int lsm_chain_joint(struct lsm_db *db, const struct lsm_token *id, struct lsm_prepared **rec);
/* The hidden record, or series, that one of this txid would be in; NULL: none. Publish held, or at open. */
struct lsm_prepared *lsm_chain_first_at(const struct lsm_db *db, uint64_t txid);
struct lsm_token lsm_chain_newest(struct lsm_db *db);   /* the newest published joint; takes mutex */
bool lsm_chain_has(struct lsm_db *db, const struct lsm_token *token);   /* published; takes mutex */
void lsm_chain_remove_hidden(struct lsm_db *db, struct lsm_prepared *rec);     /* publish held */
/* Settle the host's state; log slot held. */
int lsm_chain_settle(struct lsm_db *db);
/* Forget what is flushed up to the root. Both locks held. */
void lsm_chain_prune(struct lsm_db *db);
void lsm_prepared_free(struct lsm_os *os, struct lsm_prepared *rec);

/* Who may put files into a directory decides what is read out of it: LSM_CANTOPEN, where that is neither the owner, root
   nor this process, or everybody and not so in the database. */
int lsm_db_check_directory(struct lsm_os *os, struct lsm_dir *dir, const char *path, const struct lsm_owner *owner,
                           uint32_t file_mode);

/* ---- write.c: the log ---- */
void lsm_write_slot_take(struct lsm_db *db);    /* mutex held; waits */
void lsm_write_slot_give(struct lsm_db *db);    /* mutex held */
/* lsm_recover_begin_writing with the slot taken and given. Before the first table of any job. */
int lsm_write_begin(struct lsm_db *db);
/* A log that can be appended to: a fresh one after an open or a failure. Log slot held. */
int lsm_write_ready(struct lsm_db *db);
bool lsm_write_is_ready(const struct lsm_db *db);       /* it would do nothing; or mutex held and the slot is free */
/* The numbers (u64) of the log files from `min` on, ascending, without void ones. The caller clears *out. */
int lsm_write_logs(struct lsm_db *db, uint64_t min, struct lsm_buf *out);
int lsm_write_append(struct lsm_db *db, struct lsm_record *rec, bool sync);    /* gives it a nonce */
int lsm_write_sync(struct lsm_db *db);          /* the log; log slot held */
/* The two halves of it: the record's bytes behind what `out` holds; then bytes to the log. */
void lsm_write_encode(struct lsm_db *db, struct lsm_record *rec, struct lsm_buf *out);
int lsm_write_bytes(struct lsm_db *db, struct lsm_slice bytes, bool sync);
void lsm_write_trim(struct lsm_db *db);         /* a large record must not hold db->encode for ever */
/* The log before the present one, if it is not yet on disk. A failure is one of the present one, too. Log
   slot held. */
int lsm_write_sync_before(struct lsm_db *db);
/* The log before the present one is not needed any more: its rows are in tables. Log slot held. */
void lsm_write_forget_before(struct lsm_db *db);
/* The file of the next log, and its name on disk, so that writers wait for less; and what to do if it was not
   needed. A flush's, no lock held. Without it lsm_write_rotate makes it. */
void lsm_write_prepare_next(struct lsm_db *db);
void lsm_write_discard_next(struct lsm_db *db);
/* Begin the next log behind the present one, which is synced first; without a host that waits until a
   sync is asked for, and by then it may be obsolete. Log slot held. */
int lsm_write_rotate(struct lsm_db *db);
/* An active memtable that can grow. Log slot held, locks not. */
int lsm_write_active(struct lsm_db *db);
int lsm_write_active_locked(struct lsm_db *db);         /* the same with publish held */
/* Append an edit to the MANIFEST (a new one if that is due) and make the version that it gives
   current, without the `drop_units` oldest units. Log slot held. On failure nothing has changed in
   memory, but where edit->may_be_on_disk says so, files that it names must stay. */
int lsm_write_edit(struct lsm_db *db, struct lsm_edit *edit, uint32_t drop_units);

/* ---- room.c: what the log and the memtable are going to be written to ---- */
/* After an append: ask the worker for more, take what it has made. Log slot held. */
void lsm_room_look(struct lsm_db *db);
/* After rows were added to the active memtable: the same for its memory. Both mutexes held. */
void lsm_room_look_memory(struct lsm_db *db);
bool lsm_room_is_asked(struct lsm_db *db);
/* Before an append up to `end`: where room is being made nobody writes. Log slot held; may wait. */
void lsm_room_keep_out(struct lsm_db *db, uint64_t end);
/* Make what is asked for, if anything is. A background thread, no lock held. */
void lsm_room_make(struct lsm_db *db);
/* Before db->log is closed, cut, or another one's: nobody else uses its file. Log slot held; waits. */
void lsm_room_take_back(struct lsm_db *db);

/* ---- ahead.c: syncs of the log beside writers ---- */
/* Sync what stands in the log now, if that is more than `bytes_min`. No lock held. LSM_DONE: nothing was
   done. A failure is one of the log, whoever is told of it first. */
int lsm_ahead_sync(struct lsm_db *db, uint64_t bytes_min);
void lsm_ahead_want(struct lsm_db *db);         /* by the worker */
/* Before any other sync of the log: until none runs. Log slot held. */
void lsm_ahead_wait(struct lsm_db *db);

/* ---- backup.c ---- */
/* `log_min`, or the oldest log that a backup holds. Mutex held. */
uint64_t lsm_backup_log_min(const struct lsm_db *db, uint64_t log_min);

/* ---- txn.c ---- */
/* The op numbers of a private table, [first, end). One that goes over several marks holds what is behind the one that
   the transaction went back to, until it is trimmed: going back cannot fail. */
struct lsm_txn_stretch {
    uint64_t first, end;
    bool is_cut;
    bool is_named;              /* by a record, when it was cut: the file stays */
};

struct lsm_txn {
    struct lsm_db *db;
    struct lsm_batch batch;
    struct lsm_run **runs;      /* spilled, oldest first */
    struct lsm_txn_stretch *stretches;  /* of each run */
    bool has_cut;               /* a run is to be trimmed */
    uint32_t run_count, run_cap;
    struct lsm_token base;
    struct lsm_prepared *prepared;      /* the newest, or NULL */
    uint64_t *marks;            /* positions that may be asked for, ascending: a spill is cut there */
    uint32_t mark_count, mark_cap;
    bool joint_once;            /* prepared as JOINT before: must go on so */
    bool in_flight;             /* counted in joints_in_flight */
    bool no_spill;              /* a mark could not be remembered */
    bool solo_cancelled;        /* prepared is a solo that must be taken back */
    bool keep_files;            /* a record that could not be taken back may name its private tables */
    struct lsm_buf redo;        /* what the host must write for `prepared`; empty: nothing */
    uint64_t redo_off, redo_wanted;
    struct lsm_own_dead *own_dead;      /* NULL until a cursor reads its writes */
    struct lsm_absent *absent;  /* NULL until its second insert */
    bool has_inserted;
    /* Where the log ended before the newest record: R9's last step cuts it there. */
    uint64_t cut_log, cut_size, cut_chain;
};
/* The batch had `before` bytes: what it has no more is not counted any longer. */
void lsm_txn_forget_memory(struct lsm_txn *txn, uint64_t before);
/* A private table that nothing refers to: its file too, and those of its value logs. */
void lsm_txn_remove_run(struct lsm_db *db, struct lsm_run *run);
/* The transaction's, but its files are kept while a prepared record may refer to them. */
void lsm_txn_give_up_run(struct lsm_txn *txn, struct lsm_run *run);

/* ---- spill.c ---- */
int lsm_txn_spill(struct lsm_txn *txn);
/* Write private tables anew without what was taken back. Before its tables are read or adopted: nobody else
   knows how far they count. */
int lsm_txn_trim(struct lsm_txn *txn);
/* The transaction's newest writes, all with op number `op`, which is the next; its batch is empty. */
int lsm_txn_take_runs(struct lsm_txn *txn, const struct lsm_tree *tree, struct lsm_run **runs,
                      uint32_t count, uint64_t op);
/* What publishing will need, made beforehand. NULL: no memory. */
struct lsm_prepared *lsm_txn_prepared_new(struct lsm_txn *txn);
/* Adopted tables and ops of the transaction; the buffer latches errors and backs what *rec points to, as
   does the transaction. */
void lsm_txn_encode(struct lsm_txn *txn, const struct lsm_prepared *prep, struct lsm_buf *adopted,
                    struct lsm_record *rec);
void lsm_txn_free(struct lsm_txn *txn);

/* ---- absent.c ---- */
struct lsm_absent;
/* Has no table, the transaction's own included, and no published memtable a row of the key, whatever its
   age? False: perhaps. Only of a tree that has filters. */
bool lsm_absent_from_tables(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key);
/* It will be asked of this key next: fetch what that needs first. Nothing but time depends on it. */
void lsm_absent_aim(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key);
void lsm_absent_end(struct lsm_absent *absent, struct lsm_os *os);      /* NULL is fine */

/* ---- cursor.c and get.c use these (view.c) ---- */
/* The merged iterator over everything a reader of `tree` sees; own: transaction or NULL. */
/* *cover: the range deletes that filter it, to be told who reads and freed after it; NULL: none. */
int lsm_view_iter(struct lsm_db *db, struct lsm_view *view, struct lsm_tree *tree,
                  const struct lsm_txn *own, bool no_cache, struct lsm_iter **it,
                  struct lsm_cover **cover);
struct lsm_view *lsm_view_current(struct lsm_db *db);   /* with a reference; any thread, without a lock */
/* It is the current one from here on, with the caller's reference; the old one with the store's, for the caller
   to unref. Mutex held, or at open and close (then NULL is fine). */
struct lsm_view *lsm_view_install(struct lsm_db *db, struct lsm_view *view);
struct lsm_version *lsm_version_current(struct lsm_db *db);     /* its tables, not its memtables; with a reference */
/* lsm_db_usable(), and LSM_MISUSE where another store's sequence would be read as this one's. */
int lsm_read_usable(const struct lsm_db *db, const struct lsm_read *read);
void lsm_view_point(struct lsm_db *db, const struct lsm_read *read, struct lsm_view_point *at);

/* Values that outlive what they were read with (get.c). The pin's reference goes to the value. */
void lsm_value_set(struct lsm_value *value, struct lsm_slice bytes, const struct lsm_iter_pin *pin);
/* `bytes` lie in `buf`, which becomes the value's; it is empty afterwards. */
void lsm_value_give(struct lsm_value *value, struct lsm_slice bytes, struct lsm_vlogs *vlogs, struct lsm_buf *buf);
int lsm_value_copy(struct lsm_os *os, struct lsm_value *value, struct lsm_slice bytes);
void lsm_value_is_pinned(struct lsm_value *value, struct lsm_db *db);  /* it is the user's from now on */
uint64_t lsm_values_held(const struct lsm_db *db);      /* by users */

/* ---- reclaim.c ---- */
/* Rewrite the value log with the most garbage. LSM_DONE: none is due. The caller has set db->compacting. */
int lsm_reclaim_one(struct lsm_db *db);

/* ---- value.c: values in value logs ---- */
struct lsm_value_source {       /* where the row came from */
    const struct lsm_view *view;
    const struct lsm_txn *own;  /* its transaction's own rows, too; or NULL */
    struct lsm_vlog *const *held;       /* or these, for who reads on when the transaction has given them up */
    uint32_t held_count;
};
/* The value of a row of kind VLOG, whose bytes are a handle. *value points into `out`. */
int lsm_value_read(struct lsm_db *db, const struct lsm_value_source *from, struct lsm_slice bytes,
                   struct lsm_buf *scratch, struct lsm_buf *out, struct lsm_slice *value);
#define LSM_VALUE_STREAMS 8
struct lsm_value_streams {      /* where a scan is in the logs that it reads; zeroed at first */
    struct lsm_value_stream {
        uint64_t id, end, prefetched, window, used_at;
    } stream[LSM_VALUE_STREAMS];
    uint64_t clock;
};
/* The same for a scan: what comes next in the log is prefetched. */
int lsm_value_read_next(struct lsm_db *db, const struct lsm_value_source *from, struct lsm_slice bytes,
                        struct lsm_value_streams *streams, struct lsm_buf *scratch,
                        struct lsm_buf *out, struct lsm_slice *value);
/* Open the value logs of a transaction's private tables, and keep them open until let go: *held is an array. */
int lsm_value_hold(const struct lsm_txn *own, struct lsm_vlog ***held, uint32_t *count);
void lsm_value_let_go(struct lsm_db *db, struct lsm_vlog ***held, uint32_t *count);

/* ---- snapshot.c ---- */
/* All that must stay visible, ascending, in memory of its own; raises the horizon. Mutex held. */
int lsm_snapshot_gather(struct lsm_db *db, uint64_t **seqs, size_t *count);
int lsm_snapshot_open_seq(struct lsm_db *db, uint64_t seq, struct lsm_snapshot **snapshot); /* mutex held */

/* ---- obsolete.c ---- */
/* Nothing refers to the file any more. Any thread, whatever it holds but the obsolete mutex. */
void lsm_obsolete_file(struct lsm_db *db, uint64_t number, bool is_vlog);
void lsm_obsolete_run(void *db, const struct lsm_run *run);                     /* told by versions */
void lsm_obsolete_vlog(void *db, const struct lsm_vlog_meta *meta);
bool lsm_obsolete_waits(const struct lsm_db *db);       /* is a sweep worth it? Any lock, or none */
void lsm_obsolete_sweep(struct lsm_db *db);     /* unlink what is obsolete; no lock held */

/* ---- flush_job.c ---- */
bool lsm_flush_due(const struct lsm_db *db);    /* mutex held */
bool lsm_flush_is_quiet(struct lsm_db *db);     /* nothing is undecided; mutex held */
int lsm_flush_now(struct lsm_db *db);           /* no lock held */
/* What is published of the logs that were there at open, before the rest is; no lock held. LSM_OK: logs of it are not
   needed any more. LSM_DONE: nothing is flushed, since that would take what is not settled (R17), or somebody writes. */
int lsm_flush_replayed(struct lsm_db *db);

/* ---- drop.c ---- */
/* Drop the tables that lie within range deletes. The caller has set db->compacting. LSM_DONE: there was
   nothing to do. */
int lsm_drop_covered(struct lsm_db *db);

/* ---- throttle.c ---- */
/* What the writer must wait for, as a delay. Mutex held; may release and take it. */
void lsm_throttle(struct lsm_db *db);
/* Writers that went away do not learn that they need not wait any more: tell it for them, behind a job and at close. Mutex
   held; may release and take it. */
void lsm_throttle_rest(struct lsm_db *db);
/* A flush of so many bytes of memtables took so long. Mutex held. */
void lsm_throttle_flushed(struct lsm_db *db, uint64_t bytes, uint64_t us);

/* ---- vain.c ---- */
#define LSM_SCAN_SAMPLE (16 * LSM_LATENCY_NEXT_SAMPLE)     /* of rows that a cursor passes one in so many */
/* Count what is read in vain. Called for one seek in LSM_LATENCY_SAMPLE, */
void lsm_vain_seek(struct lsm_db *db, const struct lsm_version *version, const struct lsm_tree *tree,
                   struct lsm_slice key);
/* one row of scans in LSM_SCAN_SAMPLE, */
void lsm_vain_scan(struct lsm_db *db, const struct lsm_version *version, const struct lsm_tree *tree,
                   struct lsm_slice key);
/* and of one get in LSM_LATENCY_SAMPLE for each run that was asked and does not have the key. */
void lsm_vain_get(struct lsm_db *db, const struct lsm_tree *tree, struct lsm_run *run);

/* ---- idle.c; mutex held ---- */
bool lsm_idle_is_now(const struct lsm_db *db);          /* for the jobs: nobody has written for long */
bool lsm_idle_ends(const struct lsm_db *db);            /* wake the worker: it rests, and there are deletes now */

/* ---- worker.c ---- */
void lsm_worker_main(void *db);
void lsm_worker_wake(struct lsm_db *db);        /* mutex held */

#endif
