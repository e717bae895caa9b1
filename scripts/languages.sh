#!/usr/bin/env bash
# Builds plugins in JavaScript, Python, Go and C, each with the ordinary tools of its language.
#
#     scripts/languages.sh build    of each language the project that `plugin new` writes, the
#                                   flights' aircraft, and a probe of the kit; each is tested by its
#                                   language's own means, and goes into
#                                   target/languages/NAME-LANGUAGE.wasm
#     scripts/languages.sh env      the shell variable that tells the tests what was built
#
# Tools are installed into .languages, of the versions that the templates pin: from npm and PyPI,
# and clang from Debian where this is Debian and one is root. A language whose tools cannot be had
# is left out, loudly. What has not changed is not built again.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
TOOLS=$ROOT/.languages
OUT=$ROOT/target/languages
HOST=$ROOT/target/release/projectionist
LANGUAGES=(go c js python)
DEBIAN_PACKAGES=(make clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32)

say() { echo "languages: $*" >&2; }

digest() { sha256sum | cut -d ' ' -f 1; }

# Each `tools_LANGUAGE` installs what is missing, and links it into the project $1.

tools_js() {
    command -v npm >/dev/null || { say "npm is not installed"; return 1; }
    local pinned
    pinned=$TOOLS/js-$(grep componentize-js "$1/package.json" | digest)
    if [[ ! -e $pinned/ready ]]; then
        rm -rf "$pinned" && mkdir -p "$pinned" && cp "$1/package.json" "$pinned"
        (cd "$pinned" && npm install --no-audit --no-fund --loglevel=error) >&2 || return 1
        touch "$pinned/ready"
    fi
    ln -sfn "$pinned/node_modules" "$1/node_modules"
}

tools_python() {
    command -v python3 >/dev/null || { say "python3 is not installed"; return 1; }
    local pinned
    pinned=$TOOLS/python-$(digest <"$1/requirements.txt")
    if [[ ! -e $pinned/ready ]]; then
        rm -rf "$pinned"
        python3 -m venv "$pinned" >&2 || return 1
        "$pinned/bin/pip" install --quiet --disable-pip-version-check \
            --requirement "$1/requirements.txt" >&2 || return 1
        touch "$pinned/ready"
    fi
    ln -sfn "$pinned" "$1/.venv"
}

tools_go() {
    command -v go >/dev/null || { say "go is not installed"; return 1; }
}

tools_c() {
    # What the linker needs shows only when it links.
    local probe=$TOOLS/probe
    links() {
        echo 'int puts(const char *); void probe(void) { puts(""); }' |
            clang-19 --target=wasm32-wasi -mexec-model=reactor -x c -o "$probe" - 2>/dev/null
    }
    links && return
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        say "clang-19 cannot build for Wasm; on Debian: apt-get install ${DEBIAN_PACKAGES[*]}"
        return 1
    fi
    say "installing ${DEBIAN_PACKAGES[*]}"
    {
        apt-get update --quiet=2 &&
            DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes \
                --no-install-recommends "${DEBIAN_PACKAGES[@]}"
    } >&2 && links
}

# Each `own_tests_LANGUAGE` runs a project's tests as its README says, in the project.

own_tests_js() { npm test --silent; }
own_tests_python() { .venv/bin/python -m unittest --quiet; }
own_tests_go() { go test ./...; }
own_tests_c() { :; }

# Makes $OUT/$1-$2.wasm: plugin $1 in language $2, with the files of folder $3 over the template's.
plugin() {
    local name=$1 language=$2 over=${3:-} project=$TOOLS/projects/$1-$2 made key
    rm -rf "$project" && mkdir -p "$project"
    (cd "$project" && "$HOST" plugin new "$name" --lang "$language" >/dev/null) || return 1
    project=$project/$name
    if [[ -n $over ]]; then cp -R "$over/." "$project"; fi
    made=$OUT/$name-$language.wasm
    key=$(cd "$project" && find . -type f | LC_ALL=C sort | xargs sha256sum | digest)
    if [[ -e $made && $(cat "$made.key" 2>/dev/null) == "$key" ]]; then return; fi
    "tools_$language" "$project" || return 1
    say "testing and building $name in $language"
    # Not the aircraft: the tests of the template it was made from are of another projection.
    if [[ $name != aircraft ]]; then
        (cd "$project" && "own_tests_$language") >&2 || return 1
    fi
    "$HOST" plugin build "$project" >&2 || return 1
    cp "$project/$name.wasm" "$made" && echo "$key" >"$made.key"
}

build() {
    mkdir -p "$TOOLS" "$OUT"
    local language built=()
    for language in "${LANGUAGES[@]}"; do
        if plugin accounts "$language" &&
            plugin aircraft "$language" "examples/flights/languages/$language" &&
            plugin probe "$language" "tests/languages/$language"; then
            built+=("$language")
        else
            say "SKIPPED: $language. Its plugins are NOT tested; see above for what is missing"
        fi
    done
    echo "${built[*]}" >"$OUT/built"
}

case ${1:-} in
    build) build ;;
    env)
        [[ -e $OUT/built ]] || { say "nothing is built; run scripts/languages.sh build"; exit 1; }
        echo "export PROJECTIONIST_TEST_LANGUAGES='$(cat "$OUT/built")'"
        ;;
    *)
        sed -n 's/^# \{0,1\}//p' "$0" | sed 1d >&2
        exit 64
        ;;
esac
