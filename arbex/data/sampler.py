"""Data refinement (section 4.2.2): which images an epoch sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


class RefinementSampler:
    """Balances every epoch over people and classes.

    Up to ``per_group`` images of each person or video go into a pool; from the pool, ``per_class`` images of
    each class are drawn. A class with fewer images in the pool is repeated. The choice depends on seed and
    epoch alone; with several processes each takes its own share of it, and what cannot be shared out is left.

    Args:
        labels: Class of every image [n].
        groups: Person or video of every image [n]; images of the group "" are on their own.
        per_group: Quota of a group.
        per_class: Quota of a class.
        seed: Of the choice.
        rank: Number of this process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        labels: Sequence[int],
        groups: Sequence[str],
        *,
        per_group: int,
        per_class: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Keeps the index of classes and groups."""
        self.labels = np.asarray(labels)
        self.groups: dict[str, NDArray[np.int64]] = {}
        names = np.asarray(groups)
        for name in dict.fromkeys(groups):
            self.groups[name] = np.flatnonzero(names == name)
        self.per_group, self.per_class = per_group, per_class
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.classes = np.unique(self.labels)
        self.epoch = 0

    def choose_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose images iteration yields.

        Not called ``set_epoch``: Fabric's loader would call that with its own count, which a resumed run restarts.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of images that this process sees in an epoch: the same for all, so that they keep step."""
        return self.per_class * len(self.classes) // self.world_size

    def repeats(self) -> dict[int, float]:
        """Returns how often an epoch shows each image on average, for each class that is smaller than the quota."""
        found = {}
        for label in self.classes:
            in_pool = sum(
                float((self.labels[members] == label).sum()) * self.kept(name, members) / len(members)
                for name, members in self.groups.items()
            )
            if in_pool < self.per_class:
                found[int(label)] = self.per_class / in_pool
        return found

    def kept(self, name: str, members: NDArray[np.int64]) -> int:
        """Returns how many images of a group go into an epoch's pool."""
        return len(members) if name == "" else min(self.per_group, len(members))

    def indices(self) -> NDArray[np.int64]:
        """Returns the positions of the epoch's images for all processes, in random order."""
        rng = np.random.default_rng([self.seed, self.epoch])
        pools = []
        for name, members in self.groups.items():
            pools.append(rng.permutation(members)[: self.kept(name, members)])
        pool = np.concatenate(pools)
        chosen = []
        for label in self.classes:
            of_class = pool[self.labels[pool] == label]
            if len(of_class) == 0:
                of_class = np.flatnonzero(self.labels == label)
            rounds = -(-self.per_class // len(of_class))
            draws = np.concatenate([rng.permutation(of_class) for _ in range(rounds)])
            chosen.append(draws[: self.per_class])
        out: NDArray[np.int64] = rng.permutation(np.concatenate(chosen))
        return out

    def __iter__(self) -> Iterator[int]:
        """Yields the positions for this process."""
        return iter(self.indices()[self.rank :: self.world_size][: len(self)].tolist())
