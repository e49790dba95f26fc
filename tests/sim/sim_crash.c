/*
 * sim_crash.c -- from the log to the states that a crash may leave.
 *
 * A walk goes along the log and keeps, for each inode, the durable beginning of
 * its ops applied (`base`) and the ops behind that (`tail`):
 *
 *     ops of a file   w0  w1  sync  w2  w3        base = w0 w1
 *                     durable -----  pending      tail = w2 w3
 *
 * After a failed sync a durable op can stand behind a pending one, so the tail
 * is replayed in order with what the choice takes of it. Only inodes with a tail
 * are built for a state; the others share their blob and its hash.
 *
 * A tree is opened once, and what was found in it is remembered by its hash. But
 * whether that may be found depends on the position (what was acknowledged by
 * then), so `allow` is asked for every state. To remember only "seen" would hide
 * a lost sync: the same tree is right before the acknowledgement.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/sim/sim_crash.h"

enum { PENDING, DURABLE, EITHER };          /* what became of an op */

enum damage_kind { INTACT, TORN, SECTORS, FILLED };

struct damage {
    int kind;
    uint32_t op;
    uint64_t arg;       /* TORN: bytes kept; SECTORS: seed of the choice; FILLED: with what, 0..3 */
};

struct node {
    struct sim_blob *base;
    struct sim_entries base_entries;
    uint32_t *tail;
    size_t tail_count, tail_cap;
    bool reachable;     /* at all, in some state at this position */
};

struct sim_walk {
    struct sim_disk *disk;
    size_t pos;
    struct node *nodes;
    size_t node_count;
    uint8_t *fate;      /* for each op */
    uint8_t *in;        /* for each op: the state has it */
    size_t op_cap;
    size_t first;       /* all ops before it are durable */
    uint32_t *pending;  /* ops, ascending; those of unreachable files left out */
    size_t pending_count, pending_cap;
    bool fresh;         /* `pending` is of this position */
    struct damage damage;
};

static void *grow(void *p, size_t size)
{
    p = realloc(p, size ? size : 1);
    if (!p)
        abort();
    return p;
}

static void walk_room(struct sim_walk *w)
{
    struct sim_disk *disk = w->disk;

    if (w->node_count < disk->inode_count) {
        w->nodes = grow(w->nodes, disk->inode_count * sizeof *w->nodes);
        for (; w->node_count < disk->inode_count; w->node_count++) {
            struct sim_inode *inode = &disk->inodes[w->node_count];
            struct node *node = &w->nodes[w->node_count];
            memset(node, 0, sizeof *node);
            node->base = inode->base ? sim_blob_ref(inode->base) : sim_blob_new(NULL, 0);
            sim_entries_copy(&node->base_entries, &inode->base_entries);
        }
    }
    if (w->op_cap < disk->op_count) {
        size_t cap = disk->op_count + disk->op_count / 2;
        w->fate = grow(w->fate, cap);
        w->in = grow(w->in, cap);
        memset(w->fate + w->op_cap, 0, cap - w->op_cap);
        memset(w->in + w->op_cap, 0, cap - w->op_cap);
        w->op_cap = cap;
    }
}

struct sim_walk *sim_walk_new(struct sim_disk *disk)
{
    struct sim_walk *w = grow(NULL, sizeof *w);

    memset(w, 0, sizeof *w);
    w->disk = disk;
    walk_room(w);
    return w;
}

void sim_walk_free(struct sim_walk *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->node_count; i++) {
        sim_blob_unref(w->nodes[i].base);
        sim_entries_clear(&w->nodes[i].base_entries);
        free(w->nodes[i].tail);
    }
    free(w->nodes);
    free(w->fate);
    free(w->in);
    free(w->pending);
    free(w);
}

/* ---- replaying ops ---- */

