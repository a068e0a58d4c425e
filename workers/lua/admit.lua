-- Admission: what follows from a delivery, all of it or nothing, in one step.
--
-- The first write of `admit` and `resolve` is one that a full store refuses, so nothing is half done.

local Admit = {}

local known_lanes = {}

-- The lane of an account, asked for once; false where it is not bound.
local function lane_of(account)
  if known_lanes[account] == nil then known_lanes[account] = redis.call('HGET', P .. 'accounts', account) end
  return known_lanes[account]
end

-- Arrivals are numbered in one go for all events of a delivery; a number that is not used is no loss.
local function next_arrival(delivery)
  delivery.last = delivery.last or redis.call('HINCRBY', P .. 'meta', 'seq', #delivery.events) - #delivery.events
  delivery.last = delivery.last + 1
  return delivery.last
end

-- What a recall keeps of the event and the delivery that it came with.
local KEPT = {'account', 'campaign', 'customer', 'version', 'score', 'date', 'asked', 'telephone', 'source',
  'route', 'place', 'record', 'notes'}

-- e: a recall request, the fields KEPT and state, reason; "" stands for none
function Admit.recall(e, id, delivery, lanes)
  local lane = lane_of(e.account)
  local r = {delivery = delivery.id}
  if delivery.proof and delivery.proof ~= '' then r.proof = delivery.proof end
  if delivery.digest ~= '' then r.digest = string.sub(delivery.digest, 1, 8) end
  for _, field in ipairs(KEPT) do
    if e[field] ~= '' then r[field] = e[field] end
  end
  if r.record == r.customer then r.record = nil end
  Recall.create(id, r, e.state, e.reason)
  count('admitted:' .. e.source)
  count('admitted')
  local newest = Newest.get(lane, e.campaign, e.customer)
  if newest and newest.version > e.version then
    if e.state ~= 'queued' then return end
    return Recall.become(id, Newest.verdict_on_older(newest))
  end
  if newest then Admit.overtake(lane, newest.id, 'superseded', 'a newer request: ' .. id) end
  Newest.set(lane, e.campaign, e.customer, e.version, id, 'r')
  if e.state == 'queued' then redis.call('ZADD', P .. 'lane:' .. lane .. ':queue', e.score, id) end
  lanes[lane] = true
end

-- Takes an older recall out of the queue. True when it was still there.
function Admit.overtake(lane, id, state, reason)
  if redis.call('ZREM', P .. 'lane:' .. lane .. ':queue', id) == 0 then return false end
  Recall.become(id, state, reason)
  return true
end

-- A wish taken back. What wolkvox already has, or is being given, cannot be: that is recorded.
function Admit.cancel(e, done, lanes)
  local lane = lane_of(e.account)
  local newest = Newest.get(lane, e.campaign, e.customer)
  if newest and newest.version > e.version then return end
  Newest.set(lane, e.campaign, e.customer, e.version, e.account, 'c')
  redis.call('ZADD', P .. 'fading', now, e.account .. '\0' .. Newest.field(e.campaign, e.customer))
  lanes[lane] = true
  if not newest or newest.kind ~= 'r' then return end
  if Admit.overtake(lane, newest.id, 'cancelled', 'taken back by the CRM') then
    done.cancelled[#done.cancelled + 1] = newest.id
    return
  end
  local state = Recall.field(newest.id, 'state')
  if state ~= 'accepted' and state ~= 'pushing' then return end
  done.too_late[#done.too_late + 1] = newest.id
  count('cancel too late')
  local changes = Recall.field(newest.id, 'changes')
  redis.call('HSET', recall_key(newest.id), 'changes',
    changes .. '\n' .. now .. '\t' .. state .. '\ttaken back by the CRM, too late: wolkvox already has it')
end

-- Parked events that wait for the same reason, so that a hundred thousand are one line to look at.
local Group = {}

function Group.join(group, about, id, at)
  redis.call('HSET', P .. 'parked_groups', group, about)
  redis.call('ZADD', P .. 'parked_in:' .. group, at, id)
end

function Group.leave(id)
  local group = redis.call('HGET', P .. 'parked:' .. id, 'group')
  if not group then return end
  redis.call('ZREM', P .. 'parked_in:' .. group, id)
  if redis.call('EXISTS', P .. 'parked_in:' .. group) == 0 then redis.call('HDEL', P .. 'parked_groups', group) end
end

local function forget_parked(id)
  Group.leave(id)
  redis.call('DEL', P .. 'parked:' .. id)
  redis.call('ZREM', P .. 'parked', id)
end

local function set_reason(e, id, at)
  redis.call('HSET', P .. 'parked:' .. id, 'route', e.route, 'account', e.account, 'field', e.field,
    'found', e.found, 'allowed', e.allowed, 'group', e.group)
  Group.join(e.group, e.about, id, at)
end

function Admit.parked(e, id, delivery)
  redis.call('HSET', P .. 'parked:' .. id, 'source', e.source, 'event', e.event, 'headers', delivery.headers,
    'proof', delivery.proof or '', 'delivery', delivery.id, 'received', delivery.received, 'at', now, 'digest', delivery.digest, 'seen', e.k)
  set_reason(e, id, now)
  redis.call('ZADD', P .. 'parked', now, id)
end

-- An event that still cannot be mapped, perhaps for another reason than before. It keeps its place in time.
local function repark(e, id)
  local at = redis.call('HGET', P .. 'parked:' .. id, 'at')
  if not at then return 0 end
  Group.leave(id)
  set_reason(e, id, at)
  return 1
end

-- What an event was, when it was taken before: {digest, what, id, fingerprint} or nil.
local function seen(key)
  local text = key ~= '' and redis.call('GET', P .. 'seen:' .. key)
  if not text then return nil end
  local digest, what, id, fingerprint = string.match(text, '^([^|]*)|([^|]*)|([^|]*)|(.*)$')
  return {digest = digest, what = what, id = id, fingerprint = fingerprint}
end

local function remember(e, digest, what, id)
  if e.k == '' then return end
  redis.call('SET', P .. 'seen:' .. e.k, digest .. '|' .. what .. '|' .. id .. '|' .. (e.fingerprint or ''), 'PX', e.ttl)
end

-- What became of an event, in one word: kept per delivery, in the order of its events.
local function became(done, what, id)
  done.became[#done.became + 1] = (what == 'recall' or what == 'parked') and id or what
end

local function contribute(done, what, id)
  became(done, what, id)
  if what == 'recall' then done.recalls[#done.recalls + 1] = id
  elseif done[what] then done[what] = done[what] + 1 end
end

-- An event taken before contributes what it was. A parked one is looked at anew after a change of
-- the configuration. True when there is nothing more to do.
local function taken_before(e, done, delivery)
  local old = seen(e.k)
  if not old then return false end
  if old.what == 'parked' and old.digest ~= delivery.digest then
    refuse_when_full()
    forget_parked(old.id)
    return false
  end
  contribute(done, old.what, old.id)
  done.repeated = done.repeated + 1
  return true
end

local function admit_event(e, done, delivery, lanes)
  if taken_before(e, done, delivery) then return end
  local routed = e.route and e.route ~= '' and ':' .. e.route or ''
  count('events:' .. e.source .. ':' .. e.what .. routed)
  if e.what == 'ignored' then
    done.ignored = done.ignored + 1
    became(done, 'ignored')
    return
  end
  local id = letters(next_arrival(delivery)) .. delivery.suffix
  if e.what == 'recall' then
    id = 'rc_' .. id
    Admit.recall(e, id, delivery, lanes)
  elseif e.what == 'cancel' then
    Admit.cancel(e, done, lanes)
  elseif e.what == 'parked' then
    id = 'pk_' .. id
    Admit.parked(e, id, delivery)
  elseif e.what == 'pending' then
    done.waiting[#done.waiting + 1] = e.event
    id = delivery.id
  end
  contribute(done, e.what, id)
  remember(e, delivery.digest, e.what, id)
end

local function join(list) return table.concat(list, ',') end

local function answer_line(delivery, done)
  return table.concat({delivery.id, join(done.recalls), done.ignored, done.parked, done.pending,
    join(done.cancelled), join(done.too_late)}, ';')
end

-- The lanes that the caller has to ring for: those for which no bell hangs here.
local function ring(lanes)
  local out = {}
  for id in pairs(lanes) do
    if Lane.rest(Lane.load(id)) and not Bell.ring(id) then out[#out + 1] = id end
  end
  return out
end

local Lookups = {}

function Lookups.due(source, id, at)
  redis.call('ZADD', P .. 'lookups', at, id)
  redis.call('ZADD', P .. 'lookups:' .. source, at, id)
end

function Lookups.forget(id)
  local source = redis.call('HGET', P .. 'lookup:' .. id, 'source')
  redis.call('DEL', P .. 'lookup:' .. id)
  redis.call('ZREM', P .. 'lookups', id)
  redis.call('ZREM', P .. 'lookups:' .. source, id)
end

local function keep_pending(delivery, done)
  if #done.waiting == 0 then return '' end
  local id = 'lk_' .. letters(redis.call('HINCRBY', P .. 'meta', 'seq', 1)) .. delivery.suffix
  redis.call('HSET', P .. 'lookup:' .. id, 'source', delivery.source, 'events',
    '[' .. join(done.waiting) .. ']', 'headers', delivery.headers, 'received', delivery.received,
    'proof', delivery.proof or '', 'delivery', delivery.id, 'digest', delivery.digest, 'tries', 0)
  Lookups.due(delivery.source, id, now)
  return delivery.source
end

local function keep_raw(delivery, raw, done)
  if delivery.raw_ms == 0 or not raw or raw == '' then return end
  local key = P .. 'delivery:' .. delivery.id
  redis.call('HSET', key, 'source', delivery.source, 'received', delivery.received, 'headers', delivery.headers,
    'proof', delivery.proof or '', 'body', raw, 'became', join(done.became))
  redis.call('PEXPIRE', key, delivery.raw_ms)
end

local function new_done()
  return {recalls = {}, ignored = 0, parked = 0, pending = 0, cancelled = {}, too_late = {}, waiting = {},
    repeated = 0, cancel = false, became = {}}
end

-- An account whose lane is not known yet: nothing has been written, the sender tries again.
local function unbound(events)
  for _, e in ipairs(events) do
    if (e.what == 'recall' or e.what == 'cancel') and not lane_of(e.account) then return true end
  end
  return false
end

local function clash(events)
  for _, e in ipairs(events) do
    local old = e.fingerprint and seen(e.k)
    if old and old.fingerprint ~= e.fingerprint then return true end
  end
  return false
end

-- Lists a delivery. What the store may refuse here is this line alone: it must not cost the sender an answer.
local function list_arrival(delivery, what, answer)
  if not delivery.listed then return end
  local id, rest = string.match(answer, '^([^;]*)(.*)$')
  local _, _, recalls, counts, cancelled, late = string.find(rest, '^;([^;]*);([^;]*;[^;]*;[^;]*);([^;]*);([^;]*)$')
  local function many(ids)
    if ids == '' then return 0 end
    local _, commas = string.gsub(ids, ',', '')
    return commas + 1
  end
  local told = table.concat({what, many(recalls), counts, many(cancelled), many(late)}, ';')
  local key = P .. 'arrivals:' .. delivery.source
  redis.pcall('XADD', key, 'MAXLEN', '~', ARRIVALS, '*', 'd', id, 'w', told)
  redis.pcall('PEXPIRE', key, delivery.listed)
end

-- delivery: id, key, ttl, source, headers, received, digest, suffix, raw_ms, events
-- gives {what happened, the answer, lanes to ring for, source whose lookups to ring for}
local function admit(delivery, raw)
  local old = delivery.key ~= '' and redis.call('GET', P .. 'answer:' .. delivery.key)
  if old then
    local digest, answer = string.match(old, '^([^|]*)|(.*)$')
    if digest == '' or digest == delivery.digest then
      list_arrival(delivery, 'again', answer)
      return {'again', answer, {}, ''}
    end
  end
  if clash(delivery.events) then return {'clash', '', {}, ''} end
  if unbound(delivery.events) then return {'unbound', '', {}, ''} end
  local done, lanes = new_done(), {}
  for _, e in ipairs(delivery.events) do admit_event(e, done, delivery, lanes) end
  local stored = done.ignored < #delivery.events
  -- Of one that is ignored nothing is stored, so the same delivery has to get the same name by itself.
  if not stored and delivery.silent then delivery.id = delivery.silent end
  local answer = answer_line(delivery, done)
  local lookup = keep_pending(delivery, done)
  if stored and done.repeated < #delivery.events then keep_raw(delivery, raw, done) end
  if stored and delivery.key ~= '' then
    -- With something parked the answer holds for this configuration alone.
    local digest = done.parked > 0 and delivery.digest or ''
    redis.call('SET', P .. 'answer:' .. delivery.key, digest .. '|' .. answer, 'PX', delivery.ttl)
  end
  local what = done.repeated == #delivery.events and stored and 'again' or 'new'
  list_arrival(delivery, what, answer)
  if stored and what == 'new' then History.grow() end
  return {what, answer, ring(lanes), lookup}
end

function COMMANDS.admit(delivery, raw) return admit(cjson.decode(delivery), raw) end

-- Pending lookups of one source that are due, at most `most` events' worth; each is leased for a while.
local function take_lookups(source, most, lease_ms)
  local out, events = {}, 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'lookups:' .. source, '-inf', now, 'LIMIT', 0, most)) do
    if events >= most then break end
    open_full_store()
    local l = hash(P .. 'lookup:' .. id)
    local _, inside = string.gsub(l.events, '"lookup_id"', '')
    events = events + inside
    Lookups.due(source, id, now + lease_ms)
    l.id, l.tries = id, redis.call('HINCRBY', P .. 'lookup:' .. id, 'tries', 1)
    out[#out + 1] = cjson.encode(l)
  end
  return out
end

local function postpone_lookup(id, wait_ms, reason)
  local source = redis.call('HGET', P .. 'lookup:' .. id, 'source')
  if not source then return 0 end
  open_full_store()
  Lookups.due(source, id, now + wait_ms)
  redis.call('HSET', P .. 'lookup:' .. id, 'reason', reason)
  return 1
end

-- Writes into a delivery that is still kept what its waiting events have become, in their order.
local function retell(delivery, from, done)
  local key, place, told = P .. 'delivery:' .. delivery, 0, {}
  local text = redis.call('HGET', key, 'became')
  if not text then return end
  for word in string.gmatch(text, '[^,]+') do
    if word == (from.parked or 'pending') and place < #done.became then
      place = place + 1
      word = done.became[place]
    end
    told[#told + 1] = word
  end
  redis.call('HSET', key, 'became', join(told))
end

-- What a looked-up, or remapped, event turned out to be takes the place of what it was.
local function resolve(delivery, from)
  if from.lookup and redis.call('EXISTS', P .. 'lookup:' .. from.lookup) == 0 then return {'gone', '', {}, ''} end
  if from.parked and redis.call('EXISTS', P .. 'parked:' .. from.parked) == 0 then return {'gone', '', {}, ''} end
  if unbound(delivery.events) then return {'unbound', '', {}, ''} end
  refuse_when_full()
  for _, e in ipairs(delivery.events) do
    if e.k ~= '' then
      local left = redis.call('PTTL', P .. 'seen:' .. e.k)
      if left > 0 then e.ttl = left end
      redis.call('DEL', P .. 'seen:' .. e.k)
    end
  end
  local done, lanes = new_done(), {}
  for _, e in ipairs(delivery.events) do admit_event(e, done, delivery, lanes) end
  History.grow()
  if from.lookup then Lookups.forget(from.lookup) end
  if from.parked then forget_parked(from.parked) end
  retell(delivery.id, from, done)
  return {'new', answer_line(delivery, done), ring(lanes), keep_pending(delivery, done)}
end
