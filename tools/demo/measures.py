"""What the demo measures, each on held-out data, beside its chance level or floor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from momo.apis import embed_images, embed_texts, get_config, get_model
from momo.apis.embed import pack_texts
from momo.datasets import LoadImage, build_loader, load_tokenizer
from momo.engine.checkpoint import find_checkpoint, load_weights
from momo.engine.stage_hook import hand_over
from momo.evaluation import linear_probe, recall_at_k
from momo.models import MoMoPretrainer
from momo.ops import keyed_generator

KIT_CONFIG = "_base_/data/kit"


class Measure(NamedTuple):
    """One figure of the report: `floor` is what needs no learnt representation, `floor_is` says what that is."""

    name: str
    stage: str
    value: float
    floor: float | None
    floor_is: str
    n: int


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def load_images(root: Path, names: Sequence[str]) -> list[Tensor]:
    """Pictures as (3, H, W) uint8."""
    load = LoadImage()
    return [load({"image_path": root / name})["image"] for name in names]


# ------------------------------------------------------------------ the encoder's features
@torch.inference_mode()
def pooled_features(model: MoMoPretrainer, images: Sequence[Tensor]) -> np.ndarray:
    """Mean of the encoded patches of each image, (N, C)."""
    parts = []
    for first in range(0, len(images), 128):
        batch = model.data_preprocessor.normalize(torch.stack(images[first : first + 128]))
        parts.append(model.backbone.encode_images(batch).mean().numpy())
    return np.concatenate(parts)


def raw_pixels(images: Sequence[Tensor]) -> np.ndarray:
    """Images shrunk to 16 x 16 and flattened: what a probe sees without an encoder."""
    return F.interpolate(torch.stack(list(images)).float() / 255, size=16, mode="area").flatten(1).numpy()


def probe(kit: Path, name: str, features_of, split: str = "test") -> tuple[float, int]:
    """Accuracy of a linear probe on labelled pictures, and the number of pictures it is measured on.

    Args:
        name: The pictures are those of <name>_{train,val,test}.json; 'groups' are the emoji's.
        split: 'test': the probe's regularisation is chosen on the validation pictures. 'val': those are measured on, so
            it is chosen on every eighth training picture.
    """

    def labelled(part: str) -> tuple[np.ndarray, np.ndarray]:
        rows = read_json(kit / f"{name}_{part}.json")
        images = load_images(kit / "images", [row["image"] for row in rows])
        return features_of(images), np.array([row["label"] for row in rows])

    features, labels = train = labelled("train")
    if split == "val":
        choosing = np.arange(len(labels)) % 8 == 7
        train, val = (features[~choosing], labels[~choosing]), (features[choosing], labels[choosing])
    else:
        val = labelled("val")
    measured = labelled(split)
    return linear_probe(train, val, measured).accuracy, len(measured[1])


# ------------------------------------------------------------------ models
def model_of(config: str, *work_dirs: Path) -> MoMoPretrainer:
    """A config's model with the weights of several runs, each over those before: a stage that dropped an objective is
    measured with the decoder that the stage before left behind.

    Args:
        config: Name below configs/.
        work_dirs: From the first run to the last.
    Raises: FileNotFoundError for a run without a checkpoint; ValueError if a weight of the model is in none of them.
    """
    model = get_model(config)
    missing = set(model.state_dict())
    for folder in work_dirs:
        path = find_checkpoint(folder)
        if path is None:
            raise FileNotFoundError(f"{folder} has no checkpoint of a run")
        missing -= set(hand_over(model, load_weights(path)).loaded)
    if missing:
        raise ValueError(f"{config}: {sorted(missing)} are in none of {[str(folder) for folder in work_dirs]}")
    return model


# ------------------------------------------------------------------ held-out losses
def evaluation_loader(cfg: Mapping[str, Any], planners: Mapping[str, Callable]) -> DataLoader:
    """A loader of the kit's config, from first sample to last."""
    return build_loader(cfg, planners, seed=0, training=False)


@torch.inference_mode()
def held_out_loss(model: MoMoPretrainer, modality: str, name: str, split: str = "test") -> tuple[float, int]:
    """A loss over a split of a modality's data, masked the same way each time, and the number of samples.

    Args:
        split: 'val' or 'test'.
    """
    loader = evaluation_loader(get_config(KIT_CONFIG)["_held_out"][split][modality], model.planners(modality))
    total = weight = 0.0
    for batch in loader:
        losses = model(**model.data_preprocessor({modality: batch}), mode="loss")
        plan = next(iter(batch["plans"].values())).decode
        hidden = len(plan.hidden_patches) + len(plan.hidden_words)
        total, weight = total + float(losses[f"{modality}/{name}"]) * hidden, weight + hidden
    return total / weight, len(loader.dataset)


