"""Stage 2 without simultaneous training: text only (MoMo 4.2, Table 6). Counterpart: configs/momo/stage2_vitb.py.

    tools/dist_train.sh configs/ablations/stage2_text_only_vitb.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: MNLI 78.7, MRPC 83.3, QQP 88.1, SST-2 90.1, QNLI 88.0, RTE 61.0, STS-B 84.5; ImageNet 9.5 (paper, Table 6,
stage 2, simultaneous training: no); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from ..momo.stage2_vitb import *  # noqa: F403

for _table in (model["decoders"], model["objectives"], train_dataloader["loaders"]):
    del _table["image"]
find_unused_parameters = True  # no image comes by, and the encoder has its embedding
custom_hooks[1].update(unused=["decoders.image.*"])
