#!/usr/bin/env bash
#
# run.sh -- measure, append to results.tsv, write the tables of README.md again.
#
#   tests/bench/run.sh [sql] [OPTION=...]     an lsm table beside ordinary ones (make bench)
#   tests/bench/run.sh engine [OPTION=...]    the engine beside its peers (make bench-engine)
#
# Options go to the program: n= rounds= quick=1 only= dir= (bench_sql.c, bench_engine.cc).
# N, ROUNDS, QUICK, MEMORY, ONLY and ROWS from the environment do the same: `make bench N=100000 QUICK=1`,
# `make bench-engine N=10000000 MEMORY=64 ONLY=lsm ROWS=fillrandom`.
# A quick or a partial run is printed, not recorded; RECORD=1 or 0 says otherwise.
set -u
cd "$(dirname "$0")/../.." || exit 2

kind=sql
case ${1:-} in sql | engine) kind=$1; shift ;; esac
args=("$@")
[ -n "${N:-}" ] && args+=("n=$N")
[ -n "${ROUNDS:-}" ] && args+=("rounds=$ROUNDS")
[ -n "${QUICK:-}" ] && [ "$kind" = sql ] && args+=("quick=$QUICK")
[ -n "${MEMORY:-}" ] && [ "$kind" = engine ] && args+=("memory=$MEMORY")
[ -n "${ONLY:-}" ] && args+=("only=$ONLY")
[ -n "${ROWS:-}" ] && [ "$kind" = engine ] && args+=("rows=$ROWS")

record=1
for arg in ${args[@]+"${args[@]}"}; do
    case $arg in quick=1 | only=* | rows=*) record=0 ;; esac
done
record=${RECORD:-$record}

build=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-bench-run-XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT

# The peers, for bench-engine only: they are not needed to build or test.
peers() {
    local missing="" sudo="" name
    for name in leveldb/db.h:libleveldb-dev rocksdb/db.h:librocksdb-dev lmdb.h:liblmdb-dev; do
        printf '#include <%s>\n' "${name%%:*}" | g++ -std=c++17 -E -x c++ - >/dev/null 2>&1 ||
            missing="$missing ${name#*:}"
    done
    command -v g++ >/dev/null || missing="$missing g++"
    [ -z "$missing" ] && return
    [ "$(id -u)" = 0 ] || sudo=sudo
    if command -v apt-get >/dev/null && { [ -z "$sudo" ] || command -v sudo >/dev/null; }; then
        echo "Installing with apt-get:$missing"
        # shellcheck disable=SC2086
        $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive \
            apt-get install -qy --no-install-recommends $missing || exit 1
    else
        echo "Please install these first (Debian's names):$missing" >&2
        exit 1
    fi
}

if [ "$kind" = sql ]; then
    program=$build/tests/bench/bench_sql
    args=("so=$build/lsmvtab.so" ${args[@]+"${args[@]}"})
else
    peers
    program=$build/tests/bench/bench_engine
    mkdir -p "$build/tests/bench"
    if [ ! -x "$program" ] || [ tests/bench/bench_engine.cc -nt "$program" ] ||
        [ "$build/liblsm.a" -nt "$program" ]; then
        g++ -std=c++17 -O2 -g -Wall -Wextra -I. tests/bench/bench_engine.cc -o "$program" \
            "$build/liblsm.a" "$(gcc -print-file-name=libzstd.a)" -lleveldb -lrocksdb -llmdb \
            -pthread || exit 1
    fi
fi

# Of the sources as they are now, not as they may be when it ends.
commit=$(git rev-parse --short=10 HEAD 2>/dev/null || echo none)
[ -z "$(git status --porcelain -- lsm ext Makefile 2>/dev/null)" ] || commit=$commit+changes

"$program" tsv="$work/rows" ${args[@]+"${args[@]}"} | tee "$work/out"
rc=${PIPESTATUS[0]}
[ "$rc" -eq 0 ] || exit "$rc"

if [ "$record" = 1 ]; then
    machine=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
    {
        printf 'run\t%s\t%s\t%s\t%s, %s cores\t%s\n' "$kind" "$(date -u +%Y-%m-%dT%H:%MZ)" "$commit" \
            "${machine:-unknown}" "$(nproc)" \
            "$(grep -m 1 -o 'n = .*rounds\?\(, [^;]*\)\?' "$work/out"), load $(cut -d' ' -f1 /proc/loadavg)"
        cat "$work/rows"
    } >>tests/bench/results.tsv
    tests/bench/render.sh
    echo "recorded in tests/bench/results.tsv; tests/bench/README.md and engine.svg are written again"
else
    echo "not recorded (RECORD=1 does)"
fi
