#!/usr/bin/env bash
#
# check_tree.sh -- the shape of the repository: what its top level has, how long a file
# is, and that nothing names a place that only one machine has.
#
# Looks at what git knows; where there is no git (an unpacked archive), at all files.
# Prints `ok NAME` / `FAIL NAME`.
set -u
cd "$(dirname "$0")/../.." || exit 2

work=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-tree-XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
failed=0

lines_max=950

# files DIR: all files of the tree, as paths from its top.
files() {
    (cd "$1" && if [ -e .git ] && git rev-parse >/dev/null 2>&1; then git ls-files; else
        find . -type f -not -path './build/*' -not -path './.git/*' | sed 's|^\./||'; fi)
}

# ---- the checks: each prints what is wrong, one a line, and nothing if all is well ----

top_has_nothing_else() {
    files "$1" | cut -d/ -f1 | sort -u |
        grep -vxE 'ext|lsm|sql|tests|Makefile|lsmvtab\.def|lsmvtab\.so|README\.md|LICENSE|\..*'
}

no_file_is_too_long() {
    files "$1" | grep -E '^(lsm|ext)/.*\.[ch]$' | while read -r file; do
        lines=$(wc -l <"$1/$file") && [ "$lines" -le $lines_max ] || echo "$file: $lines lines"
    done
}

# Directories of somebody's own: absolute paths that begin so are not on every machine.
no_path_of_one_machine() {
    files "$1" | grep -v '^tests/build/check_tree\.sh$' | while read -r file; do
        grep -InHE '(^|[^A-Za-z0-9_./-])/(work|home|root|Users|mnt|workspace)/[A-Za-z0-9_.]' "$1/$file" /dev/null
    done | sed "s|^$1/||"
}

claim() {       # NAME CHECK DIR
    local said
    said=$($2 "$3")
    if [ -z "$said" ]; then
        echo "ok $1"
    else
        echo "$said" | head -20 | sed 's/^/    /'
        echo "FAIL $1"
        failed=1
    fi
}

claim tree_top_has_only_what_belongs_there top_has_nothing_else .
claim tree_no_file_is_longer_than_it_may_be no_file_is_too_long .
claim tree_names_no_path_of_one_machine no_path_of_one_machine .

# ---- and each on a tree that breaks it ----

refutes() {     # NAME CHECK: the tree in $work/bad is refused
    if [ -n "$($2 "$work/bad")" ]; then echo "ok $1"; else echo "FAIL $1"; failed=1; fi
    rm -rf "$work/bad"
}

mkdir -p "$work/bad" && echo x >"$work/bad/notes.txt"
refutes tree_check_refuses_a_stray_file top_has_nothing_else
mkdir -p "$work/bad/docs" && echo x >"$work/bad/docs/a.md"
refutes tree_check_refuses_a_stray_directory top_has_nothing_else
mkdir -p "$work/bad/lsm/db" && seq $((lines_max + 1)) >"$work/bad/lsm/db/long.c"
refutes tree_check_refuses_a_long_file no_file_is_too_long
mkdir -p "$work/bad/tests" && echo 'cd /home/me/lsm' >"$work/bad/tests/a.sh"
refutes tree_check_refuses_a_path_of_one_machine no_path_of_one_machine

exit $failed
