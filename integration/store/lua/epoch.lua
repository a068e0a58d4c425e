-- The history of what the store holds: has it gone on from what somebody saw of it, or back to before that?
--
-- A restored copy, a replica that lagged behind, a log cut short: such a store knows nothing of the latest
-- claims, and their calls may still be running. Every change of queues and recalls counts `tick` up. Whoever
-- calls hands in which history it knows, the highest tick it saw of it and on which server, and is given
-- all three back. Where the store has less, or is another one, a new history begins: no queue gives a claim
-- until the longest call that may be running has ended, and no fence of the lost history comes again.
--
-- A server that takes the data over (a restart, a failover) notes the revision that it found: who saw a higher
-- one on the server before saw what is lost, however far the new one has counted since.

local Epoch = {}

-- The server's name: its replication id, shortened. One that does not tell it is taken for the one before.
function Epoch.server_now()
  local told = redis.pcall('INFO', 'replication')
  if type(told) ~= 'string' then return Epoch.server end
  local _, at = string.find(told, 'master_replid:', 1, true)
  return at and string.sub(told, at + 1, at + 12) or Epoch.server
end

-- What somebody knows: history, tick and server, ago (ms since it last heard of them), who it is.
-- Gives what is to be reported, to one caller alone: '' or how|tick that was found.
function Epoch.meet(known)
  local meta = redis.call('HMGET', P .. 'meta', 'epoch', 'revision', 'server', 'base', 'held', 'settle', 'seq')
  Epoch.epoch, Epoch.revision, Epoch.server = meta[1] or '', tonumber(meta[2]) or 0, meta[3] or ''
  Epoch.base, Epoch.held, Epoch.settle = tonumber(meta[4]) or 0, tonumber(meta[5]) or 0, tonumber(meta[6]) or 0
  Epoch.arrivals = tonumber(meta[7]) or 0
  local same = known.epoch == Epoch.epoch and known.revision <= Epoch.revision
    and known.server == Epoch.server and Epoch.server == Epoch.server_now()
  if same and Epoch.epoch ~= '' and Epoch.held <= now and Epoch.settle <= now then return '' end
  return Epoch.look_closer(known)
end

local LOOK_AGAIN = 300      -- how soon the queues ask again whether all have spoken

function Epoch.grow()
  Epoch.revision = redis.call('HINCRBY', P .. 'meta', 'revision', 1)
  return Epoch.revision
end

-- ms until which a queue gives no claim because a history was lost; 0 when it may.
function Epoch.held_until(lease_ms)
  return Epoch.held > 0 and Epoch.held + lease_ms or 0
end

-- ms of the next look at whether a new server's workers have spoken; 0 when they have, or had their time.
function Epoch.settling()
  if Epoch.settle <= now or redis.call('EXISTS', P .. 'awaited') == 0 then return 0 end
  return math.min(Epoch.settle, now + LOOK_AGAIN)
end

-- What somebody knows of the history and what the store holds are not the same: found out and put right here.

local JUMP = 1048576        -- further than any history got beyond what somebody saw of it
local SETTLE = 2000         -- how long a server that is new to this data waits for its workers' word

function Epoch.look_closer(known)
  Epoch.clamp()
  Epoch.look_at_server()
  local news = Epoch.compare(known)
  Epoch.speak(known.who)
  return news
end

function Epoch.keep(fields)
  open_full_store()
  local flat = {}
  for field, value in pairs(fields) do
    Epoch[field] = value
    flat[#flat + 1], flat[#flat + 2] = field, value
  end
  redis.call('HSET', P .. 'meta', unpack(flat))
end

local function new_name(...)
  return string.sub(redis.sha1hex(table.concat({now, ...}, '|')), 1, 16)
end

-- Gives what Epoch.meet gives.
function Epoch.compare(known)
  local begun = Epoch.epoch ~= ''
  if known.epoch == '' then
    if not begun then Epoch.begin(known.who) end
    return ''
  end
  if known.epoch == Epoch.epoch then
    local found = known.server == Epoch.server and Epoch.revision or Epoch.base
    return known.revision > found and Epoch.broken('went back', known, found) or ''
  end
  if not begun then return Epoch.broken('was emptied', known, 0) end
  if redis.call('HEXISTS', P .. 'epochs', known.epoch) == 0 then return Epoch.broken('was exchanged', known, 0) end
  return Epoch.catch_up(known)
end

-- A clock that went back must not hold the queues for longer than they were ever to be held.
function Epoch.clamp()
  if Epoch.held > now then Epoch.keep({held = now}) end
  if Epoch.settle > now + SETTLE then Epoch.keep({settle = now + SETTLE}) end
end

function Epoch.begin(who)
  Epoch.keep({epoch = new_name(who), revision = JUMP})
end

-- found: the tick that the store had where the caller saw known.revision
function Epoch.broken(how, known, found)
  open_full_store()
  local news = how .. '|' .. found
  for _, name in ipairs({known.epoch, Epoch.epoch}) do
    if name ~= '' then redis.call('HSET', P .. 'epochs', name, now) end
  end
  local revision = math.max(Epoch.revision, known.revision) + JUMP
  Epoch.keep({
    epoch = new_name(Epoch.epoch, known.epoch, known.revision, known.who), revision = revision, base = revision,
    held = now, settle = 0, teller = known.who, news = news,
  })
  count('epochs:' .. how)
  return news
end

-- One who knows a history that has been found lost already. If it went on with that for longer than was
-- thought (it reached the old primary still), the queues are held for longer.
function Epoch.catch_up(known)
  if now - known.ago > Epoch.held then Epoch.keep({held = now - known.ago}) end
  local teller = redis.call('HMGET', P .. 'meta', 'teller', 'news')
  return known.who == teller[1] and teller[2] or ''
end

-- Started anew or promoted, a server may have lost what only its workers know: each that the data lists is
-- to speak first.
function Epoch.look_at_server()
  local server = Epoch.server_now()
  if server == Epoch.server then return end
  if Epoch.server == '' then return Epoch.keep({server = server, base = Epoch.revision}) end
  Epoch.keep({server = server, base = Epoch.revision, settle = now + SETTLE})
  redis.call('DEL', P .. 'awaited')
  for _, who in ipairs(redis.call('ZRANGE', P .. 'processes', 0, -1)) do
    if string.find(who, '^worker:') then redis.call('SADD', P .. 'awaited', who) end
  end
  -- Where the data lists nobody, somebody may be there all the same.
  if redis.call('EXISTS', P .. 'awaited') == 0 then redis.call('SADD', P .. 'awaited', 'somebody') end
end

function Epoch.speak(who)
  if Epoch.settle > now and redis.call('SISMEMBER', P .. 'awaited', who) == 1 then
    redis.call('SREM', P .. 'awaited', who)
  end
end
