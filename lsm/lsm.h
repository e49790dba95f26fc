/*
 * lsm.h -- the public face of the engine: an ordered store of bytes in a
 * directory, written as a log-structured merge tree.
 *
 * One store holds many trees (ordered key spaces) with one log, one memtable,
 * one MANIFEST and one sequence, so that a transaction over several trees is
 * one append. Keys are compared as bytes unless a tree names a comparator.
 *
 * Every function that can fail returns an LSM_* code and leaves a text that
 * names what, where and what to do; lsm_error_text() gives it to the thread
 * that made the call. Answers leave none: LSM_NOTFOUND of a get, LSM_DONE of a
 * cursor or a step, LSM_EXISTS of an insert.
 *
 * Threads: a store, its trees and its snapshots may be used by any thread at
 * any time. A transaction, a batch of writes and a cursor belong to one thread at a
 * time, and may go from one to another.
 */
#ifndef LSM_H
#define LSM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header; what is linked says lsm_version(). */
#define LSM_VERSION "0.1.0"
#define LSM_VERSION_NUMBER 1000         /* 1000000 * major + 1000 * minor + patch */

const char *lsm_version(void);          /* "0.1.0" */
uint32_t lsm_version_number(void);      /* to be compared */

#define LSM_KEY_SIZE_MAX 65535u         /* bytes of an encoded key */
#define LSM_VALUE_SIZE_MAX 0x7fff0000u  /* bytes of a value */
#define LSM_NAME_SIZE_MAX 255u          /* bytes of a tree's name */

/* Append-only: the numbers are part of the interface. */
enum lsm_code {
    LSM_OK = 0,

    /* answers */
    LSM_NOTFOUND = 1,   /* no such key, tree, file */
    LSM_DONE = 2,       /* the iteration is over */

    /* conditions that the caller can act on */
    LSM_BUSY = 3,       /* another process or writer has it: wait and try again */
    LSM_CONFLICT = 4,   /* the snapshot is too old for this write or read: begin anew */

    /* failures */
    LSM_IOERR = 5,      /* the operating system refused or failed */
    LSM_CORRUPT = 6,    /* bytes on disk are not what was written */
    LSM_NOMEM = 7,
    LSM_FULL = 8,       /* no space left on the device, or quota */
    LSM_READONLY = 9,   /* opened so, or made so by a failed sync */
    LSM_TOOBIG = 10,    /* key, value or transaction over its limit */
    LSM_MISUSE = 11,    /* a call that the contract forbids */
    LSM_MISMATCH = 12,  /* the store belongs to another database */
    LSM_CANTOPEN = 13,  /* the directory or a file cannot be opened */
    LSM_FORMAT = 14,    /* written by a newer version, or by another program */
    LSM_EXISTS = 15,    /* error_if_exists, a tree of that name, an insert's key */
    LSM_STALE = 16,     /* database older than store, or store behind database */
    LSM_FSYNC = 17      /* a sync failed; nothing after it is trusted on that file */
};

/* The text of the last failure on this thread; never NULL. */
const char *lsm_error_text(void);

/* The name of a code, "LSM_BUSY"; never NULL. */
const char *lsm_code_name(int code);

/* Borrowed bytes: whoever made it says how long they live. */
struct lsm_slice {
    const uint8_t *data;
    size_t size;
};

struct lsm_db;          /* an open store */
struct lsm_tree;        /* an ordered key space in it; owned by the store */
struct lsm_snapshot;    /* a state that can be read again and again */
struct lsm_txn;         /* a transaction: private writes until it commits */
struct lsm_read;        /* which state is read, below */
struct lsm_cursor;
struct lsm_backup;      /* a moment of a store that is held until it is copied */
struct lsm_os;          /* the operating system seam, lsm/os/os.h */

/*
 * The identity of one prepared (JOINT) transaction. A host that commits in two
 * stores keeps the newest one in its own store; that is what decides. txid 0 is
 * the token of a store in which no joint transaction was ever committed.
 */
struct lsm_token {
    uint64_t txid;
    uint8_t hash[16];
};

/*
 * The host decides joint transactions (commit.md). All callbacks may come from
 * any thread, the worker's too, and must not call back into the store.
 */
struct lsm_host {
    void *ctx;
    /*
     * Make sure that a power cut cannot take the host's committed state back
     * behind the newest joint transaction that it has shown. `suspect`: an earlier
     * commit of the host may have failed in a way that makes a later sync lie;
     * only a complete checkpoint will do. LSM_OK: settled. LSM_BUSY: not now, try
     * later. Others: failure; not tried again before the host commits anew, since a
     * sync after one that failed lies.
     */
    int (*settle)(void *ctx, bool suspect);
    /*
     * The log goes to disk now, beside writers: a good moment for the host to begin the same with what it
     * has written, so that its own next sync waits for less. Nothing is promised by it, and no error may
     * be taken from that sync. NULL: not wanted.
     */
    void (*write_back)(void *ctx);
};

/*
 * A user's order of keys. Its functions must be pure, and may be called by any
 * thread. A tree that was made with one can only be read with it: give it again in
 * lsm_options.comparators whenever the store is opened. An order that changes needs
 * another name. It may call different bytes one key; the newest row decides which
 * of them is kept.
 */
