#!/usr/bin/env bash
# health_monitor.sh: asks the service every minute (ECO_EVERY), until it is told to stop; it ends with what the last answer was.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 0 0 '' "$@"

exec eco-health --every "${ECO_EVERY:-60s}"
