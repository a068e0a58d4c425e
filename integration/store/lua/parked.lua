-- Parked events, which wait for a corrected configuration, and lookups, which wait for data from the CRM.

local Parked, Lookups = {}, {}

-- Events parked for the same reason are a group, so that many of them are shown as one line.
local function join_group(group, about, id, at)
  redis.call('HSET', P .. 'parked_groups', group, about)
  redis.call('ZADD', P .. 'parked_in:' .. group, at, id)
end

function Parked.leave_group(id)
  local group = redis.call('HGET', P .. 'parked:' .. id, 'group')
  if not group then return end
  redis.call('ZREM', P .. 'parked_in:' .. group, id)
  if redis.call('EXISTS', P .. 'parked_in:' .. group) == 0 then redis.call('HDEL', P .. 'parked_groups', group) end
end

function Parked.give_reason(e, id, at)
  redis.call('HSET', P .. 'parked:' .. id, 'route', e.route, 'account', e.account, 'field', e.field,
    'found', e.found, 'allowed', e.allowed, 'group', e.group)
  join_group(e.group, e.about, id, at)
end

function Parked.keep(e, id, delivery)
  redis.call('HSET', P .. 'parked:' .. id, 'source', delivery.source, 'event', e.event, 'headers', delivery.headers,
    'proof', delivery.proof or '', 'delivery', delivery.id, 'received', delivery.received, 'at', now, 'digest', delivery.digest, 'seen', e.k)
  Parked.give_reason(e, id, now)
  redis.call('ZADD', P .. 'parked', now, id)
end

function Parked.forget(id)
  Parked.leave_group(id)
  redis.call('DEL', P .. 'parked:' .. id)
  redis.call('ZREM', P .. 'parked', id)
  redis.call('ZREM', P .. 'dismissed', id)
end

-- Return why the lookups of a source fail, an empty table if they do not: kind, reason, since, failures (in a row),
-- until (the next try; "" if it waits for other settings), holds ("1" if no lookup of the source is tried before it),
-- settings (a digest of those that failed).
function Lookups.failure(source) return hash(P .. 'lookup_failure:' .. source) end

-- Return the time before which no lookup of a source is tried, 0 for none, infinity if it waits for other settings.
function Lookups.held_until(failure)
  return failure.holds == '1' and (tonumber(failure['until']) or math.huge) or 0
end

-- The time in `lookups` is a hint for drains, so it includes the source's wait. The time in `lookups:<source>` does
-- not, because new settings end the wait.
function Lookups.due(source, id, at)
  redis.call('ZADD', P .. 'lookups', math.max(at, Lookups.held_until(Lookups.failure(source))), id)
  redis.call('ZADD', P .. 'lookups:' .. source, at, id)
end

local function count_waiting(source, change)
  if redis.call('HINCRBY', P .. 'lookup_events', source, change) <= 0 then redis.call('HDEL', P .. 'lookup_events', source) end
end

-- Change the number of events of a lookup.
function Lookups.resize(id, number)
  local source, before = unpack(redis.call('HMGET', P .. 'lookup:' .. id, 'source', 'number'))
  redis.call('HSET', P .. 'lookup:' .. id, 'number', number)
  count_waiting(source, number - (tonumber(before) or 0))
end

