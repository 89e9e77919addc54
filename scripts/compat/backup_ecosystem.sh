#!/usr/bin/env bash
# backup_ecosystem.sh <type>: a snapshot of the running service; the type is manual, pre-deployment, daily, weekly or monthly. Of a
# service that is ill there is a snapshot too: it does not count as good, and the exit status is 1.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 1 1 '<type>' "$@"

eco-health --json | eco-snap --kind "$1" -
