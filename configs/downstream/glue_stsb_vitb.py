"""Fine-tuning on GLUE's STS-B, a regression.

tools/dist_train.sh configs/downstream/glue_stsb_vitb.py 1 --test

Data: GLUE's STS-B, .tsv or parquet files, in data/glue/STS-B. Hardware: one GPU; time not measured.
Expected on the dev split: 87.0 (correlation); paper, Table 2; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.glue import *  # noqa: F403

for _loader in (train_dataloader, test_dataloader):
    _loader["loaders"]["text"]["dataset"].update(task="stsb", root="data/glue/STS-B")
model["num_classes"] = 1
