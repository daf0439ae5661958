"""How far two ways of computing the same run may differ in float64."""

ROUNDING = {"rtol": 1e-8, "atol": 3e-9}
"""A bias before BatchNorm has no gradient but rounding, 1e-16 or so, which Adam divides by as little as 1e-8:
such biases wander, in 60 steps of 1e-3 by up to 6e-10 (measured with three instruction sets)."""
