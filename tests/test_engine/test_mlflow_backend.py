"""What reaches MLflow's own store."""

from pathlib import Path

import numpy as np
import pytest

from momo.registry import VISBACKENDS


def test_pictures_have_a_name_and_a_step(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow")
    settings = dict(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_location=f"{tmp_path}/artifacts")
    backend = VISBACKENDS.build(dict(type="MLflowVisBackend", save_dir=str(tmp_path), exp_name="momo", **settings))
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for step in (5, 10):
        backend.add_image("found_image_text", picture, step=step)
    run = mlflow.active_run().info.run_id
    names = [item.path for item in mlflow.artifacts.list_artifacts(run_id=run, artifact_path="images")]
    mlflow.end_run()
    for step in (5, 10):
        assert any("found_image_text" in name and f"step+{step}+" in name for name in names), names
