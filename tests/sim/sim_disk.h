/*
 * sim_disk.h -- a file system in memory that records every change in one log,
 * so that every state which a crash could leave can be built from it.
 *
 * Two front-ends share it: os_sim.c (the engine's seam) and vfs_sim.c (SQLite's
 * VFS). One log means one crash instant for both stores.
 *
 *     log position    0     1     2     3        n
 *                     | op0 | op1 | op2 |  ...   |     a crash at position k comes
 *                                                      after op k-1 and before op k
 *
 * The inodes hold the live state. What is durable at a position, and what a
 * crash there may leave, is sim_crash.h's part.
 *
 * Calls return 0 or an errno value. Threads: none; a simulation has one thread.
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is logged (to SIM_SYNCDIR) and what can merely fail. */
enum sim_kind {
    SIM_WRITE, SIM_TRUNC, SIM_ALLOC, SIM_SYNC,                  /* of a file's data */
    SIM_CREATE, SIM_UNLINK, SIM_RENAME, SIM_LINK, SIM_MKDIR, SIM_RMDIR, SIM_SYNCDIR,
    SIM_OPEN, SIM_READ, SIM_LIST, SIM_INFO, SIM_LOCK,           /* change nothing */
    SIM_KIND_COUNT
};

const char *sim_kind_name(int kind);

struct sim_op {
    uint8_t kind;
    bool failed;        /* the caller got an error; a failed WRITE holds what reached the file */
    bool no_room;       /* WRITE: and that was why */
    uint32_t ino;       /* the file, or the one that a directory's op names */
    uint32_t dir;       /* directory ops: the directory */
    uint64_t off;       /* WRITE: where; TRUNC, ALLOC: the size */
    uint64_t size_was;  /* WRITE, TRUNC, ALLOC: of the file before */
    uint32_t size;      /* WRITE */
    size_t data;        /* WRITE: place in the arena */
    size_t name, name2; /* directory ops: places in the arena, RENAME: from, to */
};

/* Something that the workload says about itself at a position: "transaction 7 was
   acknowledged". What the kinds mean is the workload's. */
#define SIM_MARK_KINDS 8
struct sim_mark {
    size_t pos;
    int kind;
    int64_t value;
};

/* Bytes shared by disks, states and walks; copied before they are changed. */
struct sim_blob {
    unsigned refs;
    bool hashed;
    uint64_t hash[2];
    size_t size;
    uint8_t data[];
};

struct sim_entry {
    char *name;
    uint32_t ino;
};

struct sim_entries {
    struct sim_entry *at;
    size_t count, cap;
};

struct sim_inode {
    bool is_dir;
    bool anonymous;             /* a temporary file without a name: not logged */
    bool poisoned;              /* a sync of it failed */
    uint64_t no_room;           /* sim_rules.c: behind where a write began for which there was no room, and */
    bool is_cut;                /* it was cut off */
    uint32_t mode, nlink, handles;
    struct sim_blob *base;      /* at log position 0 */
    struct sim_entries base_entries;
    struct sim_entries entries;
    uint8_t *data;              /* live bytes; NULL while they are still those of base */
    uint64_t size, cap;
    const void *locked_by;      /* lsm_os file_lock */
    uint32_t sharer_count;      /* of that lock, by files that only read */
    void *vfs;                  /* locks and shared memory of vfs_sim.c */
};

/* The calls that count towards the next failure. */
struct sim_fault {
    uint64_t at;        /* this call fails, counted from 1; 0: none */
    bool sticky;        /* and all after it */
    uint32_t kinds;     /* 1 << kind of those that count; 0: all */
    int error;          /* 0: EMFILE where a file is opened or created, else EIO */
    int partial;        /* a failing write leaves 0: nothing, 1: its first half, 2: all of it */
    uint64_t calls;     /* counted so far */
    uint64_t fired;     /* failed so far */
};

struct sim_disk {
    uint64_t seed;
    struct sim_inode *inodes;   /* [0] is unused, [1] is the root */
    uint32_t inode_count, inode_cap;
    struct sim_op *ops;
    size_t op_count, op_cap;
    uint8_t *arena;             /* the bytes and names of the ops */
    size_t arena_size, arena_cap;
    struct sim_mark *marks;
    size_t mark_count, mark_cap;
    uint32_t handles;           /* open ones */
    uint64_t clock_us;          /* counts up with every look at it */
    uint64_t chance;            /* state of the generator behind randomness */
    uint64_t capacity;          /* bytes; more is ENOSPC; 0: endless */
    struct sim_fault fault;
    /* kill -9: the op with this number (from 0) and all after it do not happen. `dead` is set then;
       whoever waits for it closes what the process had open, and clears both. 0: never. */
    size_t dead_at;
    bool dead;
    unsigned fills;             /* M5: what a grown file may show instead of its data: 1 zeros,
                                   2 and stale memory, 3 and garbage, 4 and another file's
                                   bytes (default) */

