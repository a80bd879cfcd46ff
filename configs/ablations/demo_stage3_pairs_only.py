"""Stage 3 of the demo on pairs only, without text (MoMo 4.2, Table 6).

    tools/dist_train.sh configs/ablations/demo_stage3_pairs_only.py 2

Made and measured by `python tools/ablate.py table6`, which starts it from the right checkpoint.
Hardware: CPU cores; minutes.
Expected: the direction of its cell in the paper's table; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from ..demo.stage3 import *  # noqa: F403

for _table in (model["decoders"], model["objectives"], train_dataloader["loaders"]):
    del _table["text"]
val_dataloader = val_cfg = val_evaluator = None  # of text
custom_hooks[1].update(unused=["decoders.image.*", "decoders.text.*"])
