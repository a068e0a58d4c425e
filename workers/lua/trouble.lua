-- What few turns need: a lane that waits, a recall that goes back into the queue, a turn whose worker died.

-- A moment by a worker's clock, which may differ from the store's: a lane neither tries on and on
-- until that clock is there too, nor waits for days.
function Lane.bounded(at)
  return math.max(now + SKEW, math.min(at, now + LONGEST))
end

function Lane.wait_until(l, at, reason)
  Lane.set(l, 'wait', math.floor(at))
  Lane.set(l, 'wait_ms', math.max(0, math.floor(at) - now))
  Lane.set(l, 'wait_reason', reason)
end

-- Back into the queue, at its old place, unless somebody newer has overtaken it meanwhile.
function Lane.put_back(l, id)
  local state, reason = Newest.overtaken(l.id, id)
  if state then
    Recall.become(id, state, reason)
    return false
  end
  Recall.set_queued(id)
  redis.call('ZADD', l.queue, Recall.field(id, 'score'), id)
  return true
end

function Lane.set_aside(l, id)
  redis.call('HSET', recall_key(id), 'strikes', 0, 'crashes', 0)
  Lane.set(l, 'aside', id)
  Lane.set(l, 'first', '')
end

-- The turn that held the lane is gone: its call can no longer be running (the lease is that long).
function Lane.recover(l)
  local id = Lane.get(l, 'inflight')
  if id == '' then return end
  Lane.set(l, 'inflight', '')
  -- It may have been sent: a day's calls are rather counted too high than exceeded.
  Lane.set(l, 'pushed', Lane.num(l, 'pushed') + 1)
  if id == LOAN then return end
  Recall.add_attempt(id, cjson.encode({started_at = Lane.num(l, 'lease') - Lane.num(l, 'lease_ms'), outcome = 'worker lost'}))
  count('pushes:worker lost')
  if not Lane.put_back(l, id) then return end
  Lane.set(l, 'first', id)
  if redis.call('HINCRBY', recall_key(id), 'crashes', 1) < CRASHES then return end
  if (tonumber(Recall.field(id, 'rounds')) or 0) < ROUNDS then
    Lane.set_aside(l, id)
  else
    redis.call('ZREM', l.queue, id)
    Lane.set(l, 'first', '')
    Recall.become(id, 'dead', 'workers died while pushing it, and others passed')
  end
end

-- A complete answer came to a probe: the lane works, and the recall set aside has its next try.
function Lane.passed(l)
  local aside = Lane.get(l, 'aside')
  if not redis.call('ZSCORE', l.queue, aside) then return end
  redis.call('HINCRBY', recall_key(aside), 'rounds', 1)
  Lane.set(l, 'first', aside)
  Lane.set(l, 'aside', '')
end

-- The probe failed as well: the lane is at fault, and neither recall is to blame.
function Lane.acquit(l, id)
  for _, each in ipairs({id, Lane.get(l, 'aside')}) do
    if redis.call('ZSCORE', l.queue, each) then redis.call('HSET', recall_key(each), 'strikes', 0) end
  end
  Lane.set(l, 'aside', '')
end

function Outcome.again(l, id, o)
  if not Lane.put_back(l, id) then return end
  Lane.set(l, 'first', id)
  if not o.convicts then return end
  if Lane.get(l, 'probing') == '1' then return Lane.acquit(l, id) end
  redis.call('HINCRBY', recall_key(id), 'strikes', 1)
end

function Outcome.aside(l, id, o)
  if not Lane.put_back(l, id) then return end
  if Lane.get(l, 'probing') == '1' then
    Lane.set(l, 'first', id)
    return Lane.acquit(l, id)
  end
  Lane.set_aside(l, id)
end
