-- What is known of the installation itself: processes, counters, how accounts stand, alerts, sessions, the audit.

-- Signs of life: what each web and worker says of itself every few seconds.
--
-- fields of P process:<id> (ms are epoch milliseconds by the store's clock, "" where there is none)
--   kind, host, pid, version   as it says        started, seen   ms of its start, of this heartbeat
--   swept, wake-up            ms of its latest sweep, of the latest wake-up that it took
--   by_wake_up, by_sweep      drains that wake-ups began, and that its sweep began
--   stalled                       ms since when it takes no wake-ups, though they are published
if asked_for('heartbeat') then
  local LIVES = 15000         -- how long a process is believed to be there after its latest heartbeat

  local MOMENTS = {'started', 'swept', 'wake_up', 'stalled'}
  local FACTS = {'kind', 'host', 'pid', 'version', 'by_wake_up', 'by_sweep'}

  -- told: the facts; the moments as ms ago; wake_ups, sweeps: drains that no heartbeat has told of yet.
  -- Gives how many wake-ups all workers took since the store was made.
  local function heartbeat(id, told)
    open_full_store()
    local key, flat = P .. 'process:' .. id, {'seen', now}
    for _, field in ipairs(FACTS) do
      flat[#flat + 1], flat[#flat + 2] = field, told[field] or ''
    end
    for _, field in ipairs(MOMENTS) do
      flat[#flat + 1], flat[#flat + 2] = field, told[field] and now - told[field] or ''
    end
    redis.call('HSET', key, unpack(flat))
    redis.call('PEXPIRE', key, LIVES)
    redis.call('ZADD', P .. 'processes', now, id)
    redis.call('ZREMRANGEBYSCORE', P .. 'processes', '-inf', now - LIVES)
    if told.sweeps > 0 then count('drains:sweep', told.sweeps) end
    if told.wake_ups > 0 then count('drains:wake_up', told.wake_ups) end
    return (tonumber(redis.call('HGET', P .. 'counts', 'drains:wake_up')) or 0) + told.wake_ups
  end

  function COMMANDS.heartbeat(id, told) return heartbeat(id, cjson.decode(told)) end
end

-- What the processes counted, added up, and what is remembered of each minute and of each source.
if asked_for('flush_counters') then
  local Counters = {}

  local HOUR = 3600000
  local SERIES_KEPT = 26 * HOUR
  local PUSHED_KEPT = 65 * 60000
  local TALLIED_KEPT = HOUR

  function Counters.add(key, fields, ttl)
    for field, by in pairs(fields) do redis.call('HINCRBY', key, field, by) end
    if ttl then redis.call('PEXPIRE', key, ttl) end
  end

  -- The first to come in a minute notes the totals as they stood when it began.
  function Counters.note_totals(names)
    local key, minute = P .. 'series:' .. math.floor(now / HOUR), math.floor(now / 60000)
    if redis.call('HEXISTS', key, minute) == 1 then return end
    local totals = {}
    for i, value in ipairs(redis.call('HMGET', P .. 'counts', unpack(names))) do totals[names[i]] = value or nil end
    redis.call('HSET', key, minute, cjson.encode(totals))
    redis.call('PEXPIRE', key, SERIES_KEPT)
  end

  -- heard: {"taken:<source>" or "refused:<source>" = number}
  --
  -- In one second a sender may have been taken and refused; what was taken proves that it can be.
  function Counters.hear(heard)
    Counters.add(P .. 'heard:' .. math.floor(now / HOUR), heard, SERIES_KEPT)
    for field, by in pairs(heard) do
      local what, source = string.match(field, '^(%a+):(.*)$')
      local key = P .. 'source:' .. source
      redis.call('HSET', key, what, now)
      if what == 'taken' then
        redis.call('HDEL', key, 'refusing', 'refusals')
      elseif not heard['taken:' .. source] then
        redis.call('HSETNX', key, 'refusing', now)
        redis.call('HINCRBY', key, 'refusals', by)
      end
    end
  end

  -- told: counts, pushed, heard, each {name = number} or nil; totals: the names whose minutes are remembered
  --
  -- A process whose reply was lost sends the same number again, and that is added once.
  local function flush_counters(process, number, told)
    open_full_store()
    Counters.note_totals(told.totals)
    local key = P .. 'flushed:' .. process
    if number <= (tonumber(redis.call('GET', key) or 0)) then return 0 end
    if told.counts then Counters.add(P .. 'counts', told.counts) end
    if told.pushed then Counters.add(P .. 'pushed:' .. math.floor(now / 60000), told.pushed, PUSHED_KEPT) end
    if told.heard then Counters.hear(told.heard) end
    redis.call('SET', key, number, 'PX', TALLIED_KEPT)
    return 1
  end

  function COMMANDS.flush_counters(process, number, told) return flush_counters(process, tonumber(number), cjson.decode(told)) end
end

-- How accounts stand, many in one step: what services/accounts.py makes its views of.
if asked_for('stand') then
  local STOOD = {
    'stopped', 'gone', 'paused', 'paused_until', 'wait', 'wait_reason', 'quiet', 'lease', 'lease_ms', 'inflight',
    'wake_up_at', 'publications', 'day', 'pushed',
  }

  -- Gives of each account: the fields above of its queue, how many are queued and dead, ms of the oldest queued one's
  -- arrival; what is not there is "".
  local function stand(names)
    local out = {}
    for i, name in ipairs(names) do
      local queue, queued = redis.call('HGET', P .. 'accounts', name), P .. 'of:' .. name .. ':queued'
      local told = redis.call('HMGET', P .. 'queue:' .. (queue or ''), unpack(STOOD))
      for place = 1, #STOOD do told[place] = told[place] or '' end
      local oldest = redis.call('ZRANGE', queued, 0, 0)[1]
      told[#STOOD + 1] = redis.call('ZCARD', queued)
      told[#STOOD + 2] = redis.call('ZCARD', P .. 'of:' .. name .. ':dead')
      told[#STOOD + 3] = oldest and redis.call('HGET', P .. 'recall:' .. oldest, 'created') or ''
      out[i] = told
    end
    return {now, Epoch.held, out}
  end

  function COMMANDS.stand(names) return stand(cjson.decode(names)) end
end

-- Alerts: which hold, which process evaluates them, and the messages that wait to be sent.
--
-- A message is kept until its channel took it; a channel's messages go one after the other, in order, and
-- only whoever has taken the channel sends. A sender that dies loses its hold when that is over.
if asked_for('elect_alert_monitor', 'settle_alerts', 'take_messages', 'message_done', 'message_waits') then
  local ALERTS_PAST = 100      -- alerts that are over and still shown
  local MESSAGES_MOST = 1000   -- messages that wait for one channel; the oldest go first

  -- One process at a time evaluates; the others ask again and again.
  local function elect_alert_monitor(who, ms)
    local key = P .. 'alerts:monitor'
    local held = redis.call('HMGET', key, 'by', 'until')
    -- A hold further ahead than any is ever set is from before the clock went back.
    local left = (tonumber(held[2]) or 0) - now
    if held[1] and held[1] ~= who and left > 0 and left <= ms then return 0 end
    open_full_store()
    redis.call('HSET', key, 'by', who, 'until', now + ms)
    return 1
  end

  local function post(channels, message)
    for _, channel in ipairs(channels) do
      local key = P .. 'outbox:' .. channel
      redis.call('RPUSH', key, message)
      redis.call('LTRIM', key, -MESSAGES_MOST, -1)
      if not redis.call('ZSCORE', P .. 'outbox', channel) then redis.call('ZADD', P .. 'outbox', now, channel) end
    end
  end

  -- told: keep {key = record}, forget {keys}, begin and finish, lists of {key, record}, and messages, a list
  -- of {keys, channels, message}: each is posted when one of its alerts began or is over by this call
  -- gives the keys that began and those that are over: by this call, and no other
  local function settle_alerts(told)
    open_full_store()
    local key, done, news = P .. 'alerts', {}, {}
    for _, each in ipairs(told.forget) do redis.call('HDEL', key, each) end
    for each, record in pairs(told.keep) do redis.call('HSET', key, each, record) end
    for _, each in ipairs(told.begin) do
      local was = redis.call('HGET', key, each.key)
      if not was or not cjson.decode(was).on then
        redis.call('HSET', key, each.key, each.record)
        done[#done + 1], news[each.key] = each.key, true
      end
    end
    for _, each in ipairs(told.finish) do
      if redis.call('HDEL', key, each.key) == 1 then
        redis.call('LPUSH', key .. ':past', each.record)
        redis.call('LTRIM', key .. ':past', 0, ALERTS_PAST - 1)
        done[#done + 1], news[each.key] = each.key, true
      end
    end
    for _, each in ipairs(told.messages) do
      for _, about in ipairs(each.keys) do
        if news[about] then
          post(each.channels, each.message)
          break
        end
      end
    end
    return done
  end

  -- Takes the channels that are due, each with its oldest message and how often that was tried.
  local function take_messages(hold_ms)
    local out = {}
    for _, channel in ipairs(redis.call('ZRANGEBYSCORE', P .. 'outbox', '-inf', now)) do
      open_full_store()
      local message = redis.call('LINDEX', P .. 'outbox:' .. channel, 0)
      if message then
        redis.call('ZADD', P .. 'outbox', now + hold_ms, channel)
        local tries = redis.call('HINCRBY', P .. 'outbox:tries', channel, 1)
        for _, part in ipairs({channel, message, tries}) do out[#out + 1] = part end
      else
        redis.call('ZREM', P .. 'outbox', channel)
      end
    end
    return out
  end

  -- The channel took the message, or nobody will send it any more: the next one is due.
  local function message_done(channel, message)
    if redis.call('LINDEX', P .. 'outbox:' .. channel, 0) ~= message then return 0 end
    open_full_store()
    redis.call('LPOP', P .. 'outbox:' .. channel)
    redis.call('HDEL', P .. 'outbox:tries', channel)
    redis.call('HDEL', P .. 'outbox:trouble', channel)
    redis.call('ZADD', P .. 'outbox', now, channel)
    return 1
  end

  local function message_waits(channel, wait_ms, reason)
    open_full_store()
    redis.call('ZADD', P .. 'outbox', now + wait_ms, channel)
    redis.call('HSET', P .. 'outbox:trouble', channel, reason)
  end

  function COMMANDS.elect_alert_monitor(who, ms) return elect_alert_monitor(who, tonumber(ms)) end

  function COMMANDS.settle_alerts(told) return settle_alerts(cjson.decode(told)) end

  function COMMANDS.take_messages(hold_ms) return take_messages(tonumber(hold_ms)) end

  function COMMANDS.message_done(channel, message) return message_done(channel, message) end

  function COMMANDS.message_waits(channel, wait_ms, reason) return message_waits(channel, tonumber(wait_ms), reason) end
end

-- What the dashboard keeps of people: who is signed in, and who did what.
if asked_for('sign_in', 'note') then
  -- doc: what is known of the session, opaque here
  local function sign_in(digest, doc, idle_ms)
    open_full_store()
    return redis.call('SET', P .. 'session:' .. digest, doc, 'PX', idle_ms)
  end

  -- The entry's id holds the time, by the store's own clock: it only grows.
  local function note(who, what, about, address)
    open_full_store()
    return redis.call('XADD', P .. 'audit', '*', 'who', who, 'what', what, 'about', about, 'address', address)
  end

  function COMMANDS.sign_in(digest, doc, idle_ms) return sign_in(digest, doc, tonumber(idle_ms)) end

  function COMMANDS.note(who, what, about, address) return note(who, what, about, address) end
end
