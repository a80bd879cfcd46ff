"""Token files: equal to cutting the text while it is read, every token once, and no corpus of another tokenizer."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest
import torch
from helpers.data import VOCABULARY, WORDS, sentence, write_texts, write_tokenizer
from helpers.forms import write_text_forms

from momo.datasets import SampleKey, TextCorpus, TokenCorpus, build_loader, load_tokenizer
from momo.datasets.tables import find
from momo.datasets.token_corpus import BOUNDS, HEADER, TOKENS, tokenizer_sha256

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "dataset"))

import tokenize_corpus  # noqa: E402


def make_corpus(files: list[str], tokenizer: str, out: Path, shard_bytes: int = 500, join: int = 1) -> Path:
    """Token files in small shards, made in this process."""
    sha256 = tokenizer_sha256(tokenizer)
    settings = {"tokenizer": tokenizer, "sha256": sha256, "column": "text", "join": join}
    shards = tokenize_corpus.plan(files, out, settings, shard_bytes, workers=0)
    outcomes = tokenize_corpus.run_shards(tokenize_corpus.tokenize, shards, "tokenizing", workers=0)
    assert not [outcome.error for outcome in outcomes if outcome.error]
    tokenize_corpus.merge(out, tokenizer, sha256, outcomes)
    return out


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    return write_tokenizer(tmp_path / "tokenizer")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Texts of many kinds: short, empty, unknown and long ones, in lines and in a table."""
    text = Path(write_texts(tmp_path / "text" / "a.txt", 60))
    with text.open("ab") as file:
        file.write(b"\n   \nzzz \xe2\x98\x80\n" + b" ".join([b"moon"] * 40) + b"\nthe last, without an end")
    table = pyarrow.table({"id": list(range(50)), "text": [" ".join(WORDS[: 1 + row % 14]) for row in range(50)]})
    pyarrow.parquet.write_table(table, tmp_path / "text" / "b.parquet", row_group_size=7)
    return [str(text), str(tmp_path / "text" / "b.parquet")]


@pytest.mark.parametrize("samples", ["pieces", "documents"])
def test_equals_text_cut_while_it_is_read(tmp_path: Path, files: list[str], tokenizer: str, samples: str) -> None:
    corpus = make_corpus(files, tokenizer, tmp_path / "tokens")
    assert len(list(corpus.glob("parts/*/tokens.npy"))) > 5
    expected = TextCorpus(files, [dict(type="Tokenize", tokenizer=tokenizer, max_len=64)])
    dataset = TokenCorpus(str(corpus), tokenizer, max_len=64, samples=samples)
    assert len(dataset) == len(expected) == 113
    for index in range(len(dataset)):
        words = dataset[index]["words"]
        assert words.dtype == np.int64 and np.array_equal(words, expected[index]["words"])
    assert len({dataset[index]["sample_id"] for index in range(len(dataset))}) == 113


def test_as_documents_even_the_windows_of_long_ones_are_equal(tmp_path: Path, files: list[str], tokenizer: str) -> None:
    corpus = make_corpus(files, tokenizer, tmp_path / "tokens")
    expected = TextCorpus(files, [dict(type="Tokenize", tokenizer=tokenizer, max_len=4)])
    dataset = TokenCorpus(str(corpus), tokenizer, max_len=4, samples="documents")
    starts = set()
    for epoch in range(3):
        for index in range(len(dataset)):
            key = SampleKey.of(7, epoch, index)
            assert np.array_equal(dataset[key]["words"], expected[key]["words"])
        starts.add(dataset[SampleKey.of(7, epoch, 1)]["words"].tobytes())
    assert len(starts) > 1  # of a long document, another window


@pytest.mark.parametrize("max_len", [1, 4, 13, 1000])
def test_as_pieces_every_token_comes_once_and_in_order(
    tmp_path: Path, files: list[str], tokenizer: str, max_len: int
) -> None:
    dataset = TokenCorpus(str(make_corpus(files, tokenizer, tmp_path / "tokens")), tokenizer, max_len=max_len)
    encode = load_tokenizer(tokenizer).encode
    texts = [line.strip() for line in Path(files[0]).read_bytes().decode("utf-8", "replace").split("\n")]
    texts = [text for text in texts if text] + pyarrow.parquet.read_table(files[1])["text"].to_pylist()
    expected = []
    for text in texts:
        document = encode(text, add_special_tokens=False)
        while document:  # cut from the front, as the docstring says
            expected.append(document[:max_len])
            document = document[max_len:]
    assert [dataset[index]["words"].tolist() for index in range(len(dataset))] == expected


def test_shards_of_any_size_make_the_same_corpus(tmp_path: Path, tokenizer: str) -> None:
    """Wherever a text file is cut, at an end of a line or within a character, each line is read once."""
    text = tmp_path / "a.txt"
    text.write_bytes("sun\n\nmoon \u2600 red\n\r\nblue cat dog\n \nthe hill".encode())
    whole = TokenCorpus(str(make_corpus([str(text)], tokenizer, tmp_path / "whole", 10**9)), tokenizer)
    assert [len(whole[index]["words"]) for index in range(len(whole))] == [1, 3, 3, 2]
    for size in (1, 2, 3, 5, 8, 21):
        parts = TokenCorpus(str(make_corpus([str(text)], tokenizer, tmp_path / f"parts{size}", size)), tokenizer)
        assert len(parts) == len(whole)
        assert all(np.array_equal(parts[index]["words"], whole[index]["words"]) for index in range(len(whole)))


