# shellcheck shell=bash
# What the old names share. To be sourced by them.
#
# The service is the one of $ECO_CONFIG; else the one in whose folder, or above it, the name lies by which the script was called, so
# that a link in the service's folder always means that service; else the one that the programs find themselves.
name=${0##*/}
say() { printf '%s: %s\n' "$name" "$*" >&2; }

# takes LEAST MOST WORDS "$@": ends with 2 and the usage unless so many words were given, and with 0 if only the usage was asked for.
takes() {
    local least=$1 most=$2 usage="Usage: $name${3:+ $3}"
    shift 3
    if [[ ${1-} == -h || ${1-} == --help ]]; then
        printf '%s\n' "$usage"
        exit 0
    fi
    if (($# < least || $# > most)) || [[ -z ${1-none} ]]; then
        printf '%s\n' "$usage" >&2
        exit 2
    fi
}

if ! type -P eco-restore >/dev/null; then
    say 'there is no eco-restore in PATH'
    exit 2
fi
if [[ -z ${ECO_CONFIG-} ]]; then
    place=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
    while [[ ! -e $place/eco.toml && $place == /?* ]]; do place=${place%/*}; done
    if [[ -e $place/eco.toml ]]; then export ECO_CONFIG=$place/eco.toml; fi
fi

# The name of a new, empty report in this folder, for its owner only: of one second there may be two.
new_report() { mktemp "incident_report_$(date -u +%Y%m%dT%H%M%SZ)-XXXXXX.md"; }
