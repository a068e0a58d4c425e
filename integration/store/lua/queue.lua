-- The lane: one call at a time on a token. All its changes of state, each atomic.
--
-- Here: its record, when somebody should look at it, and who does that from outside. What a drain does with it is in
-- drain.lua.
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

if asked_for('sweep') then
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
    return since > 0 and since <= now and (since + OVERTAKEN > taken or taken > now)
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

  function COMMANDS.sweep(limit, skip, room) return sweep(tonumber(limit), tonumber(skip), tonumber(room)) end
end

-- What is not a recall's drain: a pause that may have an end, and a lane lent for a test call.
if asked_for('pause', 'resume', 'lend', 'give_back') then
  -- until_ms: when the pause ends by itself, nil when an operator must end it
  function Lane.pause(l, reason, until_ms)
    Lane.set(l, 'paused', reason)
    Lane.set(l, 'paused_until', until_ms or '')
    Lane.set(l, 'paused_ms', until_ms and math.max(0, until_ms - now) or '')
  end

  -- Why the lane cannot be lent for a call of no recall: kind, reason, ms. A stopped or paused one can be.
  function Lane.needed(l, terms)
    if Lane.get(l, 'inflight') ~= '' and Lane.num(l, 'lease') > now then return 'busy', '', Lane.num(l, 'lease') end
    local longest = math.max(Lane.num(l, 'lease_ms'), terms.lease_ms)
    local at = math.max(Lane.num(l, 'quiet'), History.held_until(longest), History.settling())
    if at > now then return 'wait', 'quiet', at end
    if Lane.num(l, 'wait') > now then return 'wait', Lane.get(l, 'wait_reason'), Lane.num(l, 'wait') end
    if terms.daily_limit and Lane.num(l, 'pushed') >= terms.daily_limit then
      return 'wait', 'the daily limit is used up', terms.day_ends
    end
  end

  -- A test call has the lane as a push has it: under a lease, so that nothing overlaps, whatever an operator does.
  function Lane.lend(l, nonce, terms)
    Lane.clamp(l)
    Lane.count_day(l, terms)
    local kind, reason, at = Lane.needed(l, terms)
    if kind then return cjson.encode({kind = kind, reason = reason, ['until'] = at}) end
    Lane.recover(l)
    local fence = History.grow()
    for field, value in pairs({fence = fence, owner = nonce, step = 0, reply = '', inflight = LOAN}) do
      Lane.set(l, field, value)
    end
    for field, value in pairs({lease_ms = terms.lease_ms, quiet_ms = terms.quiet_ms, lease = now + terms.lease_ms}) do
      Lane.set(l, field, value)
    end
    return cjson.encode({kind = 'lent', fence = fence})
  end

  -- sent_ms: ms since the request was written, nil when it was not; quiet: wolkvox may still be working on it
  function Lane.give_back(l, fence, sent_ms, quiet)
    if Lane.num(l, 'fence') ~= fence or Lane.get(l, 'inflight') ~= LOAN then return end
    History.grow()
    Lane.set(l, 'inflight', '')
    if sent_ms then Lane.set(l, 'pushed', Lane.num(l, 'pushed') + 1) end
    if quiet then Lane.set(l, 'quiet', now - math.max(0, sent_ms or 0) + Lane.num(l, 'quiet_ms')) end
  end

  -- The operator says "go on": every reason to wait is over but a lease, the quiet time, and that no
  -- worker knows the account.
  function Lane.resume(l)
    for _, field in ipairs({'paused', 'paused_until', 'paused_ms', 'stopped', 'wait_reason', 'history'}) do Lane.set(l, field, '') end
    Lane.set(l, 'wait', 0)
  end

  local function with_lane(id, act)
    open_full_store()
    local l = Lane.load(id)
    local reply = act(l)
    return {reply or '', Lane.rest(l) or 0}
  end

  function COMMANDS.pause(lane, reason, until_ms)
    return with_lane(lane, function(l)
      History.grow()
      Lane.pause(l, reason, tonumber(until_ms))
    end)
  end

  function COMMANDS.resume(lane)
    return with_lane(lane, function(l)
      History.grow()
      Lane.resume(l)
    end)
  end

  function COMMANDS.lend(lane, nonce, terms)
    return with_lane(lane, function(l) return Lane.lend(l, nonce, cjson.decode(terms)) end)
  end

  function COMMANDS.give_back(lane, fence, sent_ms, quiet)
    return with_lane(lane, function(l) Lane.give_back(l, tonumber(fence), tonumber(sent_ms), quiet == '1') end)
  end
end