static void fill(struct sim_walk *w, uint8_t *to, const struct sim_op *op, uint64_t with)
{
    struct sim_disk *disk = w->disk;
    uint64_t x = sim_mix(disk->seed ^ op->data ^ with);

    if (with == 0) {
        memset(to, 0, op->size);
    } else if (with == 1 && disk->arena_size > op->size) {      /* what memory held before */
        memcpy(to, disk->arena + x % (disk->arena_size - op->size), op->size);
    } else if (with == 3) {                     /* what another file held, also a removed one */
        const struct sim_blob *other = w->nodes[x % w->node_count].base;
        for (uint32_t i = 0; i < op->size; i++)
            to[i] = other->size ? other->data[i % other->size] : 0;
    } else {
        for (uint32_t i = 0; i < op->size; i++)
            to[i] = (uint8_t)(x = sim_mix(x));
    }
}

struct content {
    uint8_t *data;
    uint64_t size, cap;
};

static void content_resize(struct content *c, uint64_t size)
{
    if (size > c->cap) {
        c->cap = size + size / 4 + 64;
        c->data = grow(c->data, c->cap);
    }
    if (size > c->size)
        memset(c->data + c->size, 0, size - c->size);
    c->size = size;
}

static void apply_data(struct sim_walk *w, struct content *c, uint32_t index)
{
    const struct sim_op *op = &w->disk->ops[index];
    const uint8_t *data = w->disk->arena + op->data;
    bool hurt = w->damage.kind != INTACT && w->damage.op == index;
    uint64_t size = op->size;

    if (op->kind == SIM_TRUNC || (op->kind == SIM_ALLOC && op->off > c->size)) {
        content_resize(c, op->off);
        return;
    }
    if (op->kind != SIM_WRITE)
        return;
    if (hurt && w->damage.kind == TORN && w->damage.arg < size)
        size = w->damage.arg;
    if (size == 0)
        return;
    if (op->off + size > c->size)
        content_resize(c, op->off + size);
    if (hurt && w->damage.kind == FILLED) {
        fill(w, c->data + op->off, op, w->damage.arg);
    } else if (hurt && w->damage.kind == SECTORS) {
        /* each 512-byte sector of the device arrives or not */
        for (uint64_t at = op->off; at < op->off + size;) {
            uint64_t next = (at / 512 + 1) * 512;
            if (next > op->off + size)
                next = op->off + size;
            if (sim_mix(w->damage.arg ^ at / 512) & 1)
                memcpy(c->data + at, data + (at - op->off), next - at);
            at = next;
        }
    } else {
        memcpy(c->data + op->off, data, size);
    }
}

static void apply_name(struct sim_walk *w, struct sim_entries *e, uint32_t index)
{
    const struct sim_op *op = &w->disk->ops[index];
    const char *name = (const char *)w->disk->arena + op->name;
    const char *name2 = (const char *)w->disk->arena + op->name2;

    switch (op->kind) {
    case SIM_CREATE: case SIM_LINK: case SIM_MKDIR:
        sim_entries_set(e, name, op->ino);
        break;
    case SIM_UNLINK: case SIM_RMDIR:
        sim_entries_set(e, name, 0);
        break;
    case SIM_RENAME:
        if (sim_entries_find(e, name) == op->ino)
            sim_entries_set(e, name, 0);
        sim_entries_set(e, name2, op->ino);
        break;
    }
}

static void node_fold(struct sim_walk *w, struct node *node, bool is_dir)
{
    size_t n = 0;

    while (n < node->tail_count && w->fate[node->tail[n]] == DURABLE)
        n++;
    if (n == 0)
        return;
    if (is_dir) {
        for (size_t i = 0; i < n; i++)
            apply_name(w, &node->base_entries, node->tail[i]);
    } else {
        struct content c = { 0 };
        w->damage.kind = INTACT;
        content_resize(&c, node->base->size);
        if (c.size)
            memcpy(c.data, node->base->data, c.size);
        for (size_t i = 0; i < n; i++)
            apply_data(w, &c, node->tail[i]);
        sim_blob_unref(node->base);
        node->base = sim_blob_new(c.data, c.size);
        free(c.data);
    }
    node->tail_count -= n;
    memmove(node->tail, node->tail + n, node->tail_count * sizeof *node->tail);
}

