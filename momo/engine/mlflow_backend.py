"""Logging to MLflow, pictures too."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine import visualization
from mmengine.visualization.vis_backend import force_init_env

from momo.registry import VISBACKENDS


@VISBACKENDS.register_module()
class MLflowVisBackend(visualization.MLflowVisBackend):
    """MMEngine's, which takes the name of a picture for the name of a file: here pictures have a name and a step."""

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **_: Any) -> None:
        """Shapes: image (height, width, 3), uint8, RGB."""
        self._mlflow.log_image(image, key=name, step=step)
