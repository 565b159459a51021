# shellcheck shell=bash disable=SC2034 # whoever sources this uses what is set here
# What the shell scripts of this folder share. They source it after `set -euo pipefail`, and have
#
#   $name     what the script is called; each of its lines begins with it
#   $here     this folder
#   $work     a directory that goes with the script
#   $pids     processes by name; whatever still runs at the end is killed
#   $passed, $failed and $repeated, which `finish` tells

name=$(basename "$0")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
declare -A pids=()
passed=0
failed=0
repeated=0

cleanup() {
  for pid in "${pids[@]}"; do
    kill -9 "$pid" 2> /dev/null || true
    # Otherwise bash says that it was killed.
    wait "$pid" 2> /dev/null || true
  done
  rm -rf "$work"
}
trap cleanup EXIT

# Skips the script where a program is missing.
need() {
  local tool
  for tool in "$@"; do
    if ! command -v "$tool" > /dev/null; then
      echo "$name: skipped: there is no $tool"
      exit 0
    fi
  done
}

# Sets $program: what MILLRACE names, or a new build.
find_program() {
  program=${MILLRACE:-}
  if [ -z "$program" ]; then
    (cd "$here/../.." && cargo build --quiet --release -p millrace)
    program=${CARGO_TARGET_DIR:-$here/../../target}/release/millrace
  fi
}

# Sets $jars: what LIBRARIES names, or a folder with the artifacts of these files of Maven. And $tools:
# the class path of mqadmin and clients, without the servers' jars, which make the tools print how they
# set up their logging.
find_jars() { # poms...
  local pom
  jars=${LIBRARIES:-}
  if [ -z "$jars" ]; then
    jars=$work/lib
    for pom in "$@"; do
      mvn -q -B ${MAVEN_OPTIONS:-} -f "$pom" dependency:copy-dependencies -DoutputDirectory="$jars" \
        > "$work/maven.out" 2>&1 || give_up "the jars of $pom cannot be fetched"
    done
  fi
  tools=$(find "$jars" -name '*.jar' ! -name 'rocketmq-broker-*' ! -name 'rocketmq-namesrv-*' | paste -sd :)
}

# What Apache's servers and tools need of a JVM.
java_options=(-Drocketmq.client.logRoot="$work/log" -Drocketmq.home.dir="$work"
  --add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/sun.nio.ch=ALL-UNNAMED
  --add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED
  --add-exports=java.base/jdk.internal.ref=ALL-UNNAMED)
export ROCKETMQ_HOME=$work

# Ends the script because of something that is not being tested.
give_up() { # what
  local log
  echo "$name: $1"
  for log in "$work"/*.out "$work"/*.err; do
    if [ -s "$log" ]; then
      echo "$name: the end of $(basename "$log"):"
      tail -n 15 "$log"
    fi
  done
  exit 3
}

# Whether something comes about within a minute.
comes_about() { # command...
  local look
  for look in $(seq 600); do
    if "$@" > /dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  return 1
}
await() { # what, command...
  local what=$1
  shift
  comes_about "$@" || give_up "$what did not come about"
}
listens() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
free_port() { # an Apache broker listens on port-2 and port+1, too
  local port
  for port in $(shuf -i 20000-29000 -n 50); do
    if ! listens "$port" && ! listens "$((port - 2))" && ! listens "$((port + 1))"; then
      echo "$port"
      return
    fi
  done
}

# Starts a server of Millrace on a directory of its own and waits until it listens.
start_millrace() { # name, arguments of `millrace server`...
  local server=$1
  shift
  # What an earlier one said there must not be taken for this one's word.
  : > "$work/$server.out"
  "$program" server --json --data-dir "$work/$server" "$@" > "$work/$server.out" 2>> "$work/$server.err" &
  pids[$server]=$!
  await "the start of $server" grep -q '"listening"' "$work/$server.out"
}
address_of() { # name, namesrv or broker
  sed -n "s/.*\"$2\":\"\([^\"]*\)\".*/\1/p" "$work/$1.out" | head -n 1
}
# Starts a server of Apache's and waits until it listens.
start_apache() { # name, heap, main class, port, lines of its file...
  local server=$1 heap=$2 main=$3 port=$4
  shift 4
  mkdir -p "$work/$server"
  printf '%s\n' "listenPort=$port" "$@" > "$work/$server.conf"
  java "-Xmx$heap" -XX:TieredStopAtLevel=1 "${java_options[@]}" -Duser.home="$work/$server" -cp "$jars/*" \
    "org.apache.rocketmq.$main" -c "$work/$server.conf" > "$work/$server.out" 2>&1 &
  pids[$server]=$!
  await "the start of $server" listens "$port"
}
stop() { # name, signal
  kill "-$2" "${pids[$1]}"
  wait "${pids[$1]}" 2> /dev/null || true
  unset "pids[$1]"
}

passes() { passed=$((passed + 1)); }
fails() { # what
  failed=$((failed + 1))
  echo "$name: FAILED: $1"
}

# Runs a command of mqadmin and keeps what it prints in $said. Its own time-outs are of 3 s, which a
# JVM on a busy machine may need to start: after one, the command is repeated, which is told.
admin_at() { # name server, arguments...
  local at=$1 try late='call timeout|RemotingTimeoutException|RemotingConnectException'
  shift
  for try in 1 2 3; do
    said=$(timeout 60 java -XX:TieredStopAtLevel=1 "${java_options[@]}" -Duser.home="$work" -cp "$tools" \
      org.apache.rocketmq.tools.command.MQAdminStartup "$@" -n "$at" 2>&1) || true
    if [ "$try" = 3 ] || ! grep -Eq "$late" <<< "$said"; then return; fi
    repeated=$((repeated + 1))
    echo "$name: repeated: $1: $(grep -Eom 1 "$late" <<< "$said")"
  done
}
# Compares $said with an extended regular expression.
expect() { # what, pattern
  if grep -Eq -- "$2" <<< "$said"; then passes; else fails "$1: nothing matches $2 in
$(head -n 20 <<< "$said")"; fi
}
expect_not() { # what, pattern
  if grep -Eq -- "$2" <<< "$said"; then fails "$1: $2 matches in
$(head -n 20 <<< "$said")"; else passes; fi
}
# Looks until what mqadmin prints matches: some things are told by servers and clients in their own
# time. How often that took more than one look is told.
becomes() { # what, pattern, name server, arguments...
  local what=$1 pattern=$2 look
  shift 2
  for look in $(seq 20); do
    admin_at "$@"
    if grep -Eq -- "$pattern" <<< "$said"; then
      if [ "$look" -gt 1 ]; then echo "$name: $what: came about at look $look"; fi
      break
    fi
  done
  expect "$what" "$pattern"
}
# The version of $program as it tells it to RocketMQ's tools, as a pattern.
version_pattern() {
  local version
  version=$("$program" --version)
  echo "MILLRACE_${version##* }" | sed 's/\./\\./g'
}

finish() {
  echo "$name: $passed passed, $failed failed, $repeated repeated"
  [ "$failed" -eq 0 ] || exit 4
}
