"""Fine-tuning on VQAv2.

tools/dist_train.sh configs/downstream/vqa_vqav2_vitb.py 8 --test

Trains on train and val but for 1,000 images, on whose questions it is tested. The file for the benchmark's server:

tools/dist_test.sh configs/downstream/vqa_vqav2_vitb.py work_dirs/downstream/vqa_vqav2_vitb 8 --cfg-options \\
    test_dataloader.loaders.image_text.dataset.split=test-dev test_evaluator.type=VQASubmission \\
    test_evaluator.file=work_dirs/vqa_test-dev.json

Larger pictures: --cfg-options train_dataloader.loaders.image_text.dataset.pipeline.1.size=[480,480], and the same for
test_dataloader; positions are interpolated.
Data: data/vqav2, and python tools/dataset/build_vqa_answers.py data/vqav2. Hardware: 8 GPUs, 256 questions a step; time
not measured.
Expected: 71.2 (test-dev; paper, Table 3); not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.downstream.vqa import *  # noqa: F403
