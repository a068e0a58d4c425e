-- Who looks at lanes from outside of their turns: the operator, and the sweep.

-- The operator says "go on": every reason to wait is over but a lease, the quiet time, and that no
-- worker knows the account.
function Lane.resume(l)
  for _, field in ipairs({'paused', 'paused_until', 'paused_ms', 'stopped', 'wait_reason', 'history'}) do Lane.set(l, field, '') end
  Lane.set(l, 'wait', 0)
end

function Lane.look(id, out)
  local l = Lane.load(id)
  Lane.clamp(l)
  -- No worker will come to a lane whose account is gone.
  if Lane.get(l, 'gone') ~= '' and Lane.num(l, 'lease') <= now then Lane.recover(l) end
  local at = Lane.ready_at(l)
  if not at then
    redis.call('ZREM', P .. 'due', id)
    Lane.out_of_line(l)
  elseif at > now then
    Lane.look_at(l, at)
  else
    local rings = Lane.num(l, 'rung') == 0 and 1 or Lane.num(l, 'rings') + 1
    Lane.set(l, 'rung', now)
    Lane.set(l, 'rings', rings)
    if not Line.has(id) then Line.join(id) end
    Lane.look_at(l, now + GRACE * 2 ^ math.max(0, rings - TRIES))
    out[#out + 1] = id
    out[#out + 1] = rings
  end
  Lane.save(l)
end

-- A lane whose turn is coming is looked at again later. True for such a one.
function Lane.advances(id)
  if not Line.has(id) then return false end
  redis.call('HSET', P .. 'lane:' .. id, 'rung', now, 'rings', 1)
  redis.call('ZADD', P .. 'due', now + GRACE, id)
  return true
end

-- Lanes whose time has come, each with how often it has been rung for since somebody last took it.
local function sweep(limit)
  local out = {}
  local past = redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', now, 'LIMIT', 0, limit)
  local beyond = redis.call('ZRANGEBYSCORE', P .. 'due', '(' .. now + PATIENCE, '+inf', 'LIMIT', 0, limit)
  if #past + #beyond > 0 then open_full_store() end
  local moves = Line.moves()
  for _, ids in ipairs({past, beyond}) do
    for _, id in ipairs(ids) do
      if not (moves and Lane.advances(id)) then Lane.look(id, out) end
    end
  end
  return out
end
