-- The history of what the store holds: has it gone on from what somebody saw of it, or back to before that?
--
-- A restored copy, a replica that lagged behind, a log cut short: such a store knows nothing of the latest
-- claims, and their calls may still be running. Every change of queues and recalls counts `tick` up. Whoever
-- calls hands in which history it knows, the highest tick it saw of it and on which server, and is given
-- all three back. Where the store has less, or is another one, a new history begins: no queue gives a claim
-- until the longest call that may be running has ended, and no fence of the lost history comes again.
--
-- A server that takes the data over (a restart, a failover) notes the tick that it found: who saw a higher
-- one on the server before saw what is lost, however far the new one has counted since.

local History = {}

-- The server's name: its replication id, shortened. One that does not tell it is taken for the one before.
function History.server_now()
  local told = redis.pcall('INFO', 'replication')
  if type(told) ~= 'string' then return History.server end
  local _, at = string.find(told, 'master_replid:', 1, true)
  return at and string.sub(told, at + 1, at + 12) or History.server
end

-- What somebody knows: history, tick and server, ago (ms since it last heard of them), who it is.
-- Gives what is to be reported, to one caller alone: '' or how|tick that was found.
function History.meet(known)
  local meta = redis.call('HMGET', P .. 'meta', 'history', 'tick', 'server', 'base', 'held', 'settle', 'seq')
  History.history, History.tick, History.server = meta[1] or '', tonumber(meta[2]) or 0, meta[3] or ''
  History.base, History.held, History.settle = tonumber(meta[4]) or 0, tonumber(meta[5]) or 0, tonumber(meta[6]) or 0
  History.arrivals = tonumber(meta[7]) or 0
  local same = known.history == History.history and known.tick <= History.tick
    and known.server == History.server and History.server == History.server_now()
  if same and History.history ~= '' and History.held <= now and History.settle <= now then return '' end
  return History.look_closer(known)
end

local LOOK_AGAIN = 300      -- how soon the queues ask again whether all have spoken

function History.grow()
  History.tick = redis.call('HINCRBY', P .. 'meta', 'tick', 1)
  return History.tick
end

-- ms until which a queue gives no claim because a history was lost; 0 when it may.
function History.held_until(lease_ms)
  return History.held > 0 and History.held + lease_ms or 0
end

-- ms of the next look at whether a new server's workers have spoken; 0 when they have, or had their time.
function History.settling()
  if History.settle <= now or redis.call('EXISTS', P .. 'awaited') == 0 then return 0 end
  return math.min(History.settle, now + LOOK_AGAIN)
end

-- What somebody knows of the history and what the store holds are not the same: found out and put right here.

local JUMP = 1048576        -- further than any history got beyond what somebody saw of it
local SETTLE = 2000         -- how long a server that is new to this data waits for its workers' word

function History.look_closer(known)
  History.clamp()
  History.look_at_server()
  local news = History.compare(known)
  History.speak(known.who)
  return news
end

function History.keep(fields)
  open_full_store()
  local flat = {}
  for field, value in pairs(fields) do
    History[field] = value
    flat[#flat + 1], flat[#flat + 2] = field, value
  end
  redis.call('HSET', P .. 'meta', unpack(flat))
end

local function new_name(...)
  return string.sub(redis.sha1hex(table.concat({now, ...}, '|')), 1, 16)
end

-- Gives what History.meet gives.
function History.compare(known)
  local begun = History.history ~= ''
  if known.history == '' then
    if not begun then History.begin(known.who) end
    return ''
  end
  if known.history == History.history then
    local found = known.server == History.server and History.tick or History.base
    return known.tick > found and History.broken('went back', known, found) or ''
  end
  if not begun then return History.broken('was emptied', known, 0) end
  if redis.call('HEXISTS', P .. 'histories', known.history) == 0 then return History.broken('was exchanged', known, 0) end
  return History.catch_up(known)
end

-- A clock that went back must not hold the queues for longer than they were ever to be held.
function History.clamp()
  if History.held > now then History.keep({held = now}) end
  if History.settle > now + SETTLE then History.keep({settle = now + SETTLE}) end
end

function History.begin(who)
  History.keep({history = new_name(who), tick = JUMP})
end

-- found: the tick that the store had where the caller saw known.tick
function History.broken(how, known, found)
  open_full_store()
  local news = how .. '|' .. found
  for _, name in ipairs({known.history, History.history}) do
    if name ~= '' then redis.call('HSET', P .. 'histories', name, now) end
  end
  local tick = math.max(History.tick, known.tick) + JUMP
  History.keep({
    history = new_name(History.history, known.history, known.tick, known.who), tick = tick, base = tick,
    held = now, settle = 0, teller = known.who, news = news,
  })
  count('histories:' .. how)
  return news
end

-- One who knows a history that has been found lost already. If it went on with that for longer than was
-- thought (it reached the old primary still), the queues are held for longer.
function History.catch_up(known)
  if now - known.ago > History.held then History.keep({held = now - known.ago}) end
  local teller = redis.call('HMGET', P .. 'meta', 'teller', 'news')
  return known.who == teller[1] and teller[2] or ''
end

-- Started anew or promoted, a server may have lost what only its workers know: each that the data lists is
-- to speak first.
function History.look_at_server()
  local server = History.server_now()
  if server == History.server then return end
  if History.server == '' then return History.keep({server = server, base = History.tick}) end
  History.keep({server = server, base = History.tick, settle = now + SETTLE})
  redis.call('DEL', P .. 'awaited')
  for _, who in ipairs(redis.call('ZRANGE', P .. 'processes', 0, -1)) do
    if string.find(who, '^worker:') then redis.call('SADD', P .. 'awaited', who) end
  end
  -- Where the data lists nobody, somebody may be there all the same.
  if redis.call('EXISTS', P .. 'awaited') == 0 then redis.call('SADD', P .. 'awaited', 'somebody') end
end

function History.speak(who)
  if History.settle > now and redis.call('SISMEMBER', P .. 'awaited', who) == 1 then
    redis.call('SREM', P .. 'awaited', who)
  end
end
