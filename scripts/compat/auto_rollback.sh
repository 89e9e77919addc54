#!/usr/bin/env bash
# auto_rollback.sh: watches the service and rolls it back by the policy, until it is told to stop. Its knobs are those of auto-rollback.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 0 0 '' "$@"

exec "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../auto-rollback"