struct lsm_comparator {
    const char *name;   /* 1 .. LSM_NAME_SIZE_MAX bytes; recorded in the tree, checked when it is opened */
    void *ctx;
    int (*compare)(void *ctx, struct lsm_slice a, struct lsm_slice b);
    /* Of a key, the same for all keys that compare as equal: then the tree can have filters. NULL: it has
       none, since bytes that differ may be one key. */
    uint64_t (*hash)(void *ctx, struct lsm_slice key);
    /* The first key after all that begin with `prefix`, for lsm_cursor_set_prefix(): write at most
       LSM_KEY_SIZE_MAX bytes and return how many; SIZE_MAX: there is none. NULL: no prefixes. */
    size_t (*prefix_end)(void *ctx, struct lsm_slice prefix, uint8_t *end);
    /* Of `hash`, 1 .. LSM_NAME_SIZE_MAX bytes; recorded in a tree that is made with it, and checked when the tree is
       opened, as `name` is: a hash that changes needs another name, or filters would deny keys that are
       there. NULL: it has none, and a hash that changes needs another comparator. Without `hash` there
       are no filters, and filter_bits are 0 or LSM_FILTER_NONE. */
    const char *hash_name;
    /*
     * For the indexes of tables, which get smaller. separator: a key at or after `a` and before `b`, where a < b;
     * successor: one at or after `key`. Each writes fewer bytes than the first one has to `out` and returns
     * how many; SIZE_MAX: there is no such key. It need not have been put, but compare must take it. An
     * answer that is no such key is not used, so an error here costs room and no row. NULL: indexes have
     * real keys. Tables that were written with them need a version that knows them (LSM_FORMAT in older ones),
     * but neither of the two to be read.
     */
    size_t (*separator)(void *ctx, struct lsm_slice a, struct lsm_slice b, uint8_t *out);
    size_t (*successor)(void *ctx, struct lsm_slice key, uint8_t *out);
};

enum lsm_event_kind {
    LSM_EVENT_INFO = 0,     /* opened, closed, flushed, compacted */
    LSM_EVENT_WARNING = 1,  /* maintenance is paused, a file could not be removed */
    LSM_EVENT_ERROR = 2     /* the store became read-only, bytes are corrupt */
};

enum lsm_event_what {
    LSM_EVENT_TEXT = 0,     /* only the text says */
    LSM_EVENT_FLUSH_BEGIN = 1, LSM_EVENT_FLUSH_END = 2,
    LSM_EVENT_COMPACTION_BEGIN = 3, LSM_EVENT_COMPACTION_END = 4,
    LSM_EVENT_STALL_BEGIN = 5, LSM_EVENT_STALL_END = 6,     /* writers are slowed down */
    LSM_EVENT_STATE = 7     /* lsm_db_state() is another one now, because of code */
};

/* Something happened. Later versions append fields. Valid during the call. */
struct lsm_event {
    int kind;                   /* enum lsm_event_kind */
    int what;                   /* enum lsm_event_what */
    const char *text;           /* one line for people */
    int code;                   /* of an end: how it went; of STATE: the failure. LSM_OK: fine */
    uint32_t tree, level, output_level;     /* of a compaction; tree is a number that stays the same */
    uint64_t tables_in, tables_out;
    uint64_t bytes_in, bytes_out;   /* a flush takes in memory, a compaction table bytes */
    uint64_t rows_in, rows_out;     /* of a compaction that ended */
    uint64_t duration_us;       /* of an end; of a stall's: how long writers waited altogether */
};

/* A user and a group of the system. */
struct lsm_owner {
    uint32_t uid, gid;
};

/* Values that are out of range or contradict each other are LSM_MISUSE, and the text says which. */
struct lsm_options {
    bool create_if_missing;     /* else LSM_NOTFOUND */
    bool error_if_exists;       /* LSM_EXISTS; only with create_if_missing */
    bool read_only;             /* writes nothing at all, not even LOCK; not with create_if_missing */
    bool paranoid_checks;       /* open every table when the store is opened, and read back every table
                                   that is written before anything refers to it; and a log that breaks off
                                   in front of whole records is LSM_CORRUPT, also where a power cut may
                                   have left it so. Sums are always checked, with or without. */
    bool no_worker;             /* maintenance only where lsm_db_step() is called: without it memtables grow
                                   past the budget with what is written */
    bool strict_memory;         /* reads fail (LSM_NOMEM) rather than pass the budget by more than 8 MiB
                                   with blocks that cursors and pinned values hold; else they are read */
    bool wait_for_token;        /* the host will say with lsm_db_publish() what is committed;
                                   until then nothing above the settled floor is visible */
    uint64_t memory_bytes;      /* the budget: memtables, transactions, blocks, indexes, filters (a struct
                                   lsm_writes is the caller's memory and does not count);
                                   0 = 64 MiB; at least 1 MiB */
    uint32_t file_mode;         /* permissions of new files within 0666, 0 = 0644; directories get x for r */
    const struct lsm_owner *owner;  /* copied; whose new files are when root makes them. A directory that
                                   belongs to somebody but him, root or the process' own user, or that
                                   others may write to although file_mode does not say so, is refused
                                   (LSM_CANTOPEN). NULL: nobody asks */
    /* Those of all trees in the store; others do no harm. The array is copied, what it points to must
       outlive the store. A tree whose comparator is missing: LSM_MISMATCH, named in the text. */
    const struct lsm_comparator *const *comparators;
    size_t comparator_count;
    const uint8_t *uuid;        /* 16 bytes the store must have (LSM_MISMATCH), or NULL */
    const struct lsm_host *host; /* copied; NULL: the store alone decides */
    struct lsm_os *os;          /* NULL: the real one; else it must outlive the store */
    /* Told what happens, by any thread, also by several at the same time, and during calls into the
       store: it must be quick and must not call back into the store. NULL: nobody. */
    void (*event)(void *ctx, const struct lsm_event *event);
    void *event_ctx;
    uint32_t max_subcompactions;    /* a compaction of four tables and more is done in so many parts at once, at most
                                   16, each by a thread of its own as long as the compaction runs and where
                                   memory_bytes has 8 MiB for each; 0 = one for two processors, 1 .. 4, and
                                   no more than are free when it begins; 1: none is divided. With no_worker one part after the other, and 0 = 1 */
};

