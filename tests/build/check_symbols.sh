#!/usr/bin/env bash
#
# check_symbols.sh -- what may be seen from outside, and what the engine may
# ask for: proved on the built files, and each check on something that breaks it.
#
# Prints `ok NAME` / `FAIL NAME`. BUILD is the directory of a flavour that was built.
set -u
cd "$(dirname "$0")/../.." || exit 2

build=${BUILD:-build}
cc=${CC:-gcc}
work=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-symbols-XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
failed=0

# The public functions of SQLite's own lsm1 (ext/lsm1/lsm.h): a program may hold both.
lsm1="lsm_begin lsm_checkpoint lsm_close lsm_commit lsm_config lsm_config_log
lsm_config_work_hook lsm_csr_close lsm_csr_cmp lsm_csr_first lsm_csr_key lsm_csr_last
lsm_csr_next lsm_csr_open lsm_csr_prev lsm_csr_seek lsm_csr_valid lsm_csr_value
lsm_default_env lsm_delete lsm_delete_range lsm_flush lsm_free lsm_get_env
lsm_get_user_version lsm_info lsm_insert lsm_ldb_open lsm_malloc lsm_new lsm_open
lsm_realloc lsm_rollback lsm_set_user_version lsm_work"

# What engine objects may leave undefined. No I/O, malloc, time, chance or threads: those are
# os_posix.c's. Not strdup or qsort either: both call malloc.
allowed='^(lsm_[a-z0-9_]+'
allowed+='|mem(cpy|move|set|cmp|chr|rchr)|__mem(cpy|move|set)_chk'
allowed+='|str(len|nlen|cmp|ncmp|chr|rchr|str|cpy|spn|cspn)|__strcpy_chk'
allowed+='|v?snprintf|__v?snprintf_chk|strerror_r|__xpg_strerror_r'
allowed+='|log|log2|exp|exp2|pow|sqrt|floor|ceil'
allowed+='|__assert_fail|__stack_chk_fail|__tls_get_addr|_GLOBAL_OFFSET_TABLE_'
allowed+='|__cpu_model|__cpu_indicator_init'
allowed+='|ZSTD_[A-Za-z0-9_]+|ZDICT_[A-Za-z0-9_]+'
allowed+='|__(asan|ubsan|tsan|sanitizer)_.*)$'

layers="os util format store version compaction db"

# ---- the checks: each prints what is wrong, one a line, and nothing if all is well ----

undefined() { nm -u "$@" 2>/dev/null | awk '$1 == "U" || $1 == "w" { print $2 }' | sed 's/@.*//' | sort -u; }
exported() { nm -D --defined-only "$1" | awk 'NF == 3 { print $3 }' | sed 's/@.*//' | sort -u; }
defined() { nm --defined-only -g "$@" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u; }

# exports_exactly SO DEF
exports_exactly() {
    local wanted
    wanted=$(awk 'list && NF { print $1 } /^EXPORTS/ { list = 1 }' "$2" | sort -u)
    if [ "$wanted" != "$(printf 'sqlite3_extension_init\nsqlite3_lsmvtab_init')" ]; then
        echo "$2 lists:" $wanted
    fi
    comm -3 <(exported "$1") <(echo "$wanted")
}

# no_sqlite_wanted SO: the host gives its functions as a table, and may not have the symbols.
no_sqlite_wanted() { nm -D -u "$1" | awk '{ print $NF }' | grep -E '^sqlite3_'; }

# no_library_symbols SO: zstd and xxhash are inside, whatever versions the host has.
no_library_symbols() { nm -D "$1" | awk '{ print $NF }' | grep -E '^(ZSTD|ZDICT|HUF|FSE|HIST|ZSTDMT|POOL|COVER|XXH)'; }

# asks_only_what_is_allowed OBJECT...
asks_only_what_is_allowed() {
    local object
    for object in "$@"; do
        undefined "$object" | grep -vE "$allowed" | sed "s|^|$object: |"
    done
}

# no_names_of_lsm1 OBJECT...
no_names_of_lsm1() { comm -12 <(defined "$@") <(printf '%s\n' $lsm1 | sort -u); }

# engine_symbols_have_its_prefix OBJECT...
engine_symbols_have_its_prefix() { defined "$@" | grep -vE '^lsm_|^__(asan|odr_asan)'; }

