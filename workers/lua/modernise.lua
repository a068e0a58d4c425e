-- Recalls of 0.1.0, which are brought into this layout when they are met.

-- Up to 0.1.0 a recall kept some fields as JSON, and was in other indexes. True when it was such a one.
function Recall.modernise(id)
  local r = Recall.fields(id, {'doc', 'state', 'account', 'campaign', 'customer', 'score', 'ended'})
  if not r.doc then return false end
  local doc = cjson.decode(r.doc)
  r.telephone = doc.recall_telephone
  redis.call('HDEL', recall_key(id), 'doc')
  redis.call('HSET', recall_key(id), 'telephone', doc.recall_telephone, 'asked', doc.requested_date,
    'source', doc.source, 'delivery', doc.delivery)
  if doc.route ~= cjson.null then redis.call('HSET', recall_key(id), 'route', doc.route) end
  redis.call('DEL', P .. 'customer:' .. r.customer)
  Find.each(id, r, Find.put)
  if r.ended then
    redis.call('ZREM', P .. 'ended', id)
    redis.call('ZADD', P .. 'ended:' .. r.state, r.ended, id)
  else
    Calendar.count(r, 1)
  end
  return true
end
