#!/usr/bin/env bash
# incident_report.sh [<log>]: the report about the last incident in a log, written into this folder; its name is printed. Without words
# the log is that of automatic rollback: ECO_LOG, else stream.ndjson in ECO_DIR. A log without an incident makes the exit status 1.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 0 1 '[<log>]' "$@"

log=${1:-${ECO_LOG:-${ECO_DIR:-/var/lib/eco-auto-rollback}/stream.ndjson}}
if [[ ! -r $log ]]; then
    say "cannot read $log"
    exit 3
fi
report=$(new_report)
code=0
eco-report <"$log" >"$report" || code=$?
printf '%s\n' "$report"
exit "$code"
