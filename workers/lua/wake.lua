-- A lane that has got work, or lost some, while nobody was there to look at it.

-- True: the caller rings a doorbell; no bell hangs here.
function Wake.lane(id) return Lane.rest(Lane.load(id)) and not Bell.ring(id) end
