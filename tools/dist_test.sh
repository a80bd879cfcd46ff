#!/usr/bin/env bash
# Evaluate a checkpoint with NPROC processes in all; see dist_train.sh for how they are spread.
#
#   tools/dist_test.sh configs/demo/sentiment.py work_dirs/demo/sentiment_stage3/epoch_2 8
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"

(($# >= 3)) || fail "usage: $0 CONFIG CHECKPOINT NPROC [arguments of tools/test.py]"
config=$1 checkpoint=$2 nproc=$3
shift 3
[[ -f "$config" ]] || fail "$config: there is no such config file"
[[ -e "$checkpoint" ]] || fail "$checkpoint: there is no such checkpoint"
launch test.py "$nproc" "$config" "$checkpoint" "$@"
