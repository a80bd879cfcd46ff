"""Fine-tune an encoder of the demo on privacy policies: does a sentence bear on a question?

python tools/train.py configs/study/privacy.py --test
"""

from mmengine.config import read_base

with read_base():
    from .boolq import *  # noqa: F403

for _loader, _split in ((train_dataloader, "train"), (val_dataloader, "val"), (test_dataloader, "test")):
    _loader["loaders"]["text"]["dataset"]["file"] = f"data/kit/privacy/{_split}.tsv"
