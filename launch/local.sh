#!/usr/bin/env bash
# One run by several processes of this machine, each with some devices that JAX makes of its CPUs:
# for trying out what many hosts do. What follows -- is the command that all of them start.
#
#   launch/local.sh --processes=2 --devices=4 -- python -m aloe_jax.train \
#     --config=experiments/laundry.py:sim_debug --workdir=runs/two_processes
set -euo pipefail

processes=2
devices=4
port=0
while (($#)); do
  case $1 in
    --processes=*) processes=${1#*=} ;;
    --devices=*) devices=${1#*=} ;;
    --port=*) port=${1#*=} ;;
    --) shift; break ;;
    *) echo "error: found $1; expected --processes=N, --devices=M or --port=P, and then -- COMMAND." >&2; exit 2 ;;
  esac
  shift
done
if ((!$#)); then
  echo 'error: no command; expected -- python -m aloe_jax.train ... after the options.' >&2
  exit 2
fi
if ((port == 0)); then
  port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
fi

export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=$devices
started=()
trap 'kill -TERM "${started[@]}" 2>/dev/null || true' INT TERM
for ((process = 0; process < processes; process++)); do
  "$@" --coordinator="127.0.0.1:$port" --processes="$processes" --process="$process" &
  started+=("$!")
done

# All end together, and any that failed says how the run went.
status=0
for process in "${started[@]}"; do
  while kill -0 "$process" 2>/dev/null; do
    wait "$process" && code=0 || code=$?
    if ((code && !status)); then status=$code; fi
  done
done
exit "$status"
