"""Linear evaluation on GTSRB.

python tools/test.py configs/downstream/linear_gtsrb_vitb.py work_dirs/stage3_vitb

Data: data/gtsrb, as published. Hardware: one GPU for features and fit; time not measured.
Expected: 80.7 (accuracy; paper, Table 3); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.linear import *  # noqa: F403

for _loader in test_dataloader["loaders"].values():
    _loader["dataset"].update(name="gtsrb", root="data/gtsrb")
