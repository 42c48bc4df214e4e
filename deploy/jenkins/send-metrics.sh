#!/bin/sh
# Posts a file of records to Sasquatch's REST proxy. Run by `monitoring-token gafaelfawr exec`, which sets
# GAFAELFAWR_URL and SERVICE_AUTHORIZATION. Usage: send-metrics.sh FILE
set -eu
# Otherwise an empty body would be sent, and accepted.
[ -r "$1" ] || {
    echo "send-metrics.sh: cannot read $1" >&2
    exit 1
}
# The header is passed on standard input, because command lines are public.
printf 'Authorization: %s\n' "$SERVICE_AUTHORIZATION" |
    curl --silent --show-error --fail-with-body --max-time 60 --header @- \
        --header 'Content-Type: application/vnd.kafka.avro.v2+json' \
        --header 'Accept: application/vnd.kafka.v2+json' \
        --data-binary "@$1" \
        "${GAFAELFAWR_URL%/}/sasquatch-rest-proxy/topics/$SASQUATCH_TOPIC"
