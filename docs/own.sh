# Functions of the scripts beside it that load only processes which they started themselves, on free
# ports. Sourced in the project's directory.
fail() { echo "$0: $*" >&2; exit 1; }
command -v curl >/dev/null || fail "curl is needed"

work=$(mktemp -d)
load= backends= lb= # the processes that run
finish() {
  trap '' HUP INT TERM
  # The load ends first: once the balancer has gone, its port may be another process's.
  for pid in $load $backends $lb; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" || true
  done
  rm -rf "$work"
}
trap finish EXIT
# Without these, a signal would end the script but not the command that it waits for.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

go build -o "$work/lb" .
go build -o "$work/bench" ./bench

# start_backends COUNT FLAG...: starts fake backends and sets start_port to the port of the first.
# They get all of their ports or none, so a block of free ports is found by trying.
start_backends() {
  local count=$1
  shift
  : >"$work/backends.log" # it is read at once
  for _ in $(seq 50); do
    start_port=$((20000 + RANDOM % 10000))
    "$work/bench" servers --servers="$count" --start_port="$start_port" "$@" >"$work/backends.log" 2>&1 &
    backends=$!
    for _ in $(seq 200); do
      ! grep -q '^serving ' "$work/backends.log" || return 0
      kill -0 "$backends" 2>/dev/null || break
      sleep 0.02
    done
    kill "$backends" 2>/dev/null || true
    wait "$backends" || true
    backends=
  done
  fail "the backends do not start: $(cat "$work/backends.log")"
}

# list_backends COUNT: prints the backends of that many ports for a pool of a config.
list_backends() {
  echo "    backends:"
  for i in $(seq 0 $(($1 - 1))); do echo "      - url: http://127.0.0.1:$((start_port + i))"; done
}

# start_balancer CONFIG: starts the balancer and sets lb to its process and address to where it
# listens. The address comes from its own log, so no other process answers there.
start_balancer() {
  : >"$work/lb.log" # it is read at once
  "$work/lb" --path="$1" >"$work/lb.log" 2>&1 &
  lb=$!
  for _ in $(seq 500); do
    address=$(sed -n 's/.*"listen":"\([^"]*\)".*"message":"proxy".*/\1/p' "$work/lb.log")
    address=${address/#'[::]:'/127.0.0.1:} # which the API counts as local
    [ -z "$address" ] || return 0
    kill -0 "$lb" 2>/dev/null || break
    sleep 0.02
  done
  lb=
  fail "the balancer does not start: $(cat "$work/lb.log")"
}

stop_balancer() {
  kill "$lb"
  wait "$lb"
  lb=
}
