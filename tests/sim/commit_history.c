/*
 * commit_history.c -- what was committed, when, and what was promised of it; and
 * so, which state a crash may leave.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/commit_parts.h"

/* ---- the history ------------------------------------------------------------------ */

uint64_t cm_digest(const struct cm_content *c, int file, int generation)
{
    const uint16_t *tables[3] = { c->rows[file][CM_JL], c->rows[file][CM_SL],
                                  c->rows[file][CM_TL0 + (generation + CM_TL - 1) % CM_TL] };
    uint64_t d = (uint64_t)file + 1;

    for (int t = 0; t < (generation ? 3 : 2); t++)
        for (int i = 0; i < CM_KEYS; i++)
            d = sim_mix(d ^ tables[t][i]);
    return d;
}

static void digest_all(struct cm_txn *t)
{
    for (int f = 0; f < CM_FILES; f++)
        for (int g = 0; g <= CM_TL; g++)
            t->digest[f][g] = cm_digest(&t->after, f, g);
}

void cm_history_init(struct cm_history *history, const struct cm_content *first)
{
    /* The rest was never used: to clear a quarter of a megabyte for each state takes its time. */
    memset(history->txns, 0, sizeof history->txns[0] * (size_t)history->count);
    cm_history_clear(history);
    history->fault_pos = 0;
    history->count = 1;
    history->txns[0].after = *first;
    digest_all(&history->txns[0]);
}

void cm_history_clear(struct cm_history *history)
{
    free(history->promises);
    history->promises = NULL;
    history->promise_count = history->promise_cap = 0;
}

void cm_history_print(const struct cm_history *history, size_t pos)
{
    int at = 1;

    while (at + 1 < history->count && history->txns[at].begun <= pos)
        at++;
    for (int n = at > 12 ? at - 12 : 1; n < history->count && n <= at + 1; n++) {
        const struct cm_txn *t = &history->txns[n];
        printf("    %3d at %zu..%zd:%s", n, t->begun, (ssize_t)t->ended, t->dead ? " dead" : "");
        for (int f = 0; f < CM_FILES; f++)
            if (t->lsm[f] || t->sql[f])
                printf(" %s%s%s%s", cm_schemas[f], t->lsm[f] ? " lsm" : "", t->sql[f] ? " sql" : "",
                       t->plain[f] ? " plain" : "");
        printf("\n");
    }
}

void cm_promise(struct cm *cm, int file, enum cm_promise_kind kind, int n)
{
    struct cm_history *h = cm->history;

    if (h->promise_count == h->promise_cap) {
        h->promise_cap = h->promise_cap ? h->promise_cap * 2 : 256;
        h->promises = realloc(h->promises, h->promise_cap * sizeof *h->promises);
        if (!h->promises)
            abort();
    }
    h->promises[h->promise_count++] = (struct cm_promise){
        cm->sim->disk->op_count, (uint8_t)file, (uint8_t)kind, (uint16_t)n };
}

int cm_promised(const struct cm_history *h, size_t pos, int file, enum cm_promise_kind kind)
{
    int most = 0;

    for (size_t i = 0; i < h->promise_count; i++) {
        const struct cm_promise *p = &h->promises[i];
        if (h->fault_pos && p->pos > h->fault_pos && kind >= CM_KEPT_LSM)
            continue;
        if (p->pos <= pos && p->file == file && p->kind == kind && p->n > most)
            most = p->n;
    }
    return most;
}

static bool is_joint(const struct cm_txn *t, int file)
{
    return t->lsm[file] && t->sql[file];
}

/* The newest transaction up to n that has (lsm, sql) as asked for; 0: none. */
int cm_newest(const struct cm_history *h, int n, int file, bool lsm, bool sql_too)
{
    for (; n > 0; n--) {
        const struct cm_txn *t = &h->txns[n];
        if (!t->dead && (!lsm || t->lsm[file]) && (!sql_too || t->sql[file]))
            return n;
    }
    return 0;
}

/* The first that SQLite committed something of; 0: none. */
int cm_first_sql(const struct cm_history *h, int file)
{
    for (int n = 1; n < h->count; n++)
        if (!h->txns[n].dead && h->txns[n].sql[file])
            return n;
    return 0;
}