void sim_walk_to(struct sim_walk *w, size_t pos)
{
    walk_room(w);
    w->fresh = w->fresh && w->pos == pos;
    for (; w->pos < pos; w->pos++) {
        uint32_t index = (uint32_t)w->pos;
        const struct sim_op *op = &w->disk->ops[index];
        bool is_name = op->kind >= SIM_CREATE;
        struct node *node = &w->nodes[is_name ? op->dir : op->ino];
        if (op->kind == SIM_SYNC || op->kind == SIM_SYNCDIR) {
            for (size_t i = 0; i < node->tail_count; i++)
                if (w->fate[node->tail[i]] == PENDING)
                    w->fate[node->tail[i]] = op->failed ? EITHER : DURABLE;
            w->fate[index] = DURABLE;       /* has no effect of its own */
            node_fold(w, node, is_name);
            continue;
        }
        if (node->tail_count == node->tail_cap) {
            node->tail_cap = node->tail_cap ? node->tail_cap * 2 : 8;
            node->tail = grow(node->tail, node->tail_cap * sizeof *node->tail);
        }
        node->tail[node->tail_count++] = index;
    }
}

uint32_t sim_walk_entry(struct sim_walk *w, uint32_t dir, const char *name, bool *sure)
{
    uint32_t ino = sim_entries_find(&w->nodes[dir].base_entries, name);
    const char *arena = (const char *)w->disk->arena;

    *sure = true;
    for (size_t i = 0; i < w->nodes[dir].tail_count; i++) {
        uint32_t index = w->nodes[dir].tail[i];
        const struct sim_op *op = &w->disk->ops[index];
        bool is_to = strcmp(arena + op->name2, name) == 0;
        if (!is_to && strcmp(arena + op->name, name) != 0)
            continue;
        if (w->fate[index] == DURABLE)
            ino = is_to && op->kind != SIM_UNLINK && op->kind != SIM_RMDIR ? op->ino : 0;
        *sure = w->fate[index] == DURABLE;      /* and what was unsure before is overwritten */
    }
    return ino;
}

bool sim_walk_is_durable(struct sim_walk *w, uint32_t ino)
{
    return w->nodes[ino].tail_count == 0;
}

const struct sim_blob *sim_walk_bytes(struct sim_walk *w, uint32_t ino)
{
    return w->nodes[ino].base;
}

/* ---- the pending ops at a position ---- */

static void mark_reachable(struct sim_walk *w)
{
    for (size_t i = 0; i < w->node_count; i++)
        w->nodes[i].reachable = i == SIM_ROOT;
    for (size_t i = 0; i < w->node_count; i++) {
        struct node *dir = &w->nodes[i];
        for (size_t k = 0; k < dir->base_entries.count; k++)
            w->nodes[dir->base_entries.at[k].ino].reachable = true;
        if (w->disk->inodes[i].is_dir)
            for (size_t k = 0; k < dir->tail_count; k++) {
                const struct sim_op *op = &w->disk->ops[dir->tail[k]];
                if (op->kind != SIM_UNLINK && op->kind != SIM_RMDIR)
                    w->nodes[op->ino].reachable = true;
            }
    }
}

