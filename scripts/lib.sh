# shellcheck shell=bash
# What the scripts share: headings, and what a bare Debian machine with a Rust toolchain lacks. To be sourced.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 3
export LC_ALL=C.UTF-8
type -P cargo >/dev/null || PATH=$HOME/.cargo/bin:/usr/local/cargo/bin:$PATH

bold='' plain=''
if [[ -t 1 && -z ${NO_COLOR-} ]]; then bold=$'\e[1m' plain=$'\e[0m'; fi

heading() { printf '\n%s== %s ==%s\n' "$bold" "$*" "$plain"; }

# What each kind of work needs, and the package that it is in. An absolute path is looked for as a file, anything else as a program.
declare -A needs=(
    [build]='cc=gcc /usr/include/stdio.h=libc6-dev /etc/ssl/certs/ca-certificates.crt=ca-certificates'
    [shop]='python3=python3'
    [package]='python3=python3 dpkg-shlibdeps=dpkg-dev strip=binutils xz=xz-utils gzip=gzip'
    [clean-root]='debootstrap=debootstrap lintian=lintian'
    [test]='bsdtar=libarchive-tools chromium=chromium getfattr=attr go=golang-go jq=jq man=man-db mandoc=mandoc parallel=parallel ps=procps script=bsdutils setfacl=acl
        setpriv=util-linux
        bindfs=bindfs mkfs.ext4=e2fsprogs mount=mount shellcheck=shellcheck strace=strace time=time xfs_io=xfsprogs
        fish=fish zsh=zsh /usr/lib/python3/dist-packages/jsonschema=python3-jsonschema
        /usr/lib/python3/dist-packages/prometheus_client=python3-prometheus-client
        /usr/share/gocode/src/github.com/containerd/stargz-snapshotter=golang-github-containerd-stargz-snapshotter-dev'
)

# need KIND...: what is missing is installed by root; anybody else is told what to install.
need() {
    local kind pair packages=()
    for kind in "$@"; do
        for pair in ${needs[$kind]}; do
            is_here "${pair%%=*}" || packages+=("${pair#*=}")
        done
    done
    ((${#packages[@]})) || return 0
    if ((EUID != 0)) || ! type -P apt-get >/dev/null; then
        printf '%s: something is missing: install %s\n' "${0##*/}" "${packages[*]}" >&2
        exit 2
    fi
    printf 'installing %s\n' "${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
}

is_here() {
    case $1 in
        /*) [[ -e $1 ]] ;;
        *) type -P "$1" >/dev/null ;; # programs only: time is a word of the shell, too
    esac
}

# Where cargo puts what it builds.
target_folder() { cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'; }

# need_cargo SUBCOMMAND=COMPONENT...: parts of the toolchain that a small installation leaves out.
need_cargo() {
    local pair
    for pair in "$@"; do
        cargo "${pair%%=*}" -h >/dev/null 2>&1 && continue
        if ! type -P rustup >/dev/null; then
            printf '%s: cargo %s does not run: install a Rust toolchain with %s\n' "${0##*/}" "${pair%%=*}" "${pair#*=}" >&2
            exit 2
        fi
        rustup component add "${pair#*=}"
    done
}
