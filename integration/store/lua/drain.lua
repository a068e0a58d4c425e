-- A drain of a lane: what acquire, claim and finish change in its record, each atomic.

if asked_for('acquire', 'finish', 'sweep', 'lend', 'bind') then
  -- --- a recall under a push: what is recorded of it ----------------------------------------------

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

  -- --- the drain ----------------------------------------------------------------------------------

  -- Which recall goes next: the one that made the lane wait, else the earliest that is not set aside.
  function Lane.pick(l)
    local aside, first = Lane.get(l, 'aside'), Lane.get(l, 'first')
    if aside ~= '' and not redis.call('ZSCORE', l.queue, aside) then aside = '' end
    local id = first
    if first == '' or not redis.call('ZSCORE', l.queue, first) then
      local heads = redis.call('ZRANGE', l.queue, 0, 1)
      id = heads[1]
      if id and id == aside then id = heads[2] or aside end
    end
    if id == aside then aside = '' end
    Lane.set(l, 'aside', aside)
    Lane.set(l, 'first', '')
    Lane.set(l, 'probing', aside ~= '' and '1' or '')
    return id
  end

  -- What a worker is told of a recall: not its attempts, which may be large.
  local TOLD = {'account', 'campaign', 'customer', 'telephone', 'date', 'strikes', 'rounds', 'crashes'}

  function Lane.push_reply(l)
    local id = Lane.get(l, 'inflight')
    local r = Recall.fields(id, TOLD)
    r.id = id
    return cjson.encode({kind = 'push', fence = Lane.num(l, 'fence'), history = Lane.get(l, 'history'), recall = r})
  end

  function Lane.reply(l, kind, reason, at)
    local text = cjson.encode({kind = kind, fence = Lane.num(l, 'fence'), reason = reason or '', ['until'] = at or 0})
    Lane.set(l, 'reply', text)
    return text
  end

  -- terms: lease_ms, quiet_ms, daily_limit (or nil), day, day_ends (ms)
  --
  -- Days are named by the workers' clocks, which differ: one that is behind must not begin the count of
  -- yesterday anew, and one that was days ahead must not hold up those that are right.
  function Lane.count_day(l, terms)
    local day = Lane.get(l, 'day')
    if terms.day <= day and Lane.num(l, 'day_ends') <= terms.day_ends + LONGEST then return end
    if terms.day ~= day then Lane.set(l, 'pushed', 0) end
    Lane.set(l, 'day', terms.day)
    Lane.set(l, 'day_ends', terms.day_ends)
  end

  function Lane.hindrance(l, terms)
    if Lane.stopped(l) ~= '' then return 'stopped', Lane.stopped(l) end
    local paused = Lane.paused_until(l)
    if paused ~= 0 then return 'paused', Lane.get(l, 'paused'), paused end
    local held = History.held_until(terms.lease_ms)
    if held > now then return 'wait', 'the store lost its latest history', held end
    if Lane.num(l, 'quiet') > now then return 'wait', 'quiet', Lane.num(l, 'quiet') end
    if Lane.num(l, 'wait') > now then return 'wait', Lane.get(l, 'wait_reason'), Lane.num(l, 'wait') end
    if terms.daily_limit and Lane.num(l, 'pushed') >= terms.daily_limit then
      Lane.wait_until(l, Lane.bounded(terms.day_ends), 'the daily limit is used up')
      return 'wait', Lane.get(l, 'wait_reason'), Lane.num(l, 'wait')
    end
    local settling = History.settling()
    if settling > now then return 'wait', 'the store has just been started', settling end
  end

  function Lane.claim(l, terms)
    Lane.set(l, 'lease_ms', terms.lease_ms)
    Lane.set(l, 'quiet_ms', terms.quiet_ms)
    Lane.count_day(l, terms)
    local kind, reason, at = Lane.hindrance(l, terms)
    if kind then return Lane.reply(l, kind, reason, at) end
    local id = Lane.pick(l)
    if not id then return Lane.reply(l, 'empty') end
    redis.call('ZREM', l.queue, id)
    Lane.set(l, 'inflight', id)
    Lane.set(l, 'lease', now + terms.lease_ms)
    Lane.set(l, 'reply', 'push')
    Recall.set_pushing(id)
    return Lane.push_reply(l)
  end

  -- Wake-ups are taken in the order in which they were published, so an older one that is left was lost.
  function Lane.note_taken(number)
    local latest = tonumber(redis.call('HGET', P .. 'meta', 'taken')) or 0
    if number and (number > latest or latest > now) then redis.call('HSET', P .. 'meta', 'taken', number) end
  end

  function Lane.acquire(l, nonce, terms, wake_up)
    Lane.clamp(l)
    if Lane.get(l, 'owner') == nonce and Lane.num(l, 'step') == 0 then return Lane.last_reply(l) end
    -- One of several copies was taken before: each wake-up is worth one turn, or those of busy lanes would add up.
    if wake_up ~= '' and wake_up ~= Lane.get(l, 'rung') then return cjson.encode({kind = 'taken'}) end
    Lane.note_taken(tonumber(wake_up))
    if Lane.get(l, 'inflight') ~= '' and Lane.num(l, 'lease') > now then
      return cjson.encode({kind = 'busy', ['until'] = Lane.num(l, 'lease')})
    end
    if Lane.get(l, 'inflight') ~= '' then Lane.recover(l) end
    Lane.set(l, 'fence', History.grow())
    Lane.set(l, 'owner', nonce)
    Lane.set(l, 'step', 0)
    return Lane.claim(l, terms)
  end

  function Lane.last_reply(l)
    if Lane.get(l, 'reply') ~= 'push' then return Lane.get(l, 'reply') end
    if Lane.get(l, 'inflight') == '' then return cjson.encode({kind = 'lost'}) end
    return Lane.push_reply(l)
  end

  local Outcome = {}

  function Outcome.ended(l, id, o)
    if o.passed and Lane.get(l, 'probing') == '1' then Lane.passed(l) end
    if o.date then redis.call('HSET', recall_key(id), 'date', o.date) end
    Recall.become(id, o.state, o.reason)
  end

  -- o: kind (ended, again, aside), state, reason, passed, convicts, date, attempt (JSON line), verdict,
  --    sent_ms (ms since the request was written, nil when it was not), quiet, wait_ms, wait_until,
  --    wait_reason, stop (reason), history
  function Lane.apply(l, o)
    local id = Lane.get(l, 'inflight')
    Lane.set(l, 'inflight', '')
    if o.attempt then Recall.add_attempt(id, o.attempt, o.answer) end
    if o.verdict then count('pushes:' .. o.verdict) end
    if o.sent_ms then Lane.set(l, 'pushed', Lane.num(l, 'pushed') + 1) end
    if o.quiet then Lane.set(l, 'quiet', now - math.max(0, o.sent_ms or 0) + Lane.num(l, 'quiet_ms')) end
    Outcome[o.kind](l, id, o)
    if o.history then Lane.set(l, 'history', o.history) end
    if o.stop then Lane.set(l, 'stopped', o.stop) end
    local at = o.wait_until and Lane.bounded(o.wait_until) or (o.wait_ms and now + o.wait_ms)
    if at then Lane.wait_until(l, at, o.wait_reason or o.reason) end
  end

  function Lane.finish(l, fence, step, id, outcome, more, terms)
    if Lane.num(l, 'fence') ~= fence then return cjson.encode({kind = 'lost'}) end
    if Lane.num(l, 'step') == step then return Lane.last_reply(l) end
    if Lane.num(l, 'step') + 1 ~= step or Lane.get(l, 'inflight') ~= id then return cjson.encode({kind = 'lost'}) end
    History.grow()
    Lane.set(l, 'step', step)
    Lane.count_day(l, terms)
    Lane.apply(l, outcome)
    if more then return Lane.claim(l, terms) end
    return Lane.reply(l, 'released')
  end

  -- wake_up: the number of the one that brought the caller, "" when none did
  function COMMANDS.acquire(lane, nonce, terms, wake_up)
    open_full_store()
    local l = Lane.load(lane)
    local reply = Lane.acquire(l, nonce, cjson.decode(terms), wake_up)
    return {reply, Lane.rest(l) or 0}
  end

  -- Whether another lane waits for a thread, or a lookup. A lane that is held is due much later.
  local function others_wait(lane)
    local due = redis.call('ZRANGEBYSCORE', P .. 'due', '-inf', now + GRACE, 'LIMIT', 0, 2)
    return (due[1] or lane) ~= lane or due[2]
      or #redis.call('ZRANGEBYSCORE', P .. 'lookups', '-inf', now, 'LIMIT', 0, 1) > 0
  end

  -- more: '1' the next recall is claimed; '0' the lane is released; 'alone' the first if no other lane waits
  function COMMANDS.finish(lane, fence, step, id, outcome, more, terms)
    open_full_store()
    local l = Lane.load(lane)
    local on = more == '1' or (more == 'alone' and not others_wait(lane))
    local reply = Lane.finish(l, tonumber(fence), tonumber(step), id, cjson.decode(outcome), on, cjson.decode(terms))
    return {reply, Lane.rest(l) or 0}
  end

  -- --- a lane that waits, a recall that goes back into the queue, a drain whose worker died ---------

  -- A moment by a worker's clock, which may differ from the store's: a lane neither tries on and on
  -- until that clock is there too, nor waits for days.
  function Lane.bounded(at)
    return math.max(now + SKEW, math.min(at, now + LONGEST))
  end

  function Lane.wait_until(l, at, reason)
    Lane.set(l, 'wait', math.floor(at))
    Lane.set(l, 'wait_ms', math.max(0, math.floor(at) - now))
    Lane.set(l, 'wait_reason', reason)
  end

  -- Back into the queue, at its old place, unless somebody newer has overtaken it meanwhile.
  function Lane.put_back(l, id)
    local state, reason = Newest.overtaken(l.id, id)
    if state then
      Recall.become(id, state, reason)
      return false
    end
    Recall.set_queued(id)
    redis.call('ZADD', l.queue, Recall.field(id, 'score'), id)
    return true
  end

  function Lane.set_aside(l, id)
    redis.call('HSET', recall_key(id), 'strikes', 0, 'crashes', 0)
    Lane.set(l, 'aside', id)
    Lane.set(l, 'first', '')
  end

  -- The turn that held the lane is gone: its call can no longer be running (the lease is that long).
  function Lane.recover(l)
    local id = Lane.get(l, 'inflight')
    if id == '' then return end
    Lane.set(l, 'inflight', '')
    -- It may have been sent: a day's calls are rather counted too high than exceeded.
    Lane.set(l, 'pushed', Lane.num(l, 'pushed') + 1)
    if id == LOAN then return end
    Recall.add_attempt(id, cjson.encode({started_at = Lane.num(l, 'lease') - Lane.num(l, 'lease_ms'), outcome = 'worker lost'}))
    count('pushes:worker lost')
    if not Lane.put_back(l, id) then return end
    Lane.set(l, 'first', id)
    if redis.call('HINCRBY', recall_key(id), 'crashes', 1) < CRASHES then return end
    if (tonumber(Recall.field(id, 'rounds')) or 0) < ROUNDS then
      Lane.set_aside(l, id)
    else
      redis.call('ZREM', l.queue, id)
      Lane.set(l, 'first', '')
      Recall.become(id, 'dead', 'workers died while pushing it, and others passed')
    end
  end

  -- A complete answer came to a probe: the lane works, and the recall set aside has its next try.
  function Lane.passed(l)
    local aside = Lane.get(l, 'aside')
    if not redis.call('ZSCORE', l.queue, aside) then return end
    redis.call('HINCRBY', recall_key(aside), 'rounds', 1)
    Lane.set(l, 'first', aside)
    Lane.set(l, 'aside', '')
  end

  -- The probe failed as well: the lane is at fault, and neither recall is to blame.
  function Lane.acquit(l, id)
    for _, each in ipairs({id, Lane.get(l, 'aside')}) do
      if redis.call('ZSCORE', l.queue, each) then redis.call('HSET', recall_key(each), 'strikes', 0) end
    end
    Lane.set(l, 'aside', '')
  end

  function Outcome.again(l, id, o)
    if not Lane.put_back(l, id) then return end
    Lane.set(l, 'first', id)
    if not o.convicts then return end
    if Lane.get(l, 'probing') == '1' then return Lane.acquit(l, id) end
    redis.call('HINCRBY', recall_key(id), 'strikes', 1)
  end

  function Outcome.aside(l, id, o)
    if not Lane.put_back(l, id) then return end
    if Lane.get(l, 'probing') == '1' then
      Lane.set(l, 'first', id)
      return Lane.acquit(l, id)
    end
    Lane.set_aside(l, id)
  end
end
