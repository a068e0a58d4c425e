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

function Newest.key(queue) return P .. 'queue:' .. queue .. ':newest' end

local traced

-- Whether anybody was forgotten; asked once.
local function has_traces()
  if traced == nil then traced = redis.call('EXISTS', P .. 'traces') == 1 end
  return traced
end

-- The newest request of a customer: {version, id, kind} or nil. kind is "r" for a recall, whose id it is,
-- and "c" for a cancel, where id is the account that it came from.
function Newest.get(queue, campaign, customer)
  local text = redis.call('HGET', Newest.key(queue), Newest.field(campaign, customer))
  if not text and has_traces() then
    text = redis.call('HGET', Newest.key(queue), Newest.trace(campaign, customer))
  end
  return text and Newest.read(text) or nil
end

function Newest.read(text)
  local version, id, kind = string.match(text, '^(%-?%d+)|([^|]*)|(%a)$')
  return {version = tonumber(version), id = id, kind = kind}
end

function Newest.set(queue, campaign, customer, version, id, kind)
  redis.call('HSET', Newest.key(queue), Newest.field(campaign, customer), version .. '|' .. id .. '|' .. kind)
end

-- --- their state --------------------------------------------------------------------------------

local ENDED = {accepted = true, dead = true, superseded = true, cancelled = true, expired = true, simulated = true}

function Recall.field(id, name) return redis.call('HGET', recall_key(id), name) end

-- Some fields of a recall by their names; nil where there are none.
function Recall.fields(id, names)
  local values, fields = redis.call('HMGET', recall_key(id), unpack(names)), {}
  for i, name in ipairs(names) do fields[name] = values[i] or nil end
  return fields
end

function Recall.set_ended(id, state)
  redis.call('HSET', recall_key(id), 'ended', now)
  redis.call('ZADD', P .. 'ended:' .. state, now, id)
  count('ended:' .. state)
end

local function unlist(id, r, state)
  redis.call('ZREM', P .. 'in:' .. state, id)
  redis.call('ZREM', P .. 'of:' .. r.account .. ':' .. state, id)
  if state == 'queued' then Calendar.count(r, -1) end
end

-- Records a change of state, with its time and reason. `queued` <-> `pushing` is recorded by the attempt.
function Recall.become(id, state, reason)
  local key = recall_key(id)
  local was = Recall.fields(id, {'state', 'account', 'campaign', 'score', 'changes'})
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

-- Why a recall is no longer to be pushed: a state and a reason, or nil while it is the newest.
function Newest.overtaken(queue, id)
  local r = redis.call('HMGET', recall_key(id), 'campaign', 'customer')
  local newest = Newest.get(queue, r[1], r[2])
  if not newest or newest.id == id then return nil end
  return Newest.verdict_on_older(newest)
end

-- Stands for a customer who was forgotten: only this store can tell that it was him, and only when he is named.
function Newest.trace(campaign, customer)
  local key = redis.call('HGET', P .. 'meta', 'queue_key') or ''
  return campaign .. '\0\1' .. string.sub(redis.sha1hex(key .. customer), 1, 20)
end

-- What becomes of a request that is older than the newest.
function Newest.verdict_on_older(newest)
  if newest.kind == 'c' then return 'cancelled', 'the customer no longer wants the call' end
  return 'superseded', 'a newer request: ' .. newest.id
end

-- --- where they are found -----------------------------------------------------------------------

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

function Find.put(key, member) redis.call('ZADD', key, 0, member) end

function Find.take(key, member) redis.call('ZREM', key, member) end

-- act: Find.put or Find.take
function Find.each(id, r, act)
  local key, prefix = Find.text('c', r.customer)
  act(key, prefix .. id)
  if r.record then
    key, prefix = Find.text('r', r.record)
    act(key, prefix .. id)
  end
  key, prefix = Find.number(Find.reversed(r.telephone))
  act(key, prefix .. '|' .. id)
end

-- --- their ids and their queues ------------------------------------------------------------------

local LETTERS = '0123456789abcdefghjkmnpqrstvwxyz'

-- A number as eight letters that sort like it.
local function letters(number)
  local text = ''
  while number > 0 do
    local digit = number % 32
    text = string.sub(LETTERS, digit + 1, digit + 1) .. text
    number = (number - digit) / 32
  end
  return string.sub('00000000' .. text, -8)
end

local known_queues = {}

-- The queue of an account, asked for once; false where it is not bound.
local function queue_of(account)
  if known_queues[account] == nil then known_queues[account] = redis.call('HGET', P .. 'accounts', account) end
  return known_queues[account]
end
