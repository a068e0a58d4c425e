-- A drain of a queue: the changes of acquire, claim and finish, each atomic.

if is_command('acquire', 'finish', 'sweep', 'begin_test_call', 'bind') then
  -- --- the record of a recall that is being pushed -------------------------------------------------

  -- At most one recall of a queue is being pushed, so this index is small. The other indexes stay as they are.
  function Recall.set_pushing(id)
    redis.call('HSET', recall_key(id), 'state', 'pushing')
    redis.call('ZADD', P .. 'in:pushing', 0, id)
  end

  function Recall.set_queued(id)
    redis.call('HSET', recall_key(id), 'state', 'queued')
    redis.call('ZREM', P .. 'in:pushing', id)
  end

  -- Whole answers are kept for the first and for the latest attempts. words: digest of the answer's text
  function Recall.add_attempt(id, line, answer, words)
    local key = recall_key(id)
    local number = redis.call('HINCRBY', key, 'tries', 1)
    if answer then redis.call('HSET', key, 'answer:' .. number, answer) end
    local old = number - LATEST_ANSWERS
    if old > FIRST_ANSWERS then redis.call('HDEL', key, 'answer:' .. old) end
    if words then redis.call('HSET', key, 'words', words) else redis.call('HDEL', key, 'words') end
    local earlier = redis.call('HGET', key, 'attempts')
    if not earlier then
      redis.call('HSET', key, 'attempts', line)
      return
    end
    local _, lines = string.gsub(earlier, '\n', '\n')
    if lines + 1 >= ATTEMPTS then earlier = string.gsub(earlier, '^[^\n]*\n', '', 1) end
    redis.call('HSET', key, 'attempts', earlier .. '\n' .. line)
  end

  -- --- the drain ----------------------------------------------------------------------------------

  -- Return the next recall: the one that made the queue wait, otherwise the earliest that is not set aside.
  function Queue.pick(q)
    local aside, first = Queue.get(q, 'aside'), Queue.get(q, 'first')
    if aside ~= '' and not redis.call('ZSCORE', q.recalls, aside) then aside = '' end
    local id = first
    if first == '' or not redis.call('ZSCORE', q.recalls, first) then
      local heads = redis.call('ZRANGE', q.recalls, 0, 1)
      id = heads[1]
      if id and id == aside then id = heads[2] or aside end
    end
    if id == aside then aside = '' end
    Queue.set(q, 'aside', aside)
    Queue.set(q, 'first', '')
    Queue.set(q, 'probing', aside ~= '' and '1' or '')
    return id
  end

  -- The fields of a recall that a worker needs. Attempts are left out, because they may be large.
  local CLAIM_FIELDS = {'account', 'campaign', 'customer', 'telephone', 'date', 'strikes', 'rounds', 'crashes'}

  function Queue.push_reply(q)
    local id = Queue.get(q, 'inflight')
    local r = Recall.fields(id, CLAIM_FIELDS)
    r.id = id
    return cjson.encode({kind = 'push', fence = Queue.num(q, 'fence'), history = Queue.get(q, 'history'), recall = r})
  end

  function Queue.reply(q, kind, reason, at)
    local text = cjson.encode({kind = kind, fence = Queue.num(q, 'fence'), reason = reason or '', ['until'] = at or 0})
    Queue.set(q, 'reply', text)
    return text
  end

  -- terms: lease_ms, quiet_ms, daily_limit (or nil), day, day_ends (ms)
  --
  -- Days are named by the workers' clocks, which may differ. A worker whose clock is behind must not restart the count
  -- of the previous day. A day set by a clock that was days ahead must not block the workers whose clocks are right.
  function Queue.count_day(q, terms)
    local day = Queue.get(q, 'day')
    if terms.day <= day and Queue.num(q, 'day_ends') <= terms.day_ends + LONGEST then return end
    if terms.day ~= day then Queue.set(q, 'pushed', 0) end
    Queue.set(q, 'day', terms.day)
    Queue.set(q, 'day_ends', terms.day_ends)
  end

  function Queue.blocked(q, terms)
    if Queue.stopped(q) ~= '' then return 'stopped', Queue.stopped(q) end
    local paused = Queue.paused_until(q)
    if paused ~= 0 then return 'paused', Queue.get(q, 'paused'), paused end
    local held = Epoch.held_until(terms.lease_ms)
    if held > now then return 'wait', 'the store lost data, so calls that it has no record of may be running', held end
    if Queue.num(q, 'quiet') > now then return 'wait', 'quiet', Queue.num(q, 'quiet') end
    if Queue.num(q, 'wait') > now then return 'wait', Queue.get(q, 'wait_reason'), Queue.num(q, 'wait') end
    if terms.daily_limit and Queue.num(q, 'pushed') >= terms.daily_limit then
      Queue.wait_until(q, Queue.bounded(terms.day_ends), 'the daily limit is used up')
      return 'wait', Queue.get(q, 'wait_reason'), Queue.num(q, 'wait')
    end
    local settling = Epoch.settling()
    if settling > now then return 'wait', 'the store has just been started', settling end
  end

  function Queue.claim(q, terms)
    Queue.set(q, 'lease_ms', terms.lease_ms)
    Queue.set(q, 'quiet_ms', terms.quiet_ms)
    Queue.count_day(q, terms)
    local kind, reason, at = Queue.blocked(q, terms)
    if kind then return Queue.reply(q, kind, reason, at) end
    local id = Queue.pick(q)
    if not id then return Queue.reply(q, 'empty') end
    redis.call('ZREM', q.recalls, id)
    Queue.set(q, 'inflight', id)
    Queue.set(q, 'lease', now + terms.lease_ms)
    Queue.set(q, 'reply', 'push')
    Recall.set_pushing(id)
    return Queue.push_reply(q)
  end

  -- Wake-ups are taken roughly in the order of publication, so a much older one was lost.
  function Queue.note_taken(number)
    local latest = tonumber(redis.call('HGET', P .. 'store', 'taken')) or 0
    if number and (number > latest or latest > now) then redis.call('HSET', P .. 'store', 'taken', number) end
  end

  function Queue.acquire(q, nonce, terms, wake_up)
    Queue.clamp(q)
    if Queue.get(q, 'owner') == nonce and Queue.num(q, 'step') == 0 then return Queue.last_reply(q) end
    -- Each wake-up is used for one drain only, even if it was published several times.
    if wake_up ~= '' and wake_up ~= Queue.get(q, 'wake_up_at') then return cjson.encode({kind = 'taken'}) end
    Queue.note_taken(tonumber(wake_up))
    if Queue.get(q, 'inflight') ~= '' and Queue.num(q, 'lease') > now then
      return cjson.encode({kind = 'busy', ['until'] = Queue.num(q, 'lease')})
    end
    if Queue.get(q, 'inflight') ~= '' then Queue.recover(q) end
    Queue.set(q, 'fence', Epoch.next_revision())
    Queue.set(q, 'owner', nonce)
    Queue.set(q, 'step', 0)
    return Queue.claim(q, terms)
  end

  function Queue.last_reply(q)
    if Queue.get(q, 'reply') ~= 'push' then return Queue.get(q, 'reply') end
    if Queue.get(q, 'inflight') == '' then return cjson.encode({kind = 'lost'}) end
    return Queue.push_reply(q)
  end

  -- --- the calendar of accepted recalls ------------------------------------------------------------

  -- Remove the counts of days that are over, when the first recall of a day is accepted.
  function Calendar.remove_old_days(key)
    local today = math.floor(now / Calendar.SLOT / Calendar.SLOTS_OF_DAY)
    if tonumber(redis.call('HGET', key, 'day')) == today then return end
    for _, field in ipairs(redis.call('HKEYS', key)) do
      local slot = tonumber(string.match(field, '^(%d+)%z'))
      if slot and slot < (today - 1) * Calendar.SLOTS_OF_DAY then redis.call('HDEL', key, field) end
    end
    redis.call('HSET', key, 'day', today)
  end

  -- wolkvox has one recall for each customer of a campaign. Remove the count of the one that a recall replaces.
  function Calendar.remove_replaced(id)
    while id do
      local r = Recall.fields(id, {'state', 'account', 'campaign', 'score', 'replaces'})
      if r.state == 'accepted' then
        local key, field = Calendar.place('accepted_calendar', r)
        if redis.call('HEXISTS', key, field) == 1 then Calendar.count('accepted_calendar', r, -1) end
        return
      end
      id = r.replaces
    end
  end

  function Calendar.add_accepted(id)
    local r = Recall.fields(id, {'account', 'campaign', 'score', 'replaces'})
    local key = Calendar.place('accepted_calendar', r)
    Calendar.remove_old_days(key)
    Calendar.remove_replaced(r.replaces)
    Calendar.count('accepted_calendar', r, 1)
    local expires = math.max(tonumber(r.score) - now, 0) + 2 * Calendar.SLOTS_OF_DAY * Calendar.SLOT
    if redis.call('PTTL', key) < expires then redis.call('PEXPIRE', key, expires) end
  end

  local PushResult = {}

  function PushResult.ended(q, id, o)
    if o.passed and Queue.get(q, 'probing') == '1' then Queue.passed(q) end
    if o.date then redis.call('HSET', recall_key(id), 'date', o.date) end
    Recall.become(id, o.state, o.reason)
    if o.state ~= 'accepted' then return end
    if o.date_ms then redis.call('HSET', recall_key(id), 'score', o.date_ms) end
    Calendar.add_accepted(id)
  end

  -- o: kind (ended, again, aside), state, reason, passed (the queue works), counts_against_recall, date, date_ms (the
  --    same date), attempt (JSON line), answer, words, verdict, sent_ms (ms since the request was written, nil if it
  --    was not), quiet, wait_ms, wait_until, wait_reason, stop (reason), history
  function Queue.apply(q, o)
    local id = Queue.get(q, 'inflight')
    Queue.set(q, 'inflight', '')
    if o.attempt then Recall.add_attempt(id, o.attempt, o.answer, o.words) end
    if o.verdict then count('pushes:' .. o.verdict) end
    if o.sent_ms then Queue.set(q, 'pushed', Queue.num(q, 'pushed') + 1) end
    if o.quiet then Queue.set(q, 'quiet', now - math.max(0, o.sent_ms or 0) + Queue.num(q, 'quiet_ms')) end
    PushResult[o.kind](q, id, o)
    if o.history then Queue.set(q, 'history', o.history) end
    if o.stop then Queue.set(q, 'stopped', o.stop) end
    local at = o.wait_until and Queue.bounded(o.wait_until) or (o.wait_ms and now + o.wait_ms)
    if at then Queue.wait_until(q, at, o.wait_reason or o.reason) end
  end

  function Queue.finish(q, fence, step, id, result, more, terms)
    if Queue.num(q, 'fence') ~= fence then return cjson.encode({kind = 'lost'}) end
    if Queue.num(q, 'step') == step then return Queue.last_reply(q) end
    if Queue.num(q, 'step') + 1 ~= step or Queue.get(q, 'inflight') ~= id then return cjson.encode({kind = 'lost'}) end
    Epoch.next_revision()
    Queue.set(q, 'step', step)
    Queue.count_day(q, terms)
    Queue.apply(q, result)
    if more then return Queue.claim(q, terms) end
    return Queue.reply(q, 'released')
  end

  -- wake_up: number of the wake-up that started the drain, "" for none
  function COMMANDS.acquire(queue, nonce, terms, wake_up)
    allow_on_full_store()
    local q = Queue.load(queue)
    local reply = Queue.acquire(q, nonce, cjson.decode(terms), wake_up)
    return {reply, Queue.schedule(q) or 0}
  end

  -- Return whether another queue or a lookup waits for a thread. A leased queue is due much later.
  local function others_wait(queue)
    local due = redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', now + GRACE, 'LIMIT', 0, 2)
    return (due[1] or queue) ~= queue or due[2]
      or #redis.call('ZRANGEBYSCORE', P .. 'lookups', '-inf', now, 'LIMIT', 0, 1) > 0
  end

  -- more: '1' claims the next recall, '0' releases the queue, 'alone' claims it if no other queue waits
  function COMMANDS.finish(queue, fence, step, id, result, more, terms)
    allow_on_full_store()
    local q = Queue.load(queue)
    local on = more == '1' or (more == 'alone' and not others_wait(queue))
    local reply = Queue.finish(q, tonumber(fence), tonumber(step), id, cjson.decode(result), on, cjson.decode(terms))
    return {reply, Queue.schedule(q) or 0}
  end

  -- --- waiting queues, requeued recalls, and drains whose worker died -------------------------------

  -- Return a time given by a worker's clock, which may differ from the store's, within limits: the queue must neither
  -- retry all the time until that clock catches up nor wait for days.
  function Queue.bounded(at)
    return math.max(now + SKEW, math.min(at, now + LONGEST))
  end

  function Queue.wait_until(q, at, reason)
    Queue.set(q, 'wait', math.floor(at))
    Queue.set(q, 'wait_ms', math.max(0, math.floor(at) - now))
    Queue.set(q, 'wait_reason', reason)
  end

  -- Put a recall back at its place in the queue, unless a newer request has superseded it. Return whether it was put
  -- back.
  function Queue.put_back(q, id)
    local state, reason = Newest.superseded(q.id, id)
    if state then
      Recall.become(id, state, reason)
      return false
    end
    Recall.set_queued(id)
    redis.call('ZADD', q.recalls, Recall.field(id, 'score'), id)
    return true
  end

  function Queue.set_aside(q, id)
    redis.call('HSET', recall_key(id), 'strikes', 0, 'crashes', 0)
    Queue.set(q, 'aside', id)
    Queue.set(q, 'first', '')
  end

  -- The drain that held the queue has died. Its call has ended, because the lease is longer than any call.
  function Queue.recover(q)
    local id = Queue.get(q, 'inflight')
    if id == '' then return end
    Queue.set(q, 'inflight', '')
    -- The call may have been sent. It counts, so that the daily limit is never exceeded.
    Queue.set(q, 'pushed', Queue.num(q, 'pushed') + 1)
    if id == TEST_CALL then return end
    Recall.add_attempt(id, cjson.encode({started_at = Queue.num(q, 'lease') - Queue.num(q, 'lease_ms'), outcome = 'worker lost'}))
    count('pushes:worker lost')
    if not Queue.put_back(q, id) then return end
    Queue.set(q, 'first', id)
    if redis.call('HINCRBY', recall_key(id), 'crashes', 1) < CRASHES then return end
    if (tonumber(Recall.field(id, 'rounds')) or 0) < ROUNDS then
      Queue.set_aside(q, id)
    else
      redis.call('ZREM', q.recalls, id)
      Queue.set(q, 'first', '')
      Recall.become(id, 'dead', 'workers died while pushing the recall, and others passed')
    end
  end

  -- A probe got a complete answer: the queue works, and the recall that was set aside is tried next.
  function Queue.passed(q)
    local aside = Queue.get(q, 'aside')
    if not redis.call('ZSCORE', q.recalls, aside) then return end
    redis.call('HINCRBY', recall_key(aside), 'rounds', 1)
    Queue.set(q, 'first', aside)
    Queue.set(q, 'aside', '')
  end

  -- The probe failed as well, so the fault lies with the queue and not with either recall.
  function Queue.clear_strikes(q, id)
    for _, each in ipairs({id, Queue.get(q, 'aside')}) do
      if redis.call('ZSCORE', q.recalls, each) then redis.call('HSET', recall_key(each), 'strikes', 0) end
    end
    Queue.set(q, 'aside', '')
  end

  function PushResult.again(q, id, o)
    if not Queue.put_back(q, id) then return end
    Queue.set(q, 'first', id)
    if not o.counts_against_recall then return end
    if Queue.get(q, 'probing') == '1' then return Queue.clear_strikes(q, id) end
    redis.call('HINCRBY', recall_key(id), 'strikes', 1)
  end

  function PushResult.aside(q, id, o)
    if not Queue.put_back(q, id) then return end
    if Queue.get(q, 'probing') == '1' then
      Queue.set(q, 'first', id)
      return Queue.clear_strikes(q, id)
    end
    Queue.set_aside(q, id)
  end
end
