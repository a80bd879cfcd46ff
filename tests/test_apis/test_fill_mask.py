"""Hidden words, guessed from text or with an image."""

from pathlib import Path

import pytest
import torch
from transformers import BertTokenizerFast

from momo.apis import fill_captions, fill_text, top_words
from momo.datasets import load_tokenizer
from momo.models import MoMoPretrainer
from momo.models.objectives.masked import MaskedPlan
from momo.ops import plan_sequences

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", "a", "big", "red", "small", "dog", "cat", "##s"]
TEXTS = ["a [MASK] dog", "[MASK], red [MASK] and small cat", "[MASK]"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> BertTokenizerFast:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return load_tokenizer(str(folder))


@pytest.fixture
def model() -> MoMoPretrainer:
    torch.manual_seed(0)
    decoder = dict(type="MoMoDecoder", decoder_dim=32, depth=1, num_heads=2)
    return MoMoPretrainer(
        backbone=dict(
            type="MoMoViT",
            arch=dict(embed_dim=32, depth=2, num_heads=2),
            img_size=32,
            patch_size=8,
            vocab_size=len(WORDS),
            max_text_len=8,
        ),
        decoders=dict(text=dict(decoder, outputs=["tokens"]), pair=dict(decoder, outputs=["pixels", "tokens"])),
        objectives=dict(
            text=dict(mlm=dict(type="MLM", decoder="text")), image_text=dict(cmm=dict(type="CMM", decoder="pair"))
        ),
    ).eval()


@pytest.fixture
def images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return list(torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=generator))


def test_a_row_a_mask_and_the_probability_that_the_loss_trains(model: MoMoPretrainer, tokenizer) -> None:
    found = fill_text(model, TEXTS, tokenizer)
    assert found.shape == (4, len(WORDS))
    assert torch.allclose(found.exp().sum(1), torch.ones(4))

    # The same words hidden in a batch as training makes it, with the answers in place of [MASK].
    answers = torch.tensor([8, 7, 9, 10])
    counts = [3, 7, 1]
    words = torch.tensor([6, 8, 10] + [7, 5, 8, 9, 1, 9, 11] + [10])
    hidden = torch.tensor([0, 1, 0] + [1, 0, 0, 1, 0, 0, 0] + [1], dtype=torch.bool).numpy()
    plan = MaskedPlan(*plan_sequences(3, 0, counts, hidden_words=hidden))
    positions = torch.cat([torch.arange(count) for count in counts])
    batch = {"words": words, "positions": positions, "plans": {"mlm": plan}}
    loss = model({"text": batch})["text/mlm_loss_words"]
    assert loss.item() == pytest.approx(-float(found.gather(1, answers[:, None]).mean()), rel=1e-5)


def test_batches_do_not_matter(model: MoMoPretrainer, tokenizer, images) -> None:
    text = fill_text(model, TEXTS, tokenizer)
    pair = fill_captions(model, images, TEXTS, tokenizer)
    assert torch.allclose(fill_text(model, TEXTS, tokenizer, batch_size=1), text, atol=1e-5)
    assert torch.allclose(fill_captions(model, images, TEXTS, tokenizer, batch_size=2), pair, atol=1e-5)


def test_each_caption_is_read_with_its_own_image(model: MoMoPretrainer, tokenizer, images) -> None:
    pair = fill_captions(model, images, TEXTS, tokenizer)
    changed = fill_captions(model, [images[0], images[0], images[2]], TEXTS, tokenizer)
    assert torch.allclose(changed[[0, 3]], pair[[0, 3]], atol=1e-5)
    assert (changed[1:3] - pair[1:3]).abs().amax() > 1e-4


def test_top_words_are_named_and_sorted(tokenizer) -> None:
    probabilities = torch.full((2, len(WORDS)), 0.01)
    probabilities[0, 10], probabilities[0, 12], probabilities[1, 6] = 0.5, 0.3, 0.9
    first, second = top_words(probabilities.log(), tokenizer, k=2)
    assert [guess.word for guess in first] == ["dog", "##s"]
    assert [guess.probability for guess in first] == pytest.approx([0.5, 0.3])
    assert second[0].word == "a"


def test_what_cannot_be_asked(model: MoMoPretrainer, tokenizer, images) -> None:
    with pytest.raises(ValueError, match=r"'a dog' needs at least one \[MASK\]"):
        fill_text(model, ["[MASK]", "a dog"], tokenizer)
    with pytest.raises(ValueError, match="within 8 word pieces"):
        fill_text(model, ["[MASK] a a a a a a a [MASK]"], tokenizer)
    with pytest.raises(ValueError, match="each of the images needs one of the captions, got 3 and 1"):
        fill_captions(model, images, ["[MASK]"], tokenizer)
    del model.objectives["image_text"]
    with pytest.raises(ValueError, match=r"not trained with CMM: its objectives are \['text.mlm'\]"):
        fill_captions(model, images[:1], ["[MASK]"], tokenizer)
