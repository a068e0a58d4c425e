"""What is left when everything fails: chaos runs, crash points, mutants, the state machine of a queue, fuzz."""
