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

local ENDED = {accepted = true, dead = true, superseded = true, cancelled = true, expired = true, simulated = true}

local function recall_key(id) return P .. 'recall:' .. id end

function Recall.field(id, name) return redis.call('HGET', recall_key(id), name) end

-- Some fields of a recall by their names; nil where there are none.
function Recall.fields(id, names)
  local values, fields = redis.call('HMGET', recall_key(id), unpack(names)), {}
  for i, name in ipairs(names) do fields[name] = values[i] or nil end
  return fields
end

-- Where recalls are found by what people know of them. Members end with the recall's id, so that those of
-- one customer lie in order of arrival; a bucket is small, so that the store keeps it packed.
local Find = {}

local BUCKETS = 16384   -- a million recalls fill each with sixty

-- By a text as a whole: a customer ("c") or a record of the CRM ("r"). Gives key and prefix.
function Find.text(kind, text)
  local digest = redis.sha1hex(text)
  return P .. 'find:' .. kind .. ':' .. tonumber(string.sub(digest, 1, 8), 16) % BUCKETS, string.sub(digest, 9, 20)
end

-- By the end of a telephone number: its digits from the last to the first, of which four name the bucket.
function Find.number(digits)
  return P .. 'find:t:' .. string.sub(digits, 1, 4), string.sub(digits, 5)
end

function Find.reversed(telephone)
  return string.reverse((string.gsub(telephone, '%D', '')))
end

local FOUND_BY = {'customer', 'record', 'telephone'}

-- command: ZADD or ZREM
function Find.each(id, r, command)
  local function at(key, member)
    if command == 'ZADD' then redis.call('ZADD', key, 0, member) else redis.call('ZREM', key, member) end
  end
  local key, prefix = Find.text('c', r.customer)
  at(key, prefix .. id)
  if r.record then
    key, prefix = Find.text('r', r.record)
    at(key, prefix .. id)
  end
  key, prefix = Find.number(Find.reversed(r.telephone))
  at(key, prefix .. '|' .. id)
end

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

local function unlist(id, r, state)
  redis.call('ZREM', P .. 'in:' .. state, id)
  redis.call('ZREM', P .. 'of:' .. r.account .. ':' .. state, id)
  if state == 'queued' then Calendar.count(r, -1) end
end

function Recall.set_ended(id, state)
  redis.call('HSET', recall_key(id), 'ended', now)
  redis.call('ZADD', P .. 'ended:' .. state, now, id)
  count('ended:' .. state)
end

-- A new recall, in its first state.
function Recall.create(id, r, state, reason)
  local flat = {'state', state, 'reason', reason, 'created', now, 'changes', now .. '\t' .. state .. '\t' .. reason}
  for field, value in pairs(r) do
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  redis.call('HSET', recall_key(id), unpack(flat))
  list(id, r, state)
  Find.each(id, r, 'ZADD')
  if ENDED[state] then Recall.set_ended(id, state) end
end

-- Records a change of state, with its time and reason. `queued` <-> `pushing` is recorded by the attempt.
function Recall.become(id, state, reason)
  local key = recall_key(id)
  local was = Recall.fields(id, {'state', 'account', 'campaign', 'score', 'changes', 'doc'})
  if was.doc then Recall.modernise(id) end
  local old = was.state
  if old == 'pushing' then
    redis.call('ZREM', P .. 'in:pushing', id)
    old = 'queued'
  end
  if old ~= state then
    unlist(id, was, old)
    list(id, was, state)
  end
  local line = now .. '\t' .. state .. '\t' .. reason
  redis.call('HSET', key, 'state', state, 'reason', reason, 'changes', was.changes .. '\n' .. line)
  if ENDED[old] then redis.call('ZREM', P .. 'ended:' .. old, id) end
  if ENDED[state] then return Recall.set_ended(id, state) end
  redis.call('HDEL', key, 'ended')
end

-- Nothing of it is left.
function Recall.remove(id)
  Recall.modernise(id)
  local r = Recall.fields(id, {'state', 'account', 'campaign', 'score', unpack(FOUND_BY)})
  unlist(id, r, r.state)
  Find.each(id, r, 'ZREM')
  redis.call('ZREM', P .. 'ended:' .. r.state, id)
  redis.call('DEL', recall_key(id))