static void find_pending(struct sim_walk *w)
{
    if (w->fresh)
        return;
    mark_reachable(w);
    if (w->pending_cap < w->pos) {
        w->pending_cap = w->disk->op_count;
        w->pending = grow(w->pending, w->pending_cap * sizeof *w->pending);
    }
    while (w->first < w->pos && w->fate[w->first] == DURABLE)
        w->first++;
    w->pending_count = 0;
    for (size_t i = w->first; i < w->pos; i++) {
        const struct sim_op *op = &w->disk->ops[i];
        uint32_t home = op->kind >= SIM_CREATE ? op->dir : op->ino;
        w->in[i] = 0;
        if (w->fate[i] != DURABLE && w->nodes[home].reachable)
            w->pending[w->pending_count++] = (uint32_t)i;
    }
    w->fresh = true;
}

/* ---- the models: how many choices, and what one takes ---- */

#define M10_DRAWS 8u

static bool is_removal(const struct sim_op *op)
{
    return op->kind == SIM_UNLINK || op->kind == SIM_RENAME || op->kind == SIM_RMDIR;
}

static bool is_naming(const struct sim_op *op)
{
    return op->kind == SIM_CREATE || op->kind == SIM_RENAME || op->kind == SIM_LINK;
}

static bool is_last_write(const struct sim_walk *w, size_t i)
{
    const struct sim_op *op = &w->disk->ops[w->pending[i]];

    if (op->kind != SIM_WRITE || op->size == 0)
        return false;
    for (size_t k = i + 1; k < w->pending_count; k++) {
        const struct sim_op *later = &w->disk->ops[w->pending[k]];
        if (later->kind == SIM_WRITE && later->ino == op->ino)
            return false;
    }
    return true;
}

/* How many choices a model has with the i-th pending op. */
static uint32_t op_choices(const struct sim_walk *w, int model, size_t i)
{
    const struct sim_op *op = &w->disk->ops[w->pending[i]];

    switch (model) {
    case 5: return op->kind == SIM_WRITE && op->off + op->size > op->size_was ? w->disk->fills : 0;
    case 6: return is_naming(op) ? 1 : 0;
    case 7: return is_last_write(w, i) ? 2 * ((op->size - 1) / 512 + 3) : 0;
    case 8: return op->kind == SIM_WRITE && op->size > 512 ? 8 : 0;
    case 9: return is_removal(op) ? 2 : 0;
    default: return 0;
    }
}

static uint32_t model_choices(struct sim_walk *w, int model)
{
    uint32_t p = (uint32_t)w->pending_count, n = 0;

    if (model <= 1)
        return 1;
    if (p == 0)
        return 0;
    switch (model) {
    case 2: return p - 1;
    case 3: return 2 * p;
    case 4: return p <= 10 ? 1u << p : 64 + p * (p - 1);
    case 10: return 4 * M10_DRAWS;
    }
    for (uint32_t i = 0; i < p; i++)
        n += op_choices(w, model, i);
    return n;
}

static void take_all(struct sim_walk *w, bool in)
{
    for (size_t i = 0; i < w->pending_count; i++)
        w->in[w->pending[i]] = in;
}

static void take_range(struct sim_walk *w, size_t from, size_t to)
{
    for (size_t i = 0; i < w->pending_count; i++)
        w->in[w->pending[i]] = i >= from && i < to;
}

static void choose_subset(struct sim_walk *w, uint32_t choice, uint64_t dice)
{
    uint32_t p = (uint32_t)w->pending_count;

    if (p <= 10) {
        for (uint32_t i = 0; i < p; i++)
            w->in[w->pending[i]] = choice >> i & 1;
    } else if (choice < 64) {
        for (uint32_t i = 0; i < p; i++)
            w->in[w->pending[i]] = (dice = sim_mix(dice)) & 1;
    } else {
        bool added = (choice - 64) % 2;
        uint32_t pair = (choice - 64) / 2, a = 0;
        while (pair >= p - 1 - a)
            pair -= p - 1 - a++;
        take_all(w, !added);
        w->in[w->pending[a]] = added;
        w->in[w->pending[a + 1 + pair]] = added;
    }
}

/*
 * What a journaling file system would do: names arrive in order, up to some
 * point. Data: all that is older (ext4 ordered), any part (writeback), each
 * file's to some point (xfs), all to one point (btrfs).
 */
