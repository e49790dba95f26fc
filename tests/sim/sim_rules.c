/*
 * sim_rules.c -- the ordering rules, checked against the durable view.
 *
 * A walk (sim_crash.h) follows the log one op behind: when a rule looks, it sees
 * what a power cut would surely have left just before the op. A MANIFEST is
 * replayed from its bytes with the engine's own decoder; sums are not looked at,
 * a torn frame ends the replay.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm/format/filename.h"
#include "lsm/store/frame.h"
#include "lsm/version/manifest.h"
#include "tests/sim/os_sim.h"
#include "tests/sim/sim_rules.h"

struct named {                  /* a table that a MANIFEST names */
    uint64_t number, size;
    uint32_t tree;
};

struct contents {
    struct named *table;
    size_t count, cap;
    uint64_t log_number;
};

struct sim_rules {
    struct sim_disk *disk;
    struct sim_walk *walk;
    struct sim_os *memory;      /* of the decoder */
};

static void replay(struct sim_rules *rules, const uint8_t *bytes, size_t size, struct contents *c)
{
    size_t off = LSM_MANIFEST_HEADER_SIZE;

    memset(c, 0, sizeof *c);
    while (off < size && size - off > LSM_FRAME_HEAD_SIZE) {
        uint32_t payload = lsm_get_u32(bytes + off + 4);
        struct lsm_edit edit;
        if (payload == 0 || payload > size - off - LSM_FRAME_HEAD_SIZE)
            break;
        lsm_edit_init(&edit, &rules->memory->os);
        if (lsm_edit_decode(&edit, lsm_slice(bytes + off + LSM_FRAME_HEAD_SIZE, payload), "", 0)) {
            lsm_edit_clear(&edit);
            break;
        }
        for (size_t i = 0; i < lsm_edit_removed_count(&edit); i++)
            for (size_t k = 0; k < c->count; k++)
                if (c->table[k].number == lsm_edit_removed(&edit)[i].meta.number) {
                    c->table[k] = c->table[--c->count];
                    break;
                }
        for (size_t i = 0; i < lsm_edit_added_count(&edit); i++) {
            const struct lsm_table_meta *meta = &lsm_edit_added(&edit)[i].meta;
            if (c->count == c->cap) {
                c->cap = c->cap ? c->cap * 2 : 16;
                c->table = realloc(c->table, c->cap * sizeof *c->table);
                if (!c->table)
                    abort();
            }
            c->table[c->count++] = (struct named){ meta->number, meta->size_bytes, meta->tree };
        }
        for (size_t i = 0; i < lsm_edit_dropped_count(&edit); i++)
            for (size_t k = c->count; k-- > 0;)
                if (c->table[k].tree == lsm_edit_dropped(&edit)[i])
                    c->table[k] = c->table[--c->count];
        if (edit.has & LSM_EDIT_LOG)
            c->log_number = edit.log_number;
        lsm_edit_clear(&edit);
        off += lsm_frame_size(payload);
    }
}

static bool names_table(const struct contents *c, uint64_t number)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->table[i].number == number)
            return true;
    return false;
}

/* The number of the MANIFEST that CURRENT's bytes name; 0: none. */
static uint64_t current_number(const uint8_t *bytes, size_t size)
{
    char line[64];
    enum lsm_file_kind kind;
    uint64_t number;
    size_t n = size < sizeof line - 1 ? size : sizeof line - 1;

    memcpy(line, bytes, n);
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return lsm_filename_parse(line, &kind, &number) && kind == LSM_FILE_MANIFEST ? number : 0;
}

/* Where does a file live, and what is it? */
static uint32_t home_of(struct sim_disk *disk, uint32_t ino, enum lsm_file_kind *kind,
                        uint64_t *number)
{
    for (uint32_t d = 1; d < disk->inode_count; d++)
        for (size_t i = 0; i < disk->inodes[d].entries.count; i++)
            if (disk->inodes[d].entries.at[i].ino == ino)
                return lsm_filename_parse(disk->inodes[d].entries.at[i].name, kind, number) ? d : 0;
    return 0;
}

