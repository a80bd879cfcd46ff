"""Zero-shot retrieval on Flickr30K, 1,000 images against 5,000 captions.

    python tools/test.py configs/downstream/retrieval_flickr30k_vitb.py work_dirs/stage3_vitb
    tools/dist_test.sh configs/downstream/retrieval_flickr30k_vitb.py work_dirs/stage3_vitb 8

Data: data/flickr30k with dataset_flickr30k.json (Karpathy's splits) and flickr30k-images/.
Hardware: one GPU; time not measured.
Expected: TR@1 74.2, TR@5 93.7, IR@1 60.9, IR@5 84.8 (paper, Table 3); not reproduced yet.
Reranking by the matching head is off, as the paper names none; --cfg-options test_cfg.rerank=128, ALBEF's number of
candidates, adds rerank_tr@1 and so on.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.retrieval import *  # noqa: F403

for _name in ("image", "text"):
    test_dataloader["loaders"][_name]["dataset"].update(root="data/flickr30k")
