"""MoMo: one transformer encoder for images, text and image-text pairs."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "get_config", "get_model"]


def __getattr__(name: str) -> Any:
    """Import torch and MMEngine only when a model is asked for."""
    if name in ("get_config", "get_model"):
        from momo import apis

        return getattr(apis, name)
    raise AttributeError(f"module 'momo' has no attribute {name!r}")
