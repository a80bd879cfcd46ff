"""How each published set of images with captions is read. A new one is a `Format` in this table."""

from .coco import COCO
from .images import IMAGES
from .karpathy import KARPATHY
from .tables import FLICKR30K, TABLE
from .visual_genome import VISUAL_GENOME
from .web import CONCEPTUAL, REDCAPS, SBU

# By name; 'webdataset' is not among them, for its tars hold the images too.
FORMATS = {
    "coco": COCO,
    "karpathy": KARPATHY,
    "visual_genome": VISUAL_GENOME,
    "sbu": SBU,
    "conceptual": CONCEPTUAL,
    "redcaps": REDCAPS,
    "flickr30k": FLICKR30K,
    "table": TABLE,
    "images": IMAGES,
}
