#!/usr/bin/env bash
# rollback_optimization.sh <optimization_id>: this optimization is taken back by its command in eco.toml. No files change and nothing is stopped.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 1 1 '<optimization_id>' "$@"

eco-restore --yes --scope "optimization:$1" </dev/null
