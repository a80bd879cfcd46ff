"""Sequences of any length, back to back in one tensor, and the table that says where each begins.

Legend: N tokens of all sequences, S sequences, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor


class Run(NamedTuple):
    """`count` neighbouring sequences of the same `length`: a reshaped view away from a batch."""

    count: int
    length: int

    @property
    def tokens(self) -> int:
        return self.count * self.length


@dataclass(frozen=True)
class SequenceLayout:
    """Where each sequence of a packed tensor lies, known on the host before the step.

    `groups` are sequences that came together, in storage order; a group is a tuple of runs. One run means equal
    lengths; several mean a ragged group, best stored sorted by length, which makes the fewest runs.
    """

    groups: tuple[tuple[Run, ...], ...]

    @classmethod
    def equal(cls, count: int, length: int) -> SequenceLayout:
        """`count` sequences of `length` tokens."""
        return cls.ragged([length] * count)

    @classmethod
    def ragged(cls, lengths: Iterable[int]) -> SequenceLayout:
        """Sequences of any lengths, one group.

        Raises: ValueError if a length is below 1.
        """
        runs = tuple(Run(sum(1 for _ in same), length) for length, same in groupby(int(x) for x in lengths))
        if any(run.length < 1 for run in runs):
            raise ValueError(f"a sequence needs at least one token, got lengths {[r.length for r in runs]}")
        return cls((runs,) if runs else ())

    @classmethod
    def cat(cls, layouts: Iterable[SequenceLayout]) -> SequenceLayout:
        """The layout of tensors laid back to back; groups stay apart."""
        return cls(tuple(group for layout in layouts for group in layout.groups))

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for group in self.groups for run in group)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each sequence, (S,)."""
        return tuple(run.length for run in self.runs for _ in range(run.count))

    @cached_property
    def num_tokens(self) -> int:
        return sum(run.tokens for run in self.runs)

    @cached_property
    def num_sequences(self) -> int:
        return sum(run.count for run in self.runs)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Row of the first token of each sequence, (S,)."""
        starts, row = [], 0
        for length in self.lengths:
            starts.append(row)
            row += length
        return tuple(starts)

    @cached_property
    def firsts(self) -> SequenceLayout:
        """The layout of the first token of each sequence alone."""
        return SequenceLayout.equal(self.num_sequences, 1)

    def chunks(self, max_tokens: int) -> list[SequenceLayout]:
        """Layouts of whole sequences, in order, that hold at most `max_tokens` each, or one longer sequence.

        Sequences of different groups stay apart.
        """
        chunks: list[SequenceLayout] = []
        for group in self.groups:
            chunk, tokens = [], 0
            for length in (run.length for run in group for _ in range(run.count)):
                if chunk and tokens + length > max_tokens:
                    chunks.append(SequenceLayout.ragged(chunk))
                    chunk, tokens = [], 0
                chunk.append(length)
                tokens += length
            chunks.append(SequenceLayout.ragged(chunk))
        return chunks

    @cached_property
    def _on_device(self) -> dict:
        return {}

    def __getstate__(self) -> dict:
        return {"groups": self.groups}  # what is derived is derived again, not sent between processes

    def __setstate__(self, state: dict) -> None:
        object.__setattr__(self, "groups", state["groups"])

    def _tensor(self, name: str, values: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """A small index table, copied to the device once and then shared by all blocks of the step."""
        key = (name, device)
        if key not in self._on_device:
            table = torch.tensor(values, dtype=dtype)
            table = table.pin_memory() if device.type == "cuda" else table
            self._on_device[key] = table.to(device, non_blocking=True)
        return self._on_device[key]

    def start_index(self, device: torch.device) -> Tensor:
        """`starts` as an int64 tensor (S,): the rows of the [CLS] tokens."""
        return self._tensor("starts", self.starts, torch.int64, device)

    def length_index(self, device: torch.device) -> Tensor:
        """`lengths` as an int64 tensor (S,)."""
        return self._tensor("lengths", self.lengths, torch.int64, device)


def cu_seqlens(group: tuple[Run, ...], device: torch.device) -> Tensor:
    """Cumulative lengths of one group, int32 (S + 1,), from 0, as variable-length attention kernels read them."""
    bounds = [0]
    for run in group:
        for _ in range(run.count):
            bounds.append(bounds[-1] + run.length)
    return torch.tensor(bounds, dtype=torch.int32, device=device)


@dataclass(frozen=True)
class PackedTokens:
    """Tokens of many sequences in one tensor.

    Shapes: x (N, C), N = layout.num_tokens.
    Raises: ValueError if x and layout disagree on the number of tokens.
    """

    x: Tensor
    layout: SequenceLayout

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.x.shape[0] != self.layout.num_tokens:
            raise ValueError(f"x of shape {tuple(self.x.shape)} does not hold {self.layout.num_tokens} tokens")

    @classmethod
    def cat(cls, parts: Sequence[PackedTokens]) -> PackedTokens:
        """Lay several packed tensors back to back."""
        if len(parts) == 1:
            return parts[0]
        return cls(torch.cat([part.x for part in parts]), SequenceLayout.cat(part.layout for part in parts))

    def split(self, layouts: Sequence[SequenceLayout]) -> list[PackedTokens]:
        """Undo `cat`: views of this tensor, one a layout."""
        rows = self.x.split([layout.num_tokens for layout in layouts])
        return [PackedTokens(x, layout) for x, layout in zip(rows, layouts, strict=True)]

    def first(self) -> Tensor:
        """The first token, [CLS], of each sequence: (S, C)."""
        groups = self.layout.groups
        if len(groups) == 1 and len(groups[0]) == 1:
            return self.x.view(*groups[0][0], -1)[:, 0]
        return self.x.index_select(0, self.layout.start_index(self.x.device))

    def mean(self) -> Tensor:
        """The mean of each sequence's tokens after [CLS] (a lone [CLS] stands for itself): (S, C)."""
        layout, means = self.layout, []
        for x, run in zip(self.x.split([run.tokens for run in layout.runs]), layout.runs, strict=True):
            x = x.view(*run, -1)
            means.append(x[:, 1:].mean(1) if run.length > 1 else x[:, 0])
        return torch.cat(means)
