-- Jobs: what is done to many recalls, step by step, by whichever worker comes by.
--
-- The filter and the newest id are frozen when a job begins. A step acts on some recalls and moves the cursor
-- in one go, so that a worker that dies in between leaves nothing done twice and nothing out.
--
-- fields of P job:<id>: kind (retry, cancel), filter (JSON), who, reason, created, ended (ms), state (running,
--   done, stopped), upper (ids below it), cursor (all from there on are dealt with), total (as counted at the
--   start, "" when not known), done, skipped (JSON: why -> how many), owner, lease (ms), last (ms of a step)

local Job = {LEASE = 10000}

local function job_key(id) return P .. 'job:' .. id end

-- job: kind, filter, who, reason, total. Gives its id.
function Job.begin(job, suffix)
  local seq = redis.call('HINCRBY', P .. 'meta', 'seq', 1)
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

-- 1 when this owner may take the next steps. Leases are short, and a step renews its own.
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

local function act_on(kind, a, reason)
  if kind == 'cancel' then return cancel_recall(a.id, reason) end
  return retry_recall(a.id, reason, a.date or '', a.score or '')
end

local SKIPPED = {unknown = 'purged', overtaken = 'a newer request is known'}

local function count_skipped(skipped, reply)
  local why = SKIPPED[reply[1]] or reply[2]
  skipped[why] = (skipped[why] or 0) + 1
end

-- acts: {id, date, score}; from, to: the cursor as it was and as it will be ("" at the end).
-- Gives the wake-ups to publish; "lost" when somebody else has the job, or it was stopped.
function Job.step(id, owner, from, to, acts)
  local j = hash(job_key(id))
  if j.state ~= 'running' or j.owner ~= owner or j.cursor ~= from then return 'lost' end
  local done, skipped, wake_ups = 0, cjson.decode(j.skipped), {}
  for _, a in ipairs(acts) do
    local reply = act_on(j.kind, a, j.reason)
    if reply[1] == 'done' then
      done = done + 1
      for _, word in ipairs(reply[3]) do wake_ups[#wake_ups + 1] = word end
    else
      count_skipped(skipped, reply)
    end
  end
  redis.call('HINCRBY', job_key(id), 'done', done)
  redis.call('HSET', job_key(id), 'skipped', next(skipped) and cjson.encode(skipped) or '{}', 'last', now,
    'lease', now + Job.LEASE)
  if to == '' then job_ends(id, 'done') else redis.call('HSET', job_key(id), 'cursor', to) end
  return wake_ups
end

function Job.stop(id)
  if redis.call('HGET', job_key(id), 'state') ~= 'running' then return 0 end
  job_ends(id, 'stopped')
  return 1
end

local function forget_job(id)
  redis.call('DEL', job_key(id))
  redis.call('SREM', P .. 'jobs:running', id)
  redis.call('ZREM', P .. 'jobs', id)
end