/* Fill with the defaults. Always start here: later versions add fields. */
void lsm_options_init(struct lsm_options *options);

/*
 * Open the store in directory `path`; NULL: a store in memory, which goes when it
 * is closed. NULL options: the defaults, which create nothing. On failure *db is NULL and nothing was
 * created (with create_if_missing: nothing that a second try would stumble
 * over). LSM_BUSY: a process, named in the text, has it open, this one too. Several may at once
 * if all are read_only.
 */
int lsm_db_open(const char *path, const struct lsm_options *options, struct lsm_db **db);

/*
 * Close: stops the worker, syncs the log if anything was written, releases the lock. Snapshots and
 * cursors must be closed first, values released and transactions ended (LSM_MISUSE,
 * and the store stays open), and no other call may be under way in any thread: that is not noticed. After any other failure it is closed, and transactions that
 * were committed without a sync may be missing when it is opened again. A store that a failure
 * made READ_ONLY syncs nothing: a power cut may take what was committed without a sync. NULL is fine.
 */
int lsm_db_close(struct lsm_db *db);

/*
 * Remove the store in `path`, also a damaged one: only files of this engine, which say so themselves, or are
 * named by the store where their beginning is damaged, and of one store. Others stay, and with them the
 * directory (LSM_EXISTS names the first). Of the options os and uuid count. LSM_NOTFOUND: no file in it is a
 * store's, whatever its name; LSM_MISMATCH: it is another store's (options->uuid): both remove nothing.
 * LSM_BUSY: it is open.
 */
int lsm_db_destroy(const char *path, const struct lsm_options *options);

void lsm_db_uuid(const struct lsm_db *db, uint8_t uuid[16]);

/* True while no tree ever held data and no joint transaction was decided: what
   is left of a creation whose host transaction did not commit. */
bool lsm_db_is_virgin(struct lsm_db *db);
/* And no record of a transaction stands in its logs either, which a host may yet show to be committed. */
bool lsm_db_is_blank(struct lsm_db *db);

/* ---- trees -------------------------------------------------------------- */

#define LSM_FILTER_NONE 0xffffffffu
#define LSM_FILTER_BITS 16u             /* per key, where nothing is said */
#define LSM_COMPRESSION_NONE INT32_MIN
#define LSM_VALUE_LOG_NONE UINT32_MAX
#define LSM_LEVEL_COUNT_MAX 8

/* Recorded when a tree is made. Values out of range are LSM_MISUSE, and the text says which. */
struct lsm_tree_options {
    uint32_t block_bytes;       /* raw size of a data block, 0 = 4 KiB; 512 .. 1 MiB */
    uint32_t filter_bits;       /* per key; 0 = LSM_FILTER_BITS; at most 32; LSM_FILTER_NONE: no filter */
    int32_t compression_level;  /* zstd, -7 .. 22; 0 = 1; LSM_COMPRESSION_NONE: none */
    /* By level of the tree, when one is not enough. 0: a codec that is fast to read on levels 0 and
       1, which are rewritten soonest, and compression_level below. */
    int32_t level_compression[LSM_LEVEL_COUNT_MAX];
    const struct lsm_comparator *comparator;    /* must outlive the store; NULL: bytes */
    uint32_t value_log_bytes;   /* values of this size and more stand apart from their keys, in value
                                   logs; 0 = 1 KiB; at least 64; LSM_VALUE_LOG_NONE: none do */
};

void lsm_tree_options_init(struct lsm_tree_options *options);

/* Create a tree. Durable when it returns. LSM_EXISTS if there is one. NULL options: defaults. */
int lsm_tree_create(struct lsm_db *db, struct lsm_slice name,
                    const struct lsm_tree_options *options, struct lsm_tree **tree);

/* Find a tree: LSM_NOTFOUND if there is none. The pointer lives as long as the store
   is open, also after a drop. */
int lsm_tree_find(struct lsm_db *db, struct lsm_slice name, struct lsm_tree **tree);

/* Find a tree, or create it with these options. Of a tree that exists, only the comparator is compared:
   LSM_MISMATCH names both. */
int lsm_tree_open(struct lsm_db *db, struct lsm_slice name, const struct lsm_tree_options *options,
                  struct lsm_tree **tree);

/* Its name, as long as the store is open; and the options that make such a tree again, without defaults (but
   in level_compression): what is recorded, LSM_FILTER_NONE where the comparator has no hash. */
struct lsm_slice lsm_tree_name(const struct lsm_tree *tree);
void lsm_tree_options_get(const struct lsm_tree *tree, struct lsm_tree_options *options);

/* Drop a tree and give its space back when no reader needs it. Durable when it returns. */
int lsm_tree_drop(struct lsm_db *db, struct lsm_tree *tree);
/* Of a dropped tree, reads that begin afterwards find nothing. */
bool lsm_tree_is_dropped(const struct lsm_tree *tree);
/* Was a tree of this name dropped since the store was opened? */
bool lsm_tree_was_dropped(struct lsm_db *db, struct lsm_slice name);

/* Call fn for each living tree; stops at its first non-zero result and returns that. */
int lsm_tree_list(struct lsm_db *db, int (*fn)(void *ctx, struct lsm_slice name), void *ctx);

/* ---- transactions ------------------------------------------------------- */

