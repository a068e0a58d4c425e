-- Lookups: events that wait until somebody has asked the CRM for more.

function Lookups.due(source, id, at)
  redis.call('ZADD', P .. 'lookups', at, id)
  redis.call('ZADD', P .. 'lookups:' .. source, at, id)
end

-- Gives the source whose lookups are to be rung for.
function Lookups.keep(delivery, done)
  History.arrivals = redis.call('HINCRBY', P .. 'meta', 'seq', 1)
  local id = 'lk_' .. letters(History.arrivals) .. delivery.suffix
  redis.call('HSET', P .. 'lookup:' .. id, 'source', delivery.source, 'events',
    '[' .. join(done.waiting) .. ']', 'headers', delivery.headers, 'received', delivery.received,
    'proof', delivery.proof or '', 'delivery', delivery.id, 'digest', delivery.digest, 'tries', 0)
  Lookups.due(delivery.source, id, now)
  return delivery.source
end

function Lookups.forget(id)
  local source = redis.call('HGET', P .. 'lookup:' .. id, 'source')
  redis.call('DEL', P .. 'lookup:' .. id)
  redis.call('ZREM', P .. 'lookups', id)
  redis.call('ZREM', P .. 'lookups:' .. source, id)
end
