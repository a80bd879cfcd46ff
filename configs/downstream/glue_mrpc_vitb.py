"""Fine-tuning on GLUE's MRPC.

tools/dist_train.sh configs/downstream/glue_mrpc_vitb.py 1 --test

Data: GLUE's MRPC, .tsv or parquet files, in data/glue/MRPC. Hardware: one GPU; time not measured.
Expected on the dev split: 81.3 / 87.0 (accuracy / F1); paper, Table 2; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.glue import *  # noqa: F403

for _loader in (train_dataloader, test_dataloader):
    _loader["loaders"]["text"]["dataset"].update(task="mrpc", root="data/glue/MRPC")
