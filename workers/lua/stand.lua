-- How accounts stand, many in one step: what workers/desk.py makes its views of.

local STOOD = {
  'stopped', 'gone', 'paused', 'paused_until', 'wait', 'wait_reason', 'quiet', 'lease', 'lease_ms', 'inflight',
  'rung', 'rings', 'day', 'pushed',
}

-- Gives of each account: the fields above of its lane, how many are queued and dead, ms of the oldest queued one's
-- arrival; what is not there is "".
local function stand(names)
  local out = {}
  for i, name in ipairs(names) do
    local lane, queued = redis.call('HGET', P .. 'accounts', name), P .. 'of:' .. name .. ':queued'
    local told = redis.call('HMGET', P .. 'lane:' .. (lane or ''), unpack(STOOD))
    for place = 1, #STOOD do told[place] = told[place] or '' end
    local oldest = redis.call('ZRANGE', queued, 0, 0)[1]
    told[#STOOD + 1] = redis.call('ZCARD', queued)
    told[#STOOD + 2] = redis.call('ZCARD', P .. 'of:' .. name .. ':dead')
    told[#STOOD + 3] = oldest and redis.call('HGET', P .. 'recall:' .. oldest, 'created') or ''
    out[i] = told
  end
  return {now, History.held, out}
end
