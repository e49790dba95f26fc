#!/usr/bin/env bash
#
# check_readme.sh -- what the README says is so: its tour is sql/tour.sql, its commands
# run, what it says is refused is refused with these words, its C program builds and works.
#
# Prints `ok NAME` / `FAIL NAME`. BUILD is the directory of a flavour that was built.
set -u
cd "$(dirname "$0")/../.." || exit 2

top=$PWD
build=${BUILD:-build}
case $build in /*) ;; *) build=$top/$build ;; esac
[ -e "$build/lsmvtab.so" ] || { echo "FAIL readme: $build is not built"; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-readme-XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
. tests/claim.sh

# block README KIND: the lines of all fenced blocks of this kind.
block() { awk -v fence="\`\`\`$2" '$0 == "```" { on = 0 } on { print } $0 == fence { on = 1 }' "$1"; }

# The directory that the README's commands think they are in.
here=$work/here
mkdir "$here"
ln -s "$build/lsmvtab.so" "$here/lsmvtab.so"
ln -s "$build" "$here/build"
ln -s "$top/sql" "$top/ext" "$top/lsm" "$here"
block README.md c >"$here/app.c"
block README.md 'c engine' >"$here/engine.c"

shell() { (cd "$here" && sqlite3 -batch "$1" -cmd '.load ./lsmvtab' "${@:2}" 2>&1); }

# ---- the checks --------------------------------------------------------------------

tour_is_the_file() { diff <(block "$1" sql) "$2"; }

# refused_with_its_words README: "statement;  -- words" for each line of a refused block.
refused_with_its_words() {
    local line statement words said count=0 wrong=0
    rm -f "$here"/refused.db*; rm -rf "$here/refused.db-lsm"
    shell refused.db 'CREATE VIRTUAL TABLE t USING lsm(k PRIMARY KEY, v); INSERT INTO t VALUES(1, 1)' || return 1
    while IFS= read -r line; do
        statement=${line%%  -- *}
        words=${line#*-- }
        statement=${statement%% -- *}
        said=$(shell refused.db "$statement")
        case $said in
        *"$words"*) count=$((count + 1)) ;;
        *) echo "$statement"; echo "said: $said, not: $words"; wrong=1 ;;
        esac
    done < <(block "$1" 'sql refused')
    [ "$(shell refused.db 'SELECT count(*), sum(v) FROM t')" = '1|1' ] || { echo "t was changed"; wrong=1; }
    [ $wrong -eq 0 ] && [ $count -ge 10 ]
}

# commands_run README: make's targets are there, all else runs and says no error.
commands_run() {
    local line count=0
    shell app.db 'CREATE VIRTUAL TABLE a USING lsm; INSERT INTO a VALUES(1, 2)' || return 1
    while IFS= read -r line; do
        line=${line%%  *}
        case $line in
        make*) make -n $(echo "$line" | cut -d' ' -f2-) >/dev/null || { echo "$line"; return 1; } ;;
        *)
            (cd "$here" && bash -c "$line") >"$work/out" 2>&1 || { echo "$line"; cat "$work/out"; return 1; }
            if grep -iE 'error|lsm:' "$work/out"; then echo "$line"; return 1; fi
            ;;
        esac
        count=$((count + 1))
    done < <(block "$1" sh)
    [ $count -ge 9 ]
}

backup_is_whole() { [ "$(shell backup.db 'SELECT * FROM a')" = '1|2' ]; }

program_works() {
    (cd "$here" && rm -rf app.db app.db-lsm && ./app && ./app) &&
        [ "$(shell app.db 'INSERT INTO kv VALUES(1, 2); SELECT * FROM kv')" = '1|2' ]
}

engine_works() { [ "$(cd "$here" && rm -rf store && ./engine && ./engine)" = "$(printf 'apple\napple')" ]; }

# A plan that uses the key says which column, one that does not says none.
plans_are_as_written() {
    local said
    said=$(shell plans.db "CREATE VIRTUAL TABLE t USING lsm(a, b, c, PRIMARY KEY(a, b)); ATTACH ':memory:' AS aux; CREATE VIRTUAL TABLE aux.u USING lsm;
        EXPLAIN QUERY PLAN SELECT c FROM t WHERE a = 1 AND b > 2; EXPLAIN QUERY PLAN SELECT c FROM t WHERE c = 1;
        EXPLAIN QUERY PLAN SELECT c FROM t WHERE a IN (1, 2); SELECT count(*) > 0 FROM lsm_stats('aux.u'); SELECT lsm_check('aux')" |
        sed 's/.*INDEX 0:/plan /')
    echo "$said"
    [ "$said" = "$(printf 'QUERY PLAN\nplan =0o>1\nQUERY PLAN\nplan \nQUERY PLAN\nplan i0\n1\nok')" ]
}

bare_name_fails() {
    local said
    said=$(cd "$here" && sqlite3 -batch :memory: '.load lsmvtab' 2>&1)
    [[ $said == *"cannot open shared object file"* ]]
}

links_lead_somewhere() {
    local link
    grep -oE '\]\([^)]+\)' "$1" | tr -d '])(' | while read -r link; do
        case $link in http*) ;; *) [ -e "$link" ] || { echo "$link"; exit 1; } ;; esac
    done
}

# The first column of a table of the README.
names_in_table() { awk -v head="$2" '$0 ~ head { on = 1; next } on && !/^\|/ { exit } on && !/^\|-/ { print }' "$1"; }

options_are_taken() {
    local option count=0
    for option in $(names_in_table README.md '^. option ' | cut -d'|' -f2 | tr -d '\`'); do
        grep -q "\"$option\"" ext/vtab_option.c || { echo "$option"; return 1; }
        count=$((count + 1))
    done
    [ $count -eq "$(grep -oE 'there are [a-z_]+, [a-z_, ]*' ext/vtab_option.c | tr , '\n' | wc -l)" ] || return 1
    for option in compression=none compression=zstd compression=zstd:1 compression=zstd:19 \
        filter_bits=0 filter_bits=20 bloom_bits=10 block_size=512 "block_size='8KB'" "block_size='1MB'"; do
        shell ":memory:" "CREATE VIRTUAL TABLE o USING lsm(a PRIMARY KEY, $option)" | grep . && return 1
    done
    shell ":memory:" 'CREATE VIRTUAL TABLE o USING lsm(a PRIMARY KEY, filter_bits=21)' | grep '0 (no filter) to 20'
}

tables_of_commands_work() {
    local said
    said=$(names_in_table README.md '^. command ' | grep -oE '`INSERT[^`]*`' | tr -d '`' | sed 's/$/;/' |
        { echo 'CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 2);'; cat; echo "INSERT INTO t VALUES(1, 2); SELECT * FROM t;
            INSERT INTO t(t) VALUES('optimize');
            SELECT value FROM lsm_stats('t') WHERE name = 'memory_budget';
            SELECT lsm_version() <> '', lsm_debug() <> '', (SELECT count(*) > 1 FROM lsm_stats('t')),
                (SELECT count(files) > 0 FROM lsm_levels('t'));"; } >"$work/commands.sql"
        shell commands.db <"$work/commands.sql")
    echo "$said"
    [ "$said" = "$(printf '1|2\n268435456\n1|1|1|1')" ] && [ "$(wc -l <"$work/commands.sql")" -ge 8 ]
}

what_works_works() {
    local said
    said=$(shell works.db "CREATE VIRTUAL TABLE t USING lsm(k PRIMARY KEY, v);
        INSERT INTO t VALUES(1, 2) RETURNING v; INSERT OR REPLACE INTO t VALUES(1, 3); INSERT OR IGNORE INTO t VALUES(1, 4);
        CREATE TABLE p(a); CREATE TRIGGER r AFTER INSERT ON p BEGIN INSERT INTO t VALUES(new.a, 'trigger'); END;
        INSERT INTO p VALUES(7); ALTER TABLE t RENAME TO u; SELECT * FROM u;")
    echo "$said"
    [ "$said" = "$(printf '2\n1|3\n7|trigger')" ]
}

limits_that_are_not_statements() {
    shell limits.db "CREATE VIRTUAL TABLE t USING lsm(k PRIMARY KEY, v); INSERT INTO t VALUES(1, 2);
        CREATE TABLE child(a REFERENCES t(k)); PRAGMA foreign_keys = 1; VACUUM INTO 'into.db'" || return 1
    shell limits.db 'PRAGMA foreign_keys = 1; INSERT INTO child VALUES(1)' | grep -i error || return 1
    shell limits.db .dump | grep 'INSERT INTO t ' && return 1
    shell into.db 'SELECT * FROM t' | grep 'belong together' || return 1
    [ ! -e "$here/into.db-lsm" ]
}

files_are_as_named() {
    shell files.db "CREATE VIRTUAL TABLE t USING lsm; INSERT INTO t VALUES(1, 2);
        INSERT INTO t(t) VALUES('flush'); INSERT INTO t VALUES(2, 3);" || return 1
    ls "$here/files.db-lsm"
    [ "$(find "$here/files.db-lsm" -name '*.ldb' | wc -l)" -ge 1 ] || return 1
    ! find "$here/files.db-lsm" -mindepth 1 -printf '%f\n' |
        grep -vE '^([0-9]+\.(log|ldb)|MANIFEST-[0-9]+|CURRENT|LOCK|LOG)$'
}

install_says_what_to_type() {
    local said
    said=$(make -s -o all -o lsmvtab.so install "DESTDIR=$work/root" PREFIX=/opt/x) || return 1
    echo "$said"
    echo "$said" | grep -qx '.load /opt/x/lib/lsmvtab' || return 1
    printf '#include <lsm/lsm.h>\n#include <lsm/os/os.h>\nint x;\n' |
        gcc -x c -c -o /dev/null "-I$work/root/opt/x/include" - || return 1
    [ "$(sqlite3 :memory: ".load $work/root/opt/x/lib/lsmvtab" 'SELECT 1 FROM (SELECT lsm_version())')" = 1 ]
}

claim readme_tour_is_sql_tour tour_is_the_file README.md sql/tour.sql
claim readme_refused_statements_are_refused_in_its_words refused_with_its_words README.md
claim readme_commands_run commands_run README.md
claim readme_backup_holds_the_rows backup_is_whole
claim readme_program_builds_and_works program_works
claim readme_engine_program_builds_and_works engine_works
claim readme_plans_and_attached_names_are_as_written plans_are_as_written
claim readme_bare_name_fails bare_name_fails
claim readme_links_lead_somewhere links_lead_somewhere README.md
claim readme_options_are_taken options_are_taken
claim readme_commands_and_functions_work tables_of_commands_work
claim readme_what_it_says_works_does what_works_works
claim readme_limits_are_so limits_that_are_not_statements
claim readme_files_are_as_named files_are_as_named
if [ "$build" = "$top/build" ]; then
    claim readme_install_says_what_to_type install_says_what_to_type
fi

# ---- the checks can fail ------------------------------------------------------------

fails() {       # NAME COMMAND...
    local name=$1
    shift
    claim "$name" bash -c '! "$@"' fails "$@"
}
export -f tour_is_the_file refused_with_its_words commands_run links_lead_somewhere block shell
export here work
sed 's/DROP TABLE kv;/DROP TABLE kw;/' README.md >"$work/other.md"
fails readme_check_sees_another_tour tour_is_the_file "$work/other.md" sql/tour.sql
sed 's/virtual tables may not be indexed/virtual tables are indexed/' README.md >"$work/other.md"
fails readme_check_sees_other_words refused_with_its_words "$work/other.md"
sed 's/< sql.load.sql/< sql\/laod.sql/' README.md >"$work/other.md"
fails readme_check_sees_a_command_that_fails commands_run "$work/other.md"
sed 's/(lsm.DESIGN.md)/(lsm\/DESING.md)/' README.md >"$work/other.md"
fails readme_check_sees_a_dead_link links_lead_somewhere "$work/other.md"
exit $failed
