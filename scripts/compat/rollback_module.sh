#!/usr/bin/env bash
# rollback_module.sh <module_name>: this module goes back to the newest good snapshot, and nothing else does.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 1 1 '<module_name>' "$@"

eco-restore --yes --scope "module:$1" latest-good
