"""Stage 3 with images too, beside text and pairs (MoMo 4.2, text on Table 4).

    tools/dist_train.sh configs/ablations/stage3_with_images_vitb.py 64

Hardware: 64 GPUs (the paper: V100), 64 samples each; time not measured.
Expected: no 'significant differences on downstream tasks' to configs/momo/stage3_vitb.py (paper, 4.2); not reproduced
yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.stage2 import model as _stage2
    from ..momo.stage3_vitb import *  # noqa: F403

model["decoders"]["image"] = _stage2["decoders"]["image"]
model["objectives"]["image"] = _stage2["objectives"]["image"]
train_dataloader["loaders"]["image"] = _train["image"]
custom_hooks[1].update(unused=[])
