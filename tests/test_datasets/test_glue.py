"""GLUE's files as they are distributed, and the cutting of pairs."""

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from helpers.data import sentence, write_tokenizer

from momo.datasets import GLUE, TokenizePair
from momo.datasets.tokenize_pair import longest_first


def glue(folder: Path, task: str, split: str = "train") -> GLUE:
    return GLUE(task, str(folder), split, [])


def write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def test_quotes_are_letters(tmp_path: Path) -> None:
    write(tmp_path / "dev.tsv", "sentence\tlabel", 'a "quoted\t1', 'bad" film\t0')
    data = glue(tmp_path, "sst2", "dev")
    assert [(data[i]["text"], data[i]["label"]) for i in range(2)] == [('a "quoted', 1), ('bad" film', 0)]
    assert data[1]["sample_id"] == "dev:1"
    assert data.metainfo["classes"] == ("0", "1")


def test_cola_has_a_header_in_the_test_only(tmp_path: Path) -> None:
    write(tmp_path / "train.tsv", "gj04\t1\t\tThey drank.", "gj04\t0\t*\tThey drank the.")
    write(tmp_path / "test.tsv", "index\tsentence", "0\tBill whistled.")
    train, test = glue(tmp_path, "cola"), glue(tmp_path, "cola", "test")
    assert [train[i]["label"] for i in range(2)] == [1, 0]
    assert test[0]["text"] == "Bill whistled." and "label" not in test[0]


def test_halves_of_mnli_follow_each_other(tmp_path: Path) -> None:
    header = "index\tsentence1\tsentence2\tgold_label"
    write(tmp_path / "dev_matched.tsv", header, "0\ta\tb\tneutral", "1\tc\td\tcontradiction")
    write(tmp_path / "dev_mismatched.tsv", header, "0\te\tf\tentailment")
    data = glue(tmp_path, "mnli", "dev")
    assert [data[i]["sample_id"] for i in range(3)] == ["dev_matched:0", "dev_matched:1", "dev_mismatched:0"]
    assert [data[i]["label"] for i in range(3)] == [1, 2, 0]
    assert data[2]["text_pair"] == "f"


def test_rows_cut_short_are_left_out_of_qqp_and_refused_elsewhere(tmp_path: Path) -> None:
    write(
        tmp_path / "train.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "0\t1\t2\ta", "1\t1\t2\tb\tc\t1"
    )
    assert [glue(tmp_path, "qqp")[0][key] for key in ("text", "text_pair", "label")] == ["b", "c", 1]
    write(tmp_path / "train.tsv", "index\tsentence1\tsentence2\tlabel", "0\ta\tb\tentailment", "1\ta")
    with pytest.raises(ValueError, match="train.tsv, line 3: expected 4 columns, got 2"):
        glue(tmp_path, "rte")


@pytest.mark.parametrize(
    ("task", "header", "row", "message"),
    [
        ("sst2", "text\tlabel", "a\t1", "has no column 'sentence'; its first line has"),
        ("sst2", "sentence\tlabel", "a\t2", r"line 2: the label should be one of \('0', '1'\), got '2'"),
        ("sst2", "sentence\tlabel", "a\tgood", "line 2: the label should be one of .* got 'good'"),
        ("stsb", "sentence1\tsentence2\tscore", "a\tb\t5.5", "line 2: the label should be a score from 0 to 5"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, task: str, header: str, row: str, message: str) -> None:
    write(tmp_path / "train.tsv", header, row)
    with pytest.raises(ValueError, match=message):
        glue(tmp_path, task)


def test_a_wrong_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train-00000-of-00001.parquet"
    pyarrow.parquet.write_table(pyarrow.table(dict(sentence=["a"], label=[7])), path)
    with pytest.raises(ValueError, match=r"row 0: the label should be one of \('0', '1'\), got 7"):
        glue(tmp_path, "sst2")
    pyarrow.parquet.write_table(pyarrow.table(dict(text=["a"], label=[1])), path)
    with pytest.raises(ValueError, match=r"parquet has no column 'sentence'; it has \['text', 'label'\]"):
        glue(tmp_path, "sst2")


def test_shards_are_read_in_order(tmp_path: Path) -> None:
    for shard in range(2):
        table = pyarrow.table(dict(sentence=[f"{shard}a", f"{shard}b"], label=[0, 1]))
        pyarrow.parquet.write_table(table, tmp_path / f"validation-0000{shard}-of-00002.parquet")
    data = glue(tmp_path, "sst2", "dev")
    assert [data[i]["text"] for i in range(len(data))] == ["0a", "0b", "1a", "1b"]


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match="neither train.tsv nor train-.*parquet is there; put the files of GLUE"
    ):
        glue(tmp_path, "rte")
    with pytest.raises(FileNotFoundError, match="root=.*nowhere' does not exist; the folder of GLUE's rte"):
        glue(tmp_path / "nowhere", "rte")
    with pytest.raises(ValueError, match="task='sst' is unknown; choose one of"):
        glue(tmp_path, "sst")
    with pytest.raises(ValueError, match="split='val' is unknown"):
        glue(tmp_path, "sst2", "val")


def test_longest_first_takes_piece_by_piece_off_the_longer_text() -> None:
    for first in range(1, 12):
        for second in range(1, 12):
            for room in range(2, 14):
                a, b = first, second
                while a + b > room:
                    if a > b:
                        a -= 1
                    else:
                        b -= 1
                kept = longest_first(first, second, room)
                assert sum(kept) == min(room, first + second)
                assert sorted(kept) == sorted((a, b)), (first, second, room)


def test_pairs_are_cut_as_transformers_cuts_them(tmp_path: Path) -> None:
    from transformers import BertTokenizerFast

    folder = write_tokenizer(tmp_path)
    theirs, rng = BertTokenizerFast.from_pretrained(folder), np.random.default_rng(0)
    for index in range(40):
        first = " ".join(sentence(int(i)) for i in rng.integers(0, 99, rng.integers(1, 4)))
        second = " ".join(sentence(int(i)) for i in rng.integers(0, 99, rng.integers(1, 4)))
        max_len = int(rng.integers(3, 40))
        ours = TokenizePair(folder, max_len)(dict(sample_id="x", text=first, text_pair=second))["words"]
        expected = theirs(first, second, truncation="longest_first", max_length=max_len + 2)["input_ids"]
        assert ours.tolist() == expected[1:-1], index
        alone = TokenizePair(folder, max_len)(dict(sample_id="x", text=first))["words"]
        assert alone.tolist() == theirs(first, truncation=True, max_length=max_len + 2)["input_ids"][1:-1]


def test_empty_texts_and_other_things(tmp_path: Path) -> None:
    tokenize = TokenizePair(write_tokenizer(tmp_path))
    assert tokenize(dict(sample_id="x", text="", text_pair=""))["words"].tolist() == [1, 3, 1]
    with pytest.raises(ValueError, match="dev:3: text_pair is None, not a string"):
        tokenize(dict(sample_id="dev:3", text="a", text_pair=None))
    with pytest.raises(ValueError, match="max_len=2 has no room"):
        TokenizePair(str(tmp_path), max_len=2)
