#!/usr/bin/env bash
#
# run.sh -- the one runner: builds what it tests, runs every test with a
# timeout, prints each by its name, and ends with `N passed, N failed`.
#
#   tests/run.sh [--tier quick|long] [--only TEXT]
#
# A test program or script prints `ok NAME` and `FAIL NAME` lines and leaves
# with 0 if none failed; one that prints neither counts as one test by its file
# name. It runs in the top directory and finds in the environment: BUILD (the
# flavour's directory), TEST_TIER (quick or long), FLAVOUR.
#
#   plain               everything: unit, sim, fuzz corpora, build checks, SQL, clients
#   address,undefined   unit, sim and fuzz corpora
#   thread              tests/unit/test_*_threads.c
#   clang               all must compile, the unit tests run in the long tier
#
# Two programs run at a time (one a processor); the output of each stays together.
set -u
cd "$(dirname "$0")/.." || exit 2

tier=quick
only=
while [ $# -gt 0 ]; do
    case $1 in
    --tier) tier=$2; shift 2 ;;
    --only) only=$2; shift 2 ;;
    *) echo "usage: tests/run.sh [--tier quick|long] [--only TEXT]" >&2; exit 2 ;;
    esac
done
case $tier in quick | long) ;; *) echo "no such tier: $tier" >&2; exit 2 ;; esac

export TEST_TIER=$tier
unset MAKEFLAGS MAKELEVEL MFLAGS SAN CC       # the flavours are chosen here
jobs=$(nproc 2>/dev/null || echo 2)
limit=1200                                  # seconds a program may take before it counts as hung
[ "$tier" = long ] && limit=3600

out=$(mktemp -d "${TMPDIR:-/tmp}/lsmvtab-run-XXXXXX") || exit 2
trap 'rm -rf "$out"' EXIT
: >"$out/all"

# What a failed check of the sanitizers must do to be seen.
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=0:detect_leaks=1:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}

# one FLAVOUR BUILD PROGRAM: run it, print its lines, note its results.
one() {
    local flavour=$1 program=$3 name log rc ok fail begin=$SECONDS
    export FLAVOUR=$flavour BUILD=$2
    name=${program#"$BUILD"/}
    log=$(mktemp "$out/log-XXXXXX")
    timeout -k 10 "$limit" "$program" >"$log" 2>&1 </dev/null
    rc=$?
    ok=$(grep -c '^ok ' "$log")
    fail=$(grep -c '^FAIL ' "$log")
    if [ $rc -ge 124 ] && [ $rc -le 137 ] && [ $((SECONDS - begin)) -ge "$limit" ]; then
        echo "FAIL $name: not done after $limit s" >>"$log"
    elif [ $rc -ge 128 ]; then
        echo "FAIL $name: killed by signal $((rc - 128))" >>"$log"
    elif [ $rc -ne 0 ] && [ "$fail" -eq 0 ]; then
        echo "FAIL $name: exit code $rc" >>"$log"
    elif [ $rc -eq 0 ] && [ "$fail" -gt 0 ]; then
        echo "FAIL $name: exit code 0 with failures" >>"$log"
    elif [ $rc -eq 0 ] && [ "$ok" -eq 0 ]; then
        echo "ok $name" >>"$log"
    fi
    # All it said if it failed, else its results. Its own total would be taken for the runner's.
    {
        echo "== $name ($flavour, $((SECONDS - begin)) s)"
        if grep -q '^FAIL ' "$log"; then
            grep -vE '^[0-9]+ passed, [0-9]+ failed$' "$log"
        else
            grep '^ok ' "$log"
        fi
    } >"$log.shown"
    (
        flock 9
        cat "$log.shown"
        grep -E '^(ok|FAIL) ' "$log" | sed "s/\$/ ($flavour)/" >>"$out/all"
    ) 9>"$out/lock"
    rm -f "$log" "$log.shown"
}
export -f one
export out limit

# build FLAVOUR BUILD MAKE-ARGUMENTS...: all and tests, as one test by itself.
build() {
    local flavour=$1 dir=$2
    shift 2
    echo "== build ($flavour)"
    if make --no-print-directory -s -k -j"$jobs" "$@" all tests; then
        echo "ok build_${flavour//,/_}_is_clean" | tee -a "$out/all"
    else
        echo "FAIL build_${flavour//,/_}_is_clean" | tee -a "$out/all"
    fi
}

# run FLAVOUR BUILD PROGRAM...
run() {
    local flavour=$1 dir=$2 program
    shift 2
    for program; do
        case $program in *"$only"*) printf '%s\0' "$program" ;; esac
    done | xargs -0 -r -n 1 -P "$jobs" bash -c 'one "$@"' one "$flavour" "$dir"
}

# The programs that the sources ask for; one that could not be built counts as failed.
programs() {
    local dir=$1 source
    shift
    for source in "$@"; do
        case $source in
        tests/sim/* | tests/diff/* | tests/kill/*) grep -qE '^(TEST\(|int main\()' "$source" || continue ;;
        esac
        [ -f "$source" ] && echo "$dir/${source%.c}"
    done
}
existing() {
    local path
    for path in "$@"; do [ -f "$path" ] && echo "$path"; done
}

unit=(tests/unit/*.c)
threads=(tests/unit/test_*_threads.c)
sim=(tests/sim/*.c tests/diff/*.c tests/kill/*.c)
fuzz=(tests/fuzz/fuzz_*.c)

build plain build
# shellcheck disable=SC2046
run plain build $(existing tests/build/*.sh) \
    $(programs build "${unit[@]}" "${sim[@]}" "${fuzz[@]}") \
    $(existing tests/sql/run.sh tests/golden/run.sh tests/clients/run.sh tests/demo/run.sh)

build address,undefined build/address-undefined SAN=address,undefined
# shellcheck disable=SC2046
run address,undefined build/address-undefined \
    $(programs build/address-undefined "${unit[@]}" "${sim[@]}" "${fuzz[@]}")

build thread build/thread SAN=thread
# shellcheck disable=SC2046
run thread build/thread $(programs build/thread "${threads[@]}")

build clang build/clang CC=clang
if [ "$tier" = long ]; then
    # shellcheck disable=SC2046
    run clang build/clang $(programs build/clang "${unit[@]}")
fi

passed=$(grep -c '^ok ' "$out/all")
failed=$(grep -c '^FAIL ' "$out/all")
if [ "$failed" -gt 0 ]; then
    echo
    grep '^FAIL ' "$out/all"
fi
echo
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
