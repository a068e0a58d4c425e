-- What operators and the configuration do: cancel, retry, bind accounts to lanes.

local function lane_of(account)
  return redis.call('HGET', P .. 'accounts', account)
end

local function cancel_recall(id, reason)
  local r = redis.call('HMGET', recall_key(id), 'state', 'account')
  if not r[1] then return {'unknown', '', {}} end
  if r[1] ~= 'queued' then return {'conflict', r[1], {}} end
  local l = Lane.load(lane_of(r[2]))
  redis.call('ZREM', l.queue, id)
  Recall.become(id, 'cancelled', reason)
  History.grow()
  return {'done', 'cancelled', Lane.wake(l, {})}
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
  History.grow()
  redis.call('ZADD', l.queue, Recall.field(id, 'score'), id)
  return {'done', 'queued', Lane.wake(l, {})}
end

local CHUNK = 1000

-- Calls act with at most CHUNK of a list's elements at a time: one call each would block the store for long.
local function in_chunks(list, act)
  for i = 1, #list, CHUNK do act({unpack(list, i, math.min(i + CHUNK - 1, #list))}) end
end

-- Gives the recalls that moved, as a set.
local function move_queue(account, from, to)
  local moved = {}
  in_chunks(redis.call('ZRANGE', P .. 'of:' .. account .. ':queued', 0, -1), function(ids)
    local flat = {}
    for i, score in ipairs(redis.call('ZMSCORE', from.queue, unpack(ids))) do
      flat[2 * i - 1], flat[2 * i] = score, ids[i]
      moved[ids[i]] = true
    end
    redis.call('ZADD', to.queue, unpack(flat))
    redis.call('ZREM', from.queue, unpack(ids))
  end)
  return moved
end

-- Two lanes become one: of the newest requests that a customer has on each, the newer one wins.
local function newer(to, ours, there)
  local winner, loser, text = Newest.read(ours), Newest.read(there), ours
  if loser.version > winner.version then winner, loser, text = loser, winner, there end
  if loser.kind == 'r' then Admit.overtake(to.id, loser.id, Newest.verdict_on_older(winner)) end
  return text
end

local function move_newest(account, from, to, queued)
  local mine, texts = {}, hash(Newest.key(from.id))
  for field, text in pairs(texts) do
    local newest = Newest.read(text)
    local owner = newest.kind == 'c' and newest.id or queued[newest.id] and account or Recall.field(newest.id, 'account')
    if owner == account then mine[#mine + 1] = field end
  end
  in_chunks(mine, function(fields)
    local flat = {}
    for i, there in ipairs(redis.call('HMGET', Newest.key(to.id), unpack(fields))) do
      local ours = texts[fields[i]]
      flat[2 * i - 1], flat[2 * i] = fields[i], there and newer(to, ours, there) or ours
    end
    redis.call('HSET', Newest.key(to.id), unpack(flat))
    redis.call('HDEL', Newest.key(from.id), unpack(fields))
  end)
end

-- Moves one account's share of a lane to another lane: its queue, its newest pointers.
local function move_share(account, from, to)
  move_newest(account, from, to, move_queue(account, from, to))
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

-- What a token has made itself is kept; and its day is, since a call in flight on it is counted when it ends.
local function move_day(from, to)
  if Lane.num(to, 'pushed') > 0 or Lane.get(from, 'day') < Lane.get(to, 'day') then return end
  for _, field in ipairs({'day', 'day_ends', 'pushed'}) do Lane.set(to, field, Lane.get(from, field)) end
end

-- Gives the account its new lane, or the ms until which the old one is still in use.
-- users: lane -> how many accounts are bound to it
local function rebind(account, old, lane, users)
  local from, to = Lane.load(old), Lane.load(lane)
  Lane.clamp(from)
  local busy = math.max(Lane.num(from, 'quiet'), Lane.get(from, 'inflight') ~= '' and Lane.num(from, 'lease') or 0)
  if busy > now then return busy end
  Lane.recover(from)
  Lane.set(from, 'fence', History.grow())
  if Lane.paused_until(from) ~= 0 then
    for _, field in ipairs({'paused', 'paused_until', 'paused_ms'}) do Lane.set(to, field, Lane.get(from, field)) end
  end
  move_day(from, to)
  if users[old] == 1 and empty(to) then move_all(from, to) else move_share(account, from, to) end
  redis.call('HSET', P .. 'accounts', account, lane)
  users[old], users[lane] = users[old] - 1, (users[lane] or 0) + 1
  if users[old] == 0 then Lane.set(from, 'stopped', '') end
  Lane.rest(from)
  Lane.rest(to)
  return 0
end

local GONE = 'the account is no longer in the configuration'

local function take_up(account, old, lane, users)
  local busy = 0
  if not old then
    redis.call('HSET', P .. 'accounts', account, lane)
    users[lane] = (users[lane] or 0) + 1
  elseif old ~= lane then
    busy = rebind(account, old, lane, users)
  end
  local l = Lane.load(lane)
  if Lane.get(l, 'gone') ~= '' then
    Lane.set(l, 'gone', '')
    Lane.rest(l)
  end
  return busy
end

-- The account has left the configuration. Where others still use its token, what it has queued must not
-- hold them up: it gets a lane of its own, once no call is running.
local function leave_behind(account, lane, used, users)
  local busy = 0
  if used[lane] then
    local own = 'gone-' .. account
    busy = rebind(account, lane, own, users)
    lane = own
  end
  local l = Lane.load(lane)
  Lane.set(l, 'gone', GONE)
  Lane.rest(l)
  return busy
end

-- accounts: {account = lane, …}, all of the configuration. Gives the ms until which an account must stay
-- on a lane because of a call on it; 0 when all is bound.
local function bind(accounts)
  open_full_store()
  local bound, later, used, users = hash(P .. 'accounts'), 0, {}, {}
  for _, lane in pairs(accounts) do used[lane] = true end
  for _, lane in pairs(bound) do users[lane] = (users[lane] or 0) + 1 end
  for account, lane in pairs(accounts) do
    local busy = take_up(account, bound[account], lane, users)
    if busy > 0 then used[bound[account]] = true end
    later = math.max(later, busy)
  end
  for account, lane in pairs(bound) do
    if not accounts[account] then later = math.max(later, leave_behind(account, lane, used, users)) end
  end
  return later
end
