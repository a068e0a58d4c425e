-- A recall under a push: what is recorded of it.

-- One recall is being pushed per lane, so this index is small and the others need not move.
function Recall.set_pushing(id)
  redis.call('HSET', recall_key(id), 'state', 'pushing')
  redis.call('ZADD', P .. 'in:pushing', 0, id)
end

function Recall.set_queued(id)
  redis.call('HSET', recall_key(id), 'state', 'queued')
  redis.call('ZREM', P .. 'in:pushing', id)
end

-- Of the latest attempt the whole answer is kept, of those before it what their lines say.
function Recall.add_attempt(id, line, answer)
  local kept = redis.call('HGET', recall_key(id), 'attempts')
  if answer then
    redis.call('HSET', recall_key(id), 'answer', answer)
  elseif kept then
    redis.call('HDEL', recall_key(id), 'answer')
  end
  if not kept then
    redis.call('HSET', recall_key(id), 'attempts', line)
    return
  end
  local _, lines = string.gsub(kept, '\n', '\n')
  if lines + 1 >= ATTEMPTS then kept = string.gsub(kept, '^[^\n]*\n', '', 1) end
  redis.call('HSET', recall_key(id), 'attempts', kept .. '\n' .. line)
end
