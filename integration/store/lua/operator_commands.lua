-- Commands of operators and of the configuration: cancel and retry recalls, one or many; bind accounts to queues.

local OperatorCommands, Job = {}, {}

-- The ids of a job by outcome; see keys.lua.
function Job.outcomes_key(id) return P .. 'job_outcomes:' .. id end

if is_command('cancel', 'retry', 'job_step') then
  function OperatorCommands.cancel_recall(id, reason)
    local r = redis.call('HMGET', recall_key(id), 'state', 'account')
    if not r[1] then return {'unknown', '', {}} end
    if r[1] ~= 'queued' then return {'conflict', r[1], {}} end
    local q = Queue.load(queue_of(r[2]))
    redis.call('ZREM', q.recalls, id)
    Recall.become(id, 'cancelled', reason)
    Epoch.next_revision()
    return {'done', 'cancelled', Queue.wake(q, {})}
  end

  -- Queue a dead or expired recall again, unless the customer has a newer request. date and score are given if the old
  -- date has passed, otherwise they are "".
  function OperatorCommands.retry_recall(id, reason, date, score)
    local r = redis.call('HMGET', recall_key(id), 'state', 'account', 'score')
    if not r[1] then return {'unknown', '', {}} end
    if r[1] ~= 'dead' and r[1] ~= 'expired' then return {'conflict', r[1], {}} end
    local q = Queue.load(queue_of(r[2]))
    if Newest.superseded(q.id, id) then return {'superseded', r[1], {}} end
    redis.call('HSET', recall_key(id), 'strikes', 0, 'rounds', 0, 'crashes', 0)
    if date ~= '' then redis.call('HSET', recall_key(id), 'date', date, 'score', score) end
    Recall.become(id, 'queued', reason)
    Epoch.next_revision()
    redis.call('ZADD', q.recalls, Recall.field(id, 'score'), id)
    return {'done', 'queued', Queue.wake(q, {})}
  end

  function COMMANDS.cancel(id, reason) return OperatorCommands.cancel_recall(id, reason) end

  function COMMANDS.retry(id, reason, date, score) return OperatorCommands.retry_recall(id, reason, date, score) end
end

