#!/usr/bin/env bash
# Builds, tests, packs and installs car-server. `./build.sh help` lists the commands.
# Needs no input, works from any directory, and says so before it installs anything.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$root/out
binary=$out/car-server
clients=$root/tests/clients
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 TESTINGPLATFORM_TELEMETRY_OPTOUT=1 TUNIT_DISABLE_HTML_REPORTER=true

usage() {
    cat <<'TEXT'
usage: ./build.sh COMMAND

  build              make the native executable, out/car-server
  run [ARGS]         build if needed, then start the daemon: out/car-server ARGS
  test [FILTER]      run every test; with FILTER (/*/*/RunsTests/*) only those C# tests
  fuzz               the long fuzz run: millions of inputs per target
  order              write startup.order anew: which methods a start needs, so that they lie together in the executable
  bench [WORD]       measure the daemon's parts and the built executable; with WORD only the cases named so
  bench growth       what one connection, run, subscriber, key, tool, action, event costs where there are ten times as many
  bench crowd        10,000 connections, and what the others notice when 1,000 of them misbehave
  soak [MINUTES]     a mixed load on the built executable for 30 minutes; fails when an answer is wrong or memory grows
  compare A [B]      measure the executables of two commits beside each other, B or the working tree against A;
                     fails when something is worse by more than 10 % in every round
  publish            a release archive with its checksum, in out/
  install            put the executable on the path and add a user service (--no-service: only the executable)
  help               this text
TEXT
}

say()  { printf '== %s\n' "$*" >&2; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# ---------------------------------------------------------------- what has to be on the machine

on_macos() { [ "$(uname -s)" = Darwin ]; }

apt_updated=false
apt_update() {   # once; stale lists may still do
    [ "$apt_updated" = true ] && return
    apt-get update -qq >&2 </dev/null || say "apt-get update failed; going on with the package lists at hand"
    apt_updated=true
}

# apt PURPOSE PACKAGE...: installs Debian packages as root; otherwise ends with the command to type.
apt() {
    local purpose=$1; shift
    have apt-get || fail "$purpose is missing; install it with your system's package manager (Debian's names: $*)"
    [ "$(id -u)" = 0 ] || fail "$purpose is missing; install it with: sudo apt-get install -y $*"
    say "$purpose is missing: installing $* with apt-get"
    apt_update
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 </dev/null \
        || fail "could not install $*; try: apt-get install -y $*"
}

has_sdk() { have dotnet && dotnet --list-sdks 2>/dev/null | grep -q '^10\.'; }

need_sdk() {
    has_sdk && return
    on_macos && fail ".NET SDK 10 is missing; install it with: brew install --cask dotnet-sdk"
    if have apt-get && [ "$(id -u)" = 0 ]; then
        apt_update
        if apt-cache show dotnet-sdk-10.0 >/dev/null 2>&1; then apt ".NET SDK 10" dotnet-sdk-10.0; fi
    fi
    has_sdk || fail ".NET SDK 10 is missing; where the distribution has it: apt-get install -y dotnet-sdk-10.0; else see https://dotnet.microsoft.com/download/dotnet/10.0"
}

need_linker() {
    if on_macos; then
        xcode-select -p >/dev/null 2>&1 || fail "a C linker is missing; install Apple's with: xcode-select --install"
        return
    fi
    have clang || have gcc || apt "a C linker" gcc libc6-dev
    # What is linked with lies here on Debian; elsewhere it may have other places, and the linker will tell.
    have dpkg || return 0
    [ -e /usr/include/stdlib.h ] || apt "the C library's development files" libc6-dev
    [ -e /usr/include/zlib.h ] || apt "the zlib library's development files" zlib1g-dev
}

need_node() {
    if ! have node || ! have npm; then
        on_macos && fail "Node is missing; install it with: brew install node"
        apt "Node" nodejs npm
    fi
    local major
    major=$(node -p 'process.versions.node.split(".")[0]')
    [ "$major" -ge 18 ] || fail "the tests need Node 18 or newer, this is $(node --version)"
}

find_chromium() {
    local candidate
    for candidate in "${CHROMIUM:-}" chromium chromium-browser google-chrome-stable google-chrome \
        "/Applications/Chromium.app/Contents/MacOS/Chromium" "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
        if [ -n "$candidate" ] && have "$candidate"; then command -v "$candidate"; return; fi
    done
    return 1
}

need_chromium() {
    find_chromium >/dev/null && return
    on_macos && fail "Chromium is missing; install it with: brew install --cask chromium"
    apt "Chromium" chromium
    find_chromium >/dev/null || fail "Chromium is installed but not on the path; name it with CHROMIUM=/path/to/it"
}

# ---------------------------------------------------------------- the executable

version() { sed -n 's/.*<Version>\(.*\)<\/Version>.*/\1/p' "$root/car-server.csproj"; }

runtime_id() {
    local os cpu
    case $(uname -s) in
        Linux)  os=linux; if ldd --version 2>&1 | grep -qi musl; then os=linux-musl; fi ;;
        Darwin) os=osx ;;
        *)      fail "no native build for $(uname -s)" ;;
    esac
    case $(uname -m) in
        x86_64|amd64)  cpu=x64 ;;
        aarch64|arm64) cpu=arm64 ;;
        *)             fail "no native build for $(uname -m)" ;;
    esac
    echo "$os-$cpu"
}

