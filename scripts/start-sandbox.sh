# shellcheck shell=sh
#
# To be sourced. start_sandbox FILE PROGRAM [FLAG...] starts a sandbox in the background, writes its exports to FILE,
# and waits until it serves. $sandbox is its process ID.
start_sandbox() {
    exports=$1
    shift
    "$@" >"$exports" &
    sandbox=$!
    tries=0
    until grep -qs '^export SANDBOX_URL=' "$exports"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 200 ] || ! kill -0 "$sandbox" 2>/dev/null; then
            echo 'the sandbox did not start' >&2
            exit 1
        fi
        sleep 0.1
    done
}
