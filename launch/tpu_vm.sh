#!/usr/bin/env bash
# A run on Cloud TPU VMs, all hosts of a slice, through a queued resource.
#
#   launch/tpu_vm.sh create --name=laundry --zone=us-west4-b --type=v5litepod-16 --spot
#   launch/tpu_vm.sh run    --name=laundry --zone=us-west4-b -- \
#     --config=experiments/laundry.py --workdir=/mnt/runs/laundry
#   launch/tpu_vm.sh logs   --name=laundry --zone=us-west4-b
#   launch/tpu_vm.sh delete --name=laundry --zone=us-west4-b
#
# `create` asks for the slice and waits for it, `run` copies this directory to every host, installs
# it and starts aloe_jax.train there with what follows --. A spot slice that was taken away is
# deleted and created again, and the same `run` goes on. --dry-run prints the commands.
set -euo pipefail

usage() {
  echo "error: $1; expected launch/tpu_vm.sh create|run|logs|delete --name=NAME --zone=ZONE" \
    '[--project=PROJECT] [--type=TYPE] [--version=VERSION] [--spot] [--dry-run] [-- OPTIONS OF TRAIN].' >&2
  exit 2
}

verb=${1:-}
case $verb in create | run | logs | delete) shift ;; *) usage "found '${verb}'" ;; esac
name='' zone='' project='' type='' version='' spot='' dry=''
while (($#)); do
  case $1 in
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --version=*) version=${1#*=} ;;
    --spot) spot=1 ;;
    --dry-run) dry=1 ;;
    --) shift; break ;;
    *) usage "found $1" ;;
  esac
  shift
done
[[ $name ]] || usage '--name is missing'
[[ $zone ]] || usage '--zone is missing'
where=(--zone="$zone")
if [[ $project ]]; then where+=(--project="$project"); fi

# Runs a command, or prints it as a shell reads it.
do_() {
  if [[ $dry ]]; then printf '%q ' "$@"; echo; else "$@"; fi
}

# The runtime of each kind of chip, as the documentation of Cloud TPU names them.
runtime() {
  case $1 in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    *) echo tpu-ubuntu2204-base ;;
  esac
}

on_all() {
  do_ gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker=all --command="$1"
}

case $verb in
  create)
    [[ $type ]] || usage '--type is missing, such as v5litepod-16'
    do_ gcloud compute tpus queued-resources create "$name" --node-id="$name" "${where[@]}" \
      --accelerator-type="$type" --runtime-version="${version:-$(runtime "$type")}" ${spot:+--spot}
    state=(gcloud compute tpus queued-resources describe "$name" "${where[@]}" '--format=value(state.state)')
    if [[ $dry ]]; then do_ "${state[@]}"; exit; fi
    while found=$("${state[@]}"); [[ $found != ACTIVE ]]; do
      case $found in
        FAILED | SUSPEND*)
          echo "error: the queued resource $name is $found; delete it and create it again." >&2
          exit 1 ;;
      esac
      echo "$name: $found"
      sleep "${POLL_SECONDS:-30}"
    done
    ;;
  run)
    (($#)) || usage 'no options of train after --'
    directory=$(cd "$(dirname "$0")/.." && pwd)
    archive=${TMPDIR:-/tmp}/aloe_jax-$name.tgz
    do_ tar -czf "$archive" -C "$directory" --exclude=.git --exclude=runs .
    do_ gcloud compute tpus tpu-vm scp "$archive" "$name:aloe_jax.tgz" "${where[@]}" --worker=all
    # The image has an older Python than we need; uv brings one along.
    on_all 'mkdir -p aloe_jax && tar -xzf aloe_jax.tgz -C aloe_jax && cd aloe_jax && python3 -m pip install -q --user uv && ([ -d ~/aloe ] || ~/.local/bin/uv venv -q --python 3.12 ~/aloe) && ~/.local/bin/uv pip install -q --python ~/aloe/bin/python -c constraints.txt -e ".[tpu,gcs]"'
    options=$(printf '%q ' "$@")
    # In the background: the run outlives the connection. One that is there already is left alone.
    on_all "cd aloe_jax && (nohup flock -n ~/train.lock ~/aloe/bin/python -m aloe_jax.train ${options% } >> ~/train.log 2>&1 < /dev/null &)"
    ;;
  logs)
    # Process 0 alone speaks; the others say what went wrong.
    on_all 'tail -n 50 ~/train.log'
    ;;
  delete)
    do_ gcloud compute tpus queued-resources delete "$name" "${where[@]}" --force --quiet
    ;;
esac