def test_every_form_of_text_makes_the_same_corpus(tmp_path: Path, tokenizer: str) -> None:
    """What TextCorpus reads, token files are made of."""
    forms = write_text_forms(tmp_path / "forms", [sentence(number) for number in range(11)])
    tokens = {}
    for name, cfg in forms.items():
        corpus = make_corpus(find(cfg["files"], "files", ""), tokenizer, tmp_path / f"tokens {name}", 100)
        assert len(list(corpus.glob("parts/*/tokens.npy"))) > 2
        tokens[name] = np.load(corpus / TOKENS).tolist(), np.load(corpus / BOUNDS).tolist()
    assert len(tokens) == 8 and all(found == tokens["a.txt"] for found in tokens.values())
    assert len(tokens["a.txt"][1]) == 12


def test_each_text_of_a_list_is_a_document(tmp_path: Path, tokenizer: str) -> None:
    rows = [["sun", "moon red"], [], "blue", None, ["cat", None]]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    corpus = make_corpus([str(tmp_path / "a.jsonl")], tokenizer, tmp_path / "tokens")
    dataset = TokenCorpus(str(corpus), tokenizer)
    texts = [[VOCABULARY[word] for word in dataset[index]["words"]] for index in range(len(dataset))]
    assert texts == [["sun"], ["moon", "red"], ["blue"], ["cat"]]


def test_sentences_can_be_joined_to_documents(tmp_path: Path, tokenizer: str) -> None:
    (tmp_path / "book.txt").write_text("sun\n\nmoon\nred\nblue\ncat\n", encoding="utf-8")
    corpus = make_corpus([str(tmp_path / "book.txt")], tokenizer, tmp_path / "tokens", 10**9, join=2)
    dataset = TokenCorpus(str(corpus), tokenizer)
    texts = [[VOCABULARY[word] for word in dataset[index]["words"]] for index in range(len(dataset))]
    assert texts == [["sun", "moon"], ["red", "blue"], ["cat"]]


def test_several_corpora_and_a_copy_in_another_process(tmp_path: Path, files: list[str], tokenizer: str) -> None:
    folders = [str(make_corpus([file], tokenizer, tmp_path / str(number))) for number, file in enumerate(files)]
    dataset = TokenCorpus(folders, tokenizer)
    both = TokenCorpus(str(make_corpus(files, tokenizer, tmp_path / "both")), tokenizer)
    dataset[0]
    copy = pickle.loads(pickle.dumps(dataset))
    assert len(pickle.dumps(dataset)) < 30_000  # the maps are not copied
    for index in range(len(both)):
        assert np.array_equal(copy[index]["words"], both[index]["words"])


def test_what_is_no_text_is_left_out_and_counted(tmp_path: Path, tokenizer: str) -> None:
    texts = ["sun", None, " ", "a\0b", "moon red", ""]
    table = pyarrow.table({"number": range(6), "text": texts})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pyarrow.ipc.new_stream(str(tmp_path / "b.arrow"), table.schema) as stream:  # as `datasets` saves it
        stream.write_table(table)
    (tmp_path / "c.txt").write_bytes(b"sun\n\xff\xfe broken\n\n \na\0b\nmoon red")
    counts = []
    for name in ("a.parquet", "b.arrow", "c.txt"):
        settings = {"tokenizer": tokenizer, "sha256": "", "column": "text", "join": 1}
        (shard,) = tokenize_corpus.plan([str(tmp_path / name)], tmp_path / "out", settings, workers=0)
        counts.append(tokenize_corpus.tokenize(shard, tmp_path / name.replace(".", "-")))
        assert np.load(tmp_path / name.replace(".", "-") / TOKENS).tolist() == [5, 6, 7]
    assert [(count["documents"], count["tokens"]) for count in counts] == [(2, 3)] * 3
    assert [count["broken"] for count in counts] == [4, 4, 2]  # a blank line is no document at all


@pytest.mark.parametrize("samples", ["pieces", "documents"])
@pytest.mark.parametrize("max_len", [1, 4, 1000])
def test_lengths_are_known_beforehand(
    tmp_path: Path, files: list[str], tokenizer: str, samples: str, max_len: int
) -> None:
    corpus = str(make_corpus(files, tokenizer, tmp_path / "tokens"))
    dataset = TokenCorpus([corpus, corpus], tokenizer, max_len=max_len, samples=samples)
    assert dataset.lengths.tolist() == [len(dataset[index]["words"]) for index in range(len(dataset))]


