/*
 * manifest.h -- the log of edits, and CURRENT, which names it.
 *
 *     MANIFEST := header  frame*      as frame.h, payload = one edit; header:
 *                 identity (magic "LSMMAN\r\n", store uuid, number, salt)  sum:u64   = 56 bytes
 *     CURRENT  := "MANIFEST-000012\n" and a line of 16 hex digits: XXH3 of the first line with its
 *                 newline, seeded by the bytes "CURRENT\0"
 *
 * The first frame of a MANIFEST is a whole snapshot (an edit with every tree and
 * table). Order on disk (the crashes that each step prevents are named in
 * manifest.c): write the new file, sync it, sync the directory, write and sync
 * CURRENT's temporary, rename it, sync the directory; only then unlink anything.
 *
 * Every append is synced before the next, so a frame that is bad with anything
 * of ours behind it is LSM_CORRUPT; only at the physical end it is a torn tail (frame.h).
 *
 * A CURRENT that is missing or torn is LSM_CORRUPT with a hint, but when there
 * is exactly one whole MANIFEST (nothing torn, and no other but unfinished ones
 * of lower numbers) it is used; the next edit writes CURRENT anew. That is what a crash
 * in the creation of a store can leave. It can also leave less: no CURRENT and no
 * whole MANIFEST, and no file that holds data, is LSM_NOTFOUND.
 *
 * Threads: one at a time.
 */
#ifndef LSM_VERSION_MANIFEST_H
#define LSM_VERSION_MANIFEST_H

#include "lsm/store/frame.h"
#include "lsm/version/edit.h"

#define LSM_MANIFEST_MAGIC "LSMMAN\r\n"
#define LSM_MANIFEST_HEADER_SIZE 56u

struct lsm_manifest {
    struct lsm_os *os;
    struct lsm_dir *dir;
    struct lsm_file *file;
    uint8_t uuid[16];
    uint64_t number, base, size, chain;
    uint64_t synced;            /* bytes known to be on disk; == size but after open */
    uint64_t snapshot_size;     /* header and the snapshot that it began with */
    bool failed;                /* an append failed, or the tail is torn: begin a new MANIFEST */
    bool is_guessed;            /* CURRENT did not name it when it was opened */
};

/*
 * Begin MANIFEST-number with `snapshot` as its first frame, and make CURRENT
 * name it. Durable when it returns LSM_OK. *m is open or zeroed; a former
 * MANIFEST is closed and stays on disk: the caller removes it. On failure *m is as
 * it was, except `failed`, set when CURRENT may name the new one after a crash:
 * then the new file stays too, and only another create, under a higher number,
 * leads on.
 */
int lsm_manifest_create(struct lsm_manifest *m, struct lsm_os *os, struct lsm_dir *dir,
                        const uint8_t uuid[16], uint64_t number, uint32_t file_mode,
                        const struct lsm_edit *snapshot);
/*
 * Find it through CURRENT and read it: fn gets every edit in order, valid during
 * the call; its non-zero result is returned. m->uuid is filled from the file.
 * LSM_NOTFOUND: there is no store here. LSM_FORMAT: newer. LSM_IOERR is never
 * taken for an end. On failure *m is zeroed.
 *
 * With a torn tail `failed` is set: nothing appends behind it, recovery begins a
 * new MANIFEST before it removes anything. The same where CURRENT did not name it:
 * its sync may be what failed. Nothing is written.
 */
int lsm_manifest_open(struct lsm_manifest *m, struct lsm_os *os, struct lsm_dir *dir,
                      bool read_only,
                      int (*fn)(void *ctx, const struct lsm_edit *edit), void *ctx);
/* What CURRENT names. LSM_NOTFOUND: there is none. LSM_DONE: it is not what was written. */
int lsm_manifest_current(struct lsm_os *os, struct lsm_dir *dir, uint64_t *number);
/* Append and sync. LSM_NOMEM and LSM_TOOBIG write nothing. Another failure latches `failed`: the
   edit may or may not be on disk. */
int lsm_manifest_append(struct lsm_manifest *m, const struct lsm_edit *edit);
/* Bytes appended since the snapshot are worth a new file: > max(1 MiB, 2 x snapshot). */
bool lsm_manifest_is_long(const struct lsm_manifest *m);
void lsm_manifest_close(struct lsm_manifest *m);

#endif