/*
 * Begin a transaction. `base` is the host's newest committed token (NULL
 * without a host), read under its write lock; it is published first, as by
 * lsm_db_publish_newest(). LSM_BUSY: the previous writer has not
 * reached its commit or abort. A host serialises its writers; without a host the
 * store does, and LSM_BUSY never comes.
 */
int lsm_txn_begin(struct lsm_db *db, const struct lsm_token *base, struct lsm_txn **txn);

/* key and value are copied. LSM_TOOBIG, LSM_NOMEM, LSM_FULL leave the transaction as it was, and so do
   LSM_NOTFOUND: the tree was dropped, and LSM_MISUSE: it is another store's. */
int lsm_txn_put(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key,
                struct lsm_slice value);
/*
 * A put that finds no row of the key, as lsm_tree_get() with `read` would see it; else LSM_EXISTS, and nothing
 * changes. Cheaper than the two from a transaction's second row on. Fails as either does.
 */
int lsm_txn_insert(struct lsm_txn *txn, struct lsm_tree *tree, const struct lsm_read *read,
                   struct lsm_slice key, struct lsm_slice value);
/* The transaction's next call will be an insert of this key: memory that it looks into is fetched meanwhile, so
   that a caller may make the value first. It promises nothing and never fails. */
void lsm_txn_insert_aim(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key);
int lsm_txn_delete(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice key);
/*
 * Delete every key in [begin, end), with one operation whatever their number. An
 * end at or before `begin` deletes nothing; NULL data in `end` is LSM_MISUSE. As
 * any write it can be undone by lsm_txn_rollback_to(), and hides what the
 * transaction wrote before it, not what it writes later. Tables that lie within it
 * are dropped without being read, as soon as no snapshot needs them.
 */
int lsm_txn_delete_range(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_slice begin,
                         struct lsm_slice end);

/*
 * Ingest: rows in the order of their keys, one row a key, become tables at once.
 * They pass neither the log nor a memtable, and are compressed and written once
 * where nothing older overlaps them. They are the transaction's newest writes when
 * the ingest is finished: seen by its own reads, by others with its commit, newer
 * than what the tree holds, undone by a position from before the ingest. Between
 * begin and finish the transaction must not be written to.
 */
struct lsm_ingest;
int lsm_ingest_begin(struct lsm_txn *txn, struct lsm_tree *tree, struct lsm_ingest **ingest);
/* Copied. LSM_MISUSE: the key is not greater than the last one; LSM_TOOBIG: both leave the ingest as it
   was. After any other failure only lsm_ingest_abort() is left. */
int lsm_ingest_add(struct lsm_ingest *ingest, struct lsm_slice key, struct lsm_slice value);
/* Sync what was added and make it the transaction's. Frees the ingest, also on failure: then nothing of
   it is left. */
int lsm_ingest_finish(struct lsm_ingest *ingest);
/* Give up and free; before the transaction ends. NULL is fine. */
void lsm_ingest_abort(struct lsm_ingest *ingest);

/* A position to which the transaction can go back. Positions grow; cheap. */
uint64_t lsm_txn_mark(const struct lsm_txn *txn);
/* Tell that no position in (mark, now] will be asked for. Optional; but when the transaction outgrows its memory
   the stretches between positions that may be asked for become up to 16 tables, more where they are over 16,000,
   and its cursors have all of them open. */
void lsm_txn_release_mark(struct lsm_txn *txn, uint64_t mark);
/* Undo all writes after the mark; a prepared state is cancelled. Cannot fail; but where the transaction had outgrown its
   memory, with more than 16 positions, the next read or prepare may have to write a table anew, and fails if that does. */
void lsm_txn_rollback_to(struct lsm_txn *txn, uint64_t mark);

bool lsm_txn_is_empty(const struct lsm_txn *txn);       /* no write left in it */
bool lsm_txn_has_tree(const struct lsm_txn *txn, const struct lsm_tree *tree);
/* Undo all writes to one tree: its table is gone. Cannot fail. */
void lsm_txn_discard_tree(struct lsm_txn *txn, const struct lsm_tree *tree);

/* True if a SOLO is allowed now: the store is quiet (commit.md R5d). */
bool lsm_txn_may_be_solo(const struct lsm_txn *txn);

enum lsm_prepare_kind {
    LSM_PREPARE_SOLO = 1,   /* the log record is the commit */
    LSM_PREPARE_JOINT = 2,  /* the host's commit decides, through the token */
    LSM_PREPARE_JOINT_ALWAYS = 3    /* the same, also when nothing was written: what the host
                                       commits is something that later solos rest on */
};

struct lsm_prepare {
    int kind;               /* enum lsm_prepare_kind */
    bool sync;              /* sync the log */
    bool settle;            /* the base must be settled first (a synced SOLO) */
    uint64_t redo_room;     /* a JOINT: bytes of the host's redo area, see lsm_txn_redo; 0: none */
};

/*
 * A JOINT need not sync the log where the host's own commit can hold its record: it is
 * *carried*. The host sets aside an area of bytes that is as transactional as its token (it
 * goes back when its transaction does), at most LSM_REDO_ROOM_MAX of them. After each prepare
 * it writes what lsm_txn_redo() gives to that place of the area, in the transaction that holds
 * the token and before the token. If it cannot, it prepares again without redo_room. When a
 * function says LSM_STALE, the log may have lost a record that was carried: lsm_db_redo().
 *
 * Carried are records of at most LSM_REDO_RECORD_MAX bytes (64 KiB where a sync is fast), while nothing
 * unsynced stands in the log that no area holds, and while there is room; else the log is synced. A sync covers
 * all before it, and its places are given out again; the worker makes one when half of the area is used.
 */
