"""Linear evaluation on Caltech101.

python tools/test.py configs/downstream/linear_caltech101_vitb.py work_dirs/stage3_vitb

Data: data/caltech101, as published. Hardware: one GPU for features and fit; time not measured.
Expected: 92.2 (paper, Table 3, 'accuracy'; here mean_per_class stands beside it); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.linear import *  # noqa: F403

for _loader in test_dataloader["loaders"].values():
    _loader["dataset"].update(name="caltech101", root="data/caltech101")
