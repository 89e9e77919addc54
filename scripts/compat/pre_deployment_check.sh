#!/usr/bin/env bash
# pre_deployment_check.sh: no deployment of a service that is ill, or without a verified backup of a healthy one.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 0 0 '' "$@"

health=$(eco-health --json)
printf '%s\n' "$health" | eco-snap --kind pre-deployment -
