"""HTTP parts that the three Flask applications share."""
