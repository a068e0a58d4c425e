-- Every key of the store. One hash tag, so one script may touch any of them.
--
-- KEYS[1] is the prefix P ("{ringback}:"), ARGV[1] the command, ARGV[2] the time in ms or "" for the
-- store's own clock (tests hand one in), ARGV[3] to [7] what the caller knows (epoch.lua), ARGV[8] how many
-- arguments each call has; the rest are the arguments of one call after the other. The reply is {epoch,
-- revision, server, news, a list with the reply or the error of each call}.
--
-- key                        type    meaning                                              lives
-- P meta                     HASH    fields below                                         for ever
-- P epochs                   HASH    epoch that was lost -> ms  when that was found       for ever
-- P awaited                  SET     workers that a new server waits to hear from          2 s, then of no meaning
-- P accounts                 HASH    account -> queue id                                    for ever
-- P counts                   HASH    what happened how often, for metrics                  for ever
-- P flushed:<process>        STRING  number of the last counts that a process sent          an hour
-- P series:<hour>            HASH    minute -> totals of some counts when it began, JSON   26 hours
-- P pushed:<minute>          HASH    account -> calls * 10^7 + ms that they took           65 minutes
-- P heard:<hour>             HASH    taken:<source>, refused:<source> -> deliveries        26 hours
-- P source:<name>            HASH    fields below                                          for ever
-- P alerts                   HASH    alert -> record, JSON: of those that hold              while it holds
-- P alerts:past              LIST    records of those that are over, newest first         the last 100
-- P alerts:monitor            HASH    by: the process that evaluates them; until: ms            for ever
-- P once:<what>              STRING  somebody has done it this minute                      55 s
-- P outbox                   ZSET    channel -> ms at which its next message is due        while there are messages
-- P outbox:<channel>         LIST    messages that wait for it, JSON, oldest first         until sent, 3 days at most
-- P outbox:tries, outbox:trouble  HASH  channel -> tries of its oldest message, what went wrong  until sent
-- P due                      ZSET    queue id -> ms of the sweep's next look, PATIENCE off at most  while there is work
-- P queue:<id>                HASH    the queue itself, fields below                         for ever
-- P queue:<id>:recalls          ZSET    recall id -> recall_date in ms; ids sort by arrival   while queued
-- P queue:<id>:newest         HASH    campaign NUL customer -> version|id|kind              as long as its recall
-- P recall:<id>              HASH    one recall, fields in recalls.lua                     retention_days after its end
-- P in:<state>               ZSET    recall ids in that state (0, by name = by arrival)    as the recall
-- P of:<account>:<state>     ZSET    the same per account; one being pushed stays "queued" as the recall
-- P find:c:<bucket>          ZSET    digest of a customer, recall id                       as the recall
-- P find:r:<bucket>          ZSET    digest of a CRM record, recall id                     as the recall
-- P find:t:<last 4 digits>   ZSET    the other digits from the last on, "|", recall id     as the recall
-- P calendar:<account>       HASH    half hour since 1970 NUL campaign -> recalls queued for it  while queued
-- P ended:<state>            ZSET    recall id -> ms of its end                            as the recall
-- P seen:<digest>            STRING  an event already taken: digest|what|id|fingerprint,   dedup_hours
--                                    and |the answer to its delivery where it was alone in it
-- P answer:<digest>          STRING  the answer to a whole delivery of several events      dedup_hours
-- P delivery:<id>            HASH    raw body and headers without secrets; became: per event  raw_retention_days
--                                    the recall's or parked id, ignored, pending or cancel
-- P parked                   ZSET    parked event id -> ms it was parked                   retention_days
-- P parked:<id>              HASH    the event, its place and the reason                   retention_days
-- P parked_groups            HASH    group -> source, route, field, found, allowed (JSON)   while it has events
-- P parked_in:<group>        ZSET    parked event id -> ms it was parked                   as the parked event
-- P arrivals:<source>        STREAM  deliveries as they came: d, its id; w, what;recalls;ignored;parked;
--                                    pending;cancelled;too late   ARRIVALS at most, raw_retention_days or a day
-- P refused:<source>         STREAM  deliveries that were not taken: doc, JSON without body  the same, REFUSED at most
-- P lookups                  ZSET    pending lookup id -> ms at which it is due            until looked up
-- P lookups:<source>         ZSET    the same per source, so that no source hides another  until looked up
-- P lookup:<id>              HASH    the events that wait for it                           until looked up
-- P fading                   ZSET    account NUL field of a cancel's newest pointer -> ms  retention_days
-- P session:<digest>         STRING  who is signed in under that token, JSON               until idle too long
-- P audit                    STREAM  who, what, about (ids, by spaces), address           retention_days
-- P traces                   STRING  there when somebody was forgotten; see Newest.trace      retention_days
-- P jobs                     ZSET    job id -> ms it was begun                             retention_days
-- P jobs:running             SET     jobs that are to be gone on with                      until they end
-- P job:<id>                 HASH    one job, fields in operate.lua                        retention_days
-- P processes                ZSET    web or worker -> ms of its latest heartbeat        as long as it lives
-- P process:<id>             HASH    what it says of itself, fields in monitoring.lua      15 s after the latest
--
-- fields of P meta
--   seq      arrivals so far, from which ids are made
--   taken    the number of the latest wake-up that was taken
--   queue_key the HMAC key of queue ids; cookie_key signs the dashboard's cookies
--   epoch    the name of this epoch; revision: changes of queues and recalls so far, it only grows
--   held     ms when an epoch was found lost: each queue gives no claim until its lease's length later
--   teller, news             the process that is to report that, and what
--   server   of the replication id of the server that holds this data; base: the revision that it found
--   settle   ms until which a new server waits for its workers' word before it gives a claim
--
-- fields of P queue:<id> (ms are epoch milliseconds by the store's clock)
--   fence    the revision of the latest acquire, never the same again; a call with another one changes nothing
--   owner    the nonce of the latest drain, so that it may ask again for a reply that was lost
--   step     number of the last call of that drain; the same number again gets the last reply again
--   reply    that last reply
--   inflight the recall being pushed, LOAN for a test call; "" when none. Only then is there a lease
--   lease    ms until which a claim holds; lease_ms its length
--   quiet    ms until which wolkvox may still be working on a call; quiet_ms its length
--   wait, wait_reason        ms until which the queue waits after a fault, and why; wait_ms its length
--   paused, stopped          the reason, "" when not
--   paused_until, paused_ms  ms at which a pause ends by itself, and its length; "" when somebody must end it
--   gone     the same when the configuration no longer has its account; only the configuration ends that
--   first    the recall that goes before all others: it made the queue wait
--   aside    the recall set aside while another one probes the queue; probing = "1" while that is pushed
--   history  the worker's memory of the queue's faults, opaque here
--   wake_up_at, publications          ms and number of the wake-up that is under way, and how often it was published; 0 when none is
--   day, day_ends, pushed    the quota's day, ms of its end, and the calls made in it
--
-- fields of P source:<name> (ms)
--   taken, refused           of the last delivery that was taken or seen before; that was refused
--   refusing, refusals       of the first one refused since one was taken, and how many there were
--
-- P counts: <family>:<labels>, as integration/web/metrics.py shows them. <minute> and <hour> count from 1970, UTC.

local WIDTH = tonumber(ARGV[8])
local CALLS = WIDTH == 0 and 1 or (#ARGV - 8) / WIDTH
local COMMANDS = {}         -- what the script can be asked for; dispatch.lua asks

local P = KEYS[1]
local now = tonumber(ARGV[2])
if not now then
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + math.floor(clock[2] / 1000)
end

local GRACE = 1500          -- how long a wake-up may be under way before the sweep looks again
local OVERTAKEN = 15000     -- how much later than a wake-up one must be whose taking shows that the first was lost: a
                            -- process publishes some hundred a second, so they do not leave in their order
local TRIES = 3             -- times it looks again as soon: who takes a queue may die at once, and the next one too
local PATIENCE = 30000      -- the longest the sweep waits between two looks
local CRASHES = 3           -- workers that may die under one recall before it is set aside
local ROUNDS = 2            -- times another recall passed where this one failed: then it is dead
local ATTEMPTS = 100        -- attempts kept per recall, the latest ones
local ARRIVALS = 200000     -- deliveries listed per source, the latest ones
local SKEW = 1000           -- the shortest a queue waits for a moment by a worker's clock
local LONGEST = 26 * 3600000  -- the longest a queue waits: a quota's day, with an hour for a change of clocks

local LOAN = 'a test call'  -- what is in flight on a queue that is lent, in the place of a recall's id

-- Whether this run is for one of these commands. The server makes a script's functions anew with every run, so what
-- few commands need is made for those alone.
local function asked_for(...)
  for _, command in ipairs({...}) do
    if command == ARGV[1] then return true end
  end
  return false
end

-- A full store refuses a script's first write if it could take memory, and lets later ones pass.
-- Deleting first is therefore what lets a full store still finish, release and cancel.
local function open_full_store()
  redis.call('DEL', P .. 'room')
end

local function hash(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local counted = {}

-- Counted here, written at the end: a delivery of a hundred events counts the same few things.
local function count(what, by)
  counted[what] = (counted[what] or 0) + (by or 1)
end

local function keep_counts()
  for what, by in pairs(counted) do redis.call('HINCRBY', P .. 'counts', what, by) end
end