-- Store the events that wait for a lookup. Return the source whose lookups need a wake-up.
-- from: the lookup that could not read these events, with its tries and the wait until the next one; nil for new ones
function Lookups.keep(delivery, done, from)
  Epoch.arrivals = redis.call('HINCRBY', P .. 'store', 'seq', 1)
  local id = 'lk_' .. letters(Epoch.arrivals) .. delivery.suffix
  redis.call('HSET', P .. 'lookup:' .. id, 'source', delivery.source, 'events',
    '[' .. table.concat(done.waiting, ',') .. ']', 'headers', delivery.headers, 'received', delivery.received,
    'proof', delivery.proof or '', 'delivery', delivery.id, 'digest', delivery.digest, 'tries', from and from.tries or 0)
  Lookups.resize(id, #done.waiting)
  Lookups.due(delivery.source, id, now + (from and from.wait_ms or 0))
  return from and '' or delivery.source
end

function Lookups.forget(id)
  local source = redis.call('HGET', P .. 'lookup:' .. id, 'source')
  Lookups.resize(id, 0)
  redis.call('DEL', P .. 'lookup:' .. id)
  redis.call('ZREM', P .. 'lookups', id)
  redis.call('ZREM', P .. 'lookups:' .. source, id)
  if redis.call('EXISTS', P .. 'lookups:' .. source) == 0 then redis.call('DEL', P .. 'lookup_failure:' .. source) end
end

-- Dismissed events leave their group. They keep the time of their parking, after which they are purged.
if is_command('put_back_parked', 'job_step') then
  -- Return 1 if the event was parked, else 0.
  function Parked.dismiss(id, who, reason)
    local at = redis.call('ZSCORE', P .. 'parked', id)
    if not at then return 0 end
    local key = P .. 'parked:' .. id
    local about = redis.call('HGET', P .. 'parked_groups', redis.call('HGET', key, 'group') or '') or ''
    redis.call('HSET', key, 'dismissed', now, 'dismissed_by', who, 'dismissed_why', reason, 'about', about)
    Parked.leave_group(id)
    redis.call('ZREM', P .. 'parked', id)
    redis.call('ZADD', P .. 'dismissed', at, id)
    return 1
  end

  -- Park a dismissed event again. Return 0 if it is not dismissed.
  function COMMANDS.put_back_parked(id)
    local at, key = redis.call('ZSCORE', P .. 'dismissed', id), P .. 'parked:' .. id
    if not at then return 0 end
    local e = redis.call('HMGET', key, 'group', 'about')
    redis.call('HDEL', key, 'dismissed', 'dismissed_by', 'dismissed_why', 'about')
    redis.call('ZREM', P .. 'dismissed', id)
    redis.call('ZADD', P .. 'parked', at, id)
    if e[1] then join_group(e[1], e[2], id, at) end
    return 1
  end
end

if is_command('take_lookups', 'postpone_lookup', 'fail_lookups', 'end_lookup_failure', 'repark') then
  local OUTDATED_MS = 120000

  -- Return due lookups of a source, with at most about `most` events, and lease each of them. Return none while the
  -- source waits after a failure. settings: a digest of those of the lookup; new ones end the wait
  local function take_lookups(source, settings, most, lease_ms)
    local out, events, failure = {}, 0, Lookups.failure(source)
    if failure.settings ~= settings then
      redis.call('DEL', P .. 'lookup_failure:' .. source)
    elseif Lookups.held_until(failure) > now then
      return out
    end
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'lookups:' .. source, '-inf', now, 'LIMIT', 0, most)) do
      if events >= most then break end
      allow_on_full_store()
      local q = hash(P .. 'lookup:' .. id)
      local _, inside = string.gsub(q.events, '"lookup_id"', '')
      events = events + inside
      Lookups.due(source, id, now + lease_ms)
      q.id, q.tries = id, redis.call('HINCRBY', P .. 'lookup:' .. id, 'tries', 1)
      out[#out + 1] = cjson.encode(q)
    end
    return out
  end

  -- The source failed, so this was no try of the record.
  local function postpone_lookup(id, wait_ms, reason)
    local source = redis.call('HGET', P .. 'lookup:' .. id, 'source')
    if not source then return 0 end
    allow_on_full_store()
    Lookups.due(source, id, now + wait_ms)
    redis.call('HINCRBY', P .. 'lookup:' .. id, 'tries', -1)
    redis.call('HSET', P .. 'lookup:' .. id, 'reason', reason)
    return 1
  end

  -- Record why the lookups of a source fail. A failure that does not hold the source is about single records: it is
  -- over when it is not reported again. The two kinds of failures are counted apart.
  local function fail_lookups(source, failure)
    allow_on_full_store()
    local key, before = P .. 'lookup_failure:' .. source, Lookups.failure(source)
    local outdated = before.holds ~= '1' and now > (tonumber(before['until']) or 0) + OUTDATED_MS
    local other = (before.holds == '1') ~= failure.holds
    if before.settings ~= failure.settings or outdated or other then redis.call('DEL', key) end
    redis.call('HSETNX', key, 'since', now)
    redis.call('HINCRBY', key, 'failures', 1)
    redis.call('HSET', key, 'kind', failure.kind, 'reason', failure.reason,
      'until', failure.wait_ms and now + failure.wait_ms or '', 'holds', failure.holds and '1' or '',
      'settings', failure.settings)
    return 1
  end

  -- Clear the failure of a source whose lookups succeed again. A failure of single records stays, and one with other
  -- settings.
  local function end_lookup_failure(source, settings)
    local failure = Lookups.failure(source)
    if failure.holds ~= '1' or failure.settings ~= settings then return 0 end
    return redis.call('DEL', P .. 'lookup_failure:' .. source)
  end

  -- Update the reason of an event that is parked and still cannot be mapped. It keeps its time of parking.
  local function repark(e, id)
    local at = redis.call('ZSCORE', P .. 'parked', id)
    if not at then return 0 end
    Parked.leave_group(id)
    Parked.give_reason(e, id, at)
    return 1
  end

  function COMMANDS.take_lookups(source, settings, most, lease_ms)
    return take_lookups(source, settings, tonumber(most), tonumber(lease_ms))
  end

  function COMMANDS.fail_lookups(source, failure) return fail_lookups(source, cjson.decode(failure)) end

  function COMMANDS.end_lookup_failure(source, settings) return end_lookup_failure(source, settings) end

  function COMMANDS.postpone_lookup(id, wait_ms, reason) return postpone_lookup(id, tonumber(wait_ms), reason) end

  function COMMANDS.repark(reason, id) return repark(cjson.decode(reason), id) end
end
