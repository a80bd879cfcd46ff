"""Stage 3 without simultaneous training: pairs only (MoMo 4.2, Table 6). Counterpart: configs/momo/stage3_vitb.py.

    tools/dist_train.sh configs/ablations/stage3_pairs_only_vitb.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: MNLI 78.7, MRPC 78.3, QQP 88.0, SST-2 88.5, QNLI 84.2, RTE 54.1, STS-B 82.5; ImageNet 73.6; COCO 64.6,
Flickr30K 78.1, VQAv2 71.5 (paper, Table 6, stage 3, simultaneous training: no); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from ..momo.stage3_vitb import *  # noqa: F403

for _table in (model["decoders"], model["objectives"], train_dataloader["loaders"]):
    del _table["text"]
# Stage 3's epoch is 'roughly 1/4th of the multimodal dataset' (3.6): 25 epochs of all pairs are as many steps.
train_dataloader["primary"] = "image_text"
train_cfg["max_epochs"] = 25
param_scheduler[0]["end"] = param_scheduler[1]["begin"] = 2.5
custom_hooks[1].update(unused=["decoders.image.*", "decoders.text.*"])