/* The inode that a name surely has; 0: none, or it is not sure. */
static uint32_t sure_entry(struct sim_rules *rules, uint32_t dir, const char *name)
{
    bool sure;
    uint32_t ino = sim_walk_entry(rules->walk, dir, name, &sure);

    return sure ? ino : 0;
}

/* What the MANIFEST says that a strict power cut would leave in force. False: no store there. */
static bool durable_contents(struct sim_rules *rules, uint32_t dir, uint64_t *manifest,
                             struct contents *c)
{
    char name[LSM_FILENAME_SIZE];
    bool sure;
    uint32_t ino = sim_walk_entry(rules->walk, dir, "CURRENT", &sure);
    const struct sim_blob *bytes;

    if (!ino)
        return false;
    bytes = sim_walk_bytes(rules->walk, ino);
    *manifest = current_number(bytes->data, bytes->size);
    ino = sure_entry(rules, dir, lsm_filename(name, LSM_FILE_MANIFEST, *manifest));
    if (!ino) {
        sim_disk_break(rules->disk, "the durable CURRENT names %s, which may be missing", name);
        return false;
    }
    bytes = sim_walk_bytes(rules->walk, ino);
    replay(rules, bytes->data, bytes->size, c);
    return true;
}

static void on_write(struct sim_rules *rules, struct sim_disk *disk, const struct sim_op *op)
{
    struct sim_inode *inode = sim_inode(disk, op->ino);
    struct contents c;
    enum lsm_file_kind kind;
    uint64_t number, manifest;
    char name[LSM_FILENAME_SIZE];
    uint32_t dir = home_of(disk, op->ino, &kind, &number);

    if (!dir || kind == LSM_FILE_INFO_LOG || kind == LSM_FILE_LOCK)
        return;
    lsm_filename(name, kind, number);
    if (inode->poisoned || inode->no_room)
        sim_disk_break(disk, "op %zu writes to %s, of which a write or sync failed",
                       disk->op_count - 1, name);
    if (op->failed && op->no_room && kind == LSM_FILE_LOG)
        inode->no_room = op->off + 1;
    else if (op->failed)
        inode->poisoned = true;
    if (kind == LSM_FILE_TABLE && durable_contents(rules, dir, &manifest, &c)) {
        if (names_table(&c, number))
            sim_disk_break(disk, "op %zu writes to table %s, which a MANIFEST names",
                           disk->op_count - 1, name);
        free(c.table);
    }
    if (kind != LSM_FILE_MANIFEST)
        return;
    replay(rules, sim_inode_bytes(inode), inode->size, &c);
    for (size_t i = 0; i < c.count; i++) {
        uint32_t ino = sure_entry(rules, dir,
                                  lsm_filename(name, LSM_FILE_TABLE, c.table[i].number));
        if (!ino || !sim_walk_is_durable(rules->walk, ino) ||
            sim_walk_bytes(rules->walk, ino)->size != c.table[i].size)
            sim_disk_break(disk, "op %zu: a MANIFEST edit names table %s, "
                           "whose %s is not durable (C-04)", disk->op_count - 1, name,
                           ino ? "content" : "name");
    }
    free(c.table);
}

static void on_rename(struct sim_rules *rules, struct sim_disk *disk, const struct sim_op *op)
{
    char name[LSM_FILENAME_SIZE];
    const struct sim_blob *bytes;
    uint32_t ino;

    if (strcmp((const char *)disk->arena + op->name2, "CURRENT") != 0)
        return;
    bytes = sim_walk_bytes(rules->walk, op->ino);
    lsm_filename(name, LSM_FILE_MANIFEST, current_number(bytes->data, bytes->size));
    ino = sure_entry(rules, op->dir, name);
    if (!sim_walk_is_durable(rules->walk, op->ino))
        sim_disk_break(disk, "op %zu: CURRENT's bytes are not durable when it is renamed",
                       disk->op_count - 1);
    else if (!ino || !sim_walk_is_durable(rules->walk, ino))
        sim_disk_break(disk, "op %zu: CURRENT names %s, which is not durable (C-08)",
                       disk->op_count - 1, name);
}

