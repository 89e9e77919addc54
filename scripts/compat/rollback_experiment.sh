#!/usr/bin/env bash
# rollback_experiment.sh <experiment_id>: this experiment is stopped by its command in eco.toml. No files change and nothing is stopped.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 1 1 '<experiment_id>' "$@"

eco-restore --yes --scope "experiment:$1" </dev/null