struct cm_txn *cm_txn_new(struct cm *cm)
{
    struct cm_history *h = cm->history;
    struct cm_txn *t;

    if (h->count == CM_TXNS)
        abort();
    cm->n = h->count++;
    t = &h->txns[cm->n];
    memset(t, 0, sizeof *t);
    t->after = cm->now;
    t->ended = t->begun = SIZE_MAX;
    return t;
}

/* Its COMMIT follows. */
void cm_txn_commits(struct cm *cm, struct cm_txn *t)
{
    digest_all(t);
    t->begun = cm->sim->disk->op_count;
}

void cm_txn_dead(struct cm *cm, struct cm_txn *t)
{
    if (cm->sim->disk->dead)
        return;                 /* whoever comes afterwards finds out */
    t->dead = true;
    t->ended = cm->sim->disk->op_count;
    if (t->begun == SIZE_MAX)
        t->begun = t->ended;
}

/* What SQLite promises under this mode when COMMIT returns (measured: crash_sqlite.c). */
static bool is_kept_by_sqlite(const struct cm *cm, int conn)
{
    bool full = strcmp(cm->sync[conn], "NORMAL") != 0;

    if (cm_is_wal(cm))
        return full;
    if (strcmp(cm->journal, "PERSIST") == 0)
        return true;
    if (strcmp(cm->journal, "TRUNCATE") == 0)
        return full;
    return strcmp(cm->sync[conn], "EXTRA") == 0;
}

/* It is committed, unless a later one, that came in the gap, says so already. */
void cm_land(struct cm *cm, int n)
{
    if (n <= cm->now_n)
        return;
    cm->now = cm->history->txns[n].after;
    cm->now_n = n;
}

void cm_txn_acked(struct cm *cm, struct cm_txn *t, int conn)
{
    struct cm_history *h = cm->history;
    int n = (int)(t - h->txns);
    bool full = strcmp(cm->sync[conn], "NORMAL") != 0;

    t->ended = cm->sim->disk->op_count;
    cm_land(cm, n);
    cm->acked++;
    for (int f = 0; f < cm->files; f++) {
        int kept;

        if (t->lsm[f])
            cm_promise(cm, f, CM_ACKED_LSM, n);
        if (t->sql[f])
            cm_promise(cm, f, CM_ACKED_SQL, n);
        if (t->sql[f]) {
            kept = is_kept_by_sqlite(cm, conn) ? n
                   : cm_is_wal(cm) ? 0 : cm_newest(h, n - 1, f, false, true);
            cm_promise(cm, f, CM_KEPT_SQL, kept);
            cm_promise(cm, f, CM_KEPT_LSM, cm_newest(h, kept, f, true, true));
        } else if (t->lsm[f] && full) {
            cm_promise(cm, f, CM_KEPT_LSM, n);
            cm_promise(cm, f, CM_KEPT_SQL, cm_newest(h, n, f, true, true));
        }
    }
}

/* ---- judging ---------------------------------------------------------------------------- */

struct candidates {
    int lsm[CM_TXNS], sql[CM_TXNS];
    int lsm_count, sql_count;
};

static bool is_consistent(const struct cm_history *h, int file, int lsm, int sql_n)
{
    for (int n = 1; n < h->count; n++)
        if (is_joint(&h->txns[n], file) && !h->txns[n].dead && (n <= lsm) != (n <= sql_n))
            return false;
    return lsm == sql_n || !((h->txns[lsm].doubt && h->txns[lsm].sql[file]) ||
                             (h->txns[sql_n].doubt && h->txns[sql_n].lsm[file]));
}

/* Its COMMIT reported a failure, and nobody saw it; but SQLite may bring it back until the next
   one overwrites it. Then it must be there on both sides. */
static bool is_doubtful(const struct cm_history *h, int file, int n, size_t pos)
{
    if (!h->txns[n].doubt || !h->txns[n].sql[file])
        return false;
    for (int later = n + 1; later < h->count; later++)
        if (h->txns[later].sql[file] && !h->txns[later].dead && h->txns[later].ended <= pos)
            return false;
    return true;
}

