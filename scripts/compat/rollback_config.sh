#!/usr/bin/env bash
# rollback_config.sh: the configuration goes back to the newest good snapshot, and nothing else does.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 0 0 '' "$@"

eco-restore --yes --scope config latest-good
