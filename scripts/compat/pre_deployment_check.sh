#!/usr/bin/env bash
# pre_deployment_check.sh: may this be deployed? The checks of [gate] in eco.toml, and a verified backup if all of them passed. A service
# that is ill is a no as well.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 0 0 '' "$@"

eco-health --json | eco-gate
