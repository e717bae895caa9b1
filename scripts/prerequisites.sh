#!/usr/bin/env bash
# Checks that this machine has what the named parts of the build need, and provides what it can.
#
#     scripts/prerequisites.sh rust c openssl
#
# As root on Debian and its relatives it installs the missing packages; elsewhere it says exactly
# what to install, and exits with status 1. When everything is there it changes nothing, asks no
# network and takes a fraction of a second.

set -euo pipefail

RUST_MINOR=95
JAVA_MAJOR=17

say() { echo "prerequisites: $*" >&2; }

has_all() {
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null || return 1
    done
}

# --- One function a need: succeeds when it is met --------------------------------------------

has_rust() {
    has_all cargo rustc || return 1
    local version
    version=$(rustc --version) || return 1
    [[ $version =~ ^rustc\ 1\.([0-9]+)\. ]] && ((BASH_REMATCH[1] >= RUST_MINOR))
}

has_rust_lints() { cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; }

has_c() { has_all cc c++ make; }

has_openssl() { has_all pkg-config && pkg-config --exists openssl; }

has_java() {
    has_all java || return 1
    local version
    version=$(java -version 2>&1) || return 1
    [[ $version =~ version\ \"([0-9]+) ]] && ((BASH_REMATCH[1] >= JAVA_MAJOR))
}

has_maven() { has_all mvn; }

has_python() { has_all python3 && python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; }

has_pip() { has_python && python3 -c 'import pip' 2>/dev/null; }

# What the fetched mongod is linked with, beside the C library.
has_mongod_libraries() {
    local libraries
    libraries=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null) || return 1
    [[ $libraries == *libcurl.so.4* && $libraries == *libssl.so.3* && $libraries == *liblzma.so.5* ]]
}

# --- What meets a need -----------------------------------------------------------------------

# The Debian packages, newest Rust that the release has first.
packages_for() {
    case $1 in
        # Debian's own Rust must not get in the way of rustup's.
        rust) if ! has_all rustup; then echo rustc-web cargo-web; fi ;;
        rust-lints) ;;
        c) echo build-essential ;;
        openssl) echo pkg-config libssl-dev ;;
        java) echo default-jre-headless ;;
        maven) echo maven ;;
        python) echo python3 ;;
        pip) echo python3 python3-pip ;;
        mongod-libraries) echo libcurl4 libssl3 liblzma5 ;;
    esac
}

advice_for() {
    case $1 in
        rust) echo "Rust 1.$RUST_MINOR or newer: rustup update stable, or https://rustup.rs" ;;
        rust-lints) echo "rustfmt and clippy: rustup component add rustfmt clippy" ;;
        c) echo "a C and a C++ compiler and make (Debian: build-essential)" ;;
        openssl) echo "pkg-config and OpenSSL's headers (Debian: pkg-config libssl-dev)" ;;
        java) echo "Java $JAVA_MAJOR or newer (Debian: default-jre-headless)" ;;
        maven) echo "Apache Maven (Debian: maven)" ;;
        python) echo "Python 3.10 or newer (Debian: python3)" ;;
        pip) echo "Python 3.10 or newer with pip (Debian: python3 python3-pip)" ;;
        mongod-libraries) echo "libcurl 4, OpenSSL 3 and liblzma 5 (Debian: libcurl4 libssl3 liblzma5)" ;;
    esac
}

# --- Checking and installing -----------------------------------------------------------------

is_met() { "has_${1//-/_}"; }

# Prints those of the given needs that are not met.
unmet() {
    local need
    for need in "$@"; do
        if ! is_met "$need"; then echo "$need"; fi
    done
}

may_install() { [[ $(id -u) == 0 ]] && has_all apt-get; }

install_for() {
    local need packages=()
    for need in "$@"; do
        # shellcheck disable=SC2207 # names of packages: words without blanks or wildcards
        packages+=($(packages_for "$need"))
    done
    if [[ ${#packages[@]} == 0 ]]; then return; fi
    say "installing ${packages[*]}"
    {
        apt-get update --quiet=2 &&
            DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes \
                --no-install-recommends "${packages[@]}"
    } >&2 || say "apt-get could not install them"
}

main() {
    local need missing=()
    for need in "$@"; do
        if [[ -z $(advice_for "$need") ]]; then
            say "unknown need \"$need\""
            exit 64
        fi
    done
    # shellcheck disable=SC2207 # names of needs: words without blanks or wildcards
    missing=($(unmet "$@"))
    if [[ ${#missing[@]} -gt 0 ]] && may_install; then
        install_for "${missing[@]}"
        # shellcheck disable=SC2207 # as above
        missing=($(unmet "${missing[@]}"))
    fi
    if [[ ${#missing[@]} == 0 ]]; then return; fi
    say "this machine lacks, please install:"
    for need in "${missing[@]}"; do
        say "  - $(advice_for "$need")"
    done
    exit 1
}

main "$@"
