"""Stages 2 and 3 of the demo as one, from stage 1 (MoMo 4.2, Table 5).

    tools/dist_train.sh configs/ablations/demo_combined.py 2

Made and measured by `python tools/ablate.py table5`, which starts it from the right checkpoint.
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
# 15 steps each: as many as stage 2 (550) and stage 3 (70 x 15) together.
train_cfg.update(max_epochs=107, val_interval=107)
custom_hooks[1].update(
    checkpoint="work_dirs/demo/stage1",
    made_by="tools/dist_train.sh configs/demo/stage1.py 1",
    new=["backbone.text_embed.*", "decoders.text.*", "decoders.cross_modal.*", "objectives.image_text.*"],
    unused=[],
)
