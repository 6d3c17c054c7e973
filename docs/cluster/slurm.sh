#!/bin/bash
#SBATCH --job-name=vlmguard
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
#
# A Ray cluster on the nodes of a Slurm job, and one run on it:
#
#   sbatch docs/cluster/slurm.sh --config docs/cluster/matrix.yaml
#
# The words behind the script's name are those of `vlmguard run`. The same command again goes on
# where a job ended (its time was up, it was cancelled, a node died). No Slurm has run this script:
# a test runs it with stand-ins for srun and scontrol that start real Ray nodes on one machine.
#
# What must be the same on all nodes: the environment with vlmguard (activate it before sbatch), the
# folder of the logs, VLMGUARD_DATA and HF_HOME on a shared disk, and the keys of providers as
# variables (sbatch passes on those of the shell; none is written anywhere).
set -u -o pipefail

nodes_wait=${NODES_WAIT:-300}
port=${RAY_PORT:-$((20000 + SLURM_JOB_ID % 10000))}
temp=${RAY_TEMP:-/tmp/ray-$SLURM_JOB_ID}
cpus=${SLURM_CPUS_PER_TASK:-1}
gpus=${SLURM_GPUS_ON_NODE:-0}
devices=()
((gpus)) && devices=(--gpus-per-node="$gpus")
steps=()
run=

# Whoever reaches the port may run code as you: a token keeps other users of the cluster out. Ray
# writes it so that all may read it, unless told otherwise.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
[[ -s ${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token} || -n ${RAY_AUTH_TOKEN:-} ]] ||
    (umask 077 && ray get-auth-token --generate >/dev/null) || exit 1

# A node of the job becomes one of the Ray cluster until its step is ended.
start_on() {
    local node=$1
    shift
    srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="$cpus" "${devices[@]}" \
        --nodelist="$node" ray start "$@" --num-cpus "$cpus" --num-gpus "$gpus" --block &
    steps+=($!)
}

# shellcheck disable=SC2329  # the trap calls it
finish() {
    ((${#steps[@]})) && kill "${steps[@]}" 2>/dev/null
    wait
}

# As Ctrl-C: finished samples are kept, and the script ends with the status of the run.
# shellcheck disable=SC2329  # the trap calls it
interrupt() {
    [[ -n $run ]] && kill -INT "$run"
}

all_joined() {
    python - "$address:$port" "$1" "$nodes_wait" <<'PYTHON'
import socket
import sys
import time

import ray

address, wanted, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ends = time.monotonic() + seconds
joined = 0
while time.monotonic() < ends:
    try:
        # Ray itself waits for minutes where nothing answers.
        socket.create_connection(address.rsplit(":", 1), timeout=5).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        joined = sum(node["Alive"] for node in ray.nodes())
        ray.shutdown()
    except OSError:
        joined = 0
    if joined >= wanted:
        sys.exit()
    time.sleep(1)
sys.exit(f"{joined} of {wanted} nodes joined within {seconds} s")
PYTHON
}

trap finish EXIT
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
((${#nodes[@]})) || exit 1
address=${RAY_HEAD_IP:-$(
    srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address
)}
address=${address%% *}
if [[ -z $address || (-z ${RAY_HEAD_IP:-} && $address == 127.*) ]]; then
    echo "${nodes[0]} has the address '$address', which other nodes cannot reach:" \
        "set RAY_HEAD_IP to one that they can" >&2
    exit 1
fi

start_on "${nodes[0]}" --head --node-ip-address "$address" --port "$port" --temp-dir "$temp" \
    --include-dashboard false
all_joined 1 || exit 1
for node in "${nodes[@]:1}"; do
    start_on "$node" --address "$address:$port"
done
all_joined "${#nodes[@]}" || exit 1

# In the background, so that the shell sees the signal when the time is nearly up; -m, since a
# command in the background would otherwise ignore the interrupt that it is sent.
trap interrupt TERM INT
set -m
vlmguard run "$@" --ray "$address:$port" &
run=$!
set +m
while wait "$run"; status=$?; kill -0 "$run" 2>/dev/null; do :; done
exit "$status"
