/* sim.c -- puts a simulated machine together. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"
#include "tests/sim/sim_memory.h"

/* SQLite's generator is filled once a process, from the default VFS: let it be filled by ours. */
static void seed_sqlite(struct sim_vfs *vfs)
{
    sqlite3_vfs *before;
    unsigned char byte;

    sqlite3_initialize();
    before = sqlite3_vfs_find(NULL);
    sqlite3_vfs_register(&vfs->vfs, 1);
    sqlite3_randomness(0, NULL);
    sqlite3_randomness(1, &byte);
    sqlite3_vfs_register(before, 1);
}

struct sim *sim_on(struct sim_disk *disk)
{
    struct sim *sim = calloc(1, sizeof *sim);

    if (!sim)
        abort();
    sim->disk = disk;
    sim_memory_use();           /* the VFS is SQLite's first use */
    sim->os = sim_os_new(disk);
    sim->vfs = sim_vfs_new(disk);
    seed_sqlite(sim->vfs);
    return sim;
}

struct sim *sim_new(uint64_t seed)
{
    struct sim_disk *empty = sim_disk_new(seed), *disk;
    uint32_t ino;

    if (sim_mkdir(empty, SIM_ROOT, "db", 0755, &ino))
        abort();
    disk = sim_disk_copy(empty);        /* no crash is before /db */
    disk->seed = disk->chance = seed;
    sim_disk_free(empty);
    return sim_on(disk);
}

void sim_watch(struct sim *sim)
{
    sim->rules = sim_rules_new(sim->disk);
}

bool sim_free(struct sim *sim)
{
    bool ok = true;

    if (!sim)
        return true;
    if (sim->disk->broken[0]) {
        size_t pos = sim->disk->broken_pos;
        fprintf(stderr, "simulation: a rule is broken: %s\n", sim->disk->broken);
        sim_disk_dump(sim->disk, pos > 16 ? pos - 16 : 0, pos);
        ok = false;
    }
    sim_rules_free(sim->rules);
    ok = sim_vfs_free(sim->vfs) && ok;
    ok = sim_os_free(sim->os) && ok;
    sim_disk_free(sim->disk);
    free(sim);
    return ok;
}

bool sim_allow_prefix(struct sim_disk *disk, struct sim_state *state, int64_t n)
{
    int64_t most = sim_disk_mark_at(disk, state->pos, SIM_MARK_BEGUN, 0);
    int64_t least = sim_disk_mark_at(disk, state->pos,
                                     state->model == 1 ? SIM_MARK_ACKED : SIM_MARK_DURABLE, 0);

    if (n >= least && n <= most)
        return true;
    snprintf(state->why, sizeof state->why, "the first %lld transactions are there, of %lld..%lld",
             (long long)n, (long long)least, (long long)most);
    return false;
}