static void choose_profile(struct sim_walk *w, uint32_t choice, uint64_t dice)
{
    uint32_t p = (uint32_t)w->pending_count, names = (uint32_t)(dice % (p + 1));
    uint32_t profile = choice / M10_DRAWS;

    for (uint32_t i = 0; i < p; i++) {
        const struct sim_op *op = &w->disk->ops[w->pending[i]];
        bool in = i < names;
        if (op->kind < SIM_CREATE) {
            if (profile == 0)
                in = in || sim_mix(dice ^ w->pending[i]) % 4 == 0;
            else if (profile == 1)
                in = sim_mix(dice ^ w->pending[i]) & 1;
            else if (profile == 2)
                in = i < sim_mix(dice ^ op->ino) % (p + 1);
        }
        w->in[w->pending[i]] = in;
    }
}

static void choose_with_op(struct sim_walk *w, int model, uint32_t choice, uint64_t dice)
{
    size_t i = 0;
    uint32_t n, index;
    const struct sim_op *op;

    while (choice >= (n = op_choices(w, model, i))) {
        choice -= n;
        i++;
    }
    index = w->pending[i];
    op = &w->disk->ops[index];
    take_all(w, true);
    switch (model) {
    case 5:
        w->damage = (struct damage){ FILLED, index, choice };
        break;
    case 6:
        for (size_t k = 0; k < w->pending_count; k++) {
            const struct sim_op *data = &w->disk->ops[w->pending[k]];
            if (data->kind < SIM_CREATE && data->ino == op->ino)
                w->in[w->pending[k]] = 0;
        }
        break;
    case 7: {
        uint32_t sectors = (op->size - 1) / 512, cut = choice / 2;
        uint64_t keep = cut < sectors ? (cut + 1) * 512u : dice % op->size;
        if (choice & 1)
            take_range(w, 0, i + 1);
        w->damage = (struct damage){ TORN, index, keep };
        break;
    }
    case 8:
        w->damage = (struct damage){ SECTORS, index, dice };
        break;
    case 9:
        if (choice == 0) {
            take_range(w, i, w->pending_count);
        } else {
            take_all(w, false);
            for (size_t k = 0; k <= i; k++)
                w->in[w->pending[k]] = is_removal(&w->disk->ops[w->pending[k]]);
        }
        break;
    }
}

/* Take choice `choice` of `model`. False: there is no such choice. */
static bool choose(struct sim_walk *w, int model, uint32_t choice)
{
    uint32_t p;
    uint64_t dice = sim_mix(sim_mix(w->disk->seed ^ w->pos << 20) ^ (uint64_t)model << 56 ^ choice);

    find_pending(w);
    p = (uint32_t)w->pending_count;
    w->damage.kind = INTACT;
    if (choice >= model_choices(w, model))
        return false;
    switch (model) {
    case 0: take_all(w, false); break;
    case 1: take_all(w, true); break;
    case 2: take_range(w, 0, choice + 1); break;
    case 3:
        take_all(w, choice < p);
        w->in[w->pending[choice % p]] = choice >= p;
        break;
    case 4: choose_subset(w, choice, dice); break;
    case 10: choose_profile(w, choice, dice); break;
    default: choose_with_op(w, model, choice, dice);
    }
    return true;
}

/* ---- from a choice to a tree ---- */

static struct sim_blob *node_bytes(struct sim_walk *w, const struct node *node)
{
    struct content c = { 0 };
    struct sim_blob *blob;
    bool same = true;

    for (size_t i = 0; same && i < node->tail_count; i++)
        same = w->fate[node->tail[i]] != DURABLE && !w->in[node->tail[i]];
    if (same)
        return sim_blob_ref(node->base);
    content_resize(&c, node->base->size);
    if (c.size)
        memcpy(c.data, node->base->data, c.size);
    for (size_t i = 0; i < node->tail_count; i++)
        if (w->fate[node->tail[i]] == DURABLE || w->in[node->tail[i]])
            apply_data(w, &c, node->tail[i]);
    blob = sim_blob_new(c.data, c.size);
    free(c.data);
    return blob;
}

