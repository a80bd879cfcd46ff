"""A folder searched from the command line, and what is said if something is missing."""

import sys
from pathlib import Path

import pytest
import torch
from helpers.data import VOCABULARY, write_images, write_tokenizer
from helpers.tiny import STAGES, tiny_config, tiny_pretrainer
from mmengine.config import Config
from torchvision.io import read_image

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import search  # noqa: E402


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    model = tiny_config(STAGES[3], vocab_size=len(VOCABULARY))
    Config(dict(model=model, data=dict(tokenizer=write_tokenizer(tmp_path / "words")))).dump(tmp_path / "config.py")
    torch.save(tiny_pretrainer(3, vocab_size=len(VOCABULARY)).state_dict(), tmp_path / "weights.pth")
    write_images(tmp_path / "photos", 7)
    return ["--config", str(tmp_path / "config.py"), "--checkpoint", str(tmp_path / "weights.pth"), "--device", "cpu"]


@pytest.mark.usefixtures("unformatted_configs")
def test_search_by_caption_and_by_picture(tmp_path: Path, arguments: list[str], capsys) -> None:
    folder = str(tmp_path / "photos")
    search.main([folder, "a red cat", "--count", "6", "--out", str(tmp_path / "out" / "found.png"), *arguments])
    printed = capsys.readouterr().out
    assert "7 pictures, features in" in printed and printed.count("/photos/") >= 6
    assert read_image(str(tmp_path / "out" / "found.png")).shape == (3, 2 * 168 + 8, 5 * 168 + 8)  # two rows of five
    query = str(tmp_path / "photos" / "odd" / "003.png")
    search.main([folder, "--image", query, "--count", "1", *arguments])
    assert "1.000" in capsys.readouterr().out


@pytest.mark.usefixtures("unformatted_configs")
def test_what_is_missing_is_named(tmp_path: Path, arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit, match="error: folder=.*nowhere' is no folder"):
        search.main([str(tmp_path / "nowhere"), *arguments])
    with pytest.raises(SystemExit, match="error: checkpoint='gone': no checkpoint or file"):
        search.main([str(tmp_path / "photos"), *arguments, "--checkpoint", "gone"])
    with pytest.raises(SystemExit, match="error: gone.png cannot be read as an image"):
        search.main([str(tmp_path / "photos"), "--image", "gone.png", *arguments])
    with pytest.raises(SystemExit):
        search.main([str(tmp_path / "photos"), "a cat", "--image", "a.png"])
    assert "give a caption or --image, not both" in capsys.readouterr().err
