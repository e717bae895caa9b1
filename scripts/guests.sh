#!/usr/bin/env bash
# Builds the Wasm plugins from source, into target/wasm32-unknown-unknown/release/*.wasm.
#
# The wasm target comes from rustup where rustup is and has it or can fetch it. Else, as root on
# Debian, from the distribution's own Rust: it carries the standard library as source, which is
# then built along.

set -euo pipefail

# Every guest crate there is; the one place to add another.
GUESTS=(aircraft airports bench-latest bench-pairs consistent-hash count debezium hash hash-slots
    ip-hash isolate-hot least-connections least-loaded least-time ledger-accounts ledger-statements
    mirror mirror-by-fields misbehaving misbehaving-placement misbehaving-routing orders payments
    peak-ewma placement-first random-two round-robin routing-first stock tally tally-bson
    tally-lenient template-placement template-routing)

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=wasm32-unknown-unknown
DEBIAN_PACKAGES=(rustc-web cargo-web rust-web-src lld-19)

say() { echo "guests: $*" >&2; }

# Where the compiler keeps the libraries of the target that it can already build for.
has_target() {
    local libraries
    libraries=$(rustc --print target-libdir --target "$TARGET" 2>/dev/null) && [[ -d $libraries ]]
}

rustup_adds_target() {
    command -v rustup >/dev/null || return 1
    say "adding $TARGET to rustup's toolchain"
    rustup target add "$TARGET" >&2
}

debian_has_packages() {
    local states
    # A package that was removed is still known, hence the look at its state.
    states=$(dpkg-query --show --showformat '${db:Status-Status}\n' "${DEBIAN_PACKAGES[@]}" \
        2>/dev/null | sort -u) && [[ $states == installed ]]
}

debian_is_usable() {
    debian_has_packages && return
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
    say "installing ${DEBIAN_PACKAGES[*]}"
    {
        apt-get update --quiet=2 &&
            DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes \
                --no-install-recommends "${DEBIAN_PACKAGES[@]}"
    } >&2
}

cd "$ROOT"
arguments=(build --release --target "$TARGET" --target-dir "$ROOT/target")
for guest in "${GUESTS[@]}"; do arguments+=(--package "$guest"); done

if has_target || rustup_adds_target; then
    exec cargo "${arguments[@]}"
elif debian_is_usable; then
    # The distribution's own compiler and cargo, also where rustup's come first in PATH. Building
    # the standard library is unstable, hence RUSTC_BOOTSTRAP.
    say "building with Debian's Rust, together with the standard library"
    export PATH=/usr/bin:$PATH RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19
    exec /usr/bin/cargo "${arguments[@]}" -Zbuild-std=std,panic_abort
else
    say "error: this machine's Rust cannot build for $TARGET; install it with" \
        "\`rustup target add $TARGET\`, or on Debian with \`apt-get install ${DEBIAN_PACKAGES[*]}\`"
    exit 1
fi
