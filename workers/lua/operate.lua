-- What operators and the configuration do: cancel, retry, pause, bind accounts to lanes, purge.

local function lane_of(account)
  return redis.call('HGET', P .. 'accounts', account)
end

local function cancel_recall(id, reason)
  local r = redis.call('HMGET', recall_key(id), 'state', 'account')
  if not r[1] then return {'unknown', '', {}} end
  if r[1] ~= 'queued' then return {'conflict', r[1], {}} end
  open_full_store()
  local l = Lane.load(lane_of(r[2]))
  redis.call('ZREM', l.queue, id)
  Recall.become(id, 'cancelled', reason)
  return {'done', 'cancelled', Lane.rest(l) and {l.id} or {}}
end

-- A dead or expired recall once more, unless somebody newer has overtaken it. date and score may be
-- new, since the old date may have passed.
local function retry_recall(id, reason, date, score)
  local r = redis.call('HMGET', recall_key(id), 'state', 'account', 'score')
  if not r[1] then return {'unknown', '', {}} end
  if r[1] ~= 'dead' and r[1] ~= 'expired' then return {'conflict', r[1], {}} end
  local l = Lane.load(lane_of(r[2]))
  if Newest.overtaken(l.id, id) then return {'overtaken', r[1], {}} end
  redis.call('HSET', recall_key(id), 'strikes', 0, 'rounds', 0, 'crashes', 0)
  if date ~= '' then redis.call('HSET', recall_key(id), 'date', date, 'score', score) end
  Recall.become(id, 'queued', reason)
  redis.call('ZADD', l.queue, Recall.field(id, 'score'), id)
  return {'done', 'queued', Lane.rest(l) and {l.id} or {}}
end

-- Moves one account's share of a lane to another lane: its queue, its newest pointers.
local function move_share(account, from, to)
  local function ours(id) return redis.call('HGET', recall_key(id), 'account') == account end
  local queue = redis.call('ZRANGE', from.queue, 0, -1)
  for _, id in ipairs(queue) do
    if ours(id) then
      redis.call('ZADD', to.queue, redis.call('ZSCORE', from.queue, id), id)
      redis.call('ZREM', from.queue, id)
    end
  end
  local flat = redis.call('HGETALL', Newest.key(from.id))
  for i = 1, #flat, 2 do
    local id = string.match(flat[i + 1], '|([^|]*)|')
    if id == '-' or ours(id) then
      redis.call('HDEL', Newest.key(from.id), flat[i])
      local campaign, customer = string.match(flat[i], '^(%Z*)%z(.*)$')
      local there = Newest.get(to.id, campaign, customer)
      local version = tonumber(string.match(flat[i + 1], '^(%-?%d+)|'))
      if not there or there.version <= version then
        if there and there.kind == 'r' then Admit.overtake(to.id, there.id, 'superseded', 'a newer request: ' .. id) end
        redis.call('HSET', Newest.key(to.id), flat[i], flat[i + 1])
      elseif id ~= '-' then
        Admit.overtake(to.id, id, 'superseded', 'a newer request: ' .. there.id)
      end
    end
  end
end

local function alone(account, lane)
  local flat = redis.call('HGETALL', P .. 'accounts')
  for i = 1, #flat, 2 do
    if flat[i + 1] == lane and flat[i] ~= account then return false end
  end
  return true
end

-- The whole lane goes over when nobody else uses it: two renames, however long the queue is.
local function move_all(from, to)
  for _, part in ipairs({':queue', ':newest'}) do
    if redis.call('EXISTS', from.key .. part) == 1 then redis.call('RENAME', from.key .. part, to.key .. part) end
  end
end

local function empty(lane)
  return redis.call('EXISTS', lane.queue, Newest.key(lane.id)) == 0
end

-- Gives the account its new lane, or the ms until which the old one is still in use.
local function rebind(account, old, lane)
  local from, to = Lane.load(old), Lane.load(lane)
  Lane.clamp(from)
  local busy = math.max(Lane.num(from, 'quiet'), Lane.get(from, 'inflight') ~= '' and Lane.num(from, 'lease') or 0)
  if busy > now then return busy end
  Lane.recover(from)
  Lane.set(to, 'paused', Lane.get(from, 'paused'))
  if Lane.num(to, 'pushed') == 0 then
    Lane.set(to, 'day', Lane.get(from, 'day'))
    Lane.set(to, 'pushed', Lane.num(from, 'pushed'))
  end
  if alone(account, old) and empty(to) then move_all(from, to) else move_share(account, from, to) end
  redis.call('HSET', P .. 'accounts', account, lane)
  if alone(account, old) then Lane.set(from, 'stopped', '') end
  Lane.rest(from)
  Lane.rest(to)
  return 0
end

local GONE = 'the account is no longer in the configuration'

-- accounts: {account = lane, …}, all of the configuration. Gives the ms until which a change of token
-- must wait for a call on the old one; 0 when all is bound.
local function bind(accounts)
  local later, used = 0, {}
  for _, lane in pairs(accounts) do used[lane] = true end
  for account, lane in pairs(accounts) do
    local old = lane_of(account)
    if not old then
      redis.call('HSET', P .. 'accounts', account, lane)
    elseif old ~= lane then
      local busy = rebind(account, old, lane)
      if busy > 0 then
        used[old] = true
        later = math.max(later, busy)
      end
    end
    local l = Lane.load(lane)
    if Lane.get(l, 'stopped') == GONE then
      Lane.set(l, 'stopped', '')
      Lane.rest(l)
    end
  end
  local flat = redis.call('HGETALL', P .. 'accounts')
  for i = 1, #flat, 2 do
    if not accounts[flat[i]] and not used[flat[i + 1]] then
      local l = Lane.load(flat[i + 1])
      if Lane.get(l, 'stopped') == '' then
        Lane.set(l, 'stopped', GONE)
        Lane.rest(l)
      end
    end
  end
  return later
end

local function purge_recall(id)
  local r = redis.call('HMGET', recall_key(id), 'state', 'account', 'campaign', 'customer')
  local lane = lane_of(r[2])
  local newest = lane and Newest.get(lane, r[3], r[4])
  if newest and newest.id == id then redis.call('HDEL', Newest.key(lane), Newest.field(r[3], r[4])) end
  Recall.index(id, r[2], r[1], 'ZREM')
  redis.call('ZREM', P .. 'customer:' .. r[4], id)
  redis.call('DEL', recall_key(id))
end

-- Removes what ended before `before` (ms): at most `limit` of a kind looked at, so no lane is blocked.
local function purge(before, limit)
  local gone = 0
  for state in pairs(ENDED) do
    for _, id in ipairs(redis.call('ZRANGE', P .. 'in:' .. state, 0, limit - 1)) do
      if (tonumber(Recall.field(id, 'ended')) or now) < before then
        purge_recall(id)
        gone = gone + 1
      end
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'parked', '-inf', before, 'LIMIT', 0, limit)) do
    forget_parked(id)
    gone = gone + 1
  end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', P .. 'fading', '-inf', before, 'LIMIT', 0, limit)) do
    local lane, field = string.match(member, '^(%Z*)%z(.*)$')
    local text = redis.call('HGET', Newest.key(lane), field)
    if text and string.sub(text, -2) == '|c' then redis.call('HDEL', Newest.key(lane), field) end
    redis.call('ZREM', P .. 'fading', member)
  end
  return gone
end
