-- Alerts: which hold, who minds them, and the messages that wait to be sent.
--
-- A message is kept until its channel took it; a channel's messages go one after the other, in order, and
-- only whoever has taken the channel sends. A sender that dies loses its hold when that is over.

local ALERTS_PAST = 100      -- alerts that are over and still shown
local MESSAGES_MOST = 1000   -- messages that wait for one channel; the oldest go first

-- One process at a time judges; the others ask again and again.
local function mind_alerts(who, ms)
  local key = P .. 'alerts:minded'
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
