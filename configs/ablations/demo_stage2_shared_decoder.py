"""Stage 2 of the demo with one decoder for images and text (MoMo 4.2, Table 6).

    tools/dist_train.sh configs/ablations/demo_stage2_shared_decoder.py 1

Made and measured by `python tools/ablate.py table6`, which starts it from the right checkpoint.
Hardware: CPU cores; minutes.
Expected: the direction of its cell in the paper's table; not reproduced yet.
"""

from mmengine.config import read_base

with read_base():
    from ..demo.stage2 import *  # noqa: F403

# It keeps its name, and so goes on from stage 1's weights, as it does where it is not shared.
model["decoders"]["image"]["outputs"] = ["pixels", "tokens"]
model["objectives"]["text"]["mlm"]["decoder"] = "image"
del model["decoders"]["text"]
custom_hooks[1].update(new=["backbone.text_embed.*", "decoders.image.token_*"])