#define LSM_REDO_ROOM_MAX (1u << 20)
#define LSM_REDO_RECORD_MAX (256u << 10)

struct lsm_redo {
    uint64_t off;           /* in the area */
    struct lsm_slice bytes; /* of the transaction, until its next prepare or its end; empty: the
                               record was not carried */
    uint64_t room_wanted;   /* with so much room it would have been carried, or the log be synced less
                               often; 0: there is enough */
};

/*
 * Make the transaction durable but revocable. Everything that can fail happens
 * here. May be called again, after more writes or not: the new record
 * supersedes. For a JOINT, *token is what the host must commit. An empty
 * transaction that was never prepared as JOINT prepares nothing and *token is
 * its base. LSM_BUSY: a SOLO is not possible now (not quiet, or the base cannot
 * be settled); nothing was written, prepare as JOINT instead.
 */
int lsm_txn_prepare(struct lsm_txn *txn, const struct lsm_prepare *how, struct lsm_token *token);

/* What the host must write for the newest prepared record. */
void lsm_txn_redo(const struct lsm_txn *txn, struct lsm_redo *redo);

/* Publish what was prepared, and free the transaction. Cannot fail. `settled`: the
   host's commit is on disk (the mode syncs the end of its commit). */
void lsm_txn_commit(struct lsm_txn *txn, bool settled);

/*
 * With a host, behind a commit: settle the newest joint transaction, and let the MANIFEST name it, where it names none
 * yet. From then on no power cut takes the store's creation back, and lsm_db_is_virgin() is false: a host that does not
 * know the store is another one, also when the process was killed. Call it behind each commit: nothing where that was
 * done, and behind a failure only the 2nd, 4th, 8th ... time. LSM_BUSY: another joint transaction is undecided, or as
 * lsm_host.settle says.
 */
int lsm_db_settle_creation(struct lsm_db *db);

/* Give up, and free the transaction. A prepared SOLO gets a synced ABORT; if that
   cannot be written the store becomes read-only and the result says so. */
int lsm_txn_abort(struct lsm_txn *txn);

/*
 * Without a host: prepare and commit in one; frees the transaction, also when it fails. Any
 * number of threads may be in here at the same time: those that come together share one append and
 * one sync, and when that fails each of them is told. What failed is not there, now or after a
 * crash, unless the store says READ_ONLY: then the first write behind the next open decides.
 * sync: it survives a power cut when this returns; without, it survives the end of the process, and a
 * power cut takes the newest of them. An empty transaction syncs nothing (lsm_db_sync does).
 * LSM_BUSY: another transaction was prepared by hand and does not end.
 */
int lsm_txn_commit_alone(struct lsm_txn *txn, bool sync);

/* One write, as a transaction of its own. Only for stores without a host. */
int lsm_db_put(struct lsm_db *db, struct lsm_tree *tree, struct lsm_slice key,
               struct lsm_slice value, bool sync);
int lsm_db_delete(struct lsm_db *db, struct lsm_tree *tree, struct lsm_slice key, bool sync);
int lsm_db_delete_range(struct lsm_db *db, struct lsm_tree *tree, struct lsm_slice begin,
                        struct lsm_slice end, bool sync);
/* Bring everything that was committed without a sync to disk. */
int lsm_db_sync(struct lsm_db *db);

/*
 * A batch of writes, put together beforehand and applied at once: private to its owner, and
 * nothing is read or locked until it is written. It can be written again, or to another
 * transaction. One thread at a time. Free it before its store is closed.
 */
struct lsm_writes;

enum lsm_write_kind { LSM_WRITE_PUT = 1, LSM_WRITE_DELETE = 2, LSM_WRITE_DELETE_RANGE = 3 };

struct lsm_write {              /* one of them; keys and values are the batch's */
    int kind;                   /* enum lsm_write_kind */
    struct lsm_tree *tree;
    struct lsm_slice key, value;        /* of a range: its begin and its end */
};

int lsm_writes_new(struct lsm_db *db, struct lsm_writes **writes);
void lsm_writes_free(struct lsm_writes *writes);        /* NULL is fine */
/* key and value are copied. LSM_TOOBIG and LSM_NOMEM leave the batch as it was. */
int lsm_writes_put(struct lsm_writes *writes, struct lsm_tree *tree, struct lsm_slice key,
                   struct lsm_slice value);
int lsm_writes_delete(struct lsm_writes *writes, struct lsm_tree *tree, struct lsm_slice key);
/* As lsm_txn_delete_range; an empty range adds nothing. */
int lsm_writes_delete_range(struct lsm_writes *writes, struct lsm_tree *tree, struct lsm_slice begin,
                            struct lsm_slice end);
/* Append all of another batch of the same store (LSM_MISUSE), or of itself. */
int lsm_writes_append(struct lsm_writes *writes, const struct lsm_writes *more);
uint64_t lsm_writes_count(const struct lsm_writes *writes);
uint64_t lsm_writes_bytes(const struct lsm_writes *writes);     /* encoded, as the log will have them */
/* A position, and back to it: what came later is forgotten. 0 is the beginning. */
uint64_t lsm_writes_mark(const struct lsm_writes *writes);
int lsm_writes_rollback_to(struct lsm_writes *writes, uint64_t mark);   /* LSM_MISUSE: no such position */
void lsm_writes_clear(struct lsm_writes *writes);       /* keeps its memory */
/* Call fn for each, in order; stops at its first non-zero result and returns that. */
int lsm_writes_each(const struct lsm_writes *writes, int (*fn)(void *ctx, const struct lsm_write *write),
                    void *ctx);
/* Apply all of it, or nothing: as a transaction of its own (only without a host; see
   lsm_txn_commit_alone), or within one. LSM_NOTFOUND: one of its trees was dropped. */
