"""Linear evaluation on EuroSAT.

python tools/test.py configs/downstream/linear_eurosat_vitb.py work_dirs/stage3_vitb

Data: data/eurosat, as published. Hardware: one GPU for features and fit; time not measured.
Expected: 95.8 (accuracy; paper, Table 3); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.linear import *  # noqa: F403

for _loader in test_dataloader["loaders"].values():
    _loader["dataset"].update(name="eurosat", root="data/eurosat")
