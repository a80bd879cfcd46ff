"""What every fine-tuning shares: it starts from stage 3 with a new head; a test is one pass through the loader."""

from mmengine.config import read_base

with read_base():
    from ..runtime import *  # noqa: F403

test_cfg = dict(type="MultiModalTestLoop")
custom_hooks = [
    dict(type="ProgressHook"),
    dict(
        type="StageHook",
        checkpoint="work_dirs/stage3_vitb",
        made_by="tools/dist_train.sh configs/momo/stage3_vitb.py 64",
        new=["head.*"],
        unused=["decoders.*", "objectives.*"],
    ),
]
