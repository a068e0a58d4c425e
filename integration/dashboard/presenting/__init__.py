"""Labels, times and texts of the dashboard."""
