"""Fine-tuning on GLUE's QNLI.

tools/dist_train.sh configs/downstream/glue_qnli_vitb.py 1 --test

Data: GLUE's QNLI, .tsv or parquet files, in data/glue/QNLI. Hardware: one GPU; time not measured.
Expected on the dev split: 86.0 (accuracy); paper, Table 2; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.glue import *  # noqa: F403

for _loader in (train_dataloader, test_dataloader):
    _loader["loaders"]["text"]["dataset"].update(task="qnli", root="data/glue/QNLI")
