"""The image, text and pair encoders as ONNX graphs, which need nothing of this project to be run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .transformers import MoMoForImageTextRetrieval, MoMoModel
from .transformers.modeling_momo import pool

INPUTS = {
    "image": ("pixel_values",),
    "text": ("input_ids", "attention_mask"),
    "pair": ("pixel_values", "input_ids", "attention_mask"),
}
COMPARED = {"image": "image_embeds", "text": "text_embeds", "pair": "matching_scores"}
ONE_FILE = 2_000_000_000  # protobuf ends at 2 GiB: the weights of larger models go into a second file


class OnnxEncoder(nn.Module):
    """One kind of input to what a graph of it gives: `outputs`, in this order.

    last_hidden_state (B, S, C) and pooler_output (B, C) are the encoder's. A retrieval model adds image_embeds or
    text_embeds (B, D), of unit length, or of pairs matching_scores (B,), the log-odds that they belong together.

    Args:
        kind: 'image', 'text' or 'pair'.
    Raises: ValueError for another kind, or text where the model reads none.
    """

    def __init__(self, model: MoMoModel | MoMoForImageTextRetrieval, kind: str) -> None:
        super().__init__()
        if kind not in INPUTS:
            raise ValueError(f"kind={kind!r} is unknown; choose one of {tuple(INPUTS)}")
        if kind != "image" and model.config.vocab_size == 0:
            raise ValueError(f"kind={kind!r}: config.vocab_size=0, this model reads images only")
        self.kind, self.model, self.encoder = kind, model.eval(), model.base_model
        self.outputs = ["last_hidden_state", "pooler_output"]
        if isinstance(model, MoMoForImageTextRetrieval):
            self.outputs.append(COMPARED[kind])

    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Shapes: pixel_values (B, channels, image_size, image_size); input_ids, attention_mask (B, T) int64."""
        x, valid = self.encoder.embed(input_ids, attention_mask, pixel_values)
        last = self.encoder.encode(x, valid).last_hidden_state
        pooled = pool(last, valid, self.encoder.config.pooling)
        if COMPARED[self.kind] not in self.outputs:
            return last, pooled
        if self.kind == "pair":
            logits = self.model.matching_head(pool(last, valid, "cls"))
            return last, pooled, logits[:, 1] - logits[:, 0]
        projection = self.model.image_projection if self.kind == "image" else self.model.text_projection
        return last, pooled, F.normalize(projection(pooled), dim=-1)

    def example(self, batch: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Inputs to try it with: noise for images, texts of random words.

        Args:
            length: Tokens of the first text; the others have 1 to as many, then padding.
        """
        config = self.encoder.config
        side, inputs = config.image_size, {}
        if "pixel_values" in INPUTS[self.kind]:
            inputs["pixel_values"] = torch.randn(batch, config.num_channels, side, side, generator=generator)
        if "input_ids" in INPUTS[self.kind]:
            ids = torch.randint(config.vocab_size, (batch, length), generator=generator)
            ids[:, 0] = config.cls_token_id
            counts = torch.randint(1, length + 1, (batch, 1), generator=generator)
            counts[0] = length
            mask = torch.arange(length) < counts
            inputs |= {"input_ids": ids.where(mask, config.pad_token_id), "attention_mask": mask.long()}
        return inputs


def export_onnx(encoder: OnnxEncoder, path: str | Path) -> None:
    """Write a graph for any batch and any length of texts; images keep the size that the model was trained on.

    Needs the extra 'onnx'. A model of more than 2 GB has its weights in a second file, `path`.data.
    """
    inputs = encoder.example(2, 5, torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch")
    length = torch.export.Dim("length", max=1 + encoder.encoder.config.max_position_embeddings)
    shapes = {name: {0: batch} if value.ndim == 4 else {0: batch, 1: length} for name, value in inputs.items()}
    size = sum(parameter.numel() * parameter.element_size() for parameter in encoder.parameters())
    torch.onnx.export(
        encoder,
        kwargs=inputs,
        f=str(path),
        dynamo=True,
        dynamic_shapes=shapes,
        input_names=list(inputs),
        output_names=encoder.outputs,
        external_data=size > ONE_FILE,
        verbose=False,
    )


class OnnxSession:
    """A graph under onnxruntime on the CPU, with as many threads as torch has."""

    def __init__(self, path: str | Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, **inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the graph's order."""
        arrays = {name: value.numpy() for name, value in inputs.items()}
        return tuple(torch.from_numpy(value) for value in self.session.run(None, arrays))


@torch.inference_mode()
def largest_difference(encoder: OnnxEncoder, session: OnnxSession, batches: Iterable[dict[str, Tensor]]) -> float:
    """Between torch's outputs and the graph's, over all outputs of all batches."""
    differences = [
        float((one - other).abs().max())
        for inputs in batches
        for one, other in zip(encoder(**inputs), session(**inputs), strict=True)
    ]
    return max(differences)
