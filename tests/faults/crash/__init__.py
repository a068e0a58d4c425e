"""Crash points: a process is ended at every step that it takes, one after the other, and nothing may be lost.

`steps` watches a process from outside its code, `processes` makes the processes, `scenarios` says what they do,
`checks` looks at what is left, `runner` puts one crash together. tests/faults/test_crash.py runs them all.
"""
