-- The bell: a doorbell rung by the store itself, where Celery's queue lies in it. See workers/bell.py.

local Bell = {}

-- True when it was rung. Whoever takes the message from the queue hears of it when it is on disk.
function Bell.ring(lane)
  local hung = redis.call('HMGET', P .. 'meta', 'bell_queue', 'bell')
  if not hung[1] then return false end
  local name = string.sub(redis.sha1hex(lane .. '|' .. now .. '|' .. History.tick), 1, 32)
  local message = string.gsub(string.gsub(hung[2], '<lane>', lane), '<ring>', name)
  redis.call('LPUSH', hung[1], message)
  count('doorbells:rung')
  return true
end
