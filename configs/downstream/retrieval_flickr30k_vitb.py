"""Zero-shot retrieval on Flickr30K, 1,000 images against 5,000 captions.

    python tools/test.py configs/downstream/retrieval_flickr30k_vitb.py work_dirs/stage3_vitb
    tools/dist_test.sh configs/downstream/retrieval_flickr30k_vitb.py work_dirs/stage3_vitb 8

Data: data/flickr30k with dataset_flickr30k.json (Karpathy's splits) and flickr30k-images/.
Hardware: one GPU; time not measured.
Expected: tr@1 0.742, tr@5 0.937, ir@1 0.609, ir@5 0.848 (paper, Table 3); not reproduced yet. The paper does not say
whether it reranks: --cfg-options test_cfg.rerank=128 (as ALBEF) adds rerank_tr@1 and so on.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.retrieval import *  # noqa: F403
    from .._base_.runtime import *  # noqa: F403

for _name in ("image", "text"):
    test_dataloader["loaders"][_name]["dataset"].update(root="data/flickr30k")
