-- Recalls as they are read and changed: their fields, their state, and whether a newer request has overtaken one.

local ENDED = {accepted = true, dead = true, superseded = true, cancelled = true, expired = true, simulated = true}

function Recall.field(id, name) return redis.call('HGET', recall_key(id), name) end

-- Some fields of a recall by their names; nil where there are none.
function Recall.fields(id, names)
  local values, fields = redis.call('HMGET', recall_key(id), unpack(names)), {}
  for i, name in ipairs(names) do fields[name] = values[i] or nil end
  return fields
end

function Recall.set_ended(id, state)
  redis.call('HSET', recall_key(id), 'ended', now)
  redis.call('ZADD', P .. 'ended:' .. state, now, id)
  count('ended:' .. state)
end

local function unlist(id, r, state)
  redis.call('ZREM', P .. 'in:' .. state, id)
  redis.call('ZREM', P .. 'of:' .. r.account .. ':' .. state, id)
  if state == 'queued' then Calendar.count(r, -1) end
end

-- Records a change of state, with its time and reason. `queued` <-> `pushing` is recorded by the attempt.
function Recall.become(id, state, reason)
  local key = recall_key(id)
  local was = Recall.fields(id, {'state', 'account', 'campaign', 'score', 'changes', 'doc'})
  if was.doc then Recall.modernise(id) end
  local old = was.state
  if old == 'pushing' then
    redis.call('ZREM', P .. 'in:pushing', id)
    old = 'queued'
  end
  if old ~= state then
    unlist(id, was, old)
    list(id, was, state)
  end
  local line = now .. '\t' .. state .. '\t' .. reason
  redis.call('HSET', key, 'state', state, 'reason', reason, 'changes', was.changes .. '\n' .. line)
  if ENDED[old] then redis.call('ZREM', P .. 'ended:' .. old, id) end
  if ENDED[state] then return Recall.set_ended(id, state) end
  redis.call('HDEL', key, 'ended')
end

-- Why a recall is no longer to be pushed: a state and a reason, or nil while it is the newest.
function Newest.overtaken(lane, id)
  local r = redis.call('HMGET', recall_key(id), 'campaign', 'customer')
  local newest = Newest.get(lane, r[1], r[2])
  if not newest or newest.id == id then return nil end
  return Newest.verdict_on_older(newest)
end

-- Stands for a customer who was forgotten: only this store can tell that it was him, and only when he is named.
function Newest.trace(campaign, customer)
  local key = redis.call('HGET', P .. 'meta', 'lane_key') or ''
  return campaign .. '\0\1' .. string.sub(redis.sha1hex(key .. customer), 1, 20)
end

-- What becomes of a request that is older than the newest.
function Newest.verdict_on_older(newest)
  if newest.kind == 'c' then return 'cancelled', 'the customer no longer wants the call' end
  return 'superseded', 'a newer request: ' .. newest.id
end
