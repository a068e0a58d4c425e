-- Monitoring: processes, counters, account states, alerts, sessions of the dashboard and the audit log.

-- Heartbeats of web and worker processes.
--
-- fields of process:<id> (times are ms by the store's clock, "" for none)
--   kind, host, pid, version   as the process reports them
--   started        time of its start
--   seen           time of its latest heartbeat
--   swept          time of its latest sweep
--   wake_up        time of the latest wake-up that it took
--   by_wake_up     number of its drains started by wake-ups
--   by_sweep       number of its drains started by its sweep
--   stalled        time since when it has taken no wake-ups although they are published
if is_command('heartbeat') then
  local LIVES = 15000         -- ms that a process counts as running after a heartbeat

  local MOMENTS = {'started', 'swept', 'wake_up', 'stalled'}
  local FACTS = {'kind', 'host', 'pid', 'version', 'by_wake_up', 'by_sweep'}

  -- facts: the fields, with times as ms ago; wake_ups, sweeps: drains since the previous heartbeat.
  -- Return the number of wake-ups taken by all workers since the store was created.
  local function heartbeat(id, facts)
    allow_on_full_store()
    local key, flat = P .. 'process:' .. id, {'seen', now}
    for _, field in ipairs(FACTS) do
      flat[#flat + 1], flat[#flat + 2] = field, facts[field] or ''
    end
    for _, field in ipairs(MOMENTS) do
      flat[#flat + 1], flat[#flat + 2] = field, facts[field] and now - facts[field] or ''
    end
    redis.call('HSET', key, unpack(flat))
    redis.call('PEXPIRE', key, LIVES)
    redis.call('ZADD', P .. 'processes', now, id)
    redis.call('ZREMRANGEBYSCORE', P .. 'processes', '-inf', now - LIVES)
    if facts.sweeps > 0 then count('drains:sweep', facts.sweeps) end
    if facts.wake_ups > 0 then count('drains:wake_up', facts.wake_ups) end
    return (tonumber(redis.call('HGET', P .. 'counts', 'drains:wake_up')) or 0) + facts.wake_ups
  end

  function COMMANDS.heartbeat(id, facts) return heartbeat(id, cjson.decode(facts)) end
end

-- Counters of all processes, their time series, and the status of sources.
if is_command('flush_counters') then
  local Counters = {}

  local HOUR = 3600000
  local SERIES_KEPT = 26 * HOUR
  local PUSHED_KEPT = 65 * 60000
  local FLUSHED_KEPT = HOUR
  local SERIES = 24 * HOUR

  function Counters.add(key, fields, ttl)
    for field, by in pairs(fields) do redis.call('HINCRBY', key, field, by) end
    if ttl then redis.call('PEXPIRE', key, ttl) end
  end

  -- The first flush of a minute records the totals at its start.
  function Counters.note_totals(names)
    local key, minute = P .. 'series:' .. math.floor(now / HOUR), math.floor(now / 60000)
    if redis.call('HEXISTS', key, minute) == 1 then return end
    local totals = {}
    for i, value in ipairs(redis.call('HMGET', P .. 'counts', unpack(names))) do totals[names[i]] = value or nil end
    redis.call('HSET', key, minute, cjson.encode(totals))
    redis.call('PEXPIRE', key, SERIES_KEPT)
  end

  -- The count restarts when two losses are more than SERIES apart.
  function Counters.add_losses(key, number)
    local latest = tonumber(redis.call('HGET', key, 'lost'))
    if not latest or now - latest > SERIES then redis.call('HSET', key, 'losing', now, 'losses', 0) end
    redis.call('HINCRBY', key, 'losses', number)
    redis.call('HSET', key, 'lost', now)
  end

  -- requests: {"taken:<source>", "refused:<source>", "lost:<source>" or "checked:<source>" = number}
  --
  -- If deliveries of a source were both accepted and rejected in this flush, the source counts as accepted.
  function Counters.add_deliveries(requests)
    Counters.add(P .. 'source_requests:' .. math.floor(now / HOUR), requests, SERIES_KEPT)
    for field, by in pairs(requests) do
      local what, source = string.match(field, '^(%a+):(.*)$')
      local key = P .. 'source:' .. source
      if what == 'lost' then
        Counters.add_losses(key, by)
      else
        redis.call('HSET', key, what, now)
      end
      if what == 'taken' then
        redis.call('HDEL', key, 'refusing', 'refusals')
      elseif what == 'refused' and not requests['taken:' .. source] then
        redis.call('HSETNX', key, 'refusing', now)
        redis.call('HINCRBY', key, 'refusals', by)
      end
    end
  end

  -- flush: counts, pushed, source_requests, each {name = number} or nil; totals: the names of the time series
  --
  -- A process whose reply was lost sends the same number again. It is added only once.
  local function flush_counters(process, number, flush)
    allow_on_full_store()
    Counters.note_totals(flush.totals)
    local key = P .. 'flushed:' .. process
    if number <= (tonumber(redis.call('GET', key) or 0)) then return 0 end
    if flush.counts then Counters.add(P .. 'counts', flush.counts) end
    if flush.pushed then Counters.add(P .. 'pushed:' .. math.floor(now / 60000), flush.pushed, PUSHED_KEPT) end
    if flush.source_requests then Counters.add_deliveries(flush.source_requests) end
    redis.call('SET', key, number, 'PX', FLUSHED_KEPT)
    return 1
  end

  function COMMANDS.flush_counters(process, number, flush) return flush_counters(process, tonumber(number), cjson.decode(flush)) end
end

-- States of accounts, for services/accounts.py.
if is_command('account_states') then
  local STATE_FIELDS = {
    'stopped', 'account_removed', 'paused', 'paused_until', 'wait', 'wait_reason', 'quiet', 'lease', 'lease_ms', 'inflight',
    'wake_up_at', 'publications', 'day', 'pushed', 'paused_by', 'paused_at',
  }

  -- Return for each account: the fields above of its queue, the numbers of queued and dead recalls, and the ms when the
  -- oldest queued one arrived. Missing values are "".
  local function account_states(names)
    local out = {}
    for i, name in ipairs(names) do
      local queue, queued = redis.call('HGET', P .. 'accounts', name), P .. 'of:' .. name .. ':queued'
      local state = redis.call('HMGET', P .. 'queue:' .. (queue or ''), unpack(STATE_FIELDS))
      for place = 1, #STATE_FIELDS do state[place] = state[place] or '' end
      local oldest = redis.call('ZRANGE', queued, 0, 0)[1]
      state[#STATE_FIELDS + 1] = redis.call('ZCARD', queued)
      state[#STATE_FIELDS + 2] = redis.call('ZCARD', P .. 'of:' .. name .. ':dead')
      state[#STATE_FIELDS + 3] = oldest and redis.call('HGET', P .. 'recall:' .. oldest, 'created') or ''
      out[i] = state
    end
    return {now, Epoch.held, out}
  end

  function COMMANDS.account_states(names) return account_states(cjson.decode(names)) end
end

-- Alerts: the active ones, the process that evaluates them, and the messages to be sent.
--
-- A message is kept until its channel has accepted it. The messages of a channel are sent one after the other, by the
-- process that has reserved the channel. The reservation expires, in case that process dies.
if is_command('elect_alert_monitor', 'settle_alerts', 'take_messages', 'message_done', 'message_waits') then
  local ALERTS_PAST = 100      -- past alerts kept
  local MESSAGES_MOST = 1000   -- messages kept for one channel; the oldest are dropped

  -- One process at a time evaluates the alerts. The others try again.
  local function elect_alert_monitor(who, ms)
    local key = P .. 'alerts:monitor'
    local held = redis.call('HMGET', key, 'by', 'until')
    -- A reservation that is longer than `ms` was made before the clock was set back.
    local left = (tonumber(held[2]) or 0) - now
    if held[1] and held[1] ~= who and left > 0 and left <= ms then return 0 end
    allow_on_full_store()
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

  -- changes: keep {key = record}, forget {keys}, begin and finish (lists of {key, record}), and messages (a list of
  -- {keys, channels, message}). A message is queued if one of its alerts begins or ends by this call.
  -- Return the keys of the alerts that begin or end by this call.
  local function settle_alerts(changes)
    allow_on_full_store()
    local key, done, changed = P .. 'alerts', {}, {}
    for _, each in ipairs(changes.forget) do redis.call('HDEL', key, each) end
    for each, record in pairs(changes.keep) do redis.call('HSET', key, each, record) end
    for _, each in ipairs(changes.begin) do
      local was = redis.call('HGET', key, each.key)
      if not was or not cjson.decode(was).on then
        redis.call('HSET', key, each.key, each.record)
        done[#done + 1], changed[each.key] = each.key, true
      end
    end
    for _, each in ipairs(changes.finish) do
      if redis.call('HDEL', key, each.key) == 1 then
        redis.call('LPUSH', key .. ':past', each.record)
        redis.call('LTRIM', key .. ':past', 0, ALERTS_PAST - 1)
        done[#done + 1], changed[each.key] = each.key, true
      end
    end
    for _, each in ipairs(changes.messages) do
      for _, about in ipairs(each.keys) do
        if changed[about] then
          post(each.channels, each.message)
          break
        end
      end
    end
    return done
  end

  -- Reserve the due channels. Return for each: name, oldest message, number of tries.
  local function take_messages(hold_ms)
    local out = {}
    for _, channel in ipairs(redis.call('ZRANGEBYSCORE', P .. 'outbox', '-inf', now)) do
      allow_on_full_store()
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

  -- Remove a message that was sent or given up. The next one is due.
  local function message_done(channel, message)
    if redis.call('LINDEX', P .. 'outbox:' .. channel, 0) ~= message then return 0 end
    allow_on_full_store()
    redis.call('LPOP', P .. 'outbox:' .. channel)
    redis.call('HDEL', P .. 'outbox:tries', channel)
    redis.call('HDEL', P .. 'outbox:trouble', channel)
    redis.call('ZADD', P .. 'outbox', now, channel)
    return 1
  end

  local function message_waits(channel, wait_ms, reason)
    allow_on_full_store()
    redis.call('ZADD', P .. 'outbox', now + wait_ms, channel)
    redis.call('HSET', P .. 'outbox:trouble', channel, reason)
  end

  function COMMANDS.elect_alert_monitor(who, ms) return elect_alert_monitor(who, tonumber(ms)) end

  function COMMANDS.settle_alerts(changes) return settle_alerts(cjson.decode(changes)) end

  function COMMANDS.take_messages(hold_ms) return take_messages(tonumber(hold_ms)) end

  function COMMANDS.message_done(channel, message) return message_done(channel, message) end

  function COMMANDS.message_waits(channel, wait_ms, reason) return message_waits(channel, tonumber(wait_ms), reason) end
end

-- Notes of operators on problems. row: "account:NAME", "source:NAME" or "installation"
if is_command('note_problem', 'keep_problem_notes') then
  -- kind: acknowledged, snoozed or assigned; text: JSON, "" removes the note
  function COMMANDS.note_problem(row, kind, text)
    allow_on_full_store()
    local field = row .. '\0' .. kind
    if text == '' then return redis.call('HDEL', P .. 'problem_notes', field) end
    return redis.call('HSET', P .. 'problem_notes', field, text)
  end

  -- Remove the notes of rows that are not in the list.
  function COMMANDS.keep_problem_notes(rows)
    local kept = {}
    for _, row in ipairs(cjson.decode(rows)) do kept[row] = true end
    for _, field in ipairs(redis.call('HKEYS', P .. 'problem_notes')) do
      if not kept[string.match(field, '^(%Z*)%z')] then redis.call('HDEL', P .. 'problem_notes', field) end
    end
  end
end

-- Sessions of the dashboard, and the audit log.
if is_command('sign_in', 'store_search', 'put_list_setting', 'note') then
  -- doc: the session as JSON, not read by the script
  local function sign_in(digest, doc, idle_ms)
    allow_on_full_store()
    return redis.call('SET', P .. 'session:' .. digest, doc, 'PX', idle_ms)
  end

  -- text: what a user typed into the search box
  local function store_search(digest, text, kept_ms)
    allow_on_full_store()
    return redis.call('SET', P .. 'search:' .. digest, text, 'PX', kept_ms)
  end

  -- Set the chosen columns or a saved view of a user. Return 1, or 0 for a view if the user already has the maximum
  -- number of views.
  local function put_list_setting(digest, field, text, most)
    local key = P .. 'list_views:' .. digest
    local views = redis.call('HLEN', key) - redis.call('HEXISTS', key, 'columns')
    if field ~= 'columns' and views >= most then return 0 end
    redis.call('HSET', key, field, text)
    return 1
  end

  -- The entry's id is its time by the server's own clock, so it only grows.
  local function note(who, what, about, address)
    allow_on_full_store()
    return redis.call('XADD', P .. 'audit', '*', 'who', who, 'what', what, 'about', about, 'address', address)
  end

  function COMMANDS.sign_in(digest, doc, idle_ms) return sign_in(digest, doc, tonumber(idle_ms)) end

  function COMMANDS.store_search(digest, text, kept_ms) return store_search(digest, text, tonumber(kept_ms)) end

  function COMMANDS.put_list_setting(digest, field, text, most) return put_list_setting(digest, field, text, tonumber(most)) end

  function COMMANDS.note(who, what, about, address) return note(who, what, about, address) end
end
