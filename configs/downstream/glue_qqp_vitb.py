"""Fine-tuning on GLUE's QQP.

tools/dist_train.sh configs/downstream/glue_qqp_vitb.py 1 --test

Data: GLUE's QQP, .tsv or parquet files, in data/glue/QQP. Hardware: one GPU; time not measured.
Expected on the dev split: 90.2 / 86.6 (accuracy / F1); paper, Table 2; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.glue import *  # noqa: F403

for _loader in (train_dataloader, test_dataloader):
    _loader["loaders"]["text"]["dataset"].update(task="qqp", root="data/glue/QQP")
