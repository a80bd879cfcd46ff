"""The peers' side of each comparison: as they come, random weights, the same inputs; a peer is imported where it runs.

Legend: B samples, L patches, T tokens of the longest text.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from sizes import Size, token_lengths
from step import Work
from torch import Tensor, nn
from torch.nn import functional as F

CLS, SEP, MASK, ANSWERS = 101, 102, 103, 3129


class Words(NamedTuple):
    """ids, valid, hidden: (B, T). valid: 1 for real tokens; hidden: True for words that are to be predicted."""

    ids: Tensor
    valid: Tensor
    hidden: Tensor

    @property
    def labels(self) -> Tensor:
        return self.ids.masked_fill(~self.hidden, -100)

    @property
    def masked(self) -> Tensor:
        return self.ids.masked_fill(self.hidden, MASK)


def _words(size: Size, lengths: tuple, pad_to: int | None = None, mask_ratio: float = 0.15) -> Words:
    """[CLS], words, [SEP], padding up to `pad_to`, or to the longest."""
    counts = torch.from_numpy(token_lengths(*lengths))
    place = torch.arange(pad_to or int(counts.max()))
    ids = torch.randint(MASK + 1, size.vocabulary, (len(counts), len(place)))
    ids[:, 0] = CLS
    ids[torch.arange(len(counts)), counts - 1] = SEP
    valid = (place < counts[:, None]).long()
    noise = torch.rand(ids.shape).masked_fill((valid == 0) | (ids == CLS) | (ids == SEP), 2)
    number = ((counts - 1) * mask_ratio).round().clamp(min=1)
    return Words(ids * valid, valid, noise.argsort(1).argsort(1) < number[:, None])


def _images(size: Size, number: int) -> Tensor:
    return torch.randn(number, 3, size.image, size.image)


def _encoder(size: Size) -> dict[str, int]:
    """Settings that transformers' models share."""
    return dict(
        hidden_size=size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.width,
    )


# ------------------------------------------------------------------ the limit
def gemm(size: Size, half: bool) -> Work:
    """Matrix products of a ViT-B's shapes; the machine's rate is theirs."""
    dtype = torch.bfloat16 if half else torch.float32
    x, weight = torch.randn(1576, 3072, dtype=dtype), torch.randn(768, 3072, dtype=dtype)
    return Work(lambda: [F.linear(x, weight) for _ in range(8)], infers=True)


# ------------------------------------------------------------------ masked images
def hf_mae(size: Size, images: int) -> Work:
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    decoder = dict(
        decoder_hidden_size=size.decoder_width,
        decoder_num_hidden_layers=size.decoder_depth,
        decoder_num_attention_heads=size.decoder_heads,
        decoder_intermediate_size=4 * size.decoder_width,
    )
    cfg = ViTMAEConfig(image_size=size.image, patch_size=size.patch, **_encoder(size), **decoder)
    model, x = ViTMAEForPreTraining(cfg), _images(size, images)
    return Work(lambda: model(pixel_values=x).loss, trains=model)


def mmpretrain_mae(size: Size, images: int) -> Work:
    import mmpretrain.models  # noqa: F401
    from mmpretrain.registry import MODELS

    arch = dict(embed_dims=size.width, num_layers=size.depth, num_heads=size.heads, feedforward_channels=4 * size.width)
    neck = dict(
        type="MAEPretrainDecoder",
        num_patches=size.patches,
        patch_size=size.patch,
        embed_dim=size.width,
        decoder_embed_dim=size.decoder_width,
        decoder_depth=size.decoder_depth,
        decoder_num_heads=size.decoder_heads,
    )
    loss = dict(type="PixelReconstructionLoss", criterion="L2")
    model = MODELS.build(
        dict(
            type="MAE",
            backbone=dict(type="MAEViT", arch=arch, img_size=size.image, patch_size=size.patch, mask_ratio=0.75),
            neck=neck,
            head=dict(type="MAEPretrainHead", patch_size=size.patch, loss=loss),
        )
    )
    x = _images(size, images)
    return Work(lambda: model(x, [None] * images, mode="loss")["loss"], trains=model)


