-- Admission: stores the results of a delivery, all or none, in one step.
--
-- A full store refuses the first write of `admit` and `resolve`, so nothing is stored in part.

local Admit = {}

if is_command('admit', 'resolve', 'bind') then
  local HOUR = 3600000
  local LATEST = 50           -- the latest recalls of a customer among which the one in wolkvox is looked for
  local SAME_BODY = 600000    -- ms within which a repeated body is the same request, even with another computed date

  local numbers = {last = 0, left = 0}

  -- Raise the revision, and reserve numbers for the events, in one write: for all events of the delivery, and for those
  -- of later deliveries of this run. Unused numbers do no harm.
  local function reserve_numbers(delivery)
    local many = #delivery.events
    if numbers.left < many then
      local more = math.max(many, CALLS)
      local revision, arrivals = Epoch.revision + 1, Epoch.arrivals + more
      redis.call('HSET', P .. 'store', 'revision', revision, 'seq', arrivals)
      numbers.last, numbers.left = Epoch.arrivals, more
      Epoch.revision, Epoch.arrivals = revision, arrivals
    end
    delivery.last = numbers.last
    numbers.last, numbers.left = numbers.last + many, numbers.left - many
  end

  local function next_arrival(delivery)
    if not delivery.last then reserve_numbers(delivery) end
    delivery.last = delivery.last + 1
    return letters(delivery.last) .. delivery.suffix
  end

  local function add_field(fields, name, value)
    if not value or value == '' then return end
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end

  -- Record on a recall that an operator requested it again.
  local function link_again(old, id)
    local earlier = Recall.fields(old, {'state', 'again_by'})
    if not earlier.state then return end
    redis.call('HSET', recall_key(old), 'again_by', (earlier.again_by and earlier.again_by .. ',' or '') .. id)
  end

  -- Create a recall in its first state. e: a recall request without the fields that have a default value.
  local function create(id, e, delivery)
    local state, reason = e.state or 'queued', e.reason or 'admitted'
    local fields = {
      'state', state, 'reason', reason, 'created', now, 'changes', now .. '\t' .. state .. '\t' .. reason,
      'account', e.account, 'campaign', e.campaign, 'customer', e.customer, 'version', e.version, 'score', e.score,
      'date', e.date, 'requested', e.requested or e.date, 'telephone', e.telephone, 'source', delivery.source, 'delivery', delivery.id,
    }
    if e.record == e.customer then e.record = nil end
    add_field(fields, 'record', e.record)
    add_field(fields, 'route', e.route)
    add_field(fields, 'place', e.place)
    add_field(fields, 'notes', e.notes)
    add_field(fields, 'proof', delivery.proof)
    add_field(fields, 'digest', string.sub(delivery.digest, 1, 8))
    add_field(fields, 'again_of', e.again_of)
    redis.call('HSET', recall_key(id), unpack(fields))
    if e.again_of then link_again(e.again_of, id) end
    list(id, e, state)
    Find.each(id, e, Find.put)
    if state ~= 'queued' then Recall.set_ended(id, state) end
  end

  local function may_be_in_wolkvox(state) return state == 'accepted' or state == 'pushing' end

  -- Return the id of the customer's latest recall that is accepted or being pushed, or nil. Used when the newest
  -- request is a cancellation, whose record does not hold that id. id: the new recall
  local function latest_in_wolkvox(queue, e, id)
    local key, prefix = Find.text('c', e.customer)
    local found = redis.call('ZREVRANGEBYLEX', key, '(' .. prefix .. id, '[' .. prefix, 'LIMIT', 0, LATEST)
    for _, member in ipairs(found) do
      local older = string.sub(member, #prefix + 1)
      local r = Recall.fields(older, {'state', 'account', 'campaign', 'customer'})
      local same = r.campaign == e.campaign and r.customer == e.customer and queue_of(r.account) == queue
      if same and may_be_in_wolkvox(r.state) then return older end
    end
  end

  -- Record in the new recall which earlier recall of the customer is accepted or being pushed.
  -- newest: the newest request before this one
  local function note_replaced(id, e, queue, newest)
    local replaced
    if newest.kind == 'r' then
      local r = Recall.fields(newest.id, {'state', 'replaces'})
      replaced = may_be_in_wolkvox(r.state) and newest.id or r.replaces
    else
      replaced = latest_in_wolkvox(queue, e, id)
    end
    if replaced then redis.call('HSET', recall_key(id), 'replaces', replaced) end
  end

  function Admit.recall(e, id, delivery, queues)
    local queue, ends = queue_of(e.account), e.state and e.state ~= 'queued'
    create(id, e, delivery)
    count('admitted')
    local newest = Newest.get(queue, e.campaign, e.customer)
    if newest and newest.version > e.version then
      if ends then return end
      return Recall.become(id, Newest.state_of_older(newest))
    end
    if newest then note_replaced(id, e, queue, newest) end
    if newest then Admit.end_queued(queue, newest.id, 'superseded', 'a newer request: ' .. id) end
    Newest.set(queue, e.campaign, e.customer, e.version, id, 'r')
    if ends then
      queues[queue] = 'less'
      return
    end
    redis.call('ZADD', P .. 'queue:' .. queue .. ':recalls', e.score, id)
    queues[queue] = queues[queue] or 'more'
  end

  -- Return the record of an event that was admitted before, {digest, what, id, fingerprint, answer}, or nil. It has an
  -- answer if it was the only event of its delivery.
  local function seen(key)
    local text = key ~= '' and redis.call('GET', P .. 'seen:' .. key)
    if not text then return nil end
    local digest, what, id, fingerprint, answer = string.match(text, '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|?(.*)$')
    return {digest = digest, what = what, id = id, fingerprint = fingerprint, answer = answer ~= '' and answer or nil}
  end

  local function remember(e, digest, what, id)
    if e.k == '' then return end
    local text = digest .. '|' .. what .. '|' .. id .. '|' .. (e.fingerprint or '')
    if e.answer then text = text .. '|' .. e.answer end
    redis.call('SET', P .. 'seen:' .. e.k, text, 'PX', e.ttl)
  end

  -- Add the result of an event. `results` lists the results of all events; it is stored with the delivery.
  local function add_result(done, what, id)
    done.results[#done.results + 1] = (what == 'recall' or what == 'parked') and id or what
    if what == 'recall' then done.recalls[#done.recalls + 1] = id
    elseif done[what] then done[what] = done[what] + 1 end
  end

  -- Return the newest request of the customer and campaign of an event or recall, or nil.
  local function newest_of(r)
    local queue = r.account and queue_of(r.account)
    return queue and Newest.get(queue, r.campaign, r.customer)
  end

  -- Return whether an event without an id equals the newest request of its customer and campaign.
  local function equals_newest(e, old)
    local newest = newest_of(e)
    if not newest or old.what ~= e.what then return false end
    if e.what == 'cancel' then return newest.kind == 'c' and newest.version == tonumber(old.id) end
    if newest.kind ~= 'r' or newest.id ~= old.id then return false end
    local r = Recall.fields(old.id, {'created', 'requested'})
    return r.requested == (e.requested or e.date) or (tonumber(r.created) or 0) > now - SAME_BODY
  end

  -- A dismissed event waits no longer, so its body is a new request.
  local function still_parked(old, delivery)
    return old.what == 'parked' and old.digest == delivery.digest and redis.call('ZSCORE', P .. 'parked', old.id)
  end

  -- Return whether a recall is the newest request of its customer and campaign.
  local function is_newest(id)
    local newest = newest_of(Recall.fields(id, {'account', 'campaign', 'customer'}))
    return newest and newest.kind == 'r' and newest.id == id
  end

  -- Detect duplicates among the events without an id. If a delivery has several events of a customer, the last one
  -- decides for all of them, because only that one can be the newest request.
  local function find_duplicates(delivery)
    local last = {}
    for i = #delivery.events, 1, -1 do
      local e = delivery.events[i]
      local old = e.by_body and seen(e.k)
      if e.by_body then e.is_new = not old end
      -- A body whose recall is the newest request stays a duplicate when the configuration no longer maps it.
      if old and e.what == 'parked' then
        e.duplicate = still_parked(old, delivery) or (old.what == 'recall' and is_newest(old.id))
      end
      if e.what == 'recall' or e.what == 'cancel' then
        local customer = e.account .. '\0' .. Newest.field(e.campaign, e.customer)
        if last[customer] == nil then last[customer] = old and equals_newest(e, old) or false end
        e.duplicate = old and last[customer]
      end
    end
  end

  -- Return the record of an event that was admitted before, else nil. A parked event with an id counts as new after a
  -- change of the configuration.
  local function duplicate_of(e, delivery)
    if e.is_new or (e.by_body and not e.duplicate) then return nil end
    local old = seen(e.k)
    if old and old.what == 'parked' and old.digest ~= delivery.digest then return nil end
    return old
  end

  -- Add the result of an event that was admitted before. Return true if there was one. The place of a parked event is
  -- taken by what follows from it now.
  local function admitted_before(e, done, delivery)
    local old = duplicate_of(e, delivery)
    if not old then
      old = not e.is_new and seen(e.k)
      if old and old.what == 'parked' then
        Admit.refuse_when_full()
        Parked.forget(old.id)
      end
      return false
    end
    Admit.renew_parked(e, old, delivery)
    add_result(done, old.what, old.id)
    done.repeated = done.repeated + 1
    return true
  end

  -- lookup: the event waited for this lookup and has been counted as pending.
  local function admit_event(e, done, delivery, queues, lookup)
    if admitted_before(e, done, delivery) then return end
    local routed = e.route and e.route ~= '' and ':' .. e.route or ''
    if not (lookup and e.what == 'pending') then count('events:' .. delivery.source .. ':' .. e.what .. routed) end
    if e.what == 'ignored' then return add_result(done, 'ignored') end
    local id = next_arrival(delivery)
    if e.what == 'recall' then
      id = 'rc_' .. id
      Admit.recall(e, id, delivery, queues)
    elseif e.what == 'cancel' then
      id = e.version
      Admit.cancel(e, done, queues)
    elseif e.what == 'parked' then
      id = 'pk_' .. id
      Parked.keep(e, id, delivery)
    elseif e.what == 'pending' then
      done.waiting[#done.waiting + 1] = e.event
      id = delivery.id
    end
    add_result(done, e.what, id)
    e.id = id
    if e ~= delivery.alone then remember(e, delivery.digest, e.what, id) end
  end

  local function join(list) return table.concat(list, ',') end

  local function answer_line(delivery, done)
    done.counts = done.ignored .. ';' .. done.parked .. ';' .. done.pending
    return delivery.id .. ';' .. join(done.recalls) .. ';' .. done.counts .. ';' .. join(done.cancelled) .. ';' .. join(done.too_late)
  end

  -- Return whether the queue will be drained anyway, by a published wake-up or by the sweep. A queue with work is
  -- always in `due`.
  local function will_be_drained(queue)
    local at = tonumber(redis.call('ZSCORE', P .. 'due', queue))
    return at and (at > now or (tonumber(redis.call('HGET', P .. 'queue:' .. queue, 'wake_up_at')) or 0) > 0)
  end

  -- Return the wake-ups to publish. queues: queue -> "more" or "less", the change of its work
  local function wake_ups(queues)
    local out = {}
    for id, change in pairs(queues) do
      if change == 'less' or not will_be_drained(id) then Queue.wake(Queue.load(id), out) end
    end
    return out
  end

  local function store_raw(delivery, raw, done)
    if delivery.raw_ms == 0 or not raw or raw == '' then return end
    local key = P .. 'delivery:' .. delivery.id
    redis.call('HSET', key, 'source', delivery.source, 'received', delivery.received, 'headers', delivery.headers,
      'proof', delivery.proof or '', 'body', raw, 'results', join(done.results))
    redis.call('PEXPIRE', key, delivery.raw_ms)
  end

  local function new_results()
    return {recalls = {}, ignored = 0, parked = 0, pending = 0, cancelled = {}, too_late = {}, waiting = {},
      repeated = 0, cancel = false, results = {}}
  end

  -- Return whether an account has no queue yet. Nothing has been written; the caller binds it and tries again.
  local function unbound(events)
    for _, e in ipairs(events) do
      if (e.what == 'recall' or e.what == 'cancel') and not queue_of(e.account) then return true end
    end
    return false
  end

  -- Return whether an Idempotency-Key was used for another request.
  local function clash(events)
    for _, e in ipairs(events) do
      local old = e.fingerprint and seen(e.k)
      if old and old.fingerprint ~= e.fingerprint then return true end
    end
    return false
  end

  local expiring_logs = {}

  -- Set the expiry of a log unless it is correct to within an hour, which saves a write for each delivery.
  local function set_expiry(key, ms)
    if expiring_logs[key] then return end
    local left = redis.call('PTTL', key)
    if left < ms - HOUR or left > ms then redis.pcall('PEXPIRE', key, ms) end
    expiring_logs[key] = true
  end

  -- Log a delivery. The store may refuse this write without an effect on the answer to the sender.
  function Admit.list(delivery, id, results)
    local key = P .. 'arrivals:' .. delivery.source
    redis.pcall('XADD', key, 'MAXLEN', '~', ARRIVALS, '*', 'd', id, 'w', results)
    set_expiry(key, delivery.listed)
  end

  -- Return the answer to an earlier copy of this delivery, nil if it is new. For a delivery of one event, the answer is
  -- in the event's key.
  local function earlier_answer(delivery)
    local e = delivery.alone
    if e then
      if not e.by_body then e.is_new = not seen(e.k) end
      local known = duplicate_of(e, delivery)
      if known and known.answer then
        Admit.renew_parked(e, known, delivery)
        return known.answer
      end
      if e.is_new then return nil end
    end
    for _, each in ipairs(delivery.events) do
      if each.by_body and not each.duplicate and each.what ~= 'ignored' then return nil end
    end
    local old = delivery.key ~= '' and redis.call('GET', P .. 'answer:' .. delivery.key)
    if not old then return nil end
    local digest, answer = string.match(old, '^([^|]*)|(.*)$')
    if digest ~= '' and digest ~= delivery.digest then return nil end
    for _, each in ipairs(delivery.events) do
      if each.duplicate then Admit.renew_parked(each, seen(each.k), delivery) end
    end
    return answer
  end

  -- The answer to a single event is stored with the event.
  local function remember_answer(delivery, done, answer)
    local e = delivery.alone
    if e and e.id then
      e.answer = answer
      return remember(e, delivery.digest, e.what, e.id)
    end
    -- With parked events the answer is only valid for this configuration.
    local digest = done.parked > 0 and delivery.digest or ''
    redis.call('SET', P .. 'answer:' .. delivery.key, digest .. '|' .. answer, 'PX', delivery.ttl)
  end

  -- delivery: id, key, ttl, source, headers, received, digest, suffix, raw_ms, listed, events
  -- Return {result, answer, wake-ups to publish, source whose lookups need a wake-up}.
  local function admit(delivery, raw)
    local only = #delivery.events == 1 and delivery.events[1]
    delivery.alone = only and delivery.key ~= '' and only.k ~= '' and only or nil
    find_duplicates(delivery)
    local before = earlier_answer(delivery)
    if before then
      if delivery.listed then Admit.list_again(delivery, before) end
      return {'again', before, {}, ''}
    end
    if clash(delivery.events) then return {'clash', '', {}, ''} end
    if unbound(delivery.events) then return {'unbound', '', {}, ''} end
    local done, queues = new_results(), {}
    for _, e in ipairs(delivery.events) do admit_event(e, done, delivery, queues) end
    local stored, repeated = done.ignored < #delivery.events, done.repeated == #delivery.events
    -- Nothing is stored of an ignored delivery, so its id is derived from its content: a copy gets the same id.
    if not stored and delivery.silent then delivery.id = delivery.silent end
    local answer = answer_line(delivery, done)
    local lookup = #done.waiting > 0 and Lookups.keep(delivery, done) or ''
    if stored and not repeated then store_raw(delivery, raw, done) end
    if stored and delivery.key ~= '' then remember_answer(delivery, done, answer) end
    local what = repeated and stored and 'again' or 'new'
    if delivery.listed then
      Admit.list(delivery, delivery.id, what .. ';' .. #done.recalls .. ';' .. done.counts .. ';' .. #done.cancelled .. ';' .. #done.too_late)
    end
    if stored and what == 'new' and not delivery.last then reserve_numbers(delivery) end
    return {what, answer, wake_ups(queues), lookup}
  end

  -- --- repeated deliveries, cancellations and superseded recalls -----------------------------------

  -- A write that takes no memory but that a full store refuses.
  function Admit.refuse_when_full()
    redis.call('HINCRBY', P .. 'store', 'seq', 0)
  end

  -- The time of a parked event without an id is its latest arrival, because other requests may have arrived in between.
  function Admit.renew_parked(e, old, delivery)
    if e.by_body and old.what == 'parked' then redis.call('HSET', P .. 'parked:' .. old.id, 'received', delivery.received) end
  end

  -- Log a repeated delivery with the answer to the first one.
  function Admit.list_again(delivery, answer)
    local function many(ids)
      if ids == '' then return 0 end
      local _, commas = string.gsub(ids, ',', '')
      return commas + 1
    end
    local id, recalls, counts, cancelled, late = string.match(answer, '^([^;]*);([^;]*);([^;]*;[^;]*;[^;]*);([^;]*);([^;]*)$')
    Admit.list(delivery, id, table.concat({'again', many(recalls), counts, many(cancelled), many(late)}, ';'))
  end

  -- End an older recall if it is still queued. Return whether it was queued.
  function Admit.end_queued(queue, id, state, reason)
    if redis.call('ZREM', P .. 'queue:' .. queue .. ':recalls', id) == 0 then return false end
    Recall.become(id, state, reason)
    return true
  end

  -- Cancel the customer's request. A recall that was pushed or is being pushed cannot be cancelled; this is recorded.
  function Admit.cancel(e, done, queues)
    local queue = queue_of(e.account)
    local newest = Newest.get(queue, e.campaign, e.customer)
    if newest and newest.version > e.version then return end
    Newest.set(queue, e.campaign, e.customer, e.version, e.account, 'c')
    redis.call('ZADD', P .. 'cancel_pointers', now, e.account .. '\0' .. Newest.field(e.campaign, e.customer))
    queues[queue] = 'less'
    if not newest or newest.kind ~= 'r' then return end
    if Admit.end_queued(queue, newest.id, 'cancelled', 'taken back by the CRM') then
      done.cancelled[#done.cancelled + 1] = newest.id
      return
    end
    local state = Recall.field(newest.id, 'state')
    if not may_be_in_wolkvox(state) then return end
    done.too_late[#done.too_late + 1] = newest.id
    count('cancel too late')
    local changes = Recall.field(newest.id, 'changes')
    redis.call('HSET', recall_key(newest.id), 'changes',
      changes .. '\n' .. now .. '\t' .. state .. '\ttaken back by the CRM, too late: wolkvox already has it')
  end

  -- The headers are an argument of their own: they are JSON, which would have to be escaped within JSON.
  function COMMANDS.admit(delivery, raw, headers)
    delivery = cjson.decode(delivery)
    delivery.headers = headers
    return admit(delivery, raw)
  end

  -- --- results of events that waited ---------------------------------------------------------------

  -- Update the stored results of a delivery with those of its waiting events, in their order.
  local function update_results(delivery, from, done)
    local key, place, results = P .. 'delivery:' .. delivery, 0, {}
    local text = redis.call('HGET', key, 'results')
    if not text then return end
    for word in string.gmatch(text, '[^,]+') do
      if word == (from.parked or 'pending') and place < #done.results then
        place = place + 1
        word = done.results[place]
      end
      results[#results + 1] = word
    end
    redis.call('HSET', key, 'results', join(results))
  end

  -- Replace a looked-up or remapped event with its result, unless it is gone. A dismissed event is gone, too.
  local function resolve(delivery, from)
    if from.lookup and redis.call('EXISTS', P .. 'lookup:' .. from.lookup) == 0 then return {'gone', '', {}, ''} end
    if from.parked and not redis.call('ZSCORE', P .. 'parked', from.parked) then return {'gone', '', {}, ''} end
    if unbound(delivery.events) then return {'unbound', '', {}, ''} end
    Admit.refuse_when_full()
    for _, e in ipairs(delivery.events) do
      if e.k ~= '' then
        local left, old = redis.call('PTTL', P .. 'seen:' .. e.k), seen(e.k) or {}
        if left > 0 then e.ttl = left end
        -- A repeated delivery gets the same answer while its configuration is unchanged.
        e.answer = from.lookup and old.answer
        -- A copy of an event without an id may have been resolved first.
        if not e.by_body or old.what == 'pending' or old.what == 'parked' then redis.call('DEL', P .. 'seen:' .. e.k) end
      end
    end
    find_duplicates(delivery)
    local done, queues = new_results(), {}
    for _, e in ipairs(delivery.events) do admit_event(e, done, delivery, queues, from.lookup) end
    if not delivery.last then reserve_numbers(delivery) end
    -- Store the new lookup before removing the old one, because a source's failure is cleared when it has no lookup
    -- left.
    local kept = #done.waiting > 0 and Lookups.keep(delivery, done, from.lookup and from) or ''
    if from.lookup then Lookups.forget(from.lookup) end
    if from.parked then Parked.forget(from.parked) end
    update_results(delivery.id, from, done)
    return {'new', answer_line(delivery, done), wake_ups(queues), kept}
  end

  function COMMANDS.resolve(delivery, from, headers)
    delivery = cjson.decode(delivery)
    delivery.headers = headers
    return resolve(delivery, cjson.decode(from))
  end
end