/* Build `ino` and what is below it in `to`, which has the same inode numbers. */
static void build(struct sim_walk *w, uint32_t ino, struct sim_disk *to)
{
    const struct node *node = &w->nodes[ino];
    struct sim_inode *inode = &to->inodes[ino];

    if (inode->nlink++)
        return;                             /* a second name */
    inode->is_dir = w->disk->inodes[ino].is_dir;
    inode->mode = w->disk->inodes[ino].mode;
    if (!inode->is_dir) {
        inode->base = node_bytes(w, node);
        inode->size = inode->base->size;
        return;
    }
    sim_entries_copy(&inode->entries, &node->base_entries);
    for (size_t i = 0; i < node->tail_count; i++)
        if (w->fate[node->tail[i]] == DURABLE || w->in[node->tail[i]])
            apply_name(w, &inode->entries, node->tail[i]);
    sim_entries_copy(&inode->base_entries, &inode->entries);
    for (size_t i = 0; i < inode->entries.count; i++)
        build(w, inode->entries.at[i].ino, to);
}

static struct sim_disk *disk_shell(struct sim_disk *from, uint64_t seed)
{
    struct sim_disk *to = sim_disk_new(seed);

    to->inodes = grow(to->inodes, from->inode_count * sizeof *to->inodes);
    memset(to->inodes, 0, from->inode_count * sizeof *to->inodes);
    to->inode_count = to->inode_cap = from->inode_count;
    to->clock_us = from->clock_us + 1000000;
    to->fills = from->fills;
    return to;
}

static void hash_tree(struct sim_disk *disk, uint32_t ino, XXH3_state_t *hash)
{
    struct sim_inode *inode = sim_inode(disk, ino);

    if (!inode->is_dir) {
        struct sim_blob *own = inode->data ? sim_blob_new(inode->data, inode->size) : NULL;
        XXH3_128bits_update(hash, sim_blob_hash(own ? own : inode->base), 16);
        sim_blob_unref(own);
        return;
    }
    XXH3_128bits_update(hash, "(", 1);
    for (size_t i = 0; i < inode->entries.count; i++) {
        const char *name = inode->entries.at[i].name;
        XXH3_128bits_update(hash, name, strlen(name) + 1);
        hash_tree(disk, inode->entries.at[i].ino, hash);
    }
    XXH3_128bits_update(hash, ")", 1);
}

void sim_disk_hash(struct sim_disk *disk, uint64_t hash[2])
{
    XXH3_state_t state;
    XXH128_hash_t h;

    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    for (uint32_t i = 0; i < disk->inode_count; i++)    /* an empty file has no blob yet */
        if (!disk->inodes[i].base)
            disk->inodes[i].base = sim_blob_new(NULL, 0);
    hash_tree(disk, SIM_ROOT, &state);
    h = XXH3_128bits_digest(&state);
    hash[0] = h.low64;
    hash[1] = h.high64;
}

static struct sim_disk *walk_disk(struct sim_walk *w, struct sim_state *state)
{
    struct sim_disk *to;

    if (!choose(w, state->model, state->choice))
        return NULL;
    to = disk_shell(w->disk, sim_mix(w->disk->seed ^ state->pos ^ (uint64_t)state->choice << 32));
    build(w, SIM_ROOT, to);
    sim_disk_hash(to, state->hash);
    return to;
}

struct sim_disk *sim_state_disk(struct sim_disk *disk, struct sim_state *state)
{
    struct sim_walk *w = sim_walk_new(disk);
    struct sim_disk *to = NULL;

