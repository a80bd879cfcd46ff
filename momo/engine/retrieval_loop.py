"""Zero-shot image-text retrieval.

Legend: I images, T texts, K candidates of a query.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from momo.evaluation import Ranking, rank_queries, rerank_candidates
from momo.models.downstream import image_features, match_scores, text_features
from momo.ops import rank, world_size
from momo.registry import LOOPS

from .embed import embed_share, gather_objects, gather_shares, progress, share_of, sum_over_processes
from .loaders import text_limits
from .train_loop import unwrap
from .whole_set_loop import WholeSetLoop


class Side(NamedTuple):
    """All images or all texts, the same on every process.

    Shapes: features (N, D), ids (N,): the image that each is or describes.
    """

    features: Tensor
    ids: Tensor


@LOOPS.register_module()
class RetrievalLoop(WholeSetLoop):
    """Find the texts of each image (TR) and the image of each text (IR) among all of a test set.

    Every image and every text is embedded once, whole, by one of the processes; then each ranks its share of the
    queries against all. With `rerank`, the matching objective's head judges each query's most similar entries, which
    are put in the order of its probability alone (ALBEF, arXiv:2107.07651, section 4); what was no candidate follows in
    the order of similarity. A pair that is a candidate in both directions is judged once, by the process that has read
    the image, which keeps its share of the pictures in memory for that (150 KB each at 224 pixels).

    Args:
        dataloader: Config with loaders 'image' and 'text', whose datasets have `image_ids` (N,): the image that each
            sample is or describes. batch_size is also the number of pairs that are judged at a time.
        evaluator: RankRecall; it is given (direction, rank) for each query, with the directions 'tr' and 'ir', and if
            reranked also 'rerank_tr' and 'rerank_ir'.
        rerank: Candidates a query, 0 for none. ALBEF takes 128 for Flickr30K and 256 for COCO.
    Raises: ValueError for a negative `rerank`, other loaders, or a dataset without image_ids.
    """

    def __init__(self, runner, dataloader: dict, evaluator: dict | list, rerank: int = 0) -> None:
        if rerank < 0:
            raise ValueError(f"test_cfg.rerank={rerank} must be 0 (off) or a number of candidates")
        limits = text_limits(unwrap(runner.model))
        if limits is None:
            raise ValueError("comparing images with texts needs model.backbone.vocab_size above 0")
        names = ("image", "text")
        super().__init__(runner, dataloader, evaluator, names=names, purpose="retrieval", text_limits=limits)
        self.rerank = rerank
        for name, loader in self.loaders.items():
            if not hasattr(loader.dataset, "image_ids"):
                raise ValueError(
                    f"test_dataloader.loaders.{name}.dataset: {type(loader.dataset).__name__} does not tell which "
                    "image a sample belongs to (image_ids); use KarpathyImages and KarpathyCaptions"
                )
        described, there = (
            set(torch.as_tensor(self.loaders[name].dataset.image_ids).tolist()) for name in ("text", "image")
        )
        if described != there:
            raise ValueError(f"test_dataloader.loaders: {len(there ^ described)} images lack a text or texts an image")

    def measure(self) -> tuple[list[tuple[str, int]], int]:
        self._pixels: list[Tensor] = []
        self._words: list[np.ndarray] = []
        image, text = self._embed("image"), self._embed("text")
        to_text, to_image = self._rank(image, text), self._rank(text, image)
        ranks = {"tr": to_text.ranks, "ir": to_image.ranks}
        if self.rerank:
            ranks |= self._rerank(image, text, to_text, to_image)
        results = [(name, int(rank)) for name, column in ranks.items() for rank in column.tolist()]
        return [results[place] for place in share_of(len(results)).tolist()], len(results)

    def _embed(self, name: str) -> Side:
        model, loader = self.model, self.loaders[name]

        def embed(batch: dict[str, Any]) -> Tensor:
            if name == "image":
                return image_features(model, batch["images"])
            return text_features(model, batch["words"], batch["positions"], batch["word_counts"])

        share = embed_share(loader, name, model, embed, self._keep if self.rerank else None)
        features = gather_shares(share, len(loader.dataset))
        if not bool(features.isfinite().all()):
            raise ValueError(f"the {name} features are not finite: the model has diverged")
        return Side(features, torch.as_tensor(loader.dataset.image_ids).to(features.device))

    def _keep(self, batch: dict[str, Any]) -> None:
        """What reranking reads: this process's pictures and words, in the sampler's order."""
        if "images" in batch:
            self._pixels += batch["images"].clone()  # a worker's memory is not kept
            return
        words = np.split(batch["words"].numpy().copy(), np.cumsum(batch["word_counts"])[:-1])
        self._words += [words[place] for place in np.argsort(batch["order"])]

    def _rank(self, queries: Side, gallery: Side) -> Ranking:
        """Ranks and candidates of all queries, on every process; each has worked out its share."""
        total = len(queries.ids)
        own = share_of(total).to(queries.ids.device)
        ranks, top = rank_queries(
            queries.features[own], gallery.features, queries.ids[own], gallery.ids, top=self.rerank
        )
        return Ranking(gather_shares(ranks, total), gather_shares(top, total) if self.rerank else top)

    def _rerank(self, image: Side, text: Side, to_text: Ranking, to_image: Ranking) -> dict[str, Tensor]:
        """Ranks in both directions after matching. A pair is one number, image * T + text."""
        count, device = len(text.ids), text.ids.device
        from_image = torch.arange(len(image.ids), device=device)[:, None] * count + to_text.top
        from_text = to_image.top * count + torch.arange(count, device=device)[:, None]
        pairs = torch.cat([from_image.flatten(), from_text.flatten()]).unique()
        scores = sum_over_processes(self._match(pairs.cpu().numpy(), count).to(device))
        return {
            "rerank_tr": rerank_candidates(to_text, scores[torch.searchsorted(pairs, from_image)], image.ids, text.ids),
            "rerank_ir": rerank_candidates(to_image, scores[torch.searchsorted(pairs, from_text)], text.ids, image.ids),
        }

    def _match(self, pairs: np.ndarray, count: int) -> Tensor:
        """Scores (P,) of the pairs whose images are this process's, 0 for the others."""
        words = gather_objects(self._words, count)
        lengths = np.array([len(text) for text in words])
        own = np.flatnonzero(pairs // count % world_size() == rank())
        own = own[np.argsort(lengths[pairs[own] % count], kind="stable")]  # equal lengths together
        scores = torch.zeros(len(pairs))
        size = self.loaders["image"].batch_sampler.batch_size
        chunks = np.array_split(own, -(-len(own) // size)) if len(own) else []
        for chunk in progress(chunks, "match candidates", len(chunks)):
            images, texts = pairs[chunk] // count, [words[text] for text in pairs[chunk] % count]
            batch = {
                "images": torch.stack([self._pixels[image // world_size()] for image in images]),
                "words": torch.from_numpy(np.concatenate(texts)),
                "positions": torch.from_numpy(np.concatenate([np.arange(len(text)) for text in texts])),
                "word_counts": lengths[pairs[chunk] % count],
            }
            batch = self.model.data_preprocessor({"image_text": batch})["inputs"]["image_text"]
            scores[torch.from_numpy(chunk)] = match_scores(self.model, **batch).cpu()
        return scores