int lsm_db_write(struct lsm_db *db, const struct lsm_writes *writes, bool sync);
int lsm_txn_write(struct lsm_txn *txn, const struct lsm_writes *writes);

/*
 * The host shows that `token` is committed: publish all that it proves. LSM_STALE:
 * the token is older than what is in tables, or its record is not in the store.
 * Cheap when the token was seen before. The first one behind a crash reads the logs again: LSM_IOERR,
 * LSM_CORRUPT, LSM_NOMEM; the next one goes on where it failed.
 */
int lsm_db_publish(struct lsm_db *db, const struct lsm_token *token);
/* As lsm_db_publish, for a token that was read under the host's write lock: LSM_STALE also when a newer one
   was published, which can only be when an older state of the host was restored since the store is open. */
int lsm_db_publish_newest(struct lsm_db *db, const struct lsm_token *token);

/*
 * The host's redo area as it stands beside `token`, in one snapshot of the host. What the
 * log lacks of the transactions that the token proves is taken from it, into memory only;
 * the next write copies it to the log. LSM_OK if nothing is lacking now (or was): try again
 * what was LSM_STALE. LSM_STALE: the area has not what is lacking. LSM_CORRUPT: it has, and it
 * is damaged.
 */
int lsm_db_redo(struct lsm_db *db, const struct lsm_token *token, struct lsm_slice area);

/* The newest joint transaction that the store itself knows to be decided and still has whole: what a host
   must take for its own when the two do not fit (LSM_STALE) and it is to go on all the same. Changes nothing. */
int lsm_db_newest(struct lsm_db *db, struct lsm_token *token);

/* ---- reading ------------------------------------------------------------ */

/* The newest published state. Holds space until it is closed. */
int lsm_snapshot_open(struct lsm_db *db, struct lsm_snapshot **snapshot);
/* The newest state that does not depend on a joint transaction after `token`.
   LSM_CONFLICT: that history is gone. LSM_STALE: as lsm_db_publish, which it does first. */
int lsm_snapshot_open_at(struct lsm_db *db, const struct lsm_token *token,
                         struct lsm_snapshot **snapshot);
void lsm_snapshot_close(struct lsm_snapshot *snapshot);
uint64_t lsm_snapshot_seq(const struct lsm_snapshot *snapshot);
uint64_t lsm_db_seq_published(struct lsm_db *db);
bool lsm_db_has_snapshots(struct lsm_db *db);   /* is any open? */

struct lsm_read {               /* of the tree's store, else reads are LSM_MISUSE */
    const struct lsm_snapshot *snapshot;    /* NULL: the newest state */
    const struct lsm_txn *txn;  /* its writes are seen on top; NULL: none */
    bool no_cache;              /* blocks read do not displace others: for a full scan */
};

/* A value found: bytes where the engine has them, in a block or a memtable, that stay until it is
   released. Release it before the store is closed; it holds memory of the budget. Any thread may. */
struct lsm_value {
    struct lsm_slice bytes;
    void *pin[5];               /* the engine's */
};

/* LSM_NOTFOUND leaves *value empty. `read` may be NULL. */
int lsm_tree_get(struct lsm_tree *tree, const struct lsm_read *read, struct lsm_slice key,
                 struct lsm_value *value);
/*
 * Many keys of one state: looked up in the order of the tree, whatever order they come in, with
 * tables and places kept from one to the next. codes[i] and values[i] are what lsm_tree_get() gives
 * for keys[i]; release all of values. LSM_OK: every code is LSM_OK or LSM_NOTFOUND; else the first
 * failure in the order of the tree, and the keys behind it have the same code.
 */
int lsm_tree_get_many(struct lsm_tree *tree, const struct lsm_read *read, const struct lsm_slice *keys,
                      size_t count, struct lsm_value *values, int *codes);
void lsm_value_release(struct lsm_value *value);        /* zeroed or released: fine */

/*
 * A cursor pins what it reads: it survives the end of the snapshot and of the
 * transaction that it was opened with, and does not see later writes, its own
 * transaction's neither. What that one takes back (lsm_txn_rollback_to,
 * lsm_txn_discard_tree) goes from under it, in parts: such a cursor stands on rows
 * of no state that there ever was until it is reopened.
 */
int lsm_cursor_open(struct lsm_tree *tree, const struct lsm_read *read, struct lsm_cursor **cursor);
/* Use a cursor again for another read, of any tree of the same store (else LSM_MISUSE); cheaper than close and open. */
int lsm_cursor_reopen(struct lsm_cursor *cursor, struct lsm_tree *tree,
                      const struct lsm_read *read);
void lsm_cursor_close(struct lsm_cursor *cursor);

/*
 * Moves. Each returns LSM_OK (the cursor stands on a row), LSM_DONE (there is
 * none that way) or a failure, which each move behind it returns until the cursor is
 * reopened. Key and value are valid until the next move.
 * Rows at or after the upper bound, or before the lower bound, are not reached. A
 * NULL data pointer in a bound means: none.
 */
int lsm_cursor_first(struct lsm_cursor *cursor);
int lsm_cursor_last(struct lsm_cursor *cursor);
int lsm_cursor_seek(struct lsm_cursor *cursor, struct lsm_slice key);       /* first >= key */
int lsm_cursor_seek_prev(struct lsm_cursor *cursor, struct lsm_slice key);  /* last <= key */
int lsm_cursor_next(struct lsm_cursor *cursor);
int lsm_cursor_prev(struct lsm_cursor *cursor);
/* lower is inclusive, upper exclusive; copied. The cursor stands on no row then: first, last or a seek comes next. */
int lsm_cursor_set_bounds(struct lsm_cursor *cursor, struct lsm_slice lower, struct lsm_slice upper);
/* Bounds that only keys which begin with `prefix` are within; an empty prefix: none. LSM_MISUSE: the
   tree's comparator has no prefix_end. */
