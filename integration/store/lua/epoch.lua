-- The store's epoch: detects that the store lost data which a caller has seen.
--
-- A restored copy, a replica that lagged behind, or a truncated log lacks the latest claims, and their calls may still
-- be running. The revision counts every change of queues and recalls. Each caller passes the epoch that it knows, the
-- highest revision it saw of that epoch and on which server, and receives the current ones. If the store has a lower
-- revision or another epoch, a new epoch begins: no queue gives a claim until the longest call that may be running has
-- ended, and no fence of the lost epoch is used again.
--
-- A server that takes over the data (after a restart or failover) records the revision that it found. A caller that
-- saw a higher revision on the previous server has seen lost changes, even if the new server has counted further.

local Epoch = {}

-- Return the server's shortened replication id. A server that does not disclose it counts as unchanged.
function Epoch.server_now()
  local info = redis.pcall('INFO', 'replication')
  if type(info) ~= 'string' then return Epoch.server end
  local _, at = string.find(info, 'master_replid:', 1, true)
  return at and string.sub(info, at + 1, at + 12) or Epoch.server
end

-- Compare the store with what a caller knows. known: epoch, revision, server, ago (ms since it last saw them), who.
-- Return the loss to be reported, to one caller only: how|revision that was found; '' for none.
function Epoch.check(known)
  local facts = redis.call('HMGET', P .. 'store', 'epoch', 'revision', 'server', 'base', 'held', 'settle', 'seq', 'layout')
  Epoch.epoch, Epoch.revision, Epoch.server = facts[1] or '', tonumber(facts[2]) or 0, facts[3] or ''
  Epoch.base, Epoch.held, Epoch.settle = tonumber(facts[4]) or 0, tonumber(facts[5]) or 0, tonumber(facts[6]) or 0
  Epoch.arrivals = tonumber(facts[7]) or 0
  if facts[8] ~= LAYOUT and not Epoch.begin_layout(facts[8]) then return '' end
  local same = known.epoch == Epoch.epoch and known.revision <= Epoch.revision
    and known.server == Epoch.server and Epoch.server == Epoch.server_now()
  if same and Epoch.epoch ~= '' and Epoch.held <= now and Epoch.settle <= now then return '' end
  return Epoch.reconcile(known)
end

-- Version 0.1.0 reads the hash `meta` first in every script and every command, and does not compare layouts. Against
-- this text it gets WRONGTYPE, so it changes nothing.
local STOPS_0_1_0 = 'A later version of Ringback uses this store. Ringback 0.1.0 cannot use it.'

-- Record the layout in a new store, and return true. In a store of another layout set Epoch.fault: this run must not
-- change anything.
function Epoch.begin_layout(found)
  local used = Epoch.epoch ~= '' or Epoch.arrivals > 0 or redis.call('EXISTS', P .. 'accounts') == 1
    or redis.call('TYPE', P .. 'meta').ok == 'hash'
  if not found and not used then
    redis.call('HSET', P .. 'store', 'layout', LAYOUT, 'layout_version', VERSION)
    redis.call('SET', P .. 'meta', STOPS_0_1_0)
    return true
  end
  Epoch.fault = 'LAYOUT the store has layout ' .. (found or '1') .. ', and this version has ' .. LAYOUT
  return false
end

local LOOK_AGAIN = 300      -- ms after which a queue checks again whether all workers have called

function Epoch.next_revision()
  Epoch.revision = redis.call('HINCRBY', P .. 'store', 'revision', 1)
  return Epoch.revision
end

-- Return the ms until which a queue gives no claim because an epoch was lost, 0 for none.
function Epoch.held_until(lease_ms)
  return Epoch.held > 0 and Epoch.held + lease_ms or 0
end

-- Return the ms of the next check whether a new server's workers have all called; 0 when they have, or time is up.
function Epoch.settling()
  if Epoch.settle <= now or redis.call('EXISTS', P .. 'awaited_workers') == 0 then return 0 end
  return math.min(Epoch.settle, now + LOOK_AGAIN)
end

