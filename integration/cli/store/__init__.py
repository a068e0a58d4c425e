"""Commands for the data of a store: backup, restore, repair."""
