/*
 * sim_rules.h -- what must hold with every single op of a store, whatever the
 * crash (failures.md C-04, C-09; commit.md R11):
 *
 *   - a MANIFEST edit names a table only when the table's bytes, its size and its
 *     name are durable;
 *   - CURRENT names a MANIFEST only when that one's bytes and name are durable;
 *   - nothing is removed that the durable CURRENT's MANIFEST still names: the
 *     MANIFEST itself, a table, a log that is needed;
 *   - after a failed sync or write of a file nothing is written to it again (it
 *     may be truncated and synced, or removed), but to a log for whose record there was no
 *     room, once that was cut off and the cut synced;
 *   - a table is not written to once a durable MANIFEST names it.
 *
 * A directory is a store when it holds a file CURRENT or MANIFEST-*.
 */
#ifndef SIM_SIM_RULES_H
#define SIM_SIM_RULES_H

#include "tests/sim/sim_crash.h"

struct sim_rules;

/* Watch this disk from now on; the first break is in disk->broken. */
struct sim_rules *sim_rules_new(struct sim_disk *disk);
void sim_rules_free(struct sim_rules *rules);       /* NULL is fine */

#endif
