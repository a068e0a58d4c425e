-- The lane: one call at a time on a token. All its changes of state, each atomic.
--
-- Here: its record, and when somebody should look at it. What a turn does with it is in turn.lua and, where that
-- is seldom, in trouble.lua; who looks at it from outside is in sweep.lua.
-- acquire -> claim -> push -> finish (+ the next claim) … -> release. Whoever dies in between leaves a
-- lease; when that is over, the next acquire finds the recall and puts it first again.

local Lane = {}

function Lane.load(id)
  return {id = id, key = P .. 'lane:' .. id, queue = P .. 'lane:' .. id .. ':queue', was = hash(P .. 'lane:' .. id), put = {}}
end

function Lane.get(l, field) return l.put[field] or l.was[field] or '' end

function Lane.num(l, field) return tonumber(Lane.get(l, field)) or 0 end

function Lane.set(l, field, value) l.put[field] = tostring(value) end

function Lane.save(l)
  local flat = {}
  for field, value in pairs(l.put) do
    if value ~= l.was[field] then
      flat[#flat + 1] = field
      flat[#flat + 1] = value
    end
  end
  if #flat > 0 then redis.call('HSET', l.key, unpack(flat)) end
end

-- A store clock that jumped back must not lock a lane: no time lies further ahead than it was ever set.
function Lane.clamp(l)
  local reach = {}
  for field, length in pairs({lease = 'lease_ms', quiet = 'quiet_ms', wait = 'wait_ms', paused_until = 'paused_ms'}) do
    reach[field] = Lane.num(l, length)
  end
  for field, most in pairs(reach) do
    if Lane.num(l, field) > now + most then Lane.set(l, field, now + most) end
  end
end

-- Why nothing passes until somebody has acted; "" when something may.
function Lane.stopped(l)
  local reason = Lane.get(l, 'stopped')
  return reason ~= '' and reason or Lane.get(l, 'gone')
end

-- Until when the lane is paused: ms, 0 when it is not or its time is over, nil when somebody must resume it.
function Lane.paused_until(l)
  if Lane.get(l, 'paused') == '' then return 0 end
  if Lane.get(l, 'paused_until') == '' then return nil end
  local at = Lane.num(l, 'paused_until')
  return at > now and at or 0
end

-- When somebody should look at the lane again: ms, or nil when nothing is to be done or nobody may.
function Lane.ready_at(l)
  if Lane.get(l, 'inflight') ~= '' then return Lane.num(l, 'lease') end
  local paused = Lane.paused_until(l)
  if Lane.stopped(l) ~= '' or not paused then return nil end
  if redis.call('ZCARD', l.queue) == 0 then return nil end
  local held = History.held_until(Lane.num(l, 'lease_ms'))
  return math.max(now, Lane.num(l, 'wait'), Lane.num(l, 'quiet'), paused, held, History.settling())
end

-- No look lies further ahead than PATIENCE, so one that does was planned before the clock went back.
function Lane.look_at(l, at)
  redis.call('ZADD', P .. 'due', math.min(at, now + PATIENCE), l.id)
end

-- Keeps the due index right and saves the lane. The number of its wake-up, where the caller is to publish one:
-- not while somebody holds the lane, and not while one is under way, after which the sweep looks.
function Lane.rest(l)
  local at, number = Lane.ready_at(l), nil
  if not at or at > now then
    if at then Lane.look_at(l, at) else redis.call('ZREM', P .. 'due', l.id) end
    Lane.set(l, 'rung', 0)
  elseif Lane.num(l, 'rung') == 0 then
    number = now
    Lane.set(l, 'rung', number)
    Lane.set(l, 'rings', 1)
    Lane.look_at(l, now + GRACE)
  end
  Lane.save(l)
  return number
end

-- Puts a lane at rest, and its wake-up, if it needs one, at the end of a list: lane, number, lane, number …
function Lane.wake(l, out)
  local number = Lane.rest(l)
  if number then out[#out + 1], out[#out + 2] = l.id, number end
  return out
end
