-- Purge: what is old goes, a little at a time.

-- Nothing of it is left.
function Recall.remove(id)
  Recall.modernise(id)
  local r = Recall.fields(id, {'state', 'account', 'campaign', 'score', 'customer', 'record', 'telephone'})
  unlist(id, r, r.state)
  Find.each(id, r, Find.take)
  redis.call('ZREM', P .. 'ended:' .. r.state, id)
  redis.call('DEL', recall_key(id))
end

local function purge_recall(id)
  local r = Recall.fields(id, {'account', 'campaign', 'customer'})
  local lane = lane_of(r.account)
  local newest = lane and Newest.get(lane, r.campaign, r.customer)
  if newest and newest.id == id then redis.call('HDEL', Newest.key(lane), Newest.field(r.campaign, r.customer)) end
  Recall.remove(id)
end

-- The trace of a cancel goes when it is old: as long as it is there, an older request stays cancelled.
local function fade(member)
  local account, field = string.match(member, '^(%Z*)%z(.*)$')
  local lane = lane_of(account)
  local text = lane and redis.call('HGET', Newest.key(lane), field)
  local newest = text and Newest.read(text)
  if newest and newest.kind == 'c' and newest.id == account then redis.call('HDEL', Newest.key(lane), field) end
  redis.call('ZREM', P .. 'fading', member)
end

-- Removes what is older than `before` says, which has a ms for each of "parked", "fading", "jobs" and the states
-- that are ends. At most `limit` in all, so that no lane is held up for long.
local function purge(before, limit)
  local removers, gone = {parked = Parked.forget, fading = fade, jobs = forget_job}, 0
  for kind, ms in pairs(before) do
    local index = removers[kind] and kind or 'ended:' .. kind
    local members = redis.call('ZRANGEBYSCORE', P .. index, '-inf', '(' .. ms, 'LIMIT', 0, limit - gone)
    for _, member in ipairs(members) do (removers[kind] or purge_recall)(member) end
    gone = gone + #members
  end
  return gone
end
