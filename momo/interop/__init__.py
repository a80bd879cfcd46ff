"""Weights from and to other libraries."""

from .mae import convert_mae

__all__ = ["convert_mae"]
