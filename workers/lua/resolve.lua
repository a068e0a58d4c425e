-- What becomes of events that waited: looked up, mapped anew, or put off again.

-- Pending lookups of one source that are due, at most `most` events' worth; each is leased for a while.
local function take_lookups(source, most, lease_ms)
  local out, events = {}, 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'lookups:' .. source, '-inf', now, 'LIMIT', 0, most)) do
    if events >= most then break end
    open_full_store()
    local l = hash(P .. 'lookup:' .. id)
    local _, inside = string.gsub(l.events, '"lookup_id"', '')
    events = events + inside
    Lookups.due(source, id, now + lease_ms)
    l.id, l.tries = id, redis.call('HINCRBY', P .. 'lookup:' .. id, 'tries', 1)
    out[#out + 1] = cjson.encode(l)
  end
  return out
end

local function postpone_lookup(id, wait_ms, reason)
  local source = redis.call('HGET', P .. 'lookup:' .. id, 'source')
  if not source then return 0 end
  open_full_store()
  Lookups.due(source, id, now + wait_ms)
  redis.call('HSET', P .. 'lookup:' .. id, 'reason', reason)
  return 1
end

-- An event that still cannot be mapped, perhaps for another reason than before. It keeps its place in time.
local function repark(e, id)
  local at = redis.call('HGET', P .. 'parked:' .. id, 'at')
  if not at then return 0 end
  Parked.leave_group(id)
  Parked.give_reason(e, id, at)
  return 1
end

-- Writes into a delivery that is still kept what its waiting events have become, in their order.
local function retell(delivery, from, done)
  local key, place, told = P .. 'delivery:' .. delivery, 0, {}
  local text = redis.call('HGET', key, 'became')
  if not text then return end
  for word in string.gmatch(text, '[^,]+') do
    if word == (from.parked or 'pending') and place < #done.became then
      place = place + 1
      word = done.became[place]
    end
    told[#told + 1] = word
  end
  redis.call('HSET', key, 'became', join(told))
end

-- What a looked-up, or remapped, event turned out to be takes the place of what it was.
local function resolve(delivery, from)
  if from.lookup and redis.call('EXISTS', P .. 'lookup:' .. from.lookup) == 0 then return {'gone', '', {}, ''} end
  if from.parked and redis.call('EXISTS', P .. 'parked:' .. from.parked) == 0 then return {'gone', '', {}, ''} end
  if unbound(delivery.events) then return {'unbound', '', {}, ''} end
  Admit.refuse_when_full()
  for _, e in ipairs(delivery.events) do
    if e.k ~= '' then
      local left = redis.call('PTTL', P .. 'seen:' .. e.k)
      if left > 0 then e.ttl = left end
      -- Who sends the delivery again gets the answer that it got, as long as its configuration holds.
      e.answer = from.lookup and (seen(e.k) or {}).answer
      redis.call('DEL', P .. 'seen:' .. e.k)
    end
  end
  local done, lanes = new_done(), {}
  for _, e in ipairs(delivery.events) do admit_event(e, done, delivery, lanes) end
  if not delivery.last then number_events(delivery) end
  if from.lookup then Lookups.forget(from.lookup) end
  if from.parked then Parked.forget(from.parked) end
  retell(delivery.id, from, done)
  return {'new', answer_line(delivery, done), wake_ups(lanes), #done.waiting > 0 and Lookups.keep(delivery, done) or ''}
end