/* A solo that was in flight when the process died, and whose ABORT was read from the page cache: the
   next record goes to a log without it; until then a power cut may bring it back. */
static bool is_killed(const struct cm_history *h, int file, int n, size_t pos)
{
    if (!h->txns[n].killed || h->txns[n].sql[file])
        return false;
    for (int later = n + 1; later < h->count; later++)
        if (h->txns[later].lsm[file] && !h->txns[later].dead && h->txns[later].ended <= pos)
            return false;
    return true;
}

/* All s that go with some L, of one file. */
static int find_sql(const struct cm_history *h, const struct sim_state *state, int file,
                    const struct cm_found *found, int needs[2], int out[CM_TXNS], int *lsm_seen)
{
    static struct candidates c;
    int g = found->content.generation[file], count = 0;

    c.lsm_count = c.sql_count = 0;
    for (int n = 0; n < h->count; n++) {
        const struct cm_txn *t = &h->txns[n];
        const struct cm_content *a = &t->after;

        if (n && (t->begun == SIZE_MAX || t->begun > state->pos))
            continue;
        if (!n || t->lsm[file]) {
            /* Rolled back: only while that was under way, and only if its record alone decides. */
            bool possible = !t->dead || (!t->sql[file] && state->pos <= t->ended) ||
                            is_doubtful(h, file, n, state->pos) || is_killed(h, file, n, state->pos);
            if (possible && t->digest[file][g <= CM_TL ? g : 0] == found->digest[file]) {
                if (n > *lsm_seen)
                    *lsm_seen = n;
                if (n >= needs[0])
                    c.lsm[c.lsm_count++] = n;
            }
        }
        if (!n || (t->sql[file] && (!t->dead || is_doubtful(h, file, n, state->pos)))) {
            bool same = a->plain[file] == found->content.plain[file] &&
                        a->generation[file] == g &&
                        memcmp(a->rows[file][CM_PP], found->content.rows[file][CM_PP],
                               sizeof a->rows[file][CM_PP]) == 0;
            if (same && n >= needs[1])
                c.sql[c.sql_count++] = n;
        }
    }
    for (int i = 0; i < c.sql_count; i++)
        for (int k = 0; k < c.lsm_count; k++)
            if (is_consistent(h, file, c.lsm[k], c.sql[i])) {
                out[count++] = c.sql[i];
                break;
            }
    return count;
}

bool cm_allow(struct cm *cm, struct sim_state *state, const struct cm_found *found)
{
    const struct cm_history *h = cm->history;
    static int s[CM_FILES][CM_TXNS];
    int count[CM_FILES] = { 0 };
    bool alive = state->model == 1;

    for (int f = 0; f < cm->files; f++) {
        int needs[2] = { cm_promised(h, state->pos, f, alive ? CM_ACKED_LSM : CM_KEPT_LSM),
                         cm_promised(h, state->pos, f, alive ? CM_ACKED_SQL : CM_KEPT_SQL) };
        int lsm_seen = -1;

        count[f] = find_sql(h, state, f, found, needs, s[f], &lsm_seen);
        if (count[f] == 0) {
            snprintf(state->why, sizeof state->why,
                     "%s: found lsm %d (sl says %d), ordinary %d (tl %d); promised %d and %d",
                     cm_schemas[f], lsm_seen, found->content.rows[f][CM_SL][0],
                     found->content.plain[f], found->content.generation[f], needs[0], needs[1]);
            return false;
        }
    }
    if (cm->files < 2 || cm_is_wal(cm))
        return true;
    for (int i = 0; i < count[0]; i++)
        for (int k = 0; k < count[1]; k++) {
            bool together = true;
            for (int n = 1; n < h->count && together; n++)
                if (h->txns[n].sql[0] && h->txns[n].sql[1] && !h->txns[n].dead)
                    together = (n <= s[0][i]) == (n <= s[1][k]);
            if (together)
                return true;
        }
    snprintf(state->why, sizeof state->why,
             "a transaction over two files is in one of them only (%d, %d)", s[0][0], s[1][0]);
    return false;
}
