"""Stage 3 of the demo with images too, beside text and pairs (MoMo 4.2, text on Table 4).

    tools/dist_train.sh configs/ablations/demo_stage3_with_images.py 2

Made and measured by `python tools/ablate.py table4`, which starts it from the right checkpoint.
Hardware: CPU cores; minutes.
Expected: the direction of its cell in the paper's table; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.stage2 import model as _stage2
    from ..demo.stage3 import *  # noqa: F403

model["decoders"]["image"] = {**_stage2["decoders"]["image"], **_decoder}
model["objectives"]["image"] = _stage2["objectives"]["image"]
train_dataloader["loaders"]["image"] = {**_train["image"], "batch_size": 32}
custom_hooks[1].update(unused=[])
