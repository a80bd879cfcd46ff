#!/usr/bin/env bash
# Train on a Slurm cluster, one process on each GPU.
#
#   GPUS=64 tools/slurm_train.sh PARTITION JOB_NAME configs/momo/stage2_vitb.py [arguments of tools/train.py]
#
# GPUS (8 processes in all), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS and SECONDS_TO_SAVE (120) may be set.
#
# SECONDS_TO_SAVE before the time limit, and when it is preempted, the run saves and exits with code 75. It is then
# requeued if this script runs in a batch job, and otherwise started again here, and goes on where it was.
set -euo pipefail
TOOLS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(dirname "$TOOLS")"

if (($# < 3)); then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2
    exit 2
fi
partition=$1 job_name=$2 config=$3
shift 3
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
CPUS_PER_TASK=${CPUS_PER_TASK:-5}
if ((GPUS % GPUS_PER_NODE != 0)); then
    echo "error: GPUS=$GPUS is no multiple of GPUS_PER_NODE=$GPUS_PER_NODE: set GPUS_PER_NODE to a divisor of $GPUS" >&2
    exit 2
fi
if [[ -z "${PYTHON:-}" ]]; then
    if [[ -x "$ROOT/.venv/bin/python" ]]; then PYTHON="$ROOT/.venv/bin/python"; else PYTHON=python3; fi
fi
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$CPUS_PER_TASK}"
# SRUN_ARGS is a list of options: it is split at blanks on purpose.
# shellcheck disable=SC2086
run() {
    srun --partition="$partition" --job-name="$job_name" --gres="gpu:$GPUS_PER_NODE" \
        --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="$CPUS_PER_TASK" --kill-on-bad-exit=1 \
        --signal="USR1@${SECONDS_TO_SAVE:-120}" ${SRUN_ARGS:-} \
        "$PYTHON" -u "$TOOLS/train.py" "$config" --launcher slurm "$@"
}

code=0
run "$@" || code=$?
while ((code == 75)); do
    if [[ -n "${SLURM_JOB_ID:-}" ]]; then
        echo "$job_name has saved and is requeued" >&2
        scontrol requeue "$SLURM_JOB_ID" && exit 0
    fi
    echo "$job_name has saved and is started again" >&2
    code=0
    run "$@" --resume || code=$?
done
exit "$code"
