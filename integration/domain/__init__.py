"""Values and functions of the domain. They access no network, no store and no wall clock."""
