-- Parked events: what could not be mapped, with the reason, until somebody has mended the configuration.

-- Those that wait for the same reason are a group, so that a hundred thousand are one line to look at.
local function join_group(group, about, id, at)
  redis.call('HSET', P .. 'parked_groups', group, about)
  redis.call('ZADD', P .. 'parked_in:' .. group, at, id)
end

function Parked.leave_group(id)
  local group = redis.call('HGET', P .. 'parked:' .. id, 'group')
  if not group then return end
  redis.call('ZREM', P .. 'parked_in:' .. group, id)
  if redis.call('EXISTS', P .. 'parked_in:' .. group) == 0 then redis.call('HDEL', P .. 'parked_groups', group) end
end

function Parked.give_reason(e, id, at)
  redis.call('HSET', P .. 'parked:' .. id, 'route', e.route, 'account', e.account, 'field', e.field,
    'found', e.found, 'allowed', e.allowed, 'group', e.group)
  join_group(e.group, e.about, id, at)
end

function Parked.keep(e, id, delivery)
  redis.call('HSET', P .. 'parked:' .. id, 'source', delivery.source, 'event', e.event, 'headers', delivery.headers,
    'proof', delivery.proof or '', 'delivery', delivery.id, 'received', delivery.received, 'at', now, 'digest', delivery.digest, 'seen', e.k)
  Parked.give_reason(e, id, now)
  redis.call('ZADD', P .. 'parked', now, id)
end

function Parked.forget(id)
  Parked.leave_group(id)
  redis.call('DEL', P .. 'parked:' .. id)
  redis.call('ZREM', P .. 'parked', id)
end
