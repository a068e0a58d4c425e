"""Charts of the dashboard, computed as values for templates."""
