#!/usr/bin/env bash
# Train with NPROC processes in all, one on each GPU (or on CPU cores where there is no GPU).
#
#   tools/dist_train.sh configs/momo/stage2_vitb.py 8
#   NNODES=8 NODE_RANK=<0..7> MASTER_ADDR=<host of node 0> tools/dist_train.sh configs/momo/stage2_vitb.py 64
#
# Further arguments go to tools/train.py. MASTER_PORT, GPUS_PER_NODE, OMP_NUM_THREADS and PYTHON may be set too.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"

(($# >= 2)) || fail "usage: $0 CONFIG NPROC [arguments of tools/train.py]"
config=$1 nproc=$2
shift 2
[[ -f "$config" ]] || fail "$config: there is no such config file"
launch train.py "$nproc" "$config" "$@"
