"""What an objective is: it asks for tokens to be encoded, gets them back, and returns losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from momo.models.backbones.momo_vit import MoMoViT
from momo.ops import PackedTokens

# One modality's collated batch, see momo.datasets.collate; with words also their embeddings, 'word_tokens' (T, C).
Batch = dict[str, Any]
Planner = Callable[[Batch], Any]


class Request(NamedTuple):
    """tokens: what should be encoded. labels: what the objective will need beside them once they are. cls_only: of each
    sequence only the encoded [CLS] is wanted back, which spares the last block the other rows.
    """

    tokens: list[PackedTokens]
    labels: Tensor | None = None
    cls_only: bool = False


class ObjectiveResult(NamedTuple):
    """losses: scalars by name; those that start with 'loss' are summed. similarity: what guides other objectives."""

    losses: dict[str, Tensor]
    similarity: Tensor | None = None


class Objective(nn.Module):
    """Base class. Subclasses never touch the optimizer.

    Args:
        guide: Name of the objective of the same modality whose similarity this one needs; None: it needs none, and its
            tokens share the step's first encoder pass.
        reuses: Name of an objective of the same modality that encodes masked pairs: what became of them follows this
            one's own encoded tokens.
        decoder: Name of the decoder it uses, None for none.
    """

    reuses: str | None = None
    guide: str | None = None
    decoder: str | None = None
    decoder_outputs: tuple[str, ...] = ()  # what its decoder must predict
    gives_similarity = False  # whether it can guide others
    encodes_pairs = False  # whether others can reuse its encoded pairs

    def planner(self, patch_size: int, salt: str) -> Planner:
        """A picklable function that draws this objective's masks and tables for a collated batch, on the host.

        Args:
            salt: Makes the noise of this objective differ from others' on the same sample.
        """
        raise NotImplementedError

    def request(self, backbone: MoMoViT, batch: Batch, plan: Any, similarity: Tensor | None) -> Request:
        """Embed what should be encoded. `similarity` is the guide's, None without a guide."""
        raise NotImplementedError

    def loss(self, encoded: Request, batch: Batch, plan: Any, backbone: MoMoViT, decoder: nn.Module) -> ObjectiveResult:
        """Losses from the request, its tokens now encoded."""
        raise NotImplementedError
