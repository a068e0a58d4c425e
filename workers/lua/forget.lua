-- Forgetting a person: nothing is left but what keeps promises, and that names nobody.
--
-- What stays is when the customer's newest wish was (P4: an older one must not come back), under a name that
-- only this store can make of him; it fades like the trace of a wish taken back. Digests of events already
-- taken (P5) hold nothing of what was in them.

local Forget = {}

function Forget.trace(lane, account, campaign, customer, version, keep_ms)
  local field = Newest.trace(campaign, customer)
  local text = redis.call('HGET', Newest.key(lane), field)
  if text and Newest.read(text).version >= version then return end
  redis.call('HSET', Newest.key(lane), field, version .. '|' .. account .. '|c')
  redis.call('ZADD', P .. 'fading', now, account .. '\0' .. field)
  redis.call('SET', P .. 'traces', 1, 'PX', keep_ms)
end

-- The pointer to the newest wish of a customer, if it is this one's.
function Forget.newest(lane, account, campaign, customer, id, keep_ms)
  local field = Newest.field(campaign, customer)
  local text = redis.call('HGET', Newest.key(lane), field)
  local newest = text and Newest.read(text)
  if not newest or newest.id ~= id then return end
  redis.call('HDEL', Newest.key(lane), field)
  Forget.trace(lane, account, campaign, customer, newest.version, keep_ms)
end

-- A recall, its indexes, its delivery and its newest pointer. "pushing": nothing was done.
function Forget.recall(id, keep_ms)
  local r = Recall.fields(id, {'state', 'account', 'campaign', 'customer', 'delivery'})
  if not r.state then return 'gone' end
  if r.state == 'pushing' then return 'pushing' end
  open_full_store()
  local l = Lane.load(lane_of(r.account))
  redis.call('ZREM', l.queue, id)
  Forget.newest(l.id, r.account, r.campaign, r.customer, id, keep_ms)
  Recall.remove(id)
  History.grow()
  if r.delivery then redis.call('DEL', P .. 'delivery:' .. r.delivery) end
  Lane.rest(l)
  return 'done'
end

-- A wish taken back, of which only the pointer is left. field: campaign NUL customer
function Forget.cancel(lane, field, keep_ms)
  local text = redis.call('HGET', Newest.key(lane), field)
  if not text then return 0 end
  local newest = Newest.read(text)
  if newest.kind ~= 'c' then return 0 end
  local campaign, customer = string.match(field, '^(%Z*)%z(.*)$')
  redis.call('HDEL', Newest.key(lane), field)
  redis.call('ZREM', P .. 'fading', newest.id .. '\0' .. field)
  Forget.trace(lane, newest.id, campaign, customer, newest.version, keep_ms)
  return 1
end

-- events: those that stay, JSON; "[]" when none does
function Forget.lookup(id, events)
  if redis.call('EXISTS', P .. 'lookup:' .. id) == 0 then return 0 end
  open_full_store()
  if events == '[]' then Lookups.forget(id) else redis.call('HSET', P .. 'lookup:' .. id, 'events', events) end
  return 1
end

function COMMANDS.forget_recall(id, keep_ms) return Forget.recall(id, keep_ms) end

function COMMANDS.forget_cancel(lane, field, keep_ms)
  open_full_store()
  return Forget.cancel(lane, field, keep_ms)
end

function COMMANDS.forget_lookup(id, events) return Forget.lookup(id, events) end

function COMMANDS.forget_parked(id)
  open_full_store()
  Parked.forget(id)
  return 1
end

function COMMANDS.forget_job(id)
  open_full_store()
  forget_job(id)
  return 1
end
