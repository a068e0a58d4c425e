"""Map events to recalls: routes, expressions and the planner."""
