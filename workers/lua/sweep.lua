-- Who looks at lanes from outside of their turns: the operator, and the sweep.

-- The operator says "go on": every reason to wait is over but a lease, the quiet time, and that no
-- worker knows the account.
function Lane.resume(l)
  for _, field in ipairs({'paused', 'paused_until', 'paused_ms', 'stopped', 'wait_reason', 'history'}) do Lane.set(l, field, '') end
  Lane.set(l, 'wait', 0)
end

-- Puts a lane that is due, with the number of its wake-up and how often that was published, at the end of a list.
-- True: its wake-up was not taken.
function Lane.look(id, out)
  local l = Lane.load(id)
  Lane.clamp(l)
  -- No worker will come to a lane whose account is gone.
  if Lane.get(l, 'gone') ~= '' and Lane.num(l, 'lease') <= now then Lane.recover(l) end
  local untaken = Lane.num(l, 'rung') ~= 0
  local number = Lane.rest(l)
  if not number and Lane.num(l, 'rung') ~= 0 then
    number = Lane.num(l, 'rung')
    local rings = Lane.num(l, 'rings') + 1
    Lane.set(l, 'rings', rings)
    Lane.look_at(l, now + GRACE * 2 ^ math.max(0, rings - TRIES))
    Lane.save(l)
  end
  if not number then return false end
  out[#out + 1], out[#out + 2], out[#out + 3] = id, number, Lane.num(l, 'rings')
  return untaken
end

-- A wake-up that waits while older ones are taken is not lost: all threads are busy.
local function may_wait(id)
  local since = tonumber(redis.call('HGET', P .. 'lane:' .. id, 'rung')) or 0
  local taken = tonumber(redis.call('HGET', P .. 'meta', 'taken')) or 0
  return since > 0 and since <= now and (since + GRACE > taken or taken > now)
end

-- Lanes whose time has come, those that wait for longest first: lane, number and count of its wake-up, …
-- Of those whose wake-up was not taken, as many as the caller has `room` for and all that may not wait; the others
-- keep their place.
-- skip: how many of those the caller has been told of; the first of the reply is how many there are now.
local function sweep(limit, skip, room)
  local out, due = {skip}, P .. 'due'
  local past = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', skip, limit)
  local beyond = redis.call('ZRANGEBYSCORE', due, '(' .. now + PATIENCE, '+inf', 'LIMIT', 0, limit)
  if #past + #beyond > 0 then open_full_store() end
  for _, id in ipairs(past) do
    if room <= 0 and may_wait(id) then
      out[1] = out[1] + 1
    elseif Lane.look(id, out) then
      room = room - 1
    end
  end
  for _, id in ipairs(beyond) do Lane.look(id, out) end
  return out
end
