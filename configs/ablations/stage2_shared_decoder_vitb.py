"""Stage 2 with one decoder for images and text (MoMo 4.2, Table 6). Counterpart: configs/momo/stage2_vitb.py.

    tools/dist_train.sh configs/ablations/stage2_shared_decoder_vitb.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: MNLI 77.5, MRPC 86.4, QQP 87.8, SST-2 89.4, QNLI 86.0, RTE 58.4, STS-B 84.7; ImageNet 51.8 (paper, Table 6,
stage 2, shared decoder: yes); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from ..momo.stage2_vitb import *  # noqa: F403

# It keeps its name, and so goes on from stage 1's weights, as it does where it is not shared.
model["decoders"]["image"]["outputs"] = ["pixels", "tokens"]
model["objectives"]["text"]["mlm"]["decoder"] = "image"
del model["decoders"]["text"]
custom_hooks[1].update(new=["backbone.text_embed.*", "decoders.image.token_*"])