if is_command('bind') then
  local CHUNK = 1000

  -- Call act with at most CHUNK elements of a list at a time. A call for each element would block the store for long.
  local function in_chunks(list, act)
    for i = 1, #list, CHUNK do act({unpack(list, i, math.min(i + CHUNK - 1, #list))}) end
  end

  -- Return the ids of the moved recalls, as a set.
  local function move_recalls(account, from, to)
    local moved = {}
    in_chunks(redis.call('ZRANGE', P .. 'of:' .. account .. ':queued', 0, -1), function(ids)
      local flat = {}
      for i, score in ipairs(redis.call('ZMSCORE', from.recalls, unpack(ids))) do
        flat[2 * i - 1], flat[2 * i] = score, ids[i]
        moved[ids[i]] = true
      end
      redis.call('ZADD', to.recalls, unpack(flat))
      redis.call('ZREM', from.recalls, unpack(ids))
    end)
    return moved
  end

  -- A customer has a newest request on both queues. Return the newer one, and end the other one's recall.
  local function newer(to, moved, present)
    local winner, loser, text = Newest.read(moved), Newest.read(present), moved
    if loser.version > winner.version then winner, loser, text = loser, winner, present end
    if loser.kind == 'r' then Admit.end_queued(to.id, loser.id, Newest.state_of_older(winner)) end
    return text
  end

  local function move_newest(account, from, to, queued)
    local own_fields, texts = {}, hash(Newest.key(from.id))
    for field, text in pairs(texts) do
      local newest = Newest.read(text)
      local owner = newest.kind == 'c' and newest.id or queued[newest.id] and account or Recall.field(newest.id, 'account')
      if owner == account then own_fields[#own_fields + 1] = field end
    end
    in_chunks(own_fields, function(fields)
      local flat = {}
      for i, present in ipairs(redis.call('HMGET', Newest.key(to.id), unpack(fields))) do
        local moved = texts[fields[i]]
        flat[2 * i - 1], flat[2 * i] = fields[i], present and newer(to, moved, present) or moved
      end
      redis.call('HSET', Newest.key(to.id), unpack(flat))
      redis.call('HDEL', Newest.key(from.id), unpack(fields))
    end)
  end

  -- Move one account's recalls and newest pointers to another queue.
  local function move_account(account, from, to)
    move_newest(account, from, to, move_recalls(account, from, to))
  end

  -- Move a queue that no other account uses. Two renames, however long the queue is.
  local function move_all(from, to)
    for _, part in ipairs({':recalls', ':newest'}) do
      if redis.call('EXISTS', from.key .. part) == 1 then redis.call('RENAME', from.key .. part, to.key .. part) end
    end
  end

  local function empty(queue)
    return redis.call('EXISTS', queue.recalls, Newest.key(queue.id)) == 0
  end

  -- Move the day's count of pushes, unless the new token has its own. A call in flight is counted when it ends.
  local function move_day(from, to)
    if Queue.num(to, 'pushed') > 0 or Queue.get(from, 'day') < Queue.get(to, 'day') then return end
    for _, field in ipairs({'day', 'day_ends', 'pushed'}) do Queue.set(to, field, Queue.get(from, field)) end
  end

  -- Bind the account to its new queue. Return 0, or the ms until which the old queue is in use.
  -- users: queue -> number of accounts bound to it
  local function rebind(account, old, queue, users)
    local from, to = Queue.load(old), Queue.load(queue)
    Queue.clamp(from)
    local busy = math.max(Queue.num(from, 'quiet'), Queue.get(from, 'inflight') ~= '' and Queue.num(from, 'lease') or 0)
    if busy > now then return busy end
    Queue.recover(from)
    Queue.set(from, 'fence', Epoch.next_revision())
    if Queue.paused_until(from) ~= 0 then
      for _, field in ipairs(Queue.PAUSE_FIELDS) do Queue.set(to, field, Queue.get(from, field)) end
    end
    move_day(from, to)
    if users[old] == 1 and empty(to) then move_all(from, to) else move_account(account, from, to) end
    redis.call('HSET', P .. 'accounts', account, queue)
    users[old], users[queue] = users[old] - 1, (users[queue] or 0) + 1
    if users[old] == 0 then Queue.set(from, 'stopped', '') end
    Queue.schedule(from)
    Queue.schedule(to)
    return 0
  end

  local GONE = 'the account is no longer in the configuration'

  local function bind_account(account, old, queue, users)
    local busy = 0
    if not old then
      redis.call('HSET', P .. 'accounts', account, queue)
      users[queue] = (users[queue] or 0) + 1
    elseif old ~= queue then
      busy = rebind(account, old, queue, users)
    end
    local q = Queue.load(queue)
    if Queue.get(q, 'account_removed') ~= '' then
      Queue.set(q, 'account_removed', '')
      Queue.schedule(q)
    end
    return busy
  end

  -- The account has left the configuration. If other accounts use its token, its recalls move to a queue of its own, so
  -- that they do not block the others; not before a running call has ended.
  local function unbind_account(account, queue, used, users)
    local busy = 0
    if used[queue] then
      local own = 'gone-' .. account
      busy = rebind(account, queue, own, users)
      queue = own
    end
    local q = Queue.load(queue)
    Queue.set(q, 'account_removed', GONE)
    Queue.schedule(q)
    return busy
  end

  -- accounts: {account = queue, …}, all of the configuration. Return 0 when all are bound, otherwise the ms until which
  -- an account stays on its old queue because of a running call.
  local function bind(accounts)
    allow_on_full_store()
    local bound, later, used, users = hash(P .. 'accounts'), 0, {}, {}
    for _, queue in pairs(accounts) do used[queue] = true end
    for _, queue in pairs(bound) do users[queue] = (users[queue] or 0) + 1 end
    for account, queue in pairs(accounts) do
      local busy = bind_account(account, bound[account], queue, users)
      if busy > 0 then used[bound[account]] = true end
      later = math.max(later, busy)
    end
    for account, queue in pairs(bound) do
      if not accounts[account] then later = math.max(later, unbind_account(account, queue, used, users)) end
    end
    return later
  end

  function COMMANDS.bind(accounts) return bind(cjson.decode(accounts)) end
end

-- Jobs: an action on many recalls, parked events or deliveries, carried out in steps by any worker.
--
-- The filter and the newest id are fixed when a job begins. A step acts on some records and moves the cursor in the
-- same script call. If a worker dies, no record is left out and none is acted on twice. Deliveries are sent before the
-- call; a repeated step sends them with the same ids, so that they are recognized as repeated.
--
-- fields of job:<id>
--   kind          retry or cancel recalls, dismiss parked events, or send_again deliveries
--   filter        JSON
--   who, reason   the user, and the reason recorded with each recall or parked event
--   created       ms of its start
--   ended         ms of its end
--   state         running, done or stopped
--   upper         ids below this one are acted on
--   cursor        ids from this one on have been handled
--   total         number of records at the start, "" if unknown
--   done          number of records acted on
--   skipped       reason -> number of records, JSON
--   results       what became of the events of deliveries -> number of events, JSON
--   owner, lease  the worker that takes the steps, and the ms until which no other may
--   last          ms of the latest step
if is_command('begin_job', 'take_job', 'job_step', 'stop_job', 'purge', 'forget_job') then
  Job.LEASE = 10000
  Job.MOST_LISTED = 5000   -- ids listed for each outcome

  local function job_key(id) return P .. 'job:' .. id end

  -- job: kind, filter, who, reason, total. Return its id.
  function Job.begin(job, suffix)
    local seq = redis.call('HINCRBY', P .. 'store', 'seq', 1)
    local id = 'jb_' .. letters(seq) .. suffix
    redis.call('HSET', job_key(id), 'kind', job.kind, 'filter', job.filter, 'who', job.who, 'reason', job.reason,
      'total', job.total or '', 'created', now, 'state', 'running', 'upper', 'rc_' .. letters(seq), 'cursor', '',
      'done', 0, 'skipped', '{}', 'owner', '', 'lease', 0)
    redis.call('ZADD', P .. 'jobs', now, id)
    redis.call('SADD', P .. 'jobs:running', id)
    return id
  end

  local function job_ends(id, state)
    redis.call('SREM', P .. 'jobs:running', id)
    redis.call('HSET', job_key(id), 'state', state, 'ended', now)
  end

  -- Return 1 if this owner may take the next steps. Leases are short, and each step renews its own.
  function Job.take(id, owner)
    local j = redis.call('HMGET', job_key(id), 'state', 'owner', 'lease')
    if j[1] ~= 'running' then
      redis.call('SREM', P .. 'jobs:running', id)
      return 0
    end
    local lease = tonumber(j[3]) or 0
    if j[2] ~= owner and lease > now and lease <= now + Job.LEASE then return 0 end
    redis.call('HSET', job_key(id), 'owner', owner, 'lease', now + Job.LEASE)
    return 1
  end

  local function dismiss(a, who, reason)
    if Parked.dismiss(a.id, who, reason) == 1 then return {'done', '', {}} end
    return {'conflict', 'no longer parked', {}}
  end

  -- An act with an outcome was carried out by the worker.
  local function act_on(kind, a, who, reason)
    if a.outcome then return {a.outcome == 'done' and 'done' or 'conflict', a.outcome, {}} end
    if kind == 'dismiss' then return dismiss(a, who, reason) end
    if kind == 'cancel' then return OperatorCommands.cancel_recall(a.id, reason) end
    return OperatorCommands.retry_recall(a.id, reason, a.date or '', a.score or '')
  end

  local SKIPPED = {unknown = 'purged', superseded = 'a newer request is known'}

  -- An empty table would be encoded as a list.
  local function as_json(numbers) return next(numbers) and cjson.encode(numbers) or '{}' end

  -- List an id under its outcome, if fewer than MOST_LISTED are. number: how many had this outcome, with this one
  local function list_outcome(id, outcome, number, item)
    if number <= Job.MOST_LISTED then redis.call('ZADD', Job.outcomes_key(id), 0, outcome .. '|' .. item) end
  end

  -- What a worker did is recorded also if the job was stopped meanwhile.
  local function may_step(j, acts)
    return j.state == 'running' or j.state == 'stopped' and acts[1] and acts[1].outcome
  end

  -- acts: {id, date, score} or {id, outcome, results}; results: {what, id}, …
  -- from, to: the cursor before and after the step ("" at the end).
  -- Return the wake-ups to publish. Return "lost" if another worker has the job, the cursor has moved, or the job was
  -- stopped (unless the worker has already carried out the step).
  function Job.step(id, owner, from, to, acts)
    local j = hash(job_key(id))
    if not may_step(j, acts) or j.owner ~= owner or j.cursor ~= from then return 'lost' end
    local done, skipped, results, wake_ups = tonumber(j.done), cjson.decode(j.skipped), cjson.decode(j.results or '{}'), {}
    for _, a in ipairs(acts) do
      local reply = act_on(j.kind, a, j.who, j.reason)
      if reply[1] == 'done' then
        done = done + 1
        list_outcome(id, 'done', done, a.id)
        for _, word in ipairs(reply[3]) do wake_ups[#wake_ups + 1] = word end
      else
        local why = SKIPPED[reply[1]] or reply[2]
        skipped[why] = (skipped[why] or 0) + 1
        list_outcome(id, why, skipped[why], a.id)
      end
      for _, result in ipairs(a.results or {}) do
        local what = result[1]
        results[what] = (results[what] or 0) + 1
        list_outcome(id, what, results[what], result[2])
      end
    end
    redis.call('HSET', job_key(id), 'done', done, 'skipped', as_json(skipped), 'results', as_json(results), 'last', now,
      'lease', now + Job.LEASE)
    if to == '' and j.state == 'running' then job_ends(id, 'done') else redis.call('HSET', job_key(id), 'cursor', to) end
    return wake_ups
  end

  function Job.stop(id)
    if redis.call('HGET', job_key(id), 'state') ~= 'running' then return 0 end
    job_ends(id, 'stopped')
    return 1
  end

  function Job.forget(id)
    redis.call('DEL', job_key(id), Job.outcomes_key(id))
    redis.call('SREM', P .. 'jobs:running', id)
    redis.call('ZREM', P .. 'jobs', id)
  end

  function COMMANDS.begin_job(job, suffix) return Job.begin(cjson.decode(job), suffix) end

  function COMMANDS.take_job(id, owner)
    allow_on_full_store()
    return Job.take(id, owner)
  end

  function COMMANDS.job_step(id, owner, from, to, acts) return Job.step(id, owner, from, to, cjson.decode(acts)) end

  function COMMANDS.stop_job(id)
    allow_on_full_store()
    return Job.stop(id)
  end
end