# is_current EXECUTABLE [MORE...]: true while it is at least as new as the daemon's sources and whatever else is named.
is_current() {
    local made=$1; shift
    [ -x "$made" ] && [ -z "$(find "$root/Program.cs" "$root/Rpc" "$root/State" "$root/RunStore" \
        "$root/car-server.csproj" "$root/Directory.Build.props" "$root/startup.order" "$@" -newer "$made" -print -quit)" ]
}

build() {
    need_sdk; need_linker
    mkdir -p "$out"
    local rid work log
    rid=$(runtime_id); work=$out/obj; log=$out/publish.log
    say "publishing car-server $(version) for $rid (NativeAOT)"
    if ! dotnet publish "$root/car-server.csproj" -c Release -r "$rid" --artifacts-path "$work" -o "$out/publish" --nologo -v minimal >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        fail "the publish failed"
    fi
    if grep -E '(^|[^[:alnum:]])warning( [A-Z]+[0-9]+)?:' "$log" >&2; then
        rm -rf "$work" "$out/publish"   # or the next, incremental publish would not repeat the warning
        fail "the publish printed warnings"
    fi
    # A new file under the final name at once: a daemon that runs from the old one keeps it.
    cp "$out/publish/car-server" "$binary.new"
    mv -f "$binary.new" "$binary"
    say "out/car-server: $(($(wc -c <"$binary") / 1024)) KiB"
}

build_if_needed() { is_current "$binary" || build; }

# ---------------------------------------------------------------- tests

passed=0
failed=0

# count NAME PASSED FAILED EXIT: adds one suite's totals; a suite that ended badly without naming a failure is one.
count() {
    local name=$1 p=${2:-0} f=${3:-0} code=$4
    if [ "$code" != 0 ] && [ "$f" = 0 ]; then f=1; echo "$name ended with exit code $code" >&2; fi
    if [ "$p" = 0 ] && [ "$f" = 0 ]; then f=1; echo "$name ran no test" >&2; fi
    passed=$((passed + p)); failed=$((failed + f))
}

number_after() { sed -n "s/^ *$1 *\([0-9][0-9]*\) *$/\1/p" "$2" | tail -n 1; }

run_csharp_tests() {
    local log=$out/tests.log code=0 project
    say "building the C# tests"
    # The measurements are not run here, but they must not stop to compile unnoticed.
    for project in tests/car-server.tests.csproj tests/Bench/car-server.bench.csproj; do
        dotnet build "$root/$project" -c Release --nologo -v quiet >"$log" 2>&1 </dev/null || { cat "$log" >&2; count "the build of $project" 0 1 1; return; }
    done
    say "C# tests"
    (cd "$root" && CAR_SERVER_BIN=$binary "$root/tests/bin/Release/net10.0/car-server.tests" --no-ansi --progress off --disable-logo "$@") >"$log" 2>&1 </dev/null || code=$?
    cat "$log"
    count "the C# tests" "$(number_after succeeded: "$log")" "$(number_after failed: "$log")" "$code"
}