    /* Rules that are checked with every op (sim_rules.c); NULL: none. */
    void (*rule)(void *ctx, struct sim_disk *disk, const struct sim_op *op);
    void *rule_ctx;
    char broken[256];           /* the first rule that was broken; empty: none */
    size_t broken_pos;          /* ops that had been logged then */
};

#define SIM_ROOT 1u

struct sim_disk *sim_disk_new(uint64_t seed);
void sim_disk_free(struct sim_disk *disk);

/* A number that is the same in every run of this disk. */
uint64_t sim_disk_random(struct sim_disk *disk);
uint64_t sim_mix(uint64_t x);           /* one step of splitmix64 */
void sim_disk_mark(struct sim_disk *disk, int kind, int64_t value);
/* The newest mark of a kind at or before `pos`, or `none`. */
int64_t sim_disk_mark_at(const struct sim_disk *disk, size_t pos, int kind, int64_t none);
/* The call of this kind fails now? An errno value or 0. */
int sim_disk_fault(struct sim_disk *disk, int kind);
/* Say that a rule is broken; the first one stays. */
void sim_disk_break(struct sim_disk *disk, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- names ---- */
uint32_t sim_entries_find(const struct sim_entries *entries, const char *name);     /* 0: none */
void sim_entries_set(struct sim_entries *entries, const char *name, uint32_t ino);  /* 0: remove */
void sim_entries_copy(struct sim_entries *to, const struct sim_entries *from);
void sim_entries_clear(struct sim_entries *entries);

/* The inode at an absolute path: 0 if there is none. */
uint32_t sim_disk_find(struct sim_disk *disk, const char *path);
/* The directory that holds `path`, and the last component's place in `path`. 0: none. */
uint32_t sim_disk_parent(struct sim_disk *disk, const char *path, const char **name);

/* ---- calls; all can be made to fail ---- */
int sim_create(struct sim_disk *disk, uint32_t dir, const char *name, uint32_t mode, uint32_t *ino);
int sim_mkdir(struct sim_disk *disk, uint32_t dir, const char *name, uint32_t mode, uint32_t *ino);
int sim_rmdir(struct sim_disk *disk, uint32_t dir, const char *name);
int sim_unlink(struct sim_disk *disk, uint32_t dir, const char *name);
int sim_rename(struct sim_disk *disk, uint32_t dir, const char *from, const char *to);
int sim_link(struct sim_disk *disk, uint32_t dir, const char *name, uint32_t to,
             const char *to_name);
int sim_syncdir(struct sim_disk *disk, uint32_t dir);
uint32_t sim_anonymous(struct sim_disk *disk);
int sim_read(struct sim_disk *disk, uint32_t ino, void *data, size_t size, uint64_t off,
             size_t *got);
int sim_write(struct sim_disk *disk, uint32_t ino, const void *data, size_t size, uint64_t off);
int sim_truncate(struct sim_disk *disk, uint32_t ino, uint64_t size);
int sim_allocate(struct sim_disk *disk, uint32_t ino, uint64_t size);
int sim_sync(struct sim_disk *disk, uint32_t ino);

static inline struct sim_inode *sim_inode(struct sim_disk *disk, uint32_t ino)
{
    return &disk->inodes[ino];
}
const uint8_t *sim_inode_bytes(const struct sim_inode *inode);

/* ---- blobs ---- */
struct sim_blob *sim_blob_new(const void *data, size_t size);   /* data NULL: zeros */
struct sim_blob *sim_blob_ref(struct sim_blob *blob);           /* NULL is fine */
void sim_blob_unref(struct sim_blob *blob);
const uint64_t *sim_blob_hash(struct sim_blob *blob);

/* Write one op as text, for people: "WRITE /app.db-lsm/000003.log 88+120". */
void sim_op_text(struct sim_disk *disk, const struct sim_op *op, char *text, size_t size);
/* Print the ops from..to on stderr, with the marks between them. */
void sim_disk_dump(struct sim_disk *disk, size_t from, size_t to);

#endif
