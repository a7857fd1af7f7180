"""Chance: ids, lives and moments as they might be; the same ones for the same seed."""

import random


def chance(seed: int | None = None) -> random.Random:
    """A source of chance; without a seed another one each time."""
    return random.Random(seed)  # noqa: S311 - what is drawn here has to look plausible, and nothing of it is a secret
