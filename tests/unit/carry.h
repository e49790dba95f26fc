/*
 * carry.h -- for tests of records that the host's own commit holds (commit.md R7, R7a, R7b, R11, R15): the host
 * is an area of bytes that is written as SQLite would: with its token, or not at all.
 */
#ifndef TESTS_UNIT_CARRY_H
#define TESTS_UNIT_CARRY_H

#include "lsm/db/db.h"
#include "lsm/format/redo.h"
#include "tests/unit/disk.h"

enum { ROOM = 4096 };

static struct area {
    uint8_t bytes[LSM_REDO_ROOM_MAX];
    size_t size;
} area;

static inline bool carry_begin(struct store *s)
{
    memset(&area, 0, sizeof area);
    return store_begin(s);
}

static inline struct lsm_slice area_slice(const struct area *area)
{
    return (struct lsm_slice){ area->bytes, area->size };
}

/* What a host does between prepare and its commit. False: there was nothing to write. */
static inline bool area_write(struct area *area, const struct lsm_txn *txn)
{
    struct lsm_redo redo;

    lsm_txn_redo(txn, &redo);
    if (!redo.bytes.size)
        return false;
    if (!CHECK(redo.off + redo.bytes.size <= sizeof area->bytes))
        return false;
    memcpy(area->bytes + redo.off, redo.bytes.data, redo.bytes.size);
    if (area->size < redo.off + redo.bytes.size)
        area->size = redo.off + redo.bytes.size;
    return true;
}

static inline int prepare_carried(struct lsm_txn *txn, uint64_t room, struct lsm_token *token)
{
    const struct lsm_prepare how = { .kind = LSM_PREPARE_JOINT, .sync = true, .redo_room = room };

    return lsm_txn_prepare(txn, &how, token);
}

/* One whole joint transaction that may be carried; *is_carried: it was. */
static inline struct lsm_token joint_in(struct store *s, struct lsm_token base, const char *key,
                                 struct area *area, bool *is_carried)
{
    struct lsm_txn *txn = begin_put(s, &base, key);
    struct lsm_token token = base;

    CHECK_OK(prepare_carried(txn, ROOM, &token));
    *is_carried = area_write(area, txn);
    lsm_txn_commit(txn, false);
    return token;
}

static inline struct lsm_token carried(struct store *s, struct lsm_token base, const char *key,
                                struct area *area)
{
    bool is_carried;
    struct lsm_token token = joint_in(s, base, key, area, &is_carried);

    CHECK(is_carried);
    return token;
}

/* Open as a database does that shows `token` and this area. */
static inline bool open_with(struct store *s, const char *path, const struct lsm_token *token,
                      const struct area *area)
{
    int rc;

    if (!store_open(s, path))
        return false;
    rc = lsm_db_publish(s->db, token);
    if (rc == LSM_STALE && CHECK_OK(lsm_db_redo(s->db, token, area_slice(area))))
        rc = lsm_db_publish(s->db, token);
    return CHECK_RC(rc, LSM_OK);
}

static inline int count_with(const char *path, const struct lsm_token *token, const struct area *area)
{
    struct store s;
    int count = -1;

    if (open_with(&s, path, token, area)) {
        count = count_at(&s, NULL);
        store_close(&s);
    }
    return count;
}

static inline bool shows_with(const char *path, const struct lsm_token *token, const struct area *area,
                       const char *keys)
{
    struct store s;
    bool as_said = false;

    if (open_with(&s, path, token, area)) {
        as_said = shows(&s, keys);
        store_close(&s);
    }
    return as_said;
}

#endif