-- --- the caller's epoch and the store's differ --------------------------------------------------

local JUMP = 1048576        -- more revisions than an epoch can be ahead of its callers
local SETTLE = 2000         -- ms that a new server waits for its workers

function Epoch.reconcile(known)
  Epoch.clamp()
  Epoch.check_server()
  local loss = Epoch.compare(known)
  Epoch.mark_called(known.who)
  return loss
end

function Epoch.save(fields)
  allow_on_full_store()
  local flat = {}
  for field, value in pairs(fields) do
    Epoch[field] = value
    flat[#flat + 1], flat[#flat + 2] = field, value
  end
  redis.call('HSET', P .. 'store', unpack(flat))
end

local function new_name(...)
  return string.sub(redis.sha1hex(table.concat({now, ...}, '|')), 1, 16)
end

-- Return what Epoch.check returns.
function Epoch.compare(known)
  local begun = Epoch.epoch ~= ''
  if known.epoch == '' then
    if not begun then Epoch.begin(known.who) end
    return ''
  end
  if known.epoch == Epoch.epoch then
    local found = known.server == Epoch.server and Epoch.revision or Epoch.base
    return known.revision > found and Epoch.begin_after_loss('went back', known, found) or ''
  end
  if not begun then return Epoch.begin_after_loss('was emptied', known, 0) end
  if redis.call('HEXISTS', P .. 'epochs', known.epoch) == 0 then return Epoch.begin_after_loss('was exchanged', known, 0) end
  return Epoch.catch_up(known)
end

-- After the clock was set back, the queues must not be held for longer than intended.
function Epoch.clamp()
  if Epoch.held > now then Epoch.save({held = now}) end
  if Epoch.settle > now + SETTLE then Epoch.save({settle = now + SETTLE}) end
end

function Epoch.begin(who)
  Epoch.save({epoch = new_name(who), revision = JUMP})
end

-- found: the store's revision, to be compared with known.revision
function Epoch.begin_after_loss(how, known, found)
  allow_on_full_store()
  local loss = how .. '|' .. found
  for _, name in ipairs({known.epoch, Epoch.epoch}) do
    if name ~= '' then redis.call('HSET', P .. 'epochs', name, now) end
  end
  local revision = math.max(Epoch.revision, known.revision) + JUMP
  Epoch.save({
    epoch = new_name(Epoch.epoch, known.epoch, known.revision, known.who), revision = revision, base = revision,
    held = now, settle = 0, reporter = known.who, loss = loss,
  })
  count('epochs:' .. how)
  return loss
end

-- The caller knows an epoch that was already found lost. If it used that epoch for longer than assumed (it still
-- reached the old primary), the queues are held for longer.
function Epoch.catch_up(known)
  if now - known.ago > Epoch.held then Epoch.save({held = now - known.ago}) end
  local reporter = redis.call('HMGET', P .. 'store', 'reporter', 'loss')
  return known.who == reporter[1] and reporter[2] or ''
end

-- A restarted or promoted server may have lost changes that only its workers have seen. It waits until each worker
-- that the data lists has called.
function Epoch.check_server()
  local server = Epoch.server_now()
  if server == Epoch.server then return end
  if Epoch.server == '' then return Epoch.save({server = server, base = Epoch.revision}) end
  Epoch.save({server = server, base = Epoch.revision, settle = now + SETTLE})
  redis.call('DEL', P .. 'awaited_workers')
  for _, who in ipairs(redis.call('ZRANGE', P .. 'processes', 0, -1)) do
    if string.find(who, '^worker:') then redis.call('SADD', P .. 'awaited_workers', who) end
  end
  -- The data may list no worker although there is one.
  if redis.call('EXISTS', P .. 'awaited_workers') == 0 then redis.call('SADD', P .. 'awaited_workers', 'somebody') end
end

function Epoch.mark_called(who)
  if Epoch.settle > now and redis.call('SISMEMBER', P .. 'awaited_workers', who) == 1 then
    redis.call('SREM', P .. 'awaited_workers', who)
  end
end
