"""Fine-tuning on GLUE's CoLA.

tools/dist_train.sh configs/downstream/glue_cola_vitb.py 1 --test

Data: GLUE's CoLA, .tsv or parquet files, in data/glue/CoLA. Hardware: one GPU; time not measured.
The paper reports no figure for it.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.glue import *  # noqa: F403

for _loader in (train_dataloader, test_dataloader):
    _loader["loaders"]["text"]["dataset"].update(task="cola", root="data/glue/CoLA")
