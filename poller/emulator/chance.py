"""Chance: ids, lives and moments as they might be; the same ones for the same seed."""

import random
from uuid import UUID


def chance(seed: int | str | None = None) -> random.Random:
    """A source of chance; without a seed another one each time."""
    return random.Random(seed)  # noqa: S311 - the same seed has to draw the same again, and nothing drawn is a secret


def uuid_by(rng: random.Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


def id_by(rng: random.Random) -> str:
    """Seven digits, as the ids of runs, tasks and batches have."""
    return str(rng.randrange(1_000_000, 10_000_000))
