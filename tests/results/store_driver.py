"""A driver of a store whose tasks do not import JAX: `python store_driver.py STORE [seconds a task] [tasks a second one
adds]`. What it began to compute it says in STORE.log, a line each."""

import os
import sys
import time

import numpy as np

from sdesim.results.stores.cards import Card
from sdesim.results.stores.cut import Box
from sdesim.results.stores.folder import Store
from sdesim.results.stores.work import Made, Worked, work

MANIFEST = {"axes": ["k", "eta"], "lanes": 7}
VALUES = {"k": list(range(10)), "eta": [0.1, 0.2]}
BOXES = [Box((tuple(range(10)), (0, 1)), (0, 10))]  # 20 points of 10 simulations: 40 tasks


def values_of(points: np.ndarray, sims: tuple[int, int]) -> np.ndarray:
    """What a task finds, (points, sims): a function of the point and the simulation."""
    seed = points[:, :1] * 1000 + points[:, 1:] * 100
    return np.sin(seed + np.arange(*sims)[None]) * 1e3


def made(store: Store, number: int) -> Made:
    task = store.rounds().task(number)
    values = values_of(task.points, task.sims)
    return Made(values.tobytes(), Card.of(number, {"seconds": 0.0}, {"q": values}, len(values)))


def create(path: str) -> Store:
    store = Store.create(path, MANIFEST)
    if not len(rounds := store.rounds()):
        store.add(VALUES, BOXES, {}, rounds)
    return store


def drive(path: str, seconds: float = 0.0) -> Worked:
    store = create(path)
    before = store.done()

    def compute(number: int) -> Made:
        with open(f"{path}.log", "a") as log:
            log.write(f"{number} {os.getpid()} {number in before}\n")
        time.sleep(seconds)
        return made(store, number)

    return work(store, compute)


if __name__ == "__main__":
    drive(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
    assert "jax" not in sys.modules
