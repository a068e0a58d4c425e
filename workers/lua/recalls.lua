-- Recalls: the record of each, its state, where it is found, and who is newest.
--
-- fields of P recall:<id>. None of a queued recall is longer than 64 bytes where the sender's words are not:
-- the store keeps such a hash packed, in half the room.
--   state account campaign customer   as in the contract
--   version   ms, the CRM's time of the wish      score     ms, the recall_date on admission
--   date      recall_date as sent, ISO 8601       asked     the date as asked, ISO 8601
--   telephone as dialled                          source, route, delivery   where it came from
--   place     which event of the delivery, from 0 digest    of the configuration that mapped it, shortened
--   proof     how the delivery was verified       record    the CRM's own id, where it is not the customer
--   notes     why date differs from asked, one a line
--   created   ms of admission                     ended     ms of the end, if any
--   reason    of the present state                changes   one line per change: ms TAB state TAB reason
--   answer    wolkvox's whole answer to the latest push, unless it was accepted
--   attempts  one JSON line per push              strikes, rounds, crashes   see retry.py

local Recall = {}

local function recall_key(id) return P .. 'recall:' .. id end

-- How many recalls of an account are to be called when: half hours, because zones differ by those.
local Calendar = {SLOT = 1800000}

function Calendar.count(r, by)
  local field = math.floor(tonumber(r.score) / Calendar.SLOT) .. '\0' .. r.campaign
  local key = P .. 'calendar:' .. r.account
  if redis.call('HINCRBY', key, field, by) == 0 then redis.call('HDEL', key, field) end
end

-- r: account, campaign, score. A recall that is being pushed is still "queued" here.
local function list(id, r, state)
  redis.call('ZADD', P .. 'in:' .. state, 0, id)
  redis.call('ZADD', P .. 'of:' .. r.account .. ':' .. state, 0, id)
  if state == 'queued' then Calendar.count(r, 1) end
end

local Newest = {}

function Newest.field(campaign, customer) return campaign .. '\0' .. customer end

function Newest.key(lane) return P .. 'lane:' .. lane .. ':newest' end

local traced

-- Whether anybody was forgotten; asked once.
local function has_traces()
  if traced == nil then traced = redis.call('EXISTS', P .. 'traces') == 1 end
  return traced
end

-- The newest request of a customer: {version, id, kind} or nil. kind is "r" for a recall, whose id it is,
-- and "c" for a cancel, where id is the account that it came from.
function Newest.get(lane, campaign, customer)
  local text = redis.call('HGET', Newest.key(lane), Newest.field(campaign, customer))
  if not text and has_traces() then
    text = redis.call('HGET', Newest.key(lane), Newest.trace(campaign, customer))
  end
  return text and Newest.read(text) or nil
end

function Newest.read(text)
  local version, id, kind = string.match(text, '^(%-?%d+)|([^|]*)|(%a)$')
  return {version = tonumber(version), id = id, kind = kind}
end

function Newest.set(lane, campaign, customer, version, id, kind)
  redis.call('HSET', Newest.key(lane), Newest.field(campaign, customer), version .. '|' .. id .. '|' .. kind)
end
