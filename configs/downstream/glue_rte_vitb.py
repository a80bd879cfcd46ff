"""Fine-tuning on GLUE's RTE.

tools/dist_train.sh configs/downstream/glue_rte_vitb.py 1 --test

Data: GLUE's RTE, .tsv or parquet files, in data/glue/RTE. Hardware: one GPU; time not measured.
Expected on the dev split: 59.6 (accuracy); paper, Table 2; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.glue import *  # noqa: F403

for _loader in (train_dataloader, test_dataloader):
    _loader["loaders"]["text"]["dataset"].update(task="rte", root="data/glue/RTE")
