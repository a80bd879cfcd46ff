"""Fine-tune an encoder of the demo on BoolQ: is the answer to a question about a passage yes?

python tools/train.py configs/study/boolq.py --test
"""

from mmengine.config import read_base

with read_base():
    from ..demo.sentiment import *  # noqa: F403

_tokenize = dict(type="TokenizePair", tokenizer="data/kit/tokenizer", max_len=64)
_table = dict(type="TextTable", text="question", text_pair="passage", pipeline=[_tokenize])
for _loader, _split in ((train_dataloader, "train"), (val_dataloader, "val"), (test_dataloader, "test")):
    _loader["loaders"]["text"]["dataset"] = dict(file=f"data/kit/boolq/{_split}.tsv", **_table)
