"""The choice of each epoch's images: data refinement (section 4.2.2), or classes as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


class RefinementSampler:
    """Balances every epoch over people and classes.

    Up to ``per_group`` images of each person or video form a pool, from which the images of each class are drawn:
    ``per_class`` of each; or as many as there are, so that every image of the pool is shown once; or as many in all, in
    proportion to the square roots of the classes' sizes. A class with fewer images in the pool is repeated. The choice
    depends only on seed and epoch. Several processes take equal shares of it; a remainder is left out.

    Args:
        labels: Class of each image [n].
        groups: Person or video of each image [n]; the quota does not apply to images of the group "".
        per_group: Quota of each group.
        per_class: Quota of each class, for ``quota``.
        sampling: ``quota``, ``natural`` (every image of the pool once) or ``square-root``.
        seed: Seed of the choice.
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
        sampling: str = "quota",
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Indexes the images by group."""
        self.labels = np.asarray(labels)
        self.groups: dict[str, NDArray[np.int64]] = {}
        names = np.asarray(groups)
        for name in dict.fromkeys(groups):
            self.groups[name] = np.flatnonzero(names == name)
        self.per_group, self.per_class, self.sampling = per_group, per_class, sampling
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.classes, self.sizes = np.unique(self.labels, return_counts=True)
        self.pool_size = sum(self.kept(name, members) for name, members in self.groups.items())
        self.epoch = 0

    def choose_epoch(self, epoch: int) -> None:
        """Sets the epoch whose images are yielded.

        The name is not ``set_epoch``, which Fabric's loader would call with its own count; a resumed run restarts that.
        """
        self.epoch = epoch

    def __len__(self) -> int:
        """Returns the number of images of this process per epoch, which is the same for all processes."""
        total = self.pool_size if self.sampling == "natural" else sum(self.shares())
        return total // self.world_size

    def shares(self) -> list[int]:
        """Returns how many images of each class an epoch shows, unless it shows each image of the pool once."""
        if self.sampling == "quota":
            return [self.per_class] * len(self.classes)
        roots = np.sqrt(self.sizes)
        return [max(1, round(share)) for share in self.pool_size * roots / roots.sum()]

    def repeats(self) -> dict[int, float]:
        """Returns how often an epoch shows each image on average, by class, for classes that are repeated."""
        found: dict[int, float] = {}
        if self.sampling == "natural":
            return found
        for label, share in zip(self.classes, self.shares(), strict=True):
            in_pool = sum(
                float((self.labels[members] == label).sum()) * self.kept(name, members) / len(members)
                for name, members in self.groups.items()
            )
            if in_pool < share:
                found[int(label)] = share / in_pool
        return found

    def kept(self, name: str, members: NDArray[np.int64]) -> int:
        """Returns how many images of a group the pool of an epoch has."""
        return len(members) if name == "" else min(self.per_group, len(members))

    def indices(self) -> NDArray[np.int64]:
        """Returns the positions of the epoch's images, of all processes, in random order."""
        rng = np.random.default_rng([self.seed, self.epoch])
        pools = []
        for name, members in self.groups.items():
            pools.append(rng.permutation(members)[: self.kept(name, members)])
        pool: NDArray[np.int64] = np.concatenate(pools)
        if self.sampling == "natural":
            return rng.permutation(pool)
        chosen = []
        for label, share in zip(self.classes, self.shares(), strict=True):
            of_class = pool[self.labels[pool] == label]
            if len(of_class) == 0:
                of_class = np.flatnonzero(self.labels == label)
            rounds = -(-share // len(of_class))
            draws = np.concatenate([rng.permutation(of_class) for _ in range(rounds)])
            chosen.append(draws[:share])
        out: NDArray[np.int64] = rng.permutation(np.concatenate(chosen))
        return out

    def __iter__(self) -> Iterator[int]:
        """Yields the positions of this process's images."""
        return iter(self.indices()[self.rank :: self.world_size][: len(self)].tolist())
