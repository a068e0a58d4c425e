"""The script that changes the store's data: its protocol, its epoch, and batched runs of it."""