    if (state->pos <= disk->op_count) {
        sim_walk_to(w, state->pos);
        to = walk_disk(w, state);
    }
    sim_walk_free(w);
    return to;
}

struct sim_disk *sim_disk_copy(struct sim_disk *disk)
{
    struct sim_state state = { .seed = disk->seed, .pos = disk->op_count, .model = 1 };

    return sim_state_disk(disk, &state);
}

static int export_dir(struct sim_disk *disk, uint32_t ino, const char *path)
{
    struct sim_inode *dir = sim_inode(disk, ino);

    for (size_t i = 0; i < dir->entries.count; i++) {
        struct sim_inode *inode = sim_inode(disk, dir->entries.at[i].ino);
        char name[1024];
        FILE *out;
        int error = 0;
        snprintf(name, sizeof name, "%s/%s", path, dir->entries.at[i].name);
        if (inode->is_dir) {
            if (mkdir(name, 0755) != 0 && errno != EEXIST)
                return errno;
            error = export_dir(disk, dir->entries.at[i].ino, name);
        } else if (!(out = fopen(name, "wb"))) {
            error = errno;
        } else {
            if (inode->size && fwrite(sim_inode_bytes(inode), inode->size, 1, out) != 1)
                error = EIO;
            if (fclose(out) != 0)
                error = EIO;
        }
        if (error)
            return error;
    }
    return 0;
}

int sim_disk_export(struct sim_disk *disk, const char *path)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return errno;
    return export_dir(disk, SIM_ROOT, path);
}

/* ---- enumeration ---- */

struct seen {
    uint64_t hash[2];
    int64_t found;
};

struct seen_set {
    struct seen *at;
    size_t count, cap;          /* a power of two */
};

static struct seen *seen_find(struct seen_set *set, const uint64_t hash[2], bool *is_new)
{
    size_t i;

    if (set->count * 2 >= set->cap) {
        struct seen_set bigger = { NULL, 0, set->cap ? set->cap * 2 : 1024 };
        bigger.at = grow(NULL, bigger.cap * sizeof *bigger.at);
        memset(bigger.at, 0, bigger.cap * sizeof *bigger.at);
        for (i = 0; i < set->cap; i++)
            if (set->at[i].hash[0] | set->at[i].hash[1])
                *seen_find(&bigger, set->at[i].hash, is_new) = set->at[i];
        free(set->at);
        *set = bigger;
    }
    for (i = hash[0] & (set->cap - 1);; i = (i + 1) & (set->cap - 1)) {
        struct seen *s = &set->at[i];
        *is_new = !(s->hash[0] | s->hash[1]);
        if (*is_new) {
            s->hash[0] = hash[0];
            s->hash[1] = hash[1];
            set->count++;
            return s;
        }
        if (s->hash[0] == hash[0] && s->hash[1] == hash[1])
            return s;
    }
}

static void report(struct sim_enum *e, struct sim_state *state, const char *what)
{
    if (e->failures++ == 0)
        e->failed = *state;
    if (!e->quiet)
        fprintf(stderr, "  crash state %s: %s\n    SIM_REPLAY=%llu,%zu,%d,%u,DIR\n", what,
                state->why[0] ? state->why : "(no reason given)",
                (unsigned long long)state->seed, state->pos, state->model, state->choice);
}

/* One state: opened if it is new, and allowed or not. */
static void visit(struct sim_walk *w, struct sim_enum *e, struct seen_set *set, int model,
                  uint32_t choice)
{
    struct sim_state state = { .seed = w->disk->seed, .pos = w->pos, .model = model,
                               .choice = choice };
    struct sim_disk *disk = walk_disk(w, &state);
    struct seen *seen;
    bool is_new;

    if (!disk)
        return;
    e->generated++;
    seen = seen_find(set, state.hash, &is_new);
    if (is_new) {
        e->distinct++;
        seen->found = e->open(e->ctx, &state, disk);
        if (seen->found < 0)
            report(e, &state, "is wrong");
    } else {
        sim_disk_free(disk);
    }
    if (seen->found >= 0 && e->allow && !e->allow(e->ctx, &state, seen->found))
        report(e, &state, "is not allowed there");
}

