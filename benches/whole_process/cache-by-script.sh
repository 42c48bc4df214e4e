#!/bin/bash
# The kind of script that monitoring-token's cache replaces: it keeps a command's status in a file. It starts the same
# processes as m-lab's (bash, cat, date, stat, expr).
#
#   cache-by-script.sh TTL-SECONDS FILE COMMAND [ARG...]
ttl=$1 file=$2
shift 2
if [ -e "$file" ]; then
    now=$(date +%s)
    then=$(stat --format=%Y "$file")
    age=$(expr "$now" - "$then")
    if [ "$age" -lt "$ttl" ]; then
        exit "$(cat "$file")"
    fi
fi
"$@"
status=$?
echo "$status" > "$file"
exit "$status"
