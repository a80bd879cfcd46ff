"""MoMo-Huge (ViT-H/14), stage 3: masked text; masking, contrast and matching on pairs; sharded over the GPUs.

    tools/dist_train.sh configs/momo/stage3_vith.py 64 --amp

Hardware: meant for 64 GPUs of 80 GiB with bfloat16, 64 samples each (docs/planning.md); nothing measured.
Expected: not in the paper, whose largest size is ViT-L; not trained yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.fully_sharded import *  # noqa: F403
    from .stage3_vitb import *  # noqa: F403

model["backbone"].update(arch="huge", patch_size=14, with_cp=True)
for _decoder in model["decoders"].values():
    _decoder["with_cp"] = True
custom_hooks[1].update(
    checkpoint="work_dirs/stage2_vith",
    made_by="tools/dist_train.sh configs/momo/stage2_vith.py 64 --amp",
)
