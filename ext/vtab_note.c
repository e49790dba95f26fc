/*
 * vtab_note.c -- what a tree notes about its keys: whether a key column without a numeric affinity may hold text that is a
 * number. SQLite compares such text as a number where the other side has a numeric affinity, and does not tell a virtual
 * table; with the note a comparison with a number need not look at all text that begins with a digit.
 *
 *     key LSM_VTAB_NOTE_NUMBER_TEXT    absent: no key is such a text
 *                                      "i": those that are are integers as printed: 12, -3, not 012, +1, 1.0, 1e3
 *                                      "": any (all that older versions noted, and repairs)
 */
#include <string.h>

#include "ext/vtab.h"

static const char *const values[] = { [LSM_VTAB_NUMBER_TEXT_INTEGERS] = "i", [LSM_VTAB_NUMBER_TEXT_ANY] = "" };

static struct lsm_slice note_key(void)
{
    return (struct lsm_slice){ (const uint8_t *)LSM_VTAB_NOTE_NUMBER_TEXT, 1 };
}

int lsm_vtab_note_read(const struct lsm_vtab_table *table, const struct lsm_read *read, enum lsm_vtab_number_text *level)
{
    struct lsm_value value = { 0 };
    int rc = lsm_tree_get(table->tree, read, note_key(), &value);

    *level = rc == LSM_NOTFOUND ? LSM_VTAB_NUMBER_TEXT_NONE : LSM_VTAB_NUMBER_TEXT_ANY;
    if (rc == LSM_OK && value.bytes.size == 1 && value.bytes.data[0] == 'i')
        *level = LSM_VTAB_NUMBER_TEXT_INTEGERS;
    lsm_value_release(&value);
    return rc == LSM_NOTFOUND ? LSM_OK : rc;
}

enum lsm_vtab_number_text lsm_vtab_note_needed(const struct lsm_vtab_table *table, const struct lsm_vtab_value *row)
{
    const struct lsm_vtab_schema *schema = table->schema;
    enum lsm_vtab_number_text needed = LSM_VTAB_NUMBER_TEXT_NONE;
    int i;

    for (i = 0; i < schema->key_count && table->number_text_noted != LSM_VTAB_NUMBER_TEXT_ANY; i++) {
        const struct lsm_vtab_value *v = &row[schema->key[i].column];

        if (v->type != SQLITE_TEXT || lsm_vtab_range_is_exact(&schema->key[i]) || !lsm_vtab_text_is_number(v->u.bytes))
            continue;
        if (!lsm_vtab_text_is_integer(v->u.bytes))
            return LSM_VTAB_NUMBER_TEXT_ANY;
        needed = LSM_VTAB_NUMBER_TEXT_INTEGERS;
    }
    return needed > table->number_text_noted ? needed : LSM_VTAB_NUMBER_TEXT_NONE;
}

int lsm_vtab_note_write(struct lsm_vtab_table *table, const struct lsm_read *own, enum lsm_vtab_number_text needed)
{
    enum lsm_vtab_number_text level;
    const char *text = values[needed];
    int rc = lsm_vtab_note_read(table, own, &level);

    if (rc != LSM_OK)
        return rc;
    if (level < needed)
        return lsm_txn_put(table->ctx->txn, table->tree, note_key(), (struct lsm_slice){ (const uint8_t *)text, strlen(text) });
    if (lsm_vtab_note_read(table, NULL, &level) == LSM_OK)     /* committed, not only ours? */
        table->number_text_noted = level;
    return LSM_OK;
}