int lsm_cursor_set_prefix(struct lsm_cursor *cursor, struct lsm_slice prefix);
/* Keep the value of the row that the cursor stands on beyond its next move and its end. Nothing is
   copied when the cursor came forward, and what lsm_cursor_value() has shown of this row is the pinned
   value's from now on: it goes with that. LSM_MISUSE, LSM_NOMEM. */
int lsm_cursor_pin(struct lsm_cursor *cursor, struct lsm_value *value);
bool lsm_cursor_valid(const struct lsm_cursor *cursor);
struct lsm_slice lsm_cursor_key(const struct lsm_cursor *cursor);
/* The value is read from its value log when it is asked for, not by the move. On a failure data is
   NULL, and the cursor moves no more: lsm_cursor_read, or the next move, says why. Where the cursor does not
   stand on a row key and value are NULL, and lsm_cursor_read is LSM_MISUSE, as the next step is. */
int lsm_cursor_read(struct lsm_cursor *cursor, struct lsm_slice *value);
struct lsm_slice lsm_cursor_value(struct lsm_cursor *cursor);

/* ---- maintenance -------------------------------------------------------- */

/* Bring all that is published into tables and start a fresh log. Waits, some seconds at most, for
   transactions of this process that are between their prepare and their end. LSM_BUSY: an undecided
   joint transaction stands in the way. */
int lsm_db_flush(struct lsm_db *db);
/* Flush, then merge a tree (NULL: all) into its deepest level and drop what no snapshot needs.
   LSM_NOTFOUND: it was dropped. */
int lsm_db_compact(struct lsm_db *db, struct lsm_tree *tree);
/* The same for the rows of [begin, end) alone, with the tables that they stand in; what overlaps those in
   turn may come along. No data: no bound. An end at or before `begin` compacts nothing. Value logs that it
   leaves with garbage are the worker's. */
int lsm_db_compact_range(struct lsm_db *db, struct lsm_tree *tree, struct lsm_slice begin, struct lsm_slice end);
/* Without a worker: do one bounded step of maintenance; LSM_DONE when there is none to do. */
int lsm_db_step(struct lsm_db *db);
/*
 * Read every byte of tables, MANIFEST and logs; check every sum, order, size and count, that the MANIFEST says
 * what is in memory, that levels do not overlap and older versions lie deeper. The first fault is the result,
 * all go to the event callback and to `report` (enum lsm_event_kind; NULL: none), which is told of files that
 * do not belong there, too. Writers wait while logs and MANIFEST are read.
 */
int lsm_db_check(struct lsm_db *db);
int lsm_db_check_report(struct lsm_db *db, void (*report)(void *ctx, int kind, const char *text), void *ctx);
/* The quick part of it: every table and value log is there, has its size, and a head and a foot that are its own.
   What is open already is not looked at again. */
int lsm_db_check_files(struct lsm_db *db);
/* Stay within another budget from now on, of 1 MiB or more (LSM_MISUSE); recorded in the store. */
int lsm_db_set_memory(struct lsm_db *db, uint64_t memory_bytes);

/* ---- backup ------------------------------------------------------------- */

struct lsm_backup_info {
    uint64_t tables, linked, copied;    /* tables and value logs; how they got there */
    uint64_t bytes, bytes_written;      /* of the copy; of it what is not shared with the original */
};

/*
 * Copy the store as it is now to the new directory `path`, while others go on
 * writing: tables and value logs by hard links (they never change), or byte by byte where that
 * cannot be. The copy is synced and opens by itself; until it is whole no open
 * takes it for a store. LSM_EXISTS: something is at `path`. After a failure nothing
 * is left there. A store in memory is copied to disk. info may be NULL.
 */
int lsm_db_backup(struct lsm_db *db, const char *path, struct lsm_backup_info *info);

/*
 * The same in steps, for a host whose own copy must be of the same moment: begin
 * while it keeps its writers out, with its newest committed token; from then on
 * they may go on. In the copy `token` is committed and settled; what was prepared
 * after it is not there. LSM_BUSY: a solo is between prepare and commit: try again.
 * LSM_CONFLICT: the token is not the newest. LSM_STALE: as lsm_db_publish_newest. The store cannot be closed before end.
 */
int lsm_backup_begin(struct lsm_db *db, const struct lsm_token *token, struct lsm_backup **backup);
int lsm_backup_write(struct lsm_backup *backup, const char *path, struct lsm_backup_info *info);
void lsm_backup_end(struct lsm_backup *backup);         /* NULL is fine */

/* ---- repair ------------------------------------------------------------- */

struct lsm_repair {             /* zeroed: no host, no report */
    const struct lsm_token *token;      /* the host's newest committed one; NULL: the store's own word */
    void (*report)(void *ctx, const char *line);        /* what is lost or doubtful, as it is found */
    void *ctx;
    struct lsm_slice redo;              /* the host's redo area beside the token: see lsm_db_redo() */
    struct lsm_slice note;              /* a key that each new tree has, without a value, whatever was damaged; not
                                           counted. Empty: none. Trees with a comparator do not get it. */
    const struct lsm_slice *names;      /* of the trees that the host has: where one tree has lost its name, and one of */
    size_t name_count;                  /* these is no tree's, it is that one's */
};

