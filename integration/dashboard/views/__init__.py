"""The views of the dashboard, one module per page."""
