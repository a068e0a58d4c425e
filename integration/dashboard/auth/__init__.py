"""Sign-in, sessions and roles of the dashboard."""