struct lsm_repair_info {
    uint64_t trees, trees_unnamed;      /* in the new store; whose name is lost */
    uint64_t tables, logs;              /* files read */
    uint64_t files_lost;                /* missing, or nothing in them can be read */
    uint64_t places_lost, bytes_lost;   /* stretches of files that cannot be read */
    uint64_t rows;                      /* in the new store */
    uint64_t values_lost;               /* rows whose value log cannot be read there */
    uint64_t records, records_lost;     /* transactions in the logs; unreadable */
    uint64_t records_undecided;         /* left out: nothing says that they were committed */
    uint64_t tables_guessed;            /* whose place in the order of versions is a guess */
    uint64_t rows_lost;                 /* of tables: rows that cannot be read, with older versions and deletes */
    uint64_t tables_uncounted;          /* damaged ones of which nothing says how many rows they had */
};

/*
 * Make a new store in the new directory `to` from all that can be read in `from`,
 * whatever is damaged or missing there: tables without a MANIFEST, damaged blocks
 * passed over, logs. Newer versions stay newer. The original is neither written to
 * nor removed. The new store has the same uuid, stands at how->token, and is whole
 * or not there. Of the options os, uuid (LSM_MISMATCH), file_mode, owner, comparators count.
 * Takes time and disk space as copying the store, and memory for the logs. LSM_BUSY:
 * `from` is open. LSM_EXISTS: something is at `to`. LSM_NOTFOUND: nothing of a store
 * is in `from`. how and info may be NULL. A tree whose comparator is not given is
 * lost, and the report says so.
 */
int lsm_db_repair(const char *from, const char *to, const struct lsm_options *options,
                  const struct lsm_repair *how, struct lsm_repair_info *info);

struct lsm_level_stats {
    uint64_t files, bytes, raw_bytes, entries, tombstones;
    double score;               /* 1 and more: due for compaction */
    uint64_t runs;              /* a read of one key asks so many at most: each file of level 0, and one deeper */
    uint64_t range_deletes;     /* stretches */
    /* Flushes and compactions into this level since the store was opened: how many, what compactions read, in
       this level and above, and what all of them wrote, tables and value logs. */
    uint64_t jobs, bytes_read, bytes_written;
};

struct lsm_tree_stats {
    uint32_t level_count;
    struct lsm_level_stats level[LSM_LEVEL_COUNT_MAX];
    uint64_t entries;           /* estimate: tables and memtables, tombstones subtracted */
    uint64_t bytes;             /* of its tables and value logs on disk */
};
int lsm_tree_stats(struct lsm_tree *tree, struct lsm_tree_stats *stats);
/* Of all trees together: sums, but the highest score and the most runs of one tree. */
int lsm_db_levels(struct lsm_db *db, struct lsm_tree_stats *stats);

/*
 * About what lies in [lower, upper) (NULL data: no bound): bytes on disk of its tables and of the
 * values that they have in value logs, and rows in tables and memory. Old versions count until they are
 * compacted away; what range deletes hide, too.
 * Reads at most two blocks of a table, and the indexes that lead to them. An empty range gives zeros.
 */
struct lsm_approximate {
    uint64_t bytes, rows;
};
int lsm_tree_approximate(struct lsm_tree *tree, struct lsm_slice lower, struct lsm_slice upper,
                         struct lsm_approximate *sum);

/* The statistics: a name, a value and a unit each, appended to by later versions. */
struct lsm_stat {
    const char *name;
    uint64_t value;
    const char *unit;           /* "bytes", "count", "us", "percent" */
};
/* Fill at most `count`; returns how many there are. */
size_t lsm_db_stats(struct lsm_db *db, struct lsm_stat *stats, size_t count);
/*
 * How long operations took, since the store was opened. Of gets, seeks, puts into transactions and
 * prepares one in 32 is timed, and of a cursor's steps one in 64, so that no hot call reads the clock
 * each time; the others always, but that of rows that are a commit each and not synced the last of 32 stands
 * for all of them. Quantiles are upper bounds of the buckets that they fall in, at most a
 * quarter too large.
 */
struct lsm_latency {
    const char *name;           /* "get", "seek", "commit", "sync", "flush", "compaction", "stall", "put",
                                   "next" (and prev), "prepare" (a host's half of a commit) */
    uint64_t count;             /* that were timed */
    uint64_t total_us, p50_us, p99_us, p999_us, max_us;
};
/* Fill at most `count`; returns how many there are. */
size_t lsm_db_latencies(struct lsm_db *db, struct lsm_latency *latencies, size_t count);
/* Its histogram: so many took up to so long, and longer than the bucket before. Those that are not
   empty, ascending. Fill at most `count`; returns how many there are, 0 also for another name. */
struct lsm_bucket {
    uint64_t up_to_us, count;
};
size_t lsm_db_histogram(struct lsm_db *db, const char *name, struct lsm_bucket *buckets, size_t count);
/* A statistic by its name ("puts", "get_p99_us"), or a text: "stats" (all of them, one a line),
   "levels" (of every tree), "histograms" (name, up to how many us, count), "state". At most `size` bytes, a zero
   at the end; *needed (may be NULL) is the size that it takes. LSM_NOTFOUND: no such property. */
int lsm_db_property(struct lsm_db *db, const char *name, char *text, size_t size, size_t *needed);
/* HEALTHY; DEGRADED: maintenance failed and is tried again; READ_ONLY: what failed in a log could not be taken back; CORRUPT:
   maintenance met damage, and nothing is written any more. Damage that a read or a check meets is that one's
   result and leaves the state. And why ("" while HEALTHY; valid until the next call on this thread). */
const char *lsm_db_state(struct lsm_db *db, const char **why);

#ifdef __cplusplus
}
#endif
#endif
