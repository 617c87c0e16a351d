#!/usr/bin/env bash
# A run as a workload of xpk, on a GKE cluster with TPUs:
#   launch/gke_xpk.sh create NAME --cluster C --type v5litepod-64 [--slices N]
#     (--image IMAGE | --base IMAGE) [--restarts N] -- slan-train --config ...
#   launch/gke_xpk.sh log|list|delete NAME --cluster C
# IMAGE of --image has this package installed; --base makes one from this tree.
# Pods that are pre-empted get SIGTERM and 300 s to save; the workload is then
# started again, up to N times (20), and goes on from its last checkpoint, so
# --workdir must be gs://... or a mounted volume. --project and --zone are handed
# to xpk; --dry-run prints the commands only.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
  echo "$0: $1; see the head of this file" >&2
  exit 2
}

verb=${1:-} name=${2:-}
[[ $verb && $name && $name != -* ]] || fail "expected a verb and a name"
shift 2
cluster="" type="" slices=1 restarts=20 dry="" image=() place=() command=()
while (($#)); do
  case $1 in
    --cluster) cluster=${2:?} && shift ;;
    --project | --zone) place+=("$1=${2:?}") && shift ;;
    --type) type=${2:?} && shift ;;
    --slices) slices=${2:?} && shift ;;
    --restarts) restarts=${2:?} && shift ;;
    --image) image=("--docker-image=${2:?}") && shift ;;
    --base) image=("--base-docker-image=${2:?}" "--script-dir=$root") && shift ;;
    --dry-run) dry=1 ;;
    --) shift && command=("$@") && break ;;
    *) fail "unknown argument $1" ;;
  esac
  shift
done
[[ $cluster ]] || fail "--cluster is missing"
place+=("--cluster=$cluster")

run() {
  if [[ $dry ]]; then printf '%q ' "$@" && echo; else "$@"; fi
}

case $verb in
  create)
    [[ $type ]] || fail "create needs --type"
    ((${#image[@]})) || fail "create needs --image or --base"
    ((${#command[@]})) || fail "expected -- and a command"
    words=$(printf '%q ' "${command[@]}" --distributed)
    if [[ ${image[0]} == --base* ]]; then
      words="pip install -q -c requirements.lock -e '.[tpu,gcs]' && $words"
    fi
    run xpk workload create "--workload=$name" "${place[@]}" \
      "--tpu-type=$type" "--num-slices=$slices" "${image[@]}" \
      "--max-restarts=$restarts" --termination-grace-period-seconds=300 \
      "--command=${words% }"
    ;;
  list) run xpk workload list "${place[@]}" "--filter-by-job=$name" ;;
  log)
    run kubectl logs --follow --all-containers \
      -l "jobset.sigs.k8s.io/jobset-name=$name,batch.kubernetes.io/job-completion-index=0"
    ;;
  delete) run xpk workload delete "--workload=$name" "${place[@]}" ;;
  *) fail "unknown verb $verb" ;;
esac
