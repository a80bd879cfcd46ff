"""Stage 3 of the demo without CMGA: an update for each modality in every step (MoMo 4.2, Table 6).

    tools/dist_train.sh configs/ablations/demo_stage3_no_cmga.py 2

Made and measured by `python tools/ablate.py table6`, which starts it from the right checkpoint.
Hardware: CPU cores; minutes.
Expected: the direction of its cell in the paper's table; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from ..demo.stage3 import *  # noqa: F403

train_cfg["cmga"] = "off"
