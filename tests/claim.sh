# claim.sh -- for the scripts of tests: source it with $work, a directory of one's own, and end with `exit $failed`.
failed=0

# claim NAME COMMAND...: ok, or what the command said and FAIL.
claim() {
    local name=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        echo "ok $name"
    else
        sed 's/^/    /' "$work/said" | tail -40
        echo "FAIL $name"
        failed=1
    fi
}
