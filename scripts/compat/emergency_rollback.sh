#!/usr/bin/env bash
# emergency_rollback.sh: asks the service, and rolls back what the policy blames: everything, if it is down or its data is damaged.
# Who calls this agrees to what the policy would only propose. The report is written into this folder.
#
# Ends with 0 only after a rollback that completed; with 1 if the policy finds nothing to roll back, else as eco-restore does.
set -euo pipefail
# shellcheck source=scripts/compat/common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/common.sh"
takes 0 0 '' "$@"

code=0
decided=$(eco-health --json | eco-decide --json --now) || code=$?
if [[ $decided != *'"action":"rollback"'* && $decided != *'"action":"propose"'* ]]; then
    why='the policy finds nothing that is wrong'
    if ((code > 1)); then
        why='it could not be found out how the service is, see above'
    elif [[ $decided =~ \"action\":\"([a-z]+) ]]; then
        why="the policy says '${BASH_REMATCH[1]}', and finds nothing to blame"
    fi
    say "nothing was rolled back: $why. To go back all the same: eco-restore latest-good"
    exit $((code > 1 ? code : 1))
fi

set +e
# Where no report can be written, on a full disk perhaps, the rollback must not wait for one.
if report=$(new_report); then
    printf '%s\n' "$decided" | eco-restore --json --approve | eco-report -o "$report"
    code=${PIPESTATUS[1]}
    say "the report is $PWD/$report"
else
    printf '%s\n' "$decided" | eco-restore --approve
    code=${PIPESTATUS[1]}
fi
((code == 0)) || say "the rollback did not succeed: eco-restore ended with $code"
exit "$code"
