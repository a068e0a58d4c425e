-- The lane: one call at a time on a token. All its changes of state, each atomic.
--
-- Here: its record, and when somebody should look at it. What a turn does with it is in turn.lua and, where that
-- is seldom, in trouble.lua; who looks at it from outside is in sweep.lua.
-- acquire -> claim -> push -> finish (+ the next claim) … -> release. Whoever dies in between leaves a
-- lease; when that is over, the next acquire finds the recall and puts it first again.

-- Lanes that may have a turn, and do not have one, stand in one line in the order in which they came. Whoever
-- has time takes the first. The line is for the order alone: a lane that was taken out of it and then not
-- taken up is found by the sweep.

local Line = {}

-- By the tick and not by the time: a clock that goes back must put nobody behind those who come later.
function Line.join(id) redis.call('ZADD', P .. 'line', History.tick, id) end

function Line.leave(id)
  if redis.call('ZREM', P .. 'line', id) == 1 then redis.call('HSET', P .. 'meta', 'moved', now) end
end

function Line.first() return redis.call('ZRANGE', P .. 'line', 0, 0)[1] end

-- Takes the first out, for somebody who takes it up now.
function Line.take()
  local id = Line.first()
  if id then Line.leave(id) end
  return id
end

-- Somebody takes one after the other: who stands in it need only wait.
function Line.moves()
  local moved = tonumber(redis.call('HGET', P .. 'meta', 'moved') or '')
  return moved ~= nil and moved <= now and now - moved < GRACE
end

function Line.has(id) return redis.call('ZSCORE', P .. 'line', id) end

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

function Lane.out_of_line(l)
  if Lane.num(l, 'rung') ~= 0 then Line.leave(l.id) end
  Lane.set(l, 'rung', 0)
end

-- Keeps the line and the due index right and saves the lane. True: the caller rings a doorbell.
function Lane.rest(l)
  local at, ring = Lane.ready_at(l), false
  if not at then
    redis.call('ZREM', P .. 'due', l.id)
    Lane.out_of_line(l)
  elseif at > now then
    Lane.look_at(l, at)
    Lane.out_of_line(l)
  elseif Lane.num(l, 'rung') == 0 then
    Lane.set(l, 'rung', now)
    Lane.set(l, 'rings', 1)
    Line.join(l.id)
    Lane.look_at(l, now + GRACE)
    ring = true
  end
  Lane.save(l)
  return ring
end