static bool is_near(const struct sim_disk *disk, size_t pos, size_t *mark)
{
    for (size_t i = pos ? pos - 1 : 0; i <= pos && i < disk->op_count; i++)
        if (disk->ops[i].kind == SIM_SYNC || disk->ops[i].kind == SIM_SYNCDIR)
            return true;
    while (*mark < disk->mark_count && disk->marks[*mark].pos < pos)
        ++*mark;
    return *mark < disk->mark_count && disk->marks[*mark].pos == pos;
}

/* SIM_REPLAY names a state of this disk? Then build, export and check that one only. */
static bool replay(struct sim_disk *disk, struct sim_enum *e)
{
    const char *text = getenv("SIM_REPLAY");
    unsigned long long seed;
    struct sim_state state = { .model = 0 };
    struct sim_disk *after;
    char dir[512];
    int64_t found;

    if (!text || sscanf(text, "%llu,%zu,%d,%u,%511s", &seed, &state.pos, &state.model,
                        &state.choice, dir) != 5 || seed != disk->seed)
        return false;
    state.seed = seed;
    after = sim_state_disk(disk, &state);
    if (!after) {
        fprintf(stderr, "SIM_REPLAY: no such state\n");
        e->failures++;
        return true;
    }
    fprintf(stderr, "the ops before the crash:\n");
    sim_disk_dump(disk, state.pos > 60 ? state.pos - 60 : 0, state.pos);
    if (sim_disk_export(after, dir) == 0)
        fprintf(stderr, "the state was written to %s\n", dir);
    e->generated = e->distinct = 1;
    found = e->open(e->ctx, &state, after);
    fprintf(stderr, "found %lld\n", (long long)found);
    if (found < 0)
        report(e, &state, "is wrong");
    else if (e->allow && !e->allow(e->ctx, &state, found))
        report(e, &state, "is not allowed there");
    return true;
}

bool sim_enumerate(struct sim_disk *disk, struct sim_enum *e)
{
    uint32_t cap = e->cap ? e->cap : 64, sparse = e->sparse ? e->sparse : 1;
    uint32_t models = e->models ? e->models : SIM_M_ALL;
    unsigned failures_max = e->failures_max ? e->failures_max : 3;
    struct seen_set set = { 0 };
    struct sim_walk *w;
    size_t mark = 0;

    e->generated = e->distinct = e->failures = 0;
    if (replay(disk, e))
        return e->failures == 0;
    w = sim_walk_new(disk);
    for (size_t pos = e->pos_first; pos <= disk->op_count; pos++) {
        bool full = is_near(disk, pos, &mark) || sim_mix(disk->seed ^ pos) % sparse == 0;
        if (e->pos_every > 1 && sim_mix(~disk->seed ^ pos) % e->pos_every)
            continue;
        sim_walk_to(w, pos);
        find_pending(w);
        for (int model = 0; model < SIM_MODEL_COUNT; model++) {
            uint32_t n;
            if (!(models & SIM_M(model)) || (model > 1 && !full))
                continue;
            n = model_choices(w, model);
            for (uint32_t i = 0; i < n && i < cap; i++) {
                /* a fixed draw: the same states in every run */
                uint32_t choice = n <= cap ? i
                    : (uint32_t)(sim_mix(disk->seed ^ pos << 24 ^ (uint64_t)model << 52 ^ i) % n);
                visit(w, e, &set, model, choice);
                if (e->failures >= failures_max || (e->states_max && e->distinct >= e->states_max))
                    goto out;
            }
        }
    }
out:
    sim_walk_free(w);
    free(set.at);
    return e->failures == 0;
}
