"""Commands for the data of the store: `ringback backup`, `restore` and `store repair`."""
