-- The token queue: one call at a time on a token. Each change of its state is atomic.
--
-- This file has the queue's record, its schedule for the sweep, and the commands of operators. drain.lua has the
-- commands of a drain: acquire -> claim -> push -> finish (and the next claim) … -> release. A worker that dies leaves
-- a lease. When that has expired, the next acquire finds the recall and puts it first again.

local Queue = {PAUSE_FIELDS = {'paused', 'paused_until', 'paused_ms', 'paused_by', 'paused_at'}}

function Queue.load(id)
  return {id = id, key = P .. 'queue:' .. id, recalls = P .. 'queue:' .. id .. ':recalls', was = hash(P .. 'queue:' .. id), put = {}}
end

function Queue.get(q, field) return q.put[field] or q.was[field] or '' end

function Queue.num(q, field) return tonumber(Queue.get(q, field)) or 0 end

function Queue.set(q, field, value) q.put[field] = tostring(value) end

function Queue.save(q)
  local flat = {}
  for field, value in pairs(q.put) do
    if value ~= q.was[field] then
      flat[#flat + 1] = field
      flat[#flat + 1] = value
    end
  end
  if #flat > 0 then redis.call('HSET', q.key, unpack(flat)) end
end

-- If the store's clock was set back, no time may lie further ahead than when it was set, or the queue would be locked.
function Queue.clamp(q)
  local reach = {}
  for field, length in pairs({lease = 'lease_ms', quiet = 'quiet_ms', wait = 'wait_ms', paused_until = 'paused_ms'}) do
    reach[field] = Queue.num(q, length)
  end
  for field, most in pairs(reach) do
    if Queue.num(q, field) > now + most then Queue.set(q, field, now + most) end
  end
end

-- Return why the queue is stopped until an operator acts, "" when it is not.
function Queue.stopped(q)
  local reason = Queue.get(q, 'stopped')
  return reason ~= '' and reason or Queue.get(q, 'account_removed')
end

-- Return the ms until which the queue is paused, 0 when it is not, nil when an operator must resume it.
function Queue.paused_until(q)
  if Queue.get(q, 'paused') == '' then return 0 end
  if Queue.get(q, 'paused_until') == '' then return nil end
  local at = Queue.num(q, 'paused_until')
  return at > now and at or 0
end

-- Return the ms at which the queue may next be drained, nil when it has no work or is stopped or paused.
function Queue.ready_at(q)
  if Queue.get(q, 'inflight') ~= '' then return Queue.num(q, 'lease') end
  local paused = Queue.paused_until(q)
  if Queue.stopped(q) ~= '' or not paused then return nil end
  if redis.call('ZCARD', q.recalls) == 0 then return nil end
  local held = Epoch.held_until(Queue.num(q, 'lease_ms'))
  return math.max(now, Queue.num(q, 'wait'), Queue.num(q, 'quiet'), paused, held, Epoch.settling())
end

-- No entry is further ahead than PATIENCE. An entry that is further ahead was planned before the clock was set back.
function Queue.set_due(q, at)
  redis.call('ZADD', P .. 'due', math.min(at, now + PATIENCE), q.id)
end

-- Update the due index and save the queue. Return the number of the wake-up that the caller must publish, if any: none
-- while the queue is leased or a wake-up is under way, because the sweep repeats that one.
function Queue.schedule(q)
  local at, number = Queue.ready_at(q), nil
  if not at or at > now then
    if at then Queue.set_due(q, at) else redis.call('ZREM', P .. 'due', q.id) end
    Queue.set(q, 'wake_up_at', 0)
  elseif Queue.num(q, 'wake_up_at') == 0 then
    number = now
    Queue.set(q, 'wake_up_at', number)
    Queue.set(q, 'publications', 1)
    Queue.set_due(q, now + GRACE)
  end
  Queue.save(q)
  return number
end

-- Update a queue, and append its wake-up, if any, to a list: queue, number, queue, number, …
function Queue.wake(q, out)
  local number = Queue.schedule(q)
  if number then out[#out + 1], out[#out + 2] = q.id, number end
  return out
end

if is_command('sweep') then
  -- Append a due queue to a list: id, number of its wake-up, publications of it. Return true if an earlier publication
  -- was not taken.
  function Queue.sweep_one(id, out)
    local q = Queue.load(id)
    Queue.clamp(q)
    -- No worker acquires a queue whose account is gone.
    if Queue.get(q, 'account_removed') ~= '' and Queue.num(q, 'lease') <= now then Queue.recover(q) end
    local untaken = Queue.num(q, 'wake_up_at') ~= 0
    local number = Queue.schedule(q)
    if not number and Queue.num(q, 'wake_up_at') ~= 0 then
      number = Queue.num(q, 'wake_up_at')
      local publications = Queue.num(q, 'publications') + 1
      Queue.set(q, 'publications', publications)
      Queue.set_due(q, now + GRACE * 2 ^ math.max(0, publications - TRIES))
      Queue.save(q)
    end
    if not number then return false end
    out[#out + 1], out[#out + 2], out[#out + 3] = id, number, Queue.num(q, 'publications')
    return untaken
  end

  -- While older wake-ups are still being taken, all threads are busy, and this wake-up is not lost.
  local function may_wait(id)
    local since = tonumber(redis.call('HGET', P .. 'queue:' .. id, 'wake_up_at')) or 0
    local taken = tonumber(redis.call('HGET', P .. 'store', 'taken')) or 0
    return since > 0 and since <= now and (since + OUT_OF_ORDER > taken or taken > now)
  end

  -- Return {position, queue, wake-up number, publications, …} of the due queues, those due longest first. Of the queues
  -- whose wake-up was not taken, return at most `room`, and all whose wake-up is lost. The others stay due.
  -- skip: the position at which the search starts; the returned position is the next one.
  local function sweep(limit, skip, room)
    local out, due = {skip}, P .. 'due'
    local past = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', skip, limit)
    local beyond = redis.call('ZRANGEBYSCORE', due, '(' .. now + PATIENCE, '+inf', 'LIMIT', 0, limit)
    if #past + #beyond > 0 then allow_on_full_store() end
    for _, id in ipairs(past) do
      if room <= 0 and may_wait(id) then
        out[1] = out[1] + 1
      elseif Queue.sweep_one(id, out) then
        room = room - 1
      end
    end
    for _, id in ipairs(beyond) do Queue.sweep_one(id, out) end
    return out
  end

  function COMMANDS.sweep(limit, skip, room) return sweep(tonumber(limit), tonumber(skip), tonumber(room)) end
end

-- --- pauses, and test calls ----------------------------------------------------------------------
if is_command('pause', 'resume', 'begin_test_call', 'end_test_call') then
  -- until_ms: when the pause ends by itself, nil when an operator must end it
  function Queue.pause(q, reason, until_ms, by)
    Queue.set(q, 'paused', reason)
    Queue.set(q, 'paused_by', by)
    Queue.set(q, 'paused_at', now)
    Queue.set(q, 'paused_until', until_ms or '')
    Queue.set(q, 'paused_ms', until_ms and math.max(0, until_ms - now) or '')
  end

  -- Return why no test call may be made: kind, reason, ms. A stopped or paused queue allows one.
  function Queue.test_call_blocked(q, terms)
    if Queue.get(q, 'inflight') ~= '' and Queue.num(q, 'lease') > now then return 'busy', '', Queue.num(q, 'lease') end
    local longest = math.max(Queue.num(q, 'lease_ms'), terms.lease_ms)
    local at = math.max(Queue.num(q, 'quiet'), Epoch.held_until(longest), Epoch.settling())
    if at > now then return 'wait', 'quiet', at end
    if Queue.num(q, 'wait') > now then return 'wait', Queue.get(q, 'wait_reason'), Queue.num(q, 'wait') end
    if terms.daily_limit and Queue.num(q, 'pushed') >= terms.daily_limit then
      return 'wait', 'the daily limit is used up', terms.day_ends
    end
  end

  -- A test call holds the queue under a lease as a push does, so that no other call overlaps with it.
  function Queue.begin_test_call(q, nonce, terms)
    Queue.clamp(q)
    Queue.count_day(q, terms)
    local kind, reason, at = Queue.test_call_blocked(q, terms)
    if kind then return cjson.encode({kind = kind, reason = reason, ['until'] = at}) end
    Queue.recover(q)
    local fence = Epoch.next_revision()
    for field, value in pairs({fence = fence, owner = nonce, step = 0, reply = '', inflight = TEST_CALL}) do
      Queue.set(q, field, value)
    end
    for field, value in pairs({lease_ms = terms.lease_ms, quiet_ms = terms.quiet_ms, lease = now + terms.lease_ms}) do
      Queue.set(q, field, value)
    end
    return cjson.encode({kind = 'leased', fence = fence})
  end

  -- sent_ms: ms since the request was written, nil if it was not; quiet: wolkvox may still be working on the call
  function Queue.end_test_call(q, fence, sent_ms, quiet)
    if Queue.num(q, 'fence') ~= fence or Queue.get(q, 'inflight') ~= TEST_CALL then return end
    Epoch.next_revision()
    Queue.set(q, 'inflight', '')
    if sent_ms then Queue.set(q, 'pushed', Queue.num(q, 'pushed') + 1) end
    if quiet then Queue.set(q, 'quiet', now - math.max(0, sent_ms or 0) + Queue.num(q, 'quiet_ms')) end
  end

  -- End every reason to wait, except a lease, a quiet time, and an account that left the configuration.
  function Queue.resume(q)
    for _, field in ipairs(Queue.PAUSE_FIELDS) do Queue.set(q, field, '') end
    for _, field in ipairs({'stopped', 'wait_reason', 'history'}) do Queue.set(q, field, '') end
    Queue.set(q, 'wait', 0)
  end

  local function with_queue(id, act)
    allow_on_full_store()
    local q = Queue.load(id)
    local reply = act(q)
    return {reply or '', Queue.schedule(q) or 0}
  end

  function COMMANDS.pause(queue, reason, until_ms, by)
    return with_queue(queue, function(q)
      Epoch.next_revision()
      Queue.pause(q, reason, tonumber(until_ms), by)
    end)
  end

  function COMMANDS.resume(queue)
    return with_queue(queue, function(q)
      Epoch.next_revision()
      Queue.resume(q)
    end)
  end

  function COMMANDS.begin_test_call(queue, nonce, terms)
    return with_queue(queue, function(q) return Queue.begin_test_call(q, nonce, cjson.decode(terms)) end)
  end

  function COMMANDS.end_test_call(queue, fence, sent_ms, quiet)
    return with_queue(queue, function(q) Queue.end_test_call(q, tonumber(fence), tonumber(sent_ms), quiet == '1') end)
  end
end
