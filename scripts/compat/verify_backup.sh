#!/usr/bin/env bash
# verify_backup.sh [<backup_file>]...: every byte against its digest; without words of everything in the store. No backup at all is no
# success.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 0 9999 '[<backup_file>]...' "$@"

if (($#)); then
    eco-verify -- "$@"
else
    eco-ls --json | eco-verify --only
fi
