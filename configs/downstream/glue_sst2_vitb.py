"""Fine-tuning on GLUE's SST-2.

tools/dist_train.sh configs/downstream/glue_sst2_vitb.py 1 --test

Data: GLUE's SST-2, .tsv or parquet files, in data/glue/SST-2. Hardware: one GPU; time not measured.
Expected on the dev split: 89.6 (accuracy); paper, Table 2; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.glue import *  # noqa: F403
