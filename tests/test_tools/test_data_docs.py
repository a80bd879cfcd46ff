"""The commands in docs/data.md are what the tools take."""

import importlib
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "dataset"))

BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "data.md").read_text(encoding="utf-8"), re.DOTALL)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
COMMANDS = [line for line in LINES if "tools/dataset/" in line]


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 12


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_a_command_is_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command, comments=True)
    words = words[words.index("python") + 1 :]
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    monkeypatch.setattr(sys, "argv", words)
    args = importlib.import_module(Path(words[0]).stem).parse_args()
    assert str(args.out).startswith(("data/", "/shared/"))
