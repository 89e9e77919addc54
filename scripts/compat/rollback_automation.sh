#!/usr/bin/env bash
# rollback_automation.sh <automation_id>: this automation is switched off by its command in eco.toml. No files change and nothing is stopped.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 1 1 '<automation_id>' "$@"

eco-restore --yes --scope "automation:$1" </dev/null
