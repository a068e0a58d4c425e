-- A lane that has got work, or lost some, while nobody was there to look at it.

function Wake.lane(id, out) Lane.wake(Lane.load(id), out) end
