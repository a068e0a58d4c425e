"""Searches of the dashboard, the API and the command line, and what is kept of them."""