/* A fresh log that could not be begun, follows on none, and goes again: until a MANIFEST names it, it has nothing
   but copies of what older logs hold, and so it does no harm if the removal is lost. */
static bool is_unused_fresh_log(struct sim_disk *disk, const struct sim_op *op, uint64_t number, uint64_t log_number)
{
    return number > log_number &&
           lsm_get_u64(sim_inode_bytes(sim_inode(disk, op->ino)) + LSM_FRAME_IDENTITY_SIZE) == 0;
}

static void on_unlink(struct sim_rules *rules, struct sim_disk *disk, const struct sim_op *op)
{
    const char *name = (const char *)disk->arena + op->name;
    struct contents c = { 0 };
    enum lsm_file_kind kind;
    uint64_t number, manifest;
    bool sure;

    if (!lsm_filename_parse(name, &kind, &number) ||
        (kind != LSM_FILE_MANIFEST && kind != LSM_FILE_TABLE && kind != LSM_FILE_LOG))
        return;
    /* A pending op on CURRENT: either MANIFEST may be in force, so nothing old may go. What nothing
       durable ever named may: a file that was made since. */
    sim_walk_entry(rules->walk, op->dir, "CURRENT", &sure);
    if (!sure && sure_entry(rules, op->dir, name)) {
        sim_disk_break(disk, "op %zu removes %s while CURRENT's name is not durable (C-09)",
                       disk->op_count - 1, name);
        return;
    }
    if (!durable_contents(rules, op->dir, &manifest, &c))
        return;
    if ((kind == LSM_FILE_MANIFEST && number == manifest) ||
        (kind == LSM_FILE_TABLE && names_table(&c, number)) ||
        (kind == LSM_FILE_LOG && number >= c.log_number && sim_inode(disk, op->ino)->size > 88 &&
         !is_unused_fresh_log(disk, op, number, c.log_number)))
        sim_disk_break(disk, "op %zu removes %s, which the durable MANIFEST-%06llu needs (C-09)",
                       disk->op_count - 1, name, (unsigned long long)manifest);
    free(c.table);
}

/* What a log had no room for may come back as long as the cut is not on disk. */
static void on_cut_or_sync(struct sim_disk *disk, const struct sim_op *op)
{
    struct sim_inode *inode = sim_inode(disk, op->ino);

    if (op->kind == SIM_TRUNC && inode->no_room && op->off < inode->no_room)
        inode->is_cut = true;
    if (op->kind == SIM_SYNC && !op->failed && inode->is_cut) {
        inode->no_room = 0;
        inode->is_cut = false;
    }
}

static void rule(void *ctx, struct sim_disk *disk, const struct sim_op *op)
{
    struct sim_rules *rules = ctx;

    sim_walk_to(rules->walk, disk->op_count - 1);
    if (op->kind == SIM_TRUNC || op->kind == SIM_SYNC)
        on_cut_or_sync(disk, op);
    if (op->kind == SIM_WRITE)
        on_write(rules, disk, op);
    else if (op->kind == SIM_RENAME)
        on_rename(rules, disk, op);
    else if (op->kind == SIM_UNLINK)
        on_unlink(rules, disk, op);
}

struct sim_rules *sim_rules_new(struct sim_disk *disk)
{
    struct sim_rules *rules = calloc(1, sizeof *rules);

    if (!rules)
        abort();
    rules->disk = disk;
    rules->walk = sim_walk_new(disk);
    rules->memory = sim_os_new(disk);
    sim_walk_to(rules->walk, disk->op_count);
    disk->rule = rule;
    disk->rule_ctx = rules;
    return rules;
}

void sim_rules_free(struct sim_rules *rules)
{
    if (!rules)
        return;
    rules->disk->rule = NULL;
    sim_walk_free(rules->walk);
    sim_os_free(rules->memory);
    free(rules);
}