end

-- Up to 0.1.0 a recall kept some fields as JSON, and was in other indexes. True when it was such a one.
function Recall.modernise(id)
  local r = Recall.fields(id, {'doc', 'state', 'account', 'campaign', 'customer', 'score', 'ended'})
  if not r.doc then return false end
  local doc = cjson.decode(r.doc)
  r.telephone = doc.recall_telephone
  redis.call('HDEL', recall_key(id), 'doc')
  redis.call('HSET', recall_key(id), 'telephone', doc.recall_telephone, 'asked', doc.requested_date,
    'source', doc.source, 'delivery', doc.delivery)
  if doc.route ~= cjson.null then redis.call('HSET', recall_key(id), 'route', doc.route) end
  redis.call('DEL', P .. 'customer:' .. r.customer)
  Find.each(id, r, 'ZADD')
  if r.ended then
    redis.call('ZREM', P .. 'ended', id)
    redis.call('ZADD', P .. 'ended:' .. r.state, r.ended, id)
  else
    Calendar.count(r, 1)
  end
  return true
end

-- One recall is being pushed per lane, so this index is small and the others need not move.
function Recall.set_pushing(id)
  redis.call('HSET', recall_key(id), 'state', 'pushing')
  redis.call('ZADD', P .. 'in:pushing', 0, id)
end

function Recall.set_queued(id)
  redis.call('HSET', recall_key(id), 'state', 'queued')
  redis.call('ZREM', P .. 'in:pushing', id)
end

-- Of the latest attempt the whole answer is kept, of those before it what their lines say.
function Recall.add_attempt(id, line, answer)
  redis.call('HDEL', recall_key(id), 'answer')
  if answer then redis.call('HSET', recall_key(id), 'answer', answer) end
  local kept = redis.call('HGET', recall_key(id), 'attempts')
  if not kept then
    redis.call('HSET', recall_key(id), 'attempts', line)
    return
  end
  local _, lines = string.gsub(kept, '\n', '\n')
  if lines + 1 >= ATTEMPTS then kept = string.gsub(kept, '^[^\n]*\n', '', 1) end
  redis.call('HSET', recall_key(id), 'attempts', kept .. '\n' .. line)
end

local Newest = {}

function Newest.field(campaign, customer) return campaign .. '\0' .. customer end

function Newest.key(lane) return P .. 'lane:' .. lane .. ':newest' end

-- The newest request of a customer: {version, id, kind} or nil. kind is "r" for a recall, whose id it is,
-- and "c" for a cancel, where id is the account that it came from.
function Newest.get(lane, campaign, customer)
  local text = redis.call('HGET', Newest.key(lane), Newest.field(campaign, customer))
  if not text and redis.call('EXISTS', P .. 'traces') == 1 then
    text = redis.call('HGET', Newest.key(lane), Newest.trace(campaign, customer))
  end
  return text and Newest.read(text) or nil
end

-- Stands for a customer who was forgotten: only this store can tell that it was him, and only when he is named.
function Newest.trace(campaign, customer)
  local key = redis.call('HGET', P .. 'meta', 'lane_key') or ''
  return campaign .. '\0\1' .. string.sub(redis.sha1hex(key .. customer), 1, 20)
end

function Newest.read(text)
  local version, id, kind = string.match(text, '^(%-?%d+)|([^|]*)|(%a)$')
  return {version = tonumber(version), id = id, kind = kind}
end

function Newest.set(lane, campaign, customer, version, id, kind)
  redis.call('HSET', Newest.key(lane), Newest.field(campaign, customer), version .. '|' .. id .. '|' .. kind)
end

-- Why a recall is no longer to be pushed: a state and a reason, or nil while it is the newest.
function Newest.overtaken(lane, id)
  local r = redis.call('HMGET', recall_key(id), 'campaign', 'customer')
  local newest = Newest.get(lane, r[1], r[2])
  if not newest or newest.id == id then return nil end
  return Newest.verdict_on_older(newest)
end

-- What becomes of a request that is older than the newest.
function Newest.verdict_on_older(newest)
  if newest.kind == 'c' then return 'cancelled', 'the customer no longer wants the call' end
  return 'superseded', 'a newer request: ' .. newest.id
end
