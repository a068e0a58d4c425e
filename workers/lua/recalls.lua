-- Recalls: the record of each, its state, and who is newest.
--
-- fields of P recall:<id>
--   state account campaign customer   as in the contract
--   version   ms, the CRM's time of the wish      score     ms, the recall_date on admission
--   date      recall_date as sent, ISO 8601       doc       the rest of the request, JSON
--   created   ms of admission                     ended     ms of the end, if any
--   reason    of the present state                changes   one line per change: ms TAB state TAB reason
--   answer    wolkvox's whole answer to the latest push, unless it was accepted
--   attempts  one JSON line per push              strikes, rounds, crashes   see retry.py

local Recall = {}

local ENDED = {accepted = true, dead = true, superseded = true, cancelled = true, expired = true, simulated = true}

local function recall_key(id) return P .. 'recall:' .. id end

function Recall.field(id, name) return redis.call('HGET', recall_key(id), name) end

function Recall.index(id, account, state, command)
  local args = command == 'ZADD' and {0, id} or {id}
  redis.call(command, P .. 'in:' .. state, unpack(args))
  redis.call(command, P .. 'of:' .. account .. ':' .. state, unpack(args))
end

-- Records a change of state, with its time and reason. `queued` <-> `pushing` is recorded by the attempt.
function Recall.become(id, state, reason)
  local key = recall_key(id)
  local was = redis.call('HMGET', key, 'state', 'account', 'changes')
  local old, account = was[1], was[2]
  if old == 'pushing' then
    redis.call('ZREM', P .. 'in:pushing', id)
    old = 'queued'
  end
  if old ~= state then
    Recall.index(id, account, old, 'ZREM')
    Recall.index(id, account, state, 'ZADD')
  end
  local line = now .. '\t' .. state .. '\t' .. reason
  redis.call('HSET', key, 'state', state, 'reason', reason, 'changes', was[3] .. '\n' .. line)
  if ENDED[state] then return Recall.set_ended(id, state) end
  redis.call('HDEL', key, 'ended')
  redis.call('ZREM', P .. 'ended', id)
end

function Recall.set_ended(id, state)
  redis.call('HSET', recall_key(id), 'ended', now)
  redis.call('ZADD', P .. 'ended', now, id)
  count('ended:' .. state)
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
  return text and Newest.read(text) or nil
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
