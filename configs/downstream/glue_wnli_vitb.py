"""Fine-tuning on GLUE's WNLI.

tools/dist_train.sh configs/downstream/glue_wnli_vitb.py 1 --test

Data: GLUE's WNLI, .tsv or parquet files, in data/glue/WNLI. Hardware: one GPU; time not measured.
The paper reports no figure for it.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.glue import *  # noqa: F403

for _loader in (train_dataloader, test_dataloader):
    _loader["loaders"]["text"]["dataset"].update(task="wnli", root="data/glue/WNLI")
