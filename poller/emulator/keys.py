"""Sorted whole numbers in blocks: adding, removing and reading from any place cost about the same among a hundred and
among a hundred thousand. Pure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Final

BLOCK: Final = 1024  # numbers at most in one block; moving half of that in memory is cheaper than finding the block


class Keys:
    """Numbers in ascending order, none of them twice."""

    __slots__ = ("_blocks", "_length")

    def __init__(self) -> None:
        self._blocks: list[list[int]] = []  # none is empty
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, key: int) -> None:
        self._length += 1
        if not self._blocks:
            self._blocks.append([key])
            return
        place = min(self._block_of(key), len(self._blocks) - 1)
        block = self._blocks[place]
        insort(block, key)
        if len(block) > BLOCK:
            half = len(block) // 2
            self._blocks[place : place + 1] = [block[:half], block[half:]]

    def remove(self, key: int) -> None:
        """Raises: KeyError if it is not there."""
        place = self._block_of(key)
        block = self._blocks[place] if place < len(self._blocks) else []
        within = bisect_left(block, key)
        if within == len(block) or block[within] != key:
            raise KeyError(key)
        del block[within]
        self._length -= 1
        if not block:
            del self._blocks[place]

    def behind(self, key: int | None) -> Iterator[int]:
        """All numbers above `key`, or all there are. To be read before the next change."""
        first = 0 if key is None else self._block_of(key)
        for place in range(first, len(self._blocks)):
            block = self._blocks[place]
            start = bisect_right(block, key) if key is not None and place == first else 0
            for within in range(start, len(block)):
                yield block[within]

    def after(self, number: int) -> Iterator[int]:
        """All but the first `number`. To be read before the next change."""
        for block in self._blocks:
            if number < len(block):
                for within in range(number, len(block)):
                    yield block[within]
            number = max(0, number - len(block))

    def _block_of(self, key: int) -> int:
        """The first block whose last number is not below `key`."""
        return bisect_left(self._blocks, key, key=_last)


def _last(block: list[int]) -> int:
    return block[-1]
