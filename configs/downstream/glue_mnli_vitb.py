"""Fine-tuning on GLUE's MNLI, matched and mismatched.

tools/dist_train.sh configs/downstream/glue_mnli_vitb.py 1 --test

Data: GLUE's MNLI, .tsv or parquet files, in data/glue/MNLI. Hardware: one GPU; time not measured.
Expected on the dev split: 78.1 (accuracy, matched); paper, Table 2; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.glue import *  # noqa: F403

for _loader in (train_dataloader, test_dataloader):
    _loader["loaders"]["text"]["dataset"].update(task="mnli", root="data/glue/MNLI")
model["num_classes"] = 3
