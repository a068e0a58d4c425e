-- Where recalls are found by what people know of them. Members end with the recall's id, so that those of
-- one customer lie in order of arrival; a bucket is small, so that the store keeps it packed.
local Find = {}

local BUCKETS = 16384   -- a million recalls fill each with sixty

-- By a text as a whole: a customer ("c") or a record of the CRM ("r"). Gives key and prefix.
function Find.text(kind, text)
  local digest = redis.sha1hex(text)
  return P .. 'find:' .. kind .. ':' .. tonumber(string.sub(digest, 1, 8), 16) % BUCKETS, string.sub(digest, 9, 20)
end

-- By the end of a telephone number: its digits from the last to the first, of which four name the bucket.
function Find.number(digits)
  return P .. 'find:t:' .. string.sub(digits, 1, 4), string.sub(digits, 5)
end

function Find.reversed(telephone)
  return string.reverse((string.gsub(telephone, '%D', '')))
end

function Find.put(key, member) redis.call('ZADD', key, 0, member) end

function Find.take(key, member) redis.call('ZREM', key, member) end

-- act: Find.put or Find.take
function Find.each(id, r, act)
  local key, prefix = Find.text('c', r.customer)
  act(key, prefix .. id)
  if r.record then
    key, prefix = Find.text('r', r.record)
    act(key, prefix .. id)
  end
  key, prefix = Find.number(Find.reversed(r.telephone))
  act(key, prefix .. '|' .. id)
end
