"""From events to recalls: routes, expressions, the planner."""
