"""Find the images of a folder that a text describes, or that are like another image."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from momo.datasets import BrokenSample
from momo.datasets.cache import cached
from momo.datasets.storage import is_url
from momo.models import ITC, MoMoPretrainer
from momo.models.pretrainers import find_objective

from .embed import FeatureInferencer, embed_images
from .image_index import ImageIndex, Match, list_images, version_of, write_index
from .inputs import ImageSource, read_batches


class RetrievalInferencer(FeatureInferencer):
    """Search a folder of images by text or by image.

    The first time, all images of the folder are embedded and their features saved, as a hidden file in the folder (see
    `momo.datasets.cache.cached`). From then on that file is mapped, until images come, go or change; each model has its
    own. Images that cannot be read are left out, and named in the log.

    Args:
        folder: Folder or URL; its sub-folders are searched too.
        cache_dir: Where the features are saved instead.
        batch_size: Images at a time.
    Raises: as Inferencer; FileNotFoundError if the folder is not there; ValueError if no image of it can be read.
    """

    def __init__(
        self,
        model: Any,
        checkpoint: str | Path | None = None,
        *,
        folder: str | Path,
        cache_dir: str | None = None,
        batch_size: int = 64,
        **settings: Any,
    ) -> None:
        super().__init__(model, checkpoint, **settings)
        self.folder, self.batch_size = str(folder) if is_url(str(folder)) else os.path.abspath(folder), batch_size
        names, maker = list_images(self.folder), weights_key(self.model)
        path = cached(
            self.folder,
            f"index-1-{maker}",
            lambda target: write_index(target, maker, self._embed(names)),
            cache_dir,
            version=version_of(names),
        )
        self.index = ImageIndex(path)

    def by_text(self, texts: str | Sequence[str], k: int = 10) -> list[list[Match]]:
        """The k images of the folder that each text describes best, best first."""
        return self.index.search(self.texts(texts), k)

    def by_image(self, images: ImageSource | Sequence[ImageSource], k: int = 10) -> list[list[Match]]:
        """The k images of the folder that are most like each image, best first."""
        return self.index.search(self.images(images), k)

    def _embed(self, names: list[str]) -> Iterator[tuple[list[str], Tensor]]:
        """Names and features of those that can be read, batch by batch."""
        broken: list[str] = []

        def readable() -> Iterator[tuple[list[str], Tensor]]:
            batches = read_batches(names, self.image_size, self.batch_size, f"index {self.folder}")
            for number, batch in enumerate(batches):
                first = number * self.batch_size
                pairs = list(zip(names[first : first + len(batch)], batch, strict=True))
                broken.extend(str(image) for _, image in pairs if isinstance(image, BrokenSample))
                kept = {name: image for name, image in pairs if not isinstance(image, BrokenSample)}
                if kept:
                    yield list(kept), embed_images(self.model, kept.values(), len(kept))

        rows = readable()
        first = next(rows, None)
        if first is None:
            raise ValueError(f"none of the {len(names)} images of {self.folder} can be read, the first: {broken[0]}")
        yield from chain([first], rows)
        if broken:
            shown = "\n".join(f"  {message}" for message in broken[:10])
            message = f"{len(broken)} of {len(names)} images of {self.folder} are left out of the index:\n{shown}"
            print_log(message, "current", logging.WARNING)


def weights_key(model: MoMoPretrainer) -> str:
    """Tells models apart by weights that every training changes, and that are quickly read."""
    digest, neck = hashlib.blake2b(digest_size=8), find_objective(model, ITC).objective.neck
    for value in (model.backbone.cls_token, model.backbone.norm.weight, *neck.parameters()):
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
