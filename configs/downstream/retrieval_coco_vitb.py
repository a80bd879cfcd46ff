"""Zero-shot retrieval on COCO, 5,000 images against 25,000 captions.

    python tools/test.py configs/downstream/retrieval_coco_vitb.py work_dirs/stage3_vitb
    tools/dist_test.sh configs/downstream/retrieval_coco_vitb.py work_dirs/stage3_vitb 8

Data: data/coco with dataset_coco.json (Karpathy's splits), train2014/ and val2014/.
Hardware: one GPU; time not measured.
Expected: TR@1 59.3, TR@5 84.1, IR@1 42.7, IR@5 70.6 (paper, Table 3); not reproduced yet.
Reranking by the matching head is off, as the paper names none; --cfg-options test_cfg.rerank=256, ALBEF's number of
candidates, adds rerank_tr@1 and so on.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.retrieval import *  # noqa: F403

for _name in ("image", "text"):
    test_dataloader["loaders"][_name]["dataset"].update(root="data/coco")
