-- What the processes counted, added up, and what is remembered of each minute and of each source.

local Tally = {}

local HOUR = 3600000
local SERIES_KEPT = 26 * HOUR
local PUSHED_KEPT = 65 * 60000
local TALLIED_KEPT = HOUR

function Tally.add(key, fields, ttl)
  for field, by in pairs(fields) do redis.call('HINCRBY', key, field, by) end
  if ttl then redis.call('PEXPIRE', key, ttl) end
end

-- The first to come in a minute notes the totals as they stood when it began.
function Tally.note_totals(names)
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
function Tally.hear(heard)
  Tally.add(P .. 'heard:' .. math.floor(now / HOUR), heard, SERIES_KEPT)
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
local function tally(process, number, told)
  open_full_store()
  Tally.note_totals(told.totals)
  local key = P .. 'tallied:' .. process
  if number <= (tonumber(redis.call('GET', key) or 0)) then return 0 end
  if told.counts then Tally.add(P .. 'counts', told.counts) end
  if told.pushed then Tally.add(P .. 'pushed:' .. math.floor(now / 60000), told.pushed, PUSHED_KEPT) end
  if told.heard then Tally.hear(told.heard) end
  redis.call('SET', key, number, 'PX', TALLIED_KEPT)
  return 1
end
