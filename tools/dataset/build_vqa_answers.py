"""The answers that a VQAv2 model chooses from: those that are often the commonest answer to a question.

    python tools/dataset/build_vqa_answers.py data/vqav2

Reads the annotations of train and val below the folder, and writes its answers.json: 3,129 answers from the full data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from rich.progress import track

from momo.datasets.vqav2 import FILES
from momo.ops import normalize_answer

MIN_COUNT = 9  # ViLT's rule (arXiv:2102.03334), which gives EXPECTED answers
EXPECTED = 3129


def commonest_answers(root: Path) -> Counter[str]:
    """How often each answer is the commonest one of a question, over train and val.

    Raises: FileNotFoundError naming the file that is missing.
    """
    counts: Counter[str] = Counter()
    for files in FILES["trainval"]:
        path = root / files.annotations
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: unpack VQAv2's annotations into {root}")
        notes = json.loads(path.read_text(encoding="utf-8"))["annotations"]
        counts.update(normalize_answer(note["multiple_choice_answer"]) for note in track(notes, path.name))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with VQAv2's annotation files")
    parser.add_argument("--min-count", type=int, default=MIN_COUNT, help="questions an answer must be the commonest of")
    args = parser.parse_args()
    try:
        counts = commonest_answers(args.root)
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    kept = {answer: count for answer, count in counts.items() if count >= args.min_count}
    if not kept:
        sys.exit(f"error: no answer is the commonest of {args.min_count} questions or more: lower --min-count")
    answers = sorted(kept, key=lambda answer: (-kept[answer], answer))
    path = args.root / "answers.json"
    path.write_text(json.dumps(answers, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    total = sum(counts.values())
    share = sum(kept.values()) / total
    print(f"wrote {path}: {len(answers):,} answers, the commonest ones of {share:.1%} of {total:,} questions")
    if len(answers) != EXPECTED:
        print(f"note: the full data give {EXPECTED:,}; set model.num_answers={len(answers)}")


if __name__ == "__main__":
    main()