def unigram_cross_entropy(model: MoMoPretrainer, split: str = "test") -> float:
    """Cross-entropy of the same hidden words of a split under the word frequencies of the training text (add one)."""
    cfg = get_config(KIT_CONFIG)
    counts = torch.ones(model.backbone.text_embed.words.num_embeddings, dtype=torch.float64)
    for batch in evaluation_loader(cfg["_train"]["text"], {}):
        counts += torch.bincount(batch["words"], minlength=len(counts))
    log_probability = (counts / counts.sum()).log()
    hidden = [
        batch["words"][next(iter(batch["plans"].values())).decode.hidden_words]
        for batch in evaluation_loader(cfg["_held_out"][split]["text"], model.planners("text"))
    ]
    return float(-log_probability[torch.cat(hidden)].mean())


# ------------------------------------------------------------------ retrieval
def caption_recalls(
    kit: Path, model: MoMoPretrainer, source: str, split: str = "test", twins: bool = True
) -> tuple[dict[int, float], int]:
    """Recall at 1, 5, 10, mean of image-to-text and text-to-image; equal captions count as right answers.

    Args:
        twins: Whether to keep emoji of which another gender was trained on.
    """
    rows = [row for row in read_json(kit / f"pairs_{split}_{source}.json") if twins or not row["twin_in_train"]]
    captions = [row["caption"][0] for row in rows]
    ids = torch.tensor([captions.index(caption) for caption in captions])
    images = embed_images(model, load_images(kit / "images", [row["image"] for row in rows]))
    texts = embed_texts(model, captions, load_tokenizer(str(kit / "tokenizer")))
    to_text, to_image = recall_at_k(images, texts, ids, ids), recall_at_k(texts, images, ids, ids)
    return {k: (to_text[k] + to_image[k]) / 2 for k in to_text}, len(rows)


def drawing_recalls(kit: Path, model: MoMoPretrainer, split: str = "test") -> tuple[dict[int, float], int]:
    """Recall of the OpenMoji drawing of the same thing, given the Fluent one."""
    features = []
    for source in ("fluent", "openmoji"):
        rows = read_json(kit / f"pairs_{split}_{source}.json")
        features.append(embed_images(model, load_images(kit / "images", [row["image"] for row in rows])))
    ids = torch.arange(len(rows))
    return recall_at_k(*features, ids, ids), len(rows)


@torch.inference_mode()
def matching_accuracy(kit: Path, model: MoMoPretrainer) -> tuple[float, int]:
    """Balanced accuracy of the matching head on true pairs and as many random mismatches of the Fluent test set."""
    rows = read_json(kit / "pairs_test_fluent.json")
    captions = [row["caption"][0] for row in rows]
    shift = int(keyed_generator("mismatch").integers(1, len(rows)))
    images = torch.stack(load_images(kit / "images", [row["image"] for row in rows]))
    images = model.data_preprocessor.normalize(images)
    words, positions, counts = pack_texts(captions, load_tokenizer(str(kit / "tokenizer")), 64)
    head = model.objectives["image_text"]["itm"].head

    def says_match(pictures: Tensor) -> Tensor:
        return head(model.backbone.encode_pairs(pictures, words, positions, counts).first()).argmax(1).bool()

    right = says_match(images).float().mean() + (~says_match(images.roll(shift, 0))).float().mean()
    return float(right / 2), 2 * len(rows)


# ------------------------------------------------------------------ floors
def text_floors(folder: Path) -> tuple[float, float, int]:
    """Test accuracy of TF-IDF with logistic regression and of the majority class, and the number of test rows.

    Args:
        folder: Has train.tsv and test.tsv with the label in the first column; further columns are texts, of which each
            has words of its own.
    """
    splits = {}
    for split in ("train", "test"):
        lines = (folder / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
        labels, *texts = zip(*(line.split("\t") for line in lines), strict=True)
        splits[split] = texts, np.array(labels, dtype=int)
    vectorizers = [TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True) for _ in splits["train"][0]]
    words = hstack([x.fit_transform(texts) for x, texts in zip(vectorizers, splits["train"][0], strict=True)])
    model = LogisticRegression(C=3, max_iter=1000).fit(words, splits["train"][1])
    words = hstack([x.transform(texts) for x, texts in zip(vectorizers, splits["test"][0], strict=True)])
    majority, labels = np.bincount(splits["train"][1]).argmax(), splits["test"][1]
    return float(model.score(words, labels)), float((labels == majority).mean()), len(labels)
