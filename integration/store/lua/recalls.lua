-- Recalls: their records, states and indexes, and the newest request of each customer.
--
-- fields of recall:<id>. The fields of a queued recall stay within 64 bytes where the sender's values do, so that the
-- store keeps the hash as a listpack, in half the memory.
--   state      as in the contract, also account, campaign and customer
--   version    ms: the CRM's time of the request
--   score      ms: the recall_date on admission; of an accepted recall, the one that wolkvox has
--   date       recall_date as sent, ISO 8601
--   requested  date as requested, ISO 8601
--   telephone  as dialled
--   source     where it came from, also route and delivery
--   place      position of its event in the delivery, from 0
--   proof      how the delivery was verified
--   digest     digest of the configuration that mapped it, shortened
--   record     id of the CRM record, if it is not the customer's
--   replaces   id of the customer's earlier recall that wolkvox had, or was getting, on admission
--   again_of   id of the recall that an operator asked for again; again_by: ids of the recalls that this led to
--   notes      why date differs from requested, one reason a line
--   created    ms of admission
--   ended      ms of its end, if any
--   reason     reason of the current state
--   changes    one line for each change: ms TAB state TAB reason
--   attempts   one JSON line for each push
--   tries      number of pushes
--   answer:<n> wolkvox's whole answer to the n-th push, unless it was accepted
--   words      digest of the words of the latest answer
--   strikes    see retry.py, also rounds and crashes

local Recall = {}

local function recall_key(id) return P .. 'recall:' .. id end

-- Number of recalls of an account for each half hour, queued and accepted ones apart. Time zones differ by multiples of
-- half an hour.
local Calendar = {SLOT = 1800000, SLOTS_OF_DAY = 48}

-- Return key and field of the count. kind: "calendar" for queued recalls, "accepted_calendar" for accepted ones
function Calendar.place(kind, r)
  return P .. kind .. ':' .. r.account, math.floor(tonumber(r.score) / Calendar.SLOT) .. '\0' .. r.campaign
end

function Calendar.count(kind, r, by)
  local key, field = Calendar.place(kind, r)
  if redis.call('HINCRBY', key, field, by) == 0 then redis.call('HDEL', key, field) end
end

-- r: account, campaign, score. A recall that is being pushed is listed as "queued".
local function list(id, r, state)
  redis.call('ZADD', P .. 'in:' .. state, 0, id)
  redis.call('ZADD', P .. 'of:' .. r.account .. ':' .. state, 0, id)
  if state == 'queued' then Calendar.count('calendar', r, 1) end
end

local Newest = {}

function Newest.field(campaign, customer) return campaign .. '\0' .. customer end

function Newest.key(queue) return P .. 'queue:' .. queue .. ':newest' end

local tombstones

-- Return whether the store has tombstones of erased customers. The reply is cached for the run.
local function has_tombstones()
  if tombstones == nil then tombstones = redis.call('EXISTS', P .. 'tombstones') == 1 end
  return tombstones
end

-- Return the newest request of a customer, {version, id, kind}, or nil. With kind "r" the id is that of a recall, with
-- kind "c" (a cancellation) it is the account.
function Newest.get(queue, campaign, customer)
  local text = redis.call('HGET', Newest.key(queue), Newest.field(campaign, customer))
  if not text and has_tombstones() then
    text = redis.call('HGET', Newest.key(queue), Newest.tombstone(campaign, customer))
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

-- --- states -------------------------------------------------------------------------------------

local ENDED = {accepted = true, dead = true, superseded = true, cancelled = true, expired = true, simulated = true}

function Recall.field(id, name) return redis.call('HGET', recall_key(id), name) end

-- Return fields of a recall by name, nil where a field is missing.
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
  if state == 'queued' then Calendar.count('calendar', r, -1) end
end

-- Record a change of state with its time and reason. Changes between `queued` and `pushing` are recorded as attempts.
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

-- Return the state and reason for a recall that has a newer request, nil if it is the newest.
function Newest.superseded(queue, id)
  local r = redis.call('HMGET', recall_key(id), 'campaign', 'customer')
  local newest = Newest.get(queue, r[1], r[2])
  if not newest or newest.id == id then return nil end
  return Newest.state_of_older(newest)
end

-- Return the field that replaces an erased customer's: a keyed hash, which only this store can compute.
function Newest.tombstone(campaign, customer)
  local key = redis.call('HGET', P .. 'store', 'queue_key') or ''
  return campaign .. '\0\1' .. string.sub(redis.sha1hex(key .. customer), 1, 20)
end

-- Return the state and reason for a request that is older than the newest.
function Newest.state_of_older(newest)
  if newest.kind == 'c' then return 'cancelled', 'the customer no longer wants the call' end
  return 'superseded', 'a newer request: ' .. newest.id
end

-- --- indexes ------------------------------------------------------------------------------------

-- Search indexes. Members end with the recall's id, so that those of a customer are sorted by arrival. Buckets are
-- small, so that the store keeps them as listpacks.
local Find = {}

local BUCKETS = 16384   -- a million recalls put about sixty into each

-- Return an id in the spelling by which it is found: an identity number without leading zeros and without dots or
-- blanks between groups of three digits, any other text unchanged. domain/recall_filters.py does the same.
function Find.plain_id(text)
  local spaced = string.gsub(text, '\194\160', ' ')   -- no-break space
  local head, groups = string.match(spaced, '^(%d+)([%d%. ]*)$')
  if not head or string.gsub(groups, '[%. ]%d%d%d', '') ~= '' then return text end
  return string.match(string.gsub(spaced, '[%. ]', ''), '^0*(%d+)$')
end

-- Return key and member prefix for a customer ("c") or a CRM record ("r").
function Find.text(kind, text)
  local digest = redis.sha1hex(Find.plain_id(text))
  return P .. 'find:' .. kind .. ':' .. tonumber(string.sub(digest, 1, 8), 16) % BUCKETS, string.sub(digest, 9, 20)
end

-- Return key and member prefix for the end of a telephone number. digits: from the last on; four name the bucket.
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

-- --- ids and queues of accounts -----------------------------------------------------------------

local LETTERS = '0123456789abcdefghjkmnpqrstvwxyz'

-- Return a number as eight characters that sort in the order of the numbers.
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

-- Return the queue of an account, false if it is not bound. The reply is cached for the run.
local function queue_of(account)
  if known_queues[account] == nil then known_queues[account] = redis.call('HGET', P .. 'accounts', account) end
  return known_queues[account]
end