# includes_follow_the_layers ROOT
includes_follow_the_layers() {
    local file layer line header other earlier
    for file in "$1"/lsm/*/*.[ch]; do
        [ -f "$file" ] || continue
        layer=$(basename "$(dirname "$file")")
        case " $layers " in *" $layer "*) ;; *) echo "$file: no such layer" ;; esac
        earlier=" ${layers%%"$layer"*}$layer "
        grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$file" | while IFS= read -r line; do
            header=$(echo "$line" | cut -d'"' -f2)
            [ "$header" = lsm/lsm.h ] && continue
            other=$(echo "$header" | cut -s -d/ -f2)
            case $header in lsm/*/*) ;; *) echo "$file:${line%%:*}: $header"; continue ;; esac
            case "$earlier" in *" $other "*) ;; *) echo "$file:${line%%:*}: $header" ;; esac
        done
    done
    for file in "$1"/ext/*.[ch]; do
        [ -f "$file" ] || continue
        grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]' "$file" | while IFS= read -r line; do
            header=$(echo "$line" | sed 's/.*["<]\(.*\)[">].*/\1/')
            case $header in
            lsm/lsm.h | ext/*.h | sqlite3.h | sqlite3ext.h) ;;
            lsm/* | tests/*) echo "$file:${line%%:*}: $header" ;;
            *) case $line in *\"*) [ -f "$1/ext/$header" ] || echo "$file:${line%%:*}: $header" ;; esac ;;
            esac
        done
    done
}

# ---- claims ----

# claim NAME CHECK ARGUMENTS...: it finds nothing.
claim() {
    local name=$1 found
    shift
    found=$("$@" 2>&1)
    if [ -z "$found" ]; then
        echo "ok $name"
    else
        printf '%s\n' "$found"
        echo "FAIL $name"
        failed=1
    fi
}

# refuses NAME TEXT CHECK ARGUMENTS...: it finds TEXT, so it can fail.
refuses() {
    local name=$1 text=$2 found
    shift 2
    found=$("$@" 2>&1)
    case $found in
    *"$text"*) echo "ok $name" ;;
    *)
        echo "found: '$found', not '$text'"
        echo "FAIL $name"
        failed=1
        ;;
    esac
}

so=$build/lsmvtab.so
mapfile -t engine < <(find "$build/obj/lsm" -name '*.o' ! -name 'os_posix*.o' | sort)
if [ ! -f "$so" ] || [ "${#engine[@]}" -lt 5 ]; then
    echo "FAIL symbols: $build is not built"
    exit 1
fi

claim symbols_exported_are_exactly_the_two_entry_points exports_exactly "$so" lsmvtab.def
claim symbols_of_sqlite_are_not_wanted no_sqlite_wanted "$so"
claim symbols_of_zstd_and_xxhash_stay_inside no_library_symbols "$so"
claim symbols_engine_asks_the_machine_only_through_the_seam asks_only_what_is_allowed "${engine[@]}"
claim symbols_engine_has_no_name_of_sqlites_lsm1 no_names_of_lsm1 "$build/liblsm.a"
claim symbols_engine_names_have_its_prefix engine_symbols_have_its_prefix "$build/liblsm.a"
claim includes_follow_the_layers includes_follow_the_layers .

# ---- each check fails on what it is there for ----

compile() { $cc -std=gnu11 -O1 -fPIC -c "$1.c" -o "$1.o"; }
cd "$work" || exit 2
cat >bad.c <<'END'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
int lsm_flush(const char *s);
int sqlite3_exec(void *);
int lsm_flush(const char *s)
{
    static pthread_mutex_t mutex;
    char *copy = strdup(s);
    printf("%s %d %ld", copy, rand(), (long)time(NULL));
    free(copy);
    return pthread_mutex_lock(&mutex) + sqlite3_exec(malloc((size_t)rand()));
}
int ZSTD_compress(void) { return 0; }
int sqlite3_lsmvtab_init(void) { return 0; }
END
compile bad && $cc -shared -o bad.so bad.o
printf 'EXPORTS\n    sqlite3_lsmvtab_init\n    sqlite3_extension_init\n' >good.def
printf 'EXPORTS\n    sqlite3_lsmvtab_init\n    more\n' >bad.def
mkdir -p lsm/os lsm/util lsm/format lsm/extra ext
echo '#include "lsm/format/block.h"' >lsm/util/low.c
echo '#include "low.h"' >lsm/os/bare.c
echo '#include "lsm/os/os.h"' >lsm/extra/other.c
echo '#  include <lsm/os/os.h>' >ext/deep.c

refuses symbols_check_refuses_a_third_export lsm_flush exports_exactly bad.so good.def
refuses symbols_check_refuses_a_missing_export sqlite3_extension_init exports_exactly bad.so good.def
refuses symbols_check_refuses_another_def_file "bad.def lists: more" exports_exactly bad.so bad.def
refuses symbols_check_refuses_a_wanted_sqlite_symbol sqlite3_exec no_sqlite_wanted bad.so
refuses symbols_check_refuses_a_visible_zstd ZSTD_compress no_library_symbols bad.so
for name in malloc free printf rand time pthread_mutex_lock strdup; do
    refuses "symbols_check_refuses_$name" "bad.o: $name" asks_only_what_is_allowed bad.o
done
refuses symbols_check_refuses_a_name_of_lsm1 lsm_flush no_names_of_lsm1 bad.o
refuses symbols_check_refuses_a_name_without_prefix ZSTD_compress engine_symbols_have_its_prefix bad.o
refuses includes_check_refuses_a_later_layer low.c:1 includes_follow_the_layers .
refuses includes_check_refuses_a_bare_name bare.c:1 includes_follow_the_layers .
refuses includes_check_refuses_an_unknown_layer other.c includes_follow_the_layers .
refuses includes_check_refuses_the_engine_behind_lsm_h deep.c:1 includes_follow_the_layers .

exit $failed