class TimmMAE(nn.Module):
    """MAE as published (He et al. 2022, arXiv:2111.06377), of timm's blocks; timm itself has none."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block, PatchEmbed

        self.size, self.kept = size, size.patches - round(0.75 * size.patches)
        self.patch_embed = PatchEmbed(size.image, size.patch, 3, size.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, size.decoder_width))
        self.register_buffer("positions", torch.randn(1, 1 + size.patches, size.width))
        self.register_buffer("decoder_positions", torch.randn(1, 1 + size.patches, size.decoder_width))
        self.blocks = nn.Sequential(*(Block(size.width, size.heads, qkv_bias=True) for _ in range(size.depth)))
        self.norm, self.embed = nn.LayerNorm(size.width), nn.Linear(size.width, size.decoder_width)
        decoder = (Block(size.decoder_width, size.decoder_heads, qkv_bias=True) for _ in range(size.decoder_depth))
        self.decoder, self.decoder_norm = nn.Sequential(*decoder), nn.LayerNorm(size.decoder_width)
        self.head = nn.Linear(size.decoder_width, 3 * size.patch**2)

    def forward(self, images: Tensor) -> Tensor:
        x_BLC = self.patch_embed(images) + self.positions[:, 1:]
        order_BL = torch.rand(x_BLC.shape[:2]).argsort(1)
        place_BL, kept_BK = order_BL.argsort(1), order_BL[:, : self.kept]
        x_BKC = x_BLC.gather(1, kept_BK[..., None].expand(-1, -1, x_BLC.shape[2]))
        cls_token = (self.cls_token + self.positions[:, :1]).expand(len(images), -1, -1)
        encoded = self.embed(self.norm(self.blocks(torch.cat([cls_token, x_BKC], 1))))
        masks = self.mask_token.expand(len(images), self.size.patches - self.kept, -1)
        y_BLD = torch.cat([encoded[:, 1:], masks], 1)
        y_BLD = y_BLD.gather(1, place_BL[..., None].expand(-1, -1, y_BLD.shape[2]))
        decoded = self.decoder(torch.cat([encoded[:, :1], y_BLD], 1) + self.decoder_positions)
        error_BL = (self.head(self.decoder_norm(decoded))[:, 1:] - self._patches(images)).square().mean(-1)
        hidden_BL = place_BL >= self.kept
        return (error_BL * hidden_BL).sum() / hidden_BL.sum()

    def _patches(self, images: Tensor) -> Tensor:
        rows, patch = self.size.image // self.size.patch, self.size.patch
        x = images.view(len(images), 3, rows, patch, rows, patch)
        return x.permute(0, 2, 4, 3, 5, 1).reshape(len(images), rows**2, -1)


def timm_mae(size: Size, images: int) -> Work:
    model, x = TimmMAE(size), _images(size, images)
    return Work(lambda: model(x), trains=model)


# ------------------------------------------------------------------ masked text
def bert(size: Size, texts: tuple, pad_to: int | None = None) -> Work:
    """BERT as shipped, its dropout included."""
    from transformers import BertConfig, BertForMaskedLM

    model = BertForMaskedLM(BertConfig(vocab_size=size.vocabulary, **_encoder(size)))
    words = _words(size, texts, pad_to)
    inputs = dict(input_ids=words.masked, labels=words.labels)
    if not bool(words.valid.all()):
        inputs["attention_mask"] = words.valid
    return Work(lambda: model(**inputs).loss, trains=model)


# ------------------------------------------------------------------ FLAVA and ViLT
def _flava_config(size: Size, **settings: Any) -> Any:
    from transformers import FlavaConfig

    image = dict(_encoder(size), image_size=size.image, patch_size=size.patch)
    return FlavaConfig(
        image_config=image,
        text_config=dict(_encoder(size), vocab_size=size.vocabulary),
        multimodal_config={**_encoder(size), "num_hidden_layers": size.depth // 2},
        image_codebook_config=dict(hidden_size=size.width // 3),
        hidden_size=size.width,
        projection_dim=size.width,
        **settings,
    )


def flava_pairs(size: Size, pairs: tuple, pad_to: int, codebook: bool) -> Work:
    """All losses that FLAVA has on pairs: masked patches and words, contrast, matching. Without its codebook, what the
    codebook would say is given."""
    from transformers import FlavaForPreTraining

    model, number = FlavaForPreTraining(_flava_config(size, init_codebook=codebook)), pairs[0]
    words, side = _words(size, pairs, pad_to), size.image // size.patch
    hidden = torch.rand(number, size.patches).argsort(1).argsort(1) < round(75 / 196 * size.patches)
    inputs = dict(
        input_ids=words.ids,
        input_ids_masked=words.masked,
        attention_mask=words.valid,
        pixel_values=_images(size, number),
        itm_labels=torch.ones(number, dtype=torch.long),
        return_loss=True,
    )
    if codebook:
        inputs["codebook_pixel_values"] = torch.rand(number, 3, 8 * side, 8 * side)
    else:
        labels = torch.randint(0, 8192, (number, size.patches))

    def call() -> Tensor:  # it changes labels in place
        own = {} if codebook else dict(mim_labels=labels.clone())
        masks = dict(bool_masked_pos=hidden.view(number, side, side).long(), mlm_labels=words.labels)
        return model(**inputs, **masks, **own).loss

    return Work(call, trains=model)


def _answers(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 2 * width), nn.LayerNorm(2 * width), nn.GELU(), nn.Linear(2 * width, ANSWERS))


def flava_vqa(size: Size, texts: tuple) -> Work:
    from transformers import FlavaModel

    model, head = FlavaModel(_flava_config(size)).eval(), _answers(size.width).eval()
    words = _words(size, texts)
    inputs = dict(input_ids=words.ids, attention_mask=words.valid, pixel_values=_images(size, texts[0]))
    return Work(lambda: head(model(**inputs).multimodal_embeddings[:, 0]), infers=True)


def vilt_vqa(size: Size, texts: tuple) -> Work:
    from transformers import ViltConfig, ViltForQuestionAnswering

    sizes = dict(_encoder(size), image_size=size.image, patch_size=size.patch, vocab_size=size.vocabulary)
    model = ViltForQuestionAnswering(ViltConfig(**sizes, num_labels=ANSWERS)).eval()
    words, x = _words(size, texts), _images(size, texts[0])
    inputs = dict(input_ids=words.ids, attention_mask=words.valid, pixel_values=x)
    inputs["pixel_mask"] = torch.ones(texts[0], size.image, size.image, dtype=torch.long)
    return Work(lambda: model(**inputs).logits, infers=True)


# ------------------------------------------------------------------ embeddings
def flava_images(size: Size, images: int) -> Work:
    from transformers import FlavaModel

    model, x = FlavaModel(_flava_config(size)).eval(), _images(size, images)
    return Work(lambda: model.get_image_features(pixel_values=x)[:, 0], infers=True)


def flava_texts(size: Size, texts: tuple, pad_to: int) -> Work:
    from transformers import FlavaModel

    model, words = FlavaModel(_flava_config(size)).eval(), _words(size, texts, pad_to)
    inputs = dict(input_ids=words.ids, attention_mask=words.valid)
    return Work(lambda: model.get_text_features(**inputs)[:, 0], infers=True)


def _open_clip(size: Size) -> nn.Module:
    import open_clip

    cfg = open_clip.get_model_config("ViT-B-16")
    vision = dict(image_size=size.image, patch_size=size.patch, width=size.width, layers=size.depth)
    cfg["vision_cfg"].update(vision, head_width=size.width // size.heads)
    cfg["text_cfg"].update(layers=size.depth)
    return open_clip.CLIP(**cfg).eval()


def open_clip_images(size: Size, images: int) -> Work:
    model, x = _open_clip(size), _images(size, images)
    return Work(lambda: model.encode_image(x), infers=True)


def open_clip_texts(size: Size, texts: tuple) -> Work:
    """Its texts are always 77 tokens."""
    model, words = _open_clip(size), _words(size, texts, pad_to=77)
    return Work(lambda: model.encode_text(words.ids), infers=True)
