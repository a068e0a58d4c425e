"""Searches for recalls, and the search texts of dashboard users."""
