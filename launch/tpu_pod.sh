#!/usr/bin/env bash
# A run on a TPU slice that is asked for as a queued resource:
#   launch/tpu_pod.sh create  NAME --zone Z --type v5litepod-64 --runtime R [--spot]
#   launch/tpu_pod.sh install NAME --zone Z [--data gs://BUCKET/DIR]
#   launch/tpu_pod.sh start   NAME --zone Z -- slan-train --config ... --workdir ...
#   launch/tpu_pod.sh log|stop|status|delete NAME --zone Z
#   launch/tpu_pod.sh resume  NAME (what create, install and start take)
# create waits until the slice is there. install copies the committed tree to all
# hosts, sets it up, and copies prepared data to runs/data/DIR on each. start runs
# the command on all hosts. stop asks it to save. resume stays and watches: after
# a pre-emption it makes the slice again and starts the same command, which goes
# on from its last checkpoint, so --workdir must outlive the slice (gs://...);
# it ends when the run is complete, or with the code of an error that would come
# again. --project P is handed to gcloud; --dry-run prints the commands only.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
POLL=${POLL:-60} # seconds between looks
# What a host says of its run: the exit code, running, or gone.
LOOK="cd slan_jax && cat slan.exit 2>/dev/null || \
{ kill -0 \$(cat slan.pid) && echo running; } 2>/dev/null || echo gone"

fail() {
  echo "$0: $1; see the head of this file" >&2
  exit 2
}

verb=${1:-} name=${2:-}
[[ $verb && $name && $name != -* ]] || fail "expected a verb and a name"
shift 2
zone="" type="" runtime="" data="" dry="" place=() how=() command=()
while (($#)); do
  case $1 in
    --zone) zone=${2:?} && shift ;;
    --project) place+=("--project=${2:?}") && shift ;;
    --type) type=${2:?} && shift ;;
    --runtime) runtime=${2:?} && shift ;;
    --data) data=${2%/} && shift ;;
    --spot) how+=(--spot) ;;
    --dry-run) dry=1 ;;
    --) shift && command=("$@") && break ;;
    *) fail "unknown argument $1" ;;
  esac
  shift
done
[[ $zone ]] || fail "--zone is missing"
place+=("--zone=$zone")

run() {
  if [[ $dry ]]; then printf '%q ' "$@" && echo; else "$@"; fi
}

queue() {
  run gcloud compute tpus queued-resources "$1" "$name" "${place[@]}" "${@:2}"
}

on() { # HOSTS COMMAND: hosts are a number or "all"
  run gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" \
    "--worker=$1" "--command=$2"
}

state() {
  if [[ $dry ]]; then queue describe "--format=value(state.state)" >&2; else
    queue describe "--format=value(state.state)" 2>/dev/null || echo NONE
  fi
}

create() {
  [[ $type && $runtime ]] || fail "create needs --type and --runtime"
  queue create "--node-id=$name" "--accelerator-type=$type" \
    "--runtime-version=$runtime" ${how[@]+"${how[@]}"} || return
  local now
  while now=$(state) && [[ ! $dry && $now != ACTIVE ]]; do
    if [[ $now == FAILED || $now == SUSPENDED ]]; then
      echo "$0: the request for $name is $now" >&2
      return 1
    fi
    echo "$name is $now" && sleep "$POLL"
  done
}

install() {
  local archive=${TMPDIR:-/tmp}/slan-$name.tar.gz
  run git -C "$root" archive --format=tar.gz "--output=$archive" HEAD || return
  run gcloud compute tpus tpu-vm scp "$archive" "$name:slan.tar.gz" \
    "${place[@]}" --worker=all || return
  on all "mkdir -p slan_jax && tar -xzf slan.tar.gz -C slan_jax && \
sudo apt-get install -y -q make python3.11-venv && cd slan_jax && make setup && \
.venv/bin/pip install -q -c requirements.lock 'jax[tpu]' 'gcsfs>=2025.3'" || return
  if [[ $data ]]; then
    on all "mkdir -p slan_jax/runs/data/${data##*/} && gcloud storage rsync \
--recursive $data slan_jax/runs/data/${data##*/}"
  fi
}

start() {
  ((${#command[@]})) || fail "expected -- and a command"
  # Nothing that stays may hold the connection's output, or ssh would wait for it.
  on all "cd slan_jax && rm -f slan.exit && { nohup launch/run_host.sh \
$(printf '%q ' "${command[@]}")</dev/null >/dev/null 2>&1 & }"
}

resume() {
  [[ $type && $runtime ]] || fail "resume needs --type and --runtime"
  ((${#command[@]})) || fail "expected -- and a command"
  local now code
  while true; do
    now=$(state)
    if [[ $now == ACTIVE ]]; then
      # A host that does not answer is on its way out: look again.
      code=$(on 0 "$LOOK") || code=""
      case $code in
        running | "") ;;
        0) echo "the run of $name is complete" && return 0 ;;
        1 | 2 | 3) return "$code" ;; # would come again
        gone) # never started, or the host was
          echo "nothing runs on $name, starting it"
          if install; then start || true; fi
          ;;
        *) echo "ended with $code, starting again" && start || true ;;
      esac
    elif [[ $dry || $now == NONE || $now == SUSPENDED || $now == FAILED ]]; then
      echo "$name is ${now:-gone}, asking for it again"
      [[ $now == NONE ]] || queue delete --force --quiet || true
      if create && install; then start || true; fi
    fi
    [[ $dry ]] && return 0
    sleep "$POLL"
  done
}

case $verb in
  create) create ;;
  install) install ;;
  start) start ;;
  log) on 0 "tail -n 100 -F slan_jax/slan.log" ;;
  stop) on all "kill -TERM \$(cat slan_jax/slan.pid)" ;;
  status) state && on all "$LOOK" ;;
  resume) resume ;;
  delete) queue delete --force --quiet ;;
  *) fail "unknown verb $verb" ;;
esac
