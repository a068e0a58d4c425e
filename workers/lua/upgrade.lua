-- Recalls of 0.1.0 that nothing meets: all are brought into the present layout, a few at a time.

local LAYOUT = '2'

-- Brings recalls of 0.1.0 into the present layout, a bounded number. Gives how many it looked at; 0 when
-- all are done. Ids sort by arrival, so those that come meanwhile lie behind.
local function upgrade(limit)
  local meta = redis.call('HMGET', P .. 'meta', 'layout', 'upgraded')
  if meta[1] == LAYOUT then return 0 end
  local ended = redis.call('ZRANGE', P .. 'ended', 0, limit - 1)
  local after = meta[2] and '(' .. meta[2] or '-'
  local queued = redis.call('ZRANGEBYLEX', P .. 'in:queued', after, '+', 'LIMIT', 0, limit)
  for _, ids in ipairs({ended, queued}) do
    for _, id in ipairs(ids) do Recall.modernise(id) end
  end
  if #queued > 0 then redis.call('HSET', P .. 'meta', 'upgraded', queued[#queued]) end
  if #ended + #queued == 0 then redis.call('HSET', P .. 'meta', 'layout', LAYOUT) end
  return #ended + #queued
end
