"""Linear evaluation on Food101.

python tools/test.py configs/downstream/linear_food101_vitb.py work_dirs/stage3_vitb

Data: data/food101, as published. Hardware: one GPU for features and fit; time not measured.
Expected: 90.7 (accuracy; paper, Table 3); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.linear import *  # noqa: F403
