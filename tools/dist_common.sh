# Sourced by dist_train.sh and dist_test.sh: `launch SCRIPT NPROC ARGS...` starts NPROC processes of SCRIPT in all.
# NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT and GPUS_PER_NODE say how they are spread over machines; MAX_RESTARTS, how
# often they are all started again after one has failed.

TOOLS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(dirname "$TOOLS")"

fail() {
    echo "error: $*" >&2
    exit 2
}

visible_gpus() {
    if [[ -n "${CUDA_VISIBLE_DEVICES+set}" ]]; then
        # '' and -1 hide all of them
        tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -cv -e '^-' -e '^$' || true
    elif command -v nvidia-smi >/dev/null; then
        nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU' || true
    else
        echo 0
    fi
}

# The smallest number of nodes that $1 processes fill evenly with at most $2 on each.
nodes_for() {
    local nodes=$((($1 + $2 - 1) / $2))
    while (($1 % nodes != 0)); do nodes=$((nodes + 1)); done
    echo "$nodes"
}

how_to_spread() {
    local nodes
    nodes="$(nodes_for "$1" "$2")"
    echo "run this on each of $nodes nodes with NNODES=$nodes NODE_RANK=0..$((nodes - 1)) MASTER_ADDR=<host of node 0>"
}

plural() {
    if (($1 == 1)); then echo "1 $2"; else echo "$1 ${2}s"; fi
}

require_number() {
    [[ "$2" =~ ^[0-9]+$ ]] && (($2 >= $3)) || fail "$1=$2 is not a whole number of at least $3"
}

# Sets LOCAL, the number of processes on this node, or fails with what to change.
share_of_this_node() {
    local nproc=$1 gpus cores
    require_number NODE_RANK "$NODE_RANK" 0
    ((NODE_RANK < NNODES)) || fail "NODE_RANK=$NODE_RANK: with NNODES=$NNODES it goes from 0 to $((NNODES - 1))"
    gpus="$(visible_gpus)"
    cores="$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"
    if [[ -n "${GPUS_PER_NODE:-}" ]]; then
        require_number GPUS_PER_NODE "$GPUS_PER_NODE" 1
        LOCAL=$GPUS_PER_NODE
        if ((nproc != NNODES * LOCAL)); then
            fail "$nproc processes are not $(plural "$NNODES" node) of GPUS_PER_NODE=$LOCAL: unset GPUS_PER_NODE, or" \
                "$(how_to_spread "$nproc" "$LOCAL") GPUS_PER_NODE=$((nproc / $(nodes_for "$nproc" "$LOCAL")))"
        fi
        ((gpus == 0 || LOCAL <= gpus)) || fail "GPUS_PER_NODE=$LOCAL, but this node shows $(plural "$gpus" GPU)"
    elif ((gpus > 0)); then
        LOCAL=$((nproc / NNODES))
        if ((nproc != NNODES * LOCAL || LOCAL > gpus)); then
            fail "$nproc processes do not fit $(plural "$NNODES" node) of $(plural "$gpus" GPU):" \
                "$(how_to_spread "$nproc" "$gpus")"
        fi
    else
        LOCAL=$((nproc / NNODES))
        if ((nproc != NNODES * LOCAL || LOCAL > cores)); then
            fail "$nproc processes do not fit $(plural "$NNODES" node) of $(plural "$cores" core) without a GPU:" \
                "$(how_to_spread "$nproc" "$cores"), or set GPUS_PER_NODE=<processes on this node> to have more than cores"
        fi
    fi
    THREADS=$((cores > LOCAL ? cores / LOCAL : 1))
}

launch() {
    local script=$1 nproc=$2 python rendezvous
    shift 2
    require_number NPROC "$nproc" 1
    NNODES=${NNODES:-1}
    require_number NNODES "$NNODES" 1
    if ((NNODES > 1)) && [[ -z "${NODE_RANK:-}" || -z "${MASTER_ADDR:-}" ]]; then
        fail "NNODES=$NNODES needs NODE_RANK=<0..$((NNODES - 1))> and MASTER_ADDR=<host of node 0> on every node"
    fi
    NODE_RANK=${NODE_RANK:-0}
    share_of_this_node "$nproc"

    if [[ -n "${PYTHON:-}" ]]; then
        python=$PYTHON
    elif [[ -x "$ROOT/.venv/bin/python" ]]; then
        python="$ROOT/.venv/bin/python"
    else
        python=python3
    fi
    if ((NNODES == 1)) && [[ -z "${MASTER_PORT:-}" ]]; then
        rendezvous=(--standalone) # a free port, so that two runs on one machine do not meet
    else
        rendezvous=(--node-rank "$NODE_RANK" --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${MASTER_PORT:-29500}")
    fi
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$THREADS}"
    export MKL_NUM_THREADS="${MKL_NUM_THREADS:-$OMP_NUM_THREADS}"
    export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
    export PET_SIGNALS_TO_HANDLE="${PET_SIGNALS_TO_HANDLE:-SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1}"
    export PET_SHUTDOWN_TIMEOUT="${PET_SHUTDOWN_TIMEOUT:-120}" # seconds
    # A store of its own for each restart: in a shared one, processes would find the addresses of those that are gone.
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    # exec: a signal of the scheduler reaches the launcher, which passes it on to the processes and gives them time to save
    exec "$python" -m torch.distributed.run --nnodes "$NNODES" --nproc-per-node "$LOCAL" "${rendezvous[@]}" \
        --max-restarts "${MAX_RESTARTS:-0}" \
        "$TOOLS/$script" "$@" --launcher pytorch
}
