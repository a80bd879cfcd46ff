"""Linear evaluation on FGVC Aircraft.

python tools/test.py configs/downstream/linear_aircraft_vitb.py work_dirs/stage3_vitb

Data: data/aircraft, as published. Hardware: one GPU for the features, then the CPU; time not measured.
Expected: 51.2 (mean per class; paper, Table 3); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.linear import *  # noqa: F403

for _loader in test_dataloader["loaders"].values():
    _loader["dataset"].update(name="aircraft", root="data/aircraft")
