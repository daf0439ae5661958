"""How long a move of MemorizationLab's noise-rate slider takes until both figures hold the new run's data."""

import statistics
import time
from itertools import pairwise

import numpy as np

from lnlib.labs.memorization import RATES, MemorizationLab

EPOCHS = 60
MOVES = 5 * [*RATES, *RATES[-2:0:-1]]


def measure() -> dict[str, float]:
    """Milliseconds a move, after training all rates on digits: the median and the slowest of many.

    The clock stops when the figure widgets hold the new arrays and their messages are handed to the kernel.
    """
    lab = MemorizationLab("digits", epochs=EPOCHS, rate=RATES[0])
    lab.train()
    lab.wait()
    histories, milliseconds = lab.histories, []
    for before, after in pairwise(MOVES):
        lab.rate.value = before
        began = time.perf_counter()
        lab.rate.value = after
        milliseconds.append(1000 * (time.perf_counter() - began))
        drawn = np.asarray(lab.accuracy.data[0].y), np.asarray(lab.bits.data[1].y)
        for shown, column in zip(drawn, ("train_accuracy", "memorized_bits"), strict=True):
            if not np.array_equal(shown, histories[after][column]):
                raise AssertionError(f"the figure does not hold {column} of noise rate {after}")
    return {"median of moves": statistics.median(milliseconds), "slowest move": max(milliseconds)}
