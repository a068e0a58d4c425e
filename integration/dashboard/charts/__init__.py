"""Charts of the dashboard, as values for its templates."""