run_smoke_test() {
    local log=$out/smoke.log code=0
    say "smoke test"
    CAR_SERVER_BIN=$binary "$root/tests/smoke.sh" 2>&1 </dev/null | tee "$log" || code=$?
    count "the smoke test" "$(grep -c '^ok ' "$log" || true)" "$(grep -c '^not ok ' "$log" || true)" "$code"
}

run_client_tests() {
    local log=$out/clients.log code=0
    say "clients that are not ours: Node's ws, a page in Chromium"
    (cd "$clients" && CAR_SERVER_BIN=$binary CHROMIUM=$(find_chromium) node --test --test-reporter=tap ./*.test.mjs) 2>&1 </dev/null | tee "$log" || code=$?
    local p f c
    p=$(number_after '# pass' "$log"); f=$(number_after '# fail' "$log"); c=$(number_after '# cancelled' "$log")
    count "the client tests" "${p:-0}" "$((${f:-0} + ${c:-0}))" "$code"
}

need_client_packages() {
    if [ "$clients/package-lock.json" -nt "$clients/node_modules/.package-lock.json" ]; then
        say "installing the test clients' packages"
        (cd "$clients" && npm ci --silent --no-audit --no-fund) >&2 </dev/null || fail "npm ci failed in tests/clients"
        touch "$clients/node_modules/.package-lock.json"
    fi
}

finish_tests() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}

test_all() {
    need_sdk; need_linker; need_node; need_chromium
    need_client_packages
    build_if_needed
    run_csharp_tests
    run_smoke_test
    run_client_tests
    finish_tests
}

test_some() {
    build_if_needed
    need_sdk
    run_csharp_tests --treenode-filter "$1"
    finish_tests
}

fuzz() {
    export CAR_FUZZ=long
    test_some '/*/CarServer.Tests.Fuzz/*/*'
}

bench_program=$out/bench/car-server.bench

build_bench() {
    local log=$out/bench.log
    build_if_needed
    if ! is_current "$bench_program" "$root/tests/Bench" "$root/tests/Support"; then
        need_sdk; need_linker
        say "publishing the measurements, compiled as the daemon is"
        dotnet publish "$root/tests/Bench/car-server.bench.csproj" -c Release -r "$(runtime_id)" --artifacts-path "$out/bench-obj" -o "$out/bench" \
            --nologo -v quiet >"$log" 2>&1 </dev/null || { cat "$log" >&2; fail "the publish failed"; }
        touch "$bench_program"
    fi
}

bench() {
    build_bench
    CAR_SERVER_BIN=$binary "$bench_program" "$@"
    if [ $# = 0 ]; then beside_others; fi
}

# The servers that are measured side by side lie beside a checkout, not in it, and are built by their own script into BENCH_OUT.
beside_others() {
    local there=$root/../shared/bench
    [ -x "$there/run.sh" ] || return 0
    export BENCH_OUT=${BENCH_OUT:-${TMPDIR:-/tmp}/car-bench}
    if [ ! -x "$BENCH_OUT/bin/loadgen/loadgen" ]; then
        say "beside other servers: BENCH_OUT=DIR ../shared/bench/build.sh, then this again"
        return 0
    fi
    # A home of its own in the environment of all of them: run.sh weighs the first word of a server's command, so that cannot be env.
    local home code=0
    home=$(mktemp -d /tmp/car-XXXXXX)
    say "beside other servers"
    CAR_HOME=$home "$there/run.sh" --rounds "${BENCH_ROUNDS:-3}" --server "car=$binary --bind 127.0.0.1:PORT --no-auth --no-socket:23200" </dev/null || code=$?
    rm -rf "$home"
    return "$code"
}

# built_at REVISION: prints the path of the executable of a commit, built once.
built_at() {
    local id made tree
    id=$(git -C "$root" rev-parse --verify --quiet "$1^{commit}") || fail "'$1' is no commit of this repository"
    made=$out/compare/$id/car-server tree=$out/compare/$id/tree
    if [ ! -x "$made" ]; then
        need_sdk; need_linker
        say "publishing car-server of ${id:0:12}"
        git -C "$root" worktree remove --force "$tree" 2>/dev/null || rm -rf "$tree"   # left by a build that was interrupted
        git -C "$root" worktree prune
        git -C "$root" worktree add --quiet --detach "$tree" "$id"
        if ! dotnet publish "$tree/car-server.csproj" -c Release -r "$(runtime_id)" --artifacts-path "$out/compare/$id/obj" -o "$out/compare/$id/publish" \
            --nologo -v quiet >"$out/compare/$id/publish.log" 2>&1 </dev/null; then
            cat "$out/compare/$id/publish.log" >&2
            git -C "$root" worktree remove --force "$tree"
            fail "the publish of $1 failed"
        fi
        git -C "$root" worktree remove --force "$tree"
        mv "$out/compare/$id/publish/car-server" "$made"
        rm -rf "$out/compare/$id/obj" "$out/compare/$id/publish"
    fi
    echo "$made"
}

compare() {
    local options=() a b
    case ${1:-} in --rounds=*) options=("$1"); shift ;; esac
    case $# in 1|2) ;; *) fail "compare takes a revision or two, and before them --rounds=N" ;; esac
    build_bench
    a=$(built_at "$1")
    b=$binary
    if [ $# = 2 ]; then b=$(built_at "$2"); fi
    CAR_SERVER_BIN=$binary "$bench_program" compare ${options[@]+"${options[@]}"} "$a" "$b"
}

# ---------------------------------------------------------------- what lies together in the executable

# What is not in the list, and what is in it and no longer in the program, does no harm: it lies elsewhere.
record_order() {
    on_macos && fail "the order is recorded on Linux, with valgrind"
    need_sdk; need_linker
    have valgrind || apt "valgrind" valgrind
    local work=$out/order log=$out/order.log daemon tcp
    rm -rf "$work"
    say "publishing with symbols"
    dotnet publish "$root/car-server.csproj" -c Release -r "$(runtime_id)" -p:StripSymbols=false --artifacts-path "$work/obj" -o "$work" \
        --nologo -v quiet >"$log" 2>&1 </dev/null || { cat "$log" >&2; fail "the publish failed"; }
    strip --strip-debug "$work/car-server"   # valgrind reads the symbols, but not this much of the rest
    say "recording a start, the first requests and a stop"
    CAR_HOME=$work/home valgrind --tool=callgrind --callgrind-out-file="$work/calls" "$work/car-server" --bind 127.0.0.1:0 --no-auth \
        --socket "$work/socket" >"$log" 2>&1 </dev/null &
    daemon=$!
    for _ in $(seq 600); do grep -qx ready "$log" && break; sleep 0.1; done
    tcp=$(grep -o 'ws://127[0-9.:]*' "$log" | head -1)
    "$work/car-server" ping --url "$tcp" >/dev/null
    "$work/car-server" call --url "$tcp" state.set '{"key":"k","value":1}' >/dev/null
    "$work/car-server" call --url "$tcp" state.get '{"key":"k"}' >/dev/null
    kill -TERM "$daemon"
    wait "$daemon" || true
    # Managed methods only; C++ names have colons or parentheses, C names small letters.
    sed -nE "s/^c?fn=\([0-9]+\) (.*)/\1/p" "$work/calls" | sed -E "s/'[0-9]+$//" | grep -E '^([A-Z<]|__[A-Z]|car_server_)[^ (:]*$' \
        | LC_ALL=C sort -u >"$root/startup.order"
    rm -rf "$out/obj"   # the compiler's inputs as the build knows them are the same
    say "startup.order: $(wc -l <"$root/startup.order") methods"
}

# ---------------------------------------------------------------- release and installation

sha256() { if have sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi; }

publish() {
    build
    local name stage options=()
    name=car-server-$(version)-$(runtime_id)
    stage=$out/$name
    rm -rf "$stage"; mkdir "$stage"
    cp "$binary" "$root/README.md" "$root/LICENSE" "$root/CHANGELOG.md" "$stage/"
    # The same sources give the same archive, where tar can be told so.
    if tar --version 2>/dev/null | grep -q GNU; then
        options=(--sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 0)")
    fi
    tar -C "$out" ${options[@]+"${options[@]}"} -cf - "$name" | gzip -9n >"$out/$name.tar.gz"
    rm -rf "$stage"
    (cd "$out" && sha256 "$name.tar.gz" >"$name.tar.gz.sha256" && cat "$name.tar.gz.sha256")
}

install_service_systemd() {   # PATH-OF-EXECUTABLE
    local directory=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
    if [ "$(id -u)" = 0 ]; then directory=/etc/systemd/user; fi   # for every user of the machine, each with a daemon of their own
    mkdir -p "$directory"
    cat >"$directory/car-server.service" <<TEXT
[Unit]
Description=car-server, the local daemon of the Common Agent Runtime

[Service]
ExecStart="$1" serve
Restart=on-failure
# Longer than the grace the daemon gives to what still runs when it is told to stop.
TimeoutStopSec=15
NoNewPrivileges=yes

[Install]
WantedBy=default.target
TEXT
    say "wrote $directory/car-server.service"
    if [ "$(id -u)" != 0 ] && have systemctl; then systemctl --user daemon-reload 2>/dev/null || true; fi
    say "start it now and at every login with: systemctl --user enable --now car-server"
}

install_service_launchd() {   # PATH-OF-EXECUTABLE
    local directory=$HOME/Library/LaunchAgents label=ai.parslee.car-server
    if [ "$(id -u)" = 0 ]; then directory=/Library/LaunchAgents; fi
    mkdir -p "$directory"
    cat >"$directory/$label.plist" <<TEXT
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key><string>$label</string>
  <key>ProgramArguments</key><array><string>$1</string><string>serve</string></array>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>
</dict>
</plist>
TEXT
    say "wrote $directory/$label.plist; it starts at the next login"
    say "start it now with: launchctl bootstrap gui/\$(id -u) $directory/$label.plist"
}

install_all() {
    local service=true
    case ${1:-} in
        '') ;;
        --no-service) service=false ;;
        *) fail "install takes --no-service or nothing, not '$1'" ;;
    esac
    build_if_needed
    local directory=$HOME/.local/bin
    if [ "$(id -u)" = 0 ]; then directory=/usr/local/bin; fi
    mkdir -p "$directory"
    cp "$binary" "$directory/.car-server.new"
    chmod 755 "$directory/.car-server.new"
    mv -f "$directory/.car-server.new" "$directory/car-server"
    say "installed $directory/car-server"
    case :$PATH: in *":$directory:"*) ;; *) say "$directory is not on your PATH; add it to use 'car-server' by name" ;; esac
    if [ "$service" = true ]; then
        if on_macos; then install_service_launchd "$directory/car-server"; else install_service_systemd "$directory/car-server"; fi
    fi
}

command=${1:-help}
[ $# -gt 0 ] && shift
case $command in
    build)   build ;;
    run)     build_if_needed; exec "$binary" "$@" ;;
    test)    if [ $# -gt 0 ]; then test_some "$1"; else test_all; fi ;;
    fuzz)    fuzz ;;
    bench)   bench "$@" ;;
    order)   record_order ;;
    soak)    bench soak "$@" ;;
    compare) compare "$@" ;;
    publish) publish ;;
    install) install_all "$@" ;;
    help|-h|--help) usage ;;
    *)       usage >&2; exit 2 ;;
esac
