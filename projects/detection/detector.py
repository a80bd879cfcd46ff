"""torchvision's FCOS around any backbone and neck of OpenMMLab's kind."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModel
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead

from momo.registry import MODELS


class _Features:
    """Backbone and neck as FCOS calls them. No module, so that the weights keep the names that checkpoints have."""

    def __init__(self, backbone: nn.Module, neck: nn.Module, out_channels: int) -> None:
        self.backbone, self.neck, self.out_channels = backbone, neck, out_channels

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        return {str(level): x for level, x in enumerate(self.neck(self.backbone(images)))}


@MODELS.register_module()
class FCOSDetector(BaseModel):
    """A single-stage detector without anchors to tune and without compiled operators.

    Args:
        backbone: Config of a backbone that returns feature maps.
        neck: Config of a neck that returns one map a stride.
        num_classes: Classes, without background; labels start at 0.
        strides: Of the neck's maps in pixels, finest first. A map of stride s answers for boxes whose farthest side is
            4 s to 8 s away; the first for smaller ones too, the last for larger ones.
        image_size: Side of the images in pixels; others are resized.
        mean, std: Per channel, on the scale of 0 to 255.
        out_channels: Width of the neck's maps.
        num_convs: Convolutions of each of the head's two branches, before their last.
    Source: Tian et al. 2019, arXiv:1904.01355, as torchvision has it.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        num_classes: int,
        strides: Sequence[int],
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        out_channels: int = 256,
        num_convs: int = 4,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.backbone, self.neck = MODELS.build(backbone), MODELS.build(neck)
        self.fcos = FCOS(
            _Features(self.backbone, self.neck, out_channels),
            num_classes,
            min_size=image_size,
            max_size=image_size,
            image_mean=[value / 255 for value in mean],
            image_std=[value / 255 for value in std],
            anchor_generator=AnchorGenerator(tuple((stride,) for stride in strides), ((1.0,),) * len(strides)),
            head=FCOSHead(out_channels, 1, num_classes, num_convs),
            size_divisible=strides[-1],
            score_thresh=0.05,
            topk_candidates=300,
            detections_per_img=50,
        )

    def forward(
        self, inputs: list[Tensor], data_samples: dict[str, list], mode: str = "tensor"
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses, or boxes, scores and labels of each image.

        Args:
            inputs: Images (3, height, width), uint8.
            data_samples: 'image_id', 'boxes' (n, 4) as left, top, right, bottom in pixels, and 'labels' (n,), of each
                image.
            mode: 'loss' or 'predict'.
        Raises: ValueError for another mode.
        """
        images = [image / 255 for image in inputs]
        if mode == "predict":
            found = self.fcos(images)
            return [{"image_id": name, **boxes} for name, boxes in zip(data_samples["image_id"], found, strict=True)]
        if mode != "loss":
            raise ValueError(f"mode={mode!r}: a detector knows 'loss' and 'predict'")
        pairs = zip(data_samples["boxes"], data_samples["labels"], strict=True)
        losses = self.fcos(images, [{"boxes": boxes, "labels": labels} for boxes, labels in pairs])
        return {f"loss_{name}": value for name, value in losses.items()}
