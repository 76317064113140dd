#!/usr/bin/env bash
# The published executable, used as a script would: only through its command line, with one agent in a process of its own.
# Serve, run a proposal whose tools are real child processes, kill -9, start again, read the same trace, stop.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
car=${CAR_SERVER_BIN:-$here/../out/car-server}
home=$(mktemp -d /tmp/car-XXXXXX)
pid=

for name in $(compgen -e | grep '^CAR_'); do unset "$name"; done   # nothing of the machine's own daemon
unset XDG_RUNTIME_DIR
export CAR_HOME=$home

ok=0
bad=0
step() {   # DESCRIPTION COMMAND...: one numbered line; what the command printed only if it failed
    local what=$1 said; shift
    if said=$("$@" 2>&1); then
        ok=$((ok + 1)); echo "ok $((ok + bad)) - $what"
    else
        bad=$((bad + 1)); echo "not ok $((ok + bad)) - $what"; printf '%s\n' "$said" "$(tail -n 20 "$home/log" 2>/dev/null)" | sed 's/^/    /'
    fi
}
cleanup() {
    [ -n "$pid" ] && kill -9 "$pid" 2>/dev/null
    rm -rf "$home"
}
trap cleanup EXIT

serve() {
    : >"$home/out"
    "$car" serve --bind 127.0.0.1:0 >"$home/out" 2>>"$home/log" &
    pid=$!
}
is()       { [ "$1" = "$2" ] || { printf "expected '%s'\n     got '%s'\n" "$2" "$1"; return 1; }; }
contains() { case $1 in *"$2"*) ;; *) printf "expected '%s' in: %s\n" "$2" "$1"; return 1 ;; esac; }
exits()    { local want=$1 code=0; shift; "$@" || code=$?; is "$code" "$want"; }
url()      { sed -n 's/^listening on \(ws:.*\)$/\1/p' "$home/out" | head -n 1; }
trace()    { "$car" call runs.get_trace "{\"run_id\":\"$run\"}"; }

step "without a daemon, ping exits with 3" exits 3 "$car" ping
serve
step "wait-ready returns once the daemon answers" "$car" wait-ready --timeout 20
step "ping answers" "$car" ping
step "call prints the result" is "$("$car" call ping 2>&1)" '"pong"'
step "call takes its params from standard input" is "$(echo '{"key":"nothing"}' | "$car" call state.get - 2>&1)" null
echo '{"key":"k"}' >"$home/params.json"
step "call takes its params from a file" is "$("$car" call state.exists "@$home/params.json" 2>&1)" false
step "an error of the daemon exits with 1 and shows its code" contains "$("$car" call no.such.method 2>&1; echo "exit $?")" "-32601"
step "methods lists proposal.submit" contains "$("$car" methods 2>&1)" proposal.submit
step "version names this build" contains "$("$car" version 2>&1)" "$(sed -n 's/.*<Version>\(.*\)<\/Version>.*/\1/p' "$here/../car-server.csproj")"

run=$(node "$here/clients/tool-agent.mjs" "$(url)" "$(cat "$home/ai.parslee.car/auth-token")" smoke 2>"$home/agent.err")
step "an agent in a process of its own completes a run" is "$(cat "$home/agent.err")${run:+ a run}" " a run"
before=$(trace 2>&1)
step "the trace holds what the agent's child processes said" contains "$before" "$(uname -s)"
step "the trace ends with the outcome" contains "$before" '"success"'

kill -9 "$pid"; wait "$pid" 2>/dev/null
step "after kill -9, ping exits with 3" exits 3 "$car" ping
serve
step "it starts again on the same home" "$car" wait-ready --timeout 20
step "the trace is the same, byte for byte" is "$(trace 2>&1)" "$before"
step "stop returns" "$car" stop
code=0; wait "$pid" || code=$?; pid=
step "the stopped daemon exits with 0" is "$code" 0
step "token files and socket are gone" is "$(find "$home/ai.parslee.car" "$home/run" -name '*-token' -o -name '*.sock' 2>/dev/null)" ""

echo "smoke: $ok ok, $bad not ok"
[ "$bad" = 0 ]
