"""A run under faults: everything real and many times over, killed, frozen and cut off at random by a seed.

`python -m faults.chaos --help`, from `tests/`; `make faults` does that. What both ends saw is held against the
promises when everything has calmed down. Reaches this machine only and stops all that it started.
"""
