"""Charts of the dashboard, as values for templates."""
