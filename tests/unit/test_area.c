/* test_area.c -- places in the host's redo area: none is given out that an uncovered record has. */
#include "lsm/db/area.h"
#include "tests/test.h"

enum { ROOM = 1 << 12, STEPS = 200000 };

TEST(area_gives_places_upwards_and_again_from_the_beginning_behind_a_sync)
{
    struct lsm_area area = { 0 };
    struct lsm_area_mark mark;
    uint64_t off;

    CHECK(lsm_area_find(&area, 60, 100, &off) && off == 0);
    CHECK(!lsm_area_find(&area, 101, 100, &off));
    lsm_area_take(&area, 0, 60);
    CHECK(!lsm_area_find(&area, 50, 100, &off));
    mark = lsm_area_mark(&area);
    CHECK(lsm_area_find(&area, 30, 100, &off) && off == 60);
    lsm_area_take(&area, off, 30);
    CHECK_INT(lsm_area_used(&area), 90);
    lsm_area_covered(&area, mark);
    CHECK_INT(lsm_area_used(&area), 30);
    CHECK(!lsm_area_find(&area, 61, 100, &off));
    CHECK(lsm_area_find(&area, 50, 100, &off) && off == 0);
    lsm_area_take(&area, off, 50);
    CHECK_INT(lsm_area_used(&area), 80);
    CHECK(lsm_area_find(&area, 10, 100, &off) && off == 50);
    CHECK(!lsm_area_find(&area, 11, 100, &off));
    lsm_area_covered(&area, mark);              /* of the lap before, and told already */
    CHECK_INT(lsm_area_used(&area), 80);
    mark = lsm_area_mark(&area);
    lsm_area_reset(&area);
    CHECK_INT(lsm_area_used(&area), 0);
    lsm_area_take(&area, 0, 40);
    lsm_area_covered(&area, mark);              /* from before the reset */
    CHECK_INT(lsm_area_used(&area), 40);
}

/* Each byte knows the record that has it; the model knows which records are covered. */
TEST(area_never_gives_out_a_byte_that_an_uncovered_record_has)
{
    static uint32_t owner[ROOM];
    struct lsm_area area = { 0 };
    struct lsm_area_mark mark = { 0, 0 };
    uint32_t records = 0, covered = 0, marked = 0;
    uint64_t room = ROOM, refused = 0, laps = 0;
    bool runs = false;

    memset(owner, 0, sizeof owner);
    for (int i = 0; i < STEPS; i++) {
        uint64_t size = 1 + test_random() % (test_random() % 8 ? 100 : 900), off = 0, used = 0;

        switch (test_random() % 16) {
        case 0:
            runs = true;
            mark = lsm_area_mark(&area);
            marked = records;
            break;
        case 1: case 2:
            if (runs)
                lsm_area_covered(&area, mark);
            if (runs && covered < marked)
                covered = marked;
            runs = false;
            break;
        case 3:
            if (test_random() % 8 == 0) {
                lsm_area_reset(&area);
                covered = records;
            }
            break;
        case 4:
            if (test_random() % 8 == 0)
                room = test_random() % 4 ? ROOM : ROOM / 8 * (test_random() % 8);
            break;
        default:
            if (!lsm_area_find(&area, size, room, &off)) {
                refused++;
                break;
            }
            if (!CHECK(off + size <= room))
                return;
            laps += off < area.next;
            records++;
            for (uint64_t k = off; k < off + size; k++) {
                if (!CHECK(owner[k] <= covered))
                    return;
                owner[k] = records;
            }
            lsm_area_take(&area, off, size);
        }
        for (uint64_t k = 0; k < ROOM; k++)
            used += owner[k] > covered;
        if (!CHECK(lsm_area_used(&area) >= used))
            return;
    }
    CHECK(laps > 500 && refused > 1000);
}