def test_batches_by_token_budget(tmp_path: Path, files: list[str], tokenizer: str) -> None:
    corpus = str(make_corpus(files, tokenizer, tmp_path / "tokens"))
    loader = build_loader(
        dict(dataset=dict(type="TokenCorpus", folders=corpus, tokenizer=tokenizer, max_len=8), max_tokens=64),
        None,
        seed=0,
    )
    counts = [len(batch["words"]) for batch, _ in zip(loader, range(2 * len(loader)), strict=False)]
    assert max(counts) <= 64 and min(counts) > 64 - 2 * 8


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_packs_the_same_batches(tmp_path: Path, files: list[str], tokenizer: str, workers: int) -> None:
    corpus = make_corpus(files, tokenizer, tmp_path / "tokens")
    settings = dict(tokenizer=tokenizer, max_len=4)
    ours = dict(type="TokenCorpus", folders=str(corpus), samples="documents", **settings)
    theirs = dict(type="TextCorpus", files=files, pipeline=[dict(type="Tokenize", **settings)])
    loaders = [
        build_loader(dict(dataset=dataset, batch_size=16, num_workers=count), None, text_limits=(4, 30), seed=5)
        for dataset, count in ((ours, workers), (theirs, 0))
    ]
    for _, batch, expected in zip(range(10), *loaders, strict=False):
        for name in ("keys", "word_counts", "text_ids"):
            assert np.array_equal(batch[name], expected[name])
        assert torch.equal(batch["words"], expected["words"]) and batch["order"] == expected["order"]


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    names = [*VOCABULARY, *(f"w{number}" for number in range(70_000))]
    (folder / "vocab.txt").write_text("\n".join(names), encoding="utf-8")
    (tmp_path / "a.txt").write_text("sun w69999\n", encoding="utf-8")
    corpus = make_corpus([str(tmp_path / "a.txt")], str(folder), tmp_path / "tokens")
    assert np.load(corpus / TOKENS).dtype == np.uint32
    assert TokenCorpus(str(corpus), str(folder))[0]["words"].tolist() == [5, len(VOCABULARY) + 69_999]


def test_one_tokenizer_has_one_hash_in_both_forms(tmp_path: Path, tokenizer: str) -> None:
    load_tokenizer(tokenizer).backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert tokenizer_sha256(str(tmp_path)) == tokenizer_sha256(tokenizer)
    other = tmp_path / "other"
    other.mkdir()
    (other / "vocab.txt").write_text("\n".join([*VOCABULARY, "more"]), encoding="utf-8")
    assert tokenizer_sha256(str(other)) != tokenizer_sha256(tokenizer)


def test_what_is_no_whole_corpus_of_this_tokenizer_is_refused(tmp_path: Path, files: list[str], tokenizer: str) -> None:
    corpus = make_corpus(files, tokenizer, tmp_path / "tokens")
    other = tmp_path / "other"
    other.mkdir()
    (other / "vocab.txt").write_text("\n".join([*VOCABULARY, "more"]), encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"was cut by another tokenizer \(21 pieces, from .*\) than tokenizer='.*other'"
    ):
        TokenCorpus(str(corpus), str(other))
    with pytest.raises(ValueError, match=r"samples='words' is unknown; choose 'pieces' or 'documents'"):
        TokenCorpus(str(corpus), tokenizer, samples="words")
    with pytest.raises(FileNotFoundError, match=r"folders='.*nowhere' does not exist; a corpus that python"):
        TokenCorpus(str(tmp_path / "nowhere"), tokenizer)
    with pytest.raises(FileNotFoundError, match=r"has no corpus\.json: .* goes on where it stopped"):
        TokenCorpus(str(corpus / "parts" / "000000"), tokenizer)

    tokens = (corpus / TOKENS).read_bytes()
    (corpus / TOKENS).write_bytes(tokens[:-10])
    with pytest.raises(ValueError, match=r"tokens is not whole: .*; make it again with"):
        TokenCorpus(str(corpus), tokenizer)
    (corpus / TOKENS).write_bytes(tokens)
    np.save(corpus / BOUNDS, np.load(corpus / BOUNDS)[:-1])
    with pytest.raises(ValueError, match=r"tokens holds \d+ documents of .* tokens, and corpus\.json says \d+ of"):
        TokenCorpus(str(corpus), tokenizer)
    header = json.loads((corpus / HEADER).read_text(encoding="utf-8"))
    (corpus / HEADER).write_text(json.dumps({**header, "format": 99}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"corpus\.json has format 99, and this version reads 1"):
        TokenCorpus(str(corpus), tokenizer)


def test_the_tool_refuses_what_it_cannot_read(tmp_path: Path, files: list[str], tokenizer: str) -> None:
    settings = {"tokenizer": tokenizer, "sha256": "", "column": "body", "join": 1}
    (tmp_path / "notes.doc").touch()
    wrong = [files[1], str(tmp_path / "notes.doc"), files[0]]
    with pytest.raises(SystemExit, match="2 of 3 shards failed") as error:
        tokenize_corpus.plan(wrong, tmp_path, settings, workers=0)
    assert "b.parquet has no column 'body'; it has ['id', 'text']" in str(error.value)
    assert "notes.doc: a table ends in .arrow, .parquet" in str(error.value)
    with pytest.raises(ValueError, match="the corpus holds no document"):
        tokenize_corpus.merge(tmp_path, tokenizer, "", [])
