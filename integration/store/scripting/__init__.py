"""The script that changes data in the store: its protocol, epoch check and batching."""
