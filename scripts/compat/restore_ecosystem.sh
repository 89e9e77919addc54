#!/usr/bin/env bash
# restore_ecosystem.sh <backup_file>: everything goes back to this archive, an old one or one of ours, or to the snapshot of this id.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 1 1 '<backup_file>' "$@"

backup=$1
# A name without a slash is a file first.
if [[ $backup != */* && -e $backup ]]; then backup=./$backup; fi
eco-restore --yes -- "$backup"
