#!/bin/sh
# Writes deploy/alerts.yml as a resource for the Prometheus operator. A test compares the two.
set -eu
cd "$(dirname "$0")/../deploy"
{
    echo '# deploy/alerts.yml for the Prometheus operator, written by scripts/prometheus-rule.sh.'
    printf 'apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: monitoring-token\n'
    printf '  labels: {release: kube-prometheus-stack}\nspec:\n'
    awk '/^groups:/ { found = 1 } found { print ($0 == "" ? "" : "  " $0) }' alerts.yml
} >kubernetes/operator/prometheusrule.yaml
