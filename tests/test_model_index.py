"""The index that mim reads: it names configs that are there, all that train a full model, and no invented result."""

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
IMPORTS = yaml.safe_load((ROOT / "model-index.yml").read_text())["Import"]
METAFILES = {path: yaml.safe_load((ROOT / path).read_text()) for path in IMPORTS if (ROOT / path).is_file()}
MODELS = [model for content in METAFILES.values() for model in content["Models"]]


def test_imported_metafiles_exist() -> None:
    assert sorted(IMPORTS) == sorted(METAFILES)
    assert sorted(IMPORTS) == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("metafile.yml"))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["Name"])
def test_config_exists(model: dict) -> None:
    path = ROOT / model["Config"]
    assert path.is_file()
    assert model["Name"] == f"momo_{path.stem}"


def test_every_config_that_trains_a_full_model_is_named() -> None:
    """Linear evaluation, zero-shot classification and retrieval train nothing that could be published."""
    paths = [*(ROOT / "configs" / "momo").glob("*.py"), *(ROOT / "configs" / "downstream").glob("*.py")]
    trained = [path for path in paths if path.stem.split("_")[0] not in ("linear", "zeroshot", "retrieval")]
    assert sorted(model["Config"] for model in MODELS) == sorted(str(path.relative_to(ROOT)) for path in trained)


def test_collections_are_known() -> None:
    collections = [collection for content in METAFILES.values() for collection in content.get("Collections", [])]
    assert {model["In Collection"] for model in MODELS} == {collection["Name"] for collection in collections}
    assert all((ROOT / collection["README"]).is_file() for collection in collections)


def test_nothing_is_published_that_the_readme_says_is_not() -> None:
    published = [model["Name"] for model in MODELS if model.get("Results") or model.get("Weights")]
    assert not published or "No weights are published yet" not in (ROOT / "README.md").read_text()
