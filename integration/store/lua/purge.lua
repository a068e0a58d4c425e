-- Removal of old records, in bounded steps, and erasure of a person's data.
--
-- An erasure keeps the time of the customer's newest request, under a keyed hash of the customer, because an older
-- request must not be queued later (P4). It is removed at the age at which a cancellation's pointer is removed. Digests
-- of known events (P5) contain no data of the events.

if is_command('purge', 'forget_recall', 'forget_cancel', 'forget_lookup', 'forget_parked', 'forget_job') then
  -- Remove a recall and its index entries.
  function Recall.remove(id)
    local r = Recall.fields(id, {'state', 'account', 'campaign', 'score', 'customer', 'record', 'telephone'})
    unlist(id, r, r.state)
    Find.each(id, r, Find.take)
    redis.call('ZREM', P .. 'ended:' .. r.state, id)
    redis.call('DEL', recall_key(id))
  end

  local function purge_recall(id)
    local r = Recall.fields(id, {'account', 'campaign', 'customer'})
    local queue = queue_of(r.account)
    local newest = queue and Newest.get(queue, r.campaign, r.customer)
    if newest and newest.id == id then redis.call('HDEL', Newest.key(queue), Newest.field(r.campaign, r.customer)) end
    Recall.remove(id)
  end

  -- Remove the old pointer of a cancellation. Until then an older request stays cancelled.
  local function remove_cancel_pointer(member)
    local account, field = string.match(member, '^(%Z*)%z(.*)$')
    local queue = queue_of(account)
    local text = queue and redis.call('HGET', Newest.key(queue), field)
    local newest = text and Newest.read(text)
    if newest and newest.kind == 'c' and newest.id == account then redis.call('HDEL', Newest.key(queue), field) end
    redis.call('ZREM', P .. 'cancel_pointers', member)
  end

  -- Remove records older than `before`, which has a time in ms for each of "parked", "dismissed", "cancel_pointers",
  -- "jobs" and the final states. Remove at most `limit` in all, so that no queue is delayed for long.
  local function purge(before, limit)
    local removers = {parked = Parked.forget, dismissed = Parked.forget, cancel_pointers = remove_cancel_pointer,
      jobs = Job.forget}
    local removed = 0
    for kind, ms in pairs(before) do
      local index = removers[kind] and kind or 'ended:' .. kind
      local members = redis.call('ZRANGEBYSCORE', P .. index, '-inf', '(' .. ms, 'LIMIT', 0, limit - removed)
      for _, member in ipairs(members) do (removers[kind] or purge_recall)(member) end
      removed = removed + #members
    end
    return removed
  end

  function COMMANDS.purge(before, limit) return purge(cjson.decode(before), tonumber(limit)) end

  -- --- erasure ------------------------------------------------------------------------------------

  local Forget = {}

  function Forget.leave_tombstone(queue, account, campaign, customer, version, keep_ms)
    local field = Newest.tombstone(campaign, customer)
    local text = redis.call('HGET', Newest.key(queue), field)
    if text and Newest.read(text).version >= version then return end
    redis.call('HSET', Newest.key(queue), field, version .. '|' .. account .. '|c')
    redis.call('ZADD', P .. 'cancel_pointers', now, account .. '\0' .. field)
    redis.call('SET', P .. 'tombstones', 1, 'PX', keep_ms)
  end

  -- Replace the newest pointer of a customer with a tombstone, if it points to this recall.
  function Forget.newest(queue, account, campaign, customer, id, keep_ms)
    local field = Newest.field(campaign, customer)
    local text = redis.call('HGET', Newest.key(queue), field)
    local newest = text and Newest.read(text)
    if not newest or newest.id ~= id then return end
    redis.call('HDEL', Newest.key(queue), field)
    Forget.leave_tombstone(queue, account, campaign, customer, newest.version, keep_ms)
  end

  -- Remove a recall, its index entries, its delivery and its newest pointer. Return "pushing" if nothing was done.
  function Forget.recall(id, keep_ms)
    local r = Recall.fields(id, {'state', 'account', 'campaign', 'customer', 'delivery'})
    if not r.state then return 'gone' end
    if r.state == 'pushing' then return 'pushing' end
    allow_on_full_store()
    local q = Queue.load(queue_of(r.account))
    redis.call('ZREM', q.recalls, id)
    Forget.newest(q.id, r.account, r.campaign, r.customer, id, keep_ms)
    Recall.remove(id)
    Epoch.next_revision()
    if r.delivery then redis.call('DEL', P .. 'delivery:' .. r.delivery) end
    Queue.schedule(q)
    return 'done'
  end

  -- Replace the pointer of a cancellation with a tombstone. field: campaign NUL customer
  function Forget.cancel(queue, field, keep_ms)
    local text = redis.call('HGET', Newest.key(queue), field)
    if not text then return 0 end
    local newest = Newest.read(text)
    if newest.kind ~= 'c' then return 0 end
    local campaign, customer = string.match(field, '^(%Z*)%z(.*)$')
    redis.call('HDEL', Newest.key(queue), field)
    redis.call('ZREM', P .. 'cancel_pointers', newest.id .. '\0' .. field)
    Forget.leave_tombstone(queue, newest.id, campaign, customer, newest.version, keep_ms)
    return 1
  end

  -- events: the remaining events, JSON; "[]" for none
  function Forget.lookup(id, events)
    if redis.call('EXISTS', P .. 'lookup:' .. id) == 0 then return 0 end
    allow_on_full_store()
    if events == '[]' then
      Lookups.forget(id)
    else
      redis.call('HSET', P .. 'lookup:' .. id, 'events', events)
      Lookups.resize(id, #cjson.decode(events))
    end
    return 1
  end

  function COMMANDS.forget_recall(id, keep_ms) return Forget.recall(id, keep_ms) end

  function COMMANDS.forget_cancel(queue, field, keep_ms)
    allow_on_full_store()
    return Forget.cancel(queue, field, keep_ms)
  end

  function COMMANDS.forget_lookup(id, events) return Forget.lookup(id, events) end

  function COMMANDS.forget_parked(id)
    allow_on_full_store()
    Parked.forget(id)
    return 1
  end

  function COMMANDS.forget_job(id)
    allow_on_full_store()
    Job.forget(id)
    return 1
  end
end
