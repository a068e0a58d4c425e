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

-- A clock that went back must not hold the lanes for longer than they were ever to be held.
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
-- thought (it reached the old primary still), the lanes are held for longer.
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
