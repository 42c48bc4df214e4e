#!/bin/sh
# A stand-in for the wehe client in deploy/. Like ndt's, it finds its server in SERVICE_URL.
[ "$*" = '-n amazon -t wehe-cmdline/res/ -c' ] || { echo "wehe-client.sh: unknown arguments $*" >&2; exit 2; }
echo wehe-client.sh >>"${CALLS:-/dev/null}"
exec monitoring-sandbox probe
