"""Labels, times and texts for the dashboard's templates."""
