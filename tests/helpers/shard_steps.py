"""Steps for shards.py, in a module that worker processes can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


def count_words(shard, temporary: Path) -> dict[str, Any]:
    """Write the number of words in the input; notes each run beside it, in the file that settings name."""
    with open(shard.settings["ledger"], "a", encoding="utf-8") as ledger:
        ledger.write(f"{shard.name}\n")
    words = len(Path(shard.inputs[0]).read_text(encoding="utf-8").split())
    temporary.write_text(f"{words}", encoding="utf-8")
    time.sleep(shard.settings.get("seconds", 0))
    return {"words": words}


def fail_on_bad(shard, temporary: Path) -> dict[str, Any]:
    """As count_words, but the shard 'bad' raises and 'deadly' kills its process."""
    if shard.name == "bad":
        temporary.write_text("half", encoding="utf-8")
        raise ValueError("line 3 is not text")
    if shard.name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return count_words(shard, temporary)


def make_folder(shard, temporary: Path) -> dict[str, Any]:
    """Write a folder that holds one file, named as settings say."""
    temporary.mkdir()
    (temporary / shard.settings["file"]).write_text("whole", encoding="utf-8")
    return {"files": 1}
