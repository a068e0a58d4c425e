-- The keys of the store. All have the same hash tag, so that one script may access any of them.
--
-- LAYOUT and VERSION are set before this file (scripting/protocol.py).
--
-- The script's arguments
--   KEYS[1]         P, the prefix of all keys ("{ringback}:")
--   ARGV[1]         the command
--   ARGV[2]         the time in ms; "" for the store's own clock (tests pass a time)
--   ARGV[3] to [7]  the epoch known to the caller (epoch.lua)
--   ARGV[8]         the number of arguments of each call
--   ARGV[9] on      the arguments of all calls, one call after the other
-- The reply is {epoch, revision, server, loss, list of the reply or error of each call}.
--
-- Times are epoch milliseconds by the store's clock. <hour> and <minute> are counted from 1970-01-01, UTC.
--
-- key                      type    content                                                        lifetime
-- store                    HASH    fields below                                                   unlimited
-- meta                     STRING  a text that stops processes of version 0.1.0 (epoch.lua)       unlimited
-- epochs                   HASH    lost epoch -> time when the loss was found                     unlimited
-- awaited_workers          SET     workers that a new server waits for                            used for 2 s
-- accounts                 HASH    account -> queue id                                            unlimited
-- counts                   HASH    <family>:<labels> -> count, for the metrics                    unlimited
-- flushed:<process>        STRING  number of the process's latest flush of counters               1 hour
-- series:<hour>            HASH    minute -> totals of some counts at its start, JSON             26 hours
-- pushed:<minute>          HASH    account -> pushes * 10^7 + their duration in ms                65 minutes
-- source_requests:<hour>   HASH    taken:, refused:, lost:, checked:<source> -> requests           26 hours
-- source:<name>            HASH    fields below                                                   unlimited
-- config:pending           HASH    digest of a pending configuration -> removed, until; JSON      60 s after its renewal
-- config:accepted:<digest> STRING  set by an operator, or by a process that removed nothing in use 1 hour
-- api_keys                 HASH    API key -> time of its latest use, to the hour                 unlimited
-- alerts                   HASH    key of an active alert -> record, JSON                         while active
-- alerts:past              LIST    records of past alerts, JSON, newest first                     the latest 100
-- alerts:monitor           HASH    by: the process that evaluates the alerts; until: a time       unlimited
-- problem_notes            HASH    row NUL acknowledged, snoozed or assigned -> JSON              until its problems end
-- once:<name>              STRING  set by the first process that does this within a minute        55 s
-- outbox                   ZSET    channel -> time when its next message is due                   while it has messages
-- outbox:<channel>         LIST    messages to be sent, JSON, oldest first                        until sent, at most 3 days
-- outbox:tries             HASH    channel -> tries of its oldest message                         until sent
-- outbox:trouble           HASH    channel -> its latest error                                    until sent
-- due                      ZSET    queue id -> time of its next sweep, at most PATIENCE ahead     while it has work
-- queue:<id>               HASH    fields below                                                   unlimited
-- queue:<id>:recalls       ZSET    recall id -> recall_date in ms; ids sort by arrival            while queued
-- queue:<id>:newest        HASH    campaign NUL customer -> version|id|kind (recalls.lua)         as its recall
-- recall:<id>              HASH    fields in recalls.lua                                          retention_days after its end
-- in:<state>               ZSET    ids of the recalls in a state; score 0, sorted by arrival      as the recall
-- of:<account>:<state>     ZSET    the same for an account; a recall being pushed is in "queued"  as the recall
-- find:c:<bucket>          ZSET    digest of the customer, recall id                              as the recall
-- find:r:<bucket>          ZSET    digest of the CRM record, recall id                            as the recall
-- find:t:<last 4 digits>   ZSET    the other digits reversed, "|", recall id                      as the recall
-- calendar:<account>       HASH    half hour since 1970 NUL campaign -> recalls queued for it     while queued
-- accepted_calendar:<account>  HASH  the same for accepted recalls that none replaced; day: the     a day or two after
--                                  UTC day since 1970 when old days were last removed             its date
-- ended:<state>            ZSET    recall id -> time of its end                                   as the recall
-- seen:<digest>            STRING  a known event: digest|what|id|fingerprint, and |answer if      dedup_hours
--                                  it was the only event of its delivery
-- answer:<digest>          STRING  the answer to a delivery of several events                     dedup_hours
-- delivery:<id>            HASH    raw body, headers without secrets; results: for each event the  raw_retention_days
--                                  recall's or parked event's id, ignored, pending or cancel
-- parked                   ZSET    parked event id -> time of parking                             retention_days
-- dismissed                ZSET    dismissed parked event id -> time of parking                   retention_days
-- parked:<id>              HASH    the event, its place in the delivery, and the reason; of a     retention_days
--                                  dismissed one when, by whom and why (dismissed…)
-- parked_groups            HASH    group -> source, route, field, found, allowed (JSON)           while it has events
-- parked_in:<group>        ZSET    parked event id -> time of parking                             as the parked event
-- arrivals:<source>        STREAM  accepted deliveries. d: id; w: result;recalls;ignored;parked;  raw_retention_days, at
--                                  pending;cancelled;too late. At most ARRIVALS                   least a day
-- refused:<source>         STREAM  rejected deliveries. doc: JSON without the body. At most 1000  the same
-- lookups                  ZSET    lookup id -> time when it is due                               until looked up
-- lookups:<source>         ZSET    the same for a source                                          until looked up
-- lookup:<id>              HASH    the events that wait for the lookup                            until looked up
-- lookup_events            HASH    source -> number of events that wait                            while any wait
-- lookup_failure:<source>  HASH    why the lookups of a source fail; see Lookups.failure           until they succeed,
--                                                                                                 or none waits
-- cancel_pointers          ZSET    account NUL field of a cancellation's newest pointer -> time   retention_days
-- session:<digest>         STRING  dashboard session of the token with this digest, JSON          until idle for too long
-- search:<digest>          STRING  what a user of the dashboard searched for; digest of user and id  12 hours
-- list_views:<digest>      HASH    of a user of the dashboard: columns, JSON list; view:<id>, JSON  unlimited
-- audit                    STREAM  who, what, about (ids, separated by spaces), address           retention_days
-- tombstones               STRING  set after an erasure of personal data; see Newest.tombstone    retention_days
-- jobs                     ZSET    job id -> time of its start                                    retention_days
-- jobs:running             SET     ids of running jobs                                            until they end
-- job:<id>                 HASH    fields in operator_commands.lua                         retention_days
-- job_outcomes:<id>        ZSET    outcome "|" id, at most MOST_LISTED for each outcome           retention_days
-- processes                ZSET    web or worker process -> time of its latest heartbeat          while it runs
-- process:<id>             HASH    fields in monitoring.lua                                       15 s after a heartbeat
-- probe                    STRING  written every few seconds, to notice a store that refuses writes   1 minute
-- rate:…                   STRING  requests of a source or API key, searches of a user, sign-in     2 minutes
--                                  attempts, in a window; made by the library `limits`
--                                  (integration/web/rate_limit.py)
-- celery:…                 LIST,   queues of Celery's broker, if it is this store; made by kombu  messages: until taken
--                          SET     (integration/celery_app.py)
--
-- `never_set` is not in this list on purpose: allow_on_full_store deletes it, and nothing creates it.
--
-- fields of store
--   layout           version of the layout of keys and fields; layout_version: the version of Ringback that wrote it
--   seq              number of arrivals so far, from which ids are made
--   taken            number of the latest wake-up taken
--   queue_key        HMAC key of the queue ids
--   cookie_key       key that signs the dashboard's cookies
--   epoch            name of the current epoch
--   revision         number of changes of queues and recalls; it only grows
--   held             time when a lost epoch was found: a queue gives no claim for the length of its lease after it
--   reporter         process that reports the loss
--   loss             the loss to be reported
--   server           shortened replication id of the server that holds the data
--   base             revision that this server found when it took over the data
--   settle           time until which a new server waits for its workers before it gives a claim
--
-- fields of queue:<id>
--   fence            revision of the latest acquire; a call with another fence changes nothing
--   owner            nonce of the latest drain, which may repeat a call whose reply was lost
--   step             number of that drain's latest call; a call with the same number gets the same reply
--   reply            that reply
--   inflight         id of the recall being pushed, TEST_CALL for a test call, "" for none
--   lease, lease_ms  time until which the claim is valid, and its length; only used with `inflight`
--   quiet, quiet_ms  time until which wolkvox may still be working on a call, and its length
--   wait, wait_ms    time until which the queue waits after a fault, and its length
--   wait_reason      reason of that wait
--   paused, stopped  reason of the pause or stop, "" for none
--   paused_until     time when the pause ends by itself, "" if an operator must end it
--   paused_ms        length of the pause
--   paused_by        user or API key that paused the queue
--   paused_at        time of the pause
--   account_removed  reason of a stop because the account left the configuration; only `bind` ends it
--   first            id of the recall to be pushed first, because it made the queue wait
--   aside            id of the recall that is set aside while another one probes the queue
--   probing          "1" while that other recall is being pushed
--   history          faults of the queue as the worker encodes them; not read by the script
--   wake_up_at       time and number of the wake-up that is under way, 0 for none
--   publications     how often that wake-up was published
--   day, day_ends    the quota's day, and the time of its end
--   pushed           pushes of that day
--
-- fields of source:<name>
--   taken            time of the latest delivery that was accepted or repeated
--   refused          time of the latest delivery that was rejected
--   checked          time of the latest handshake, by which the sender checked the address
--   refusing         time of the first rejected delivery since one was accepted
--   refusals         number of deliveries rejected since then
--   lost             time when the latest lost delivery was counted: not stored, and its sender does not send again
--   losing           time of the first loss of the present series; a day without losses ends a series
--   losses           number of losses since then

local WIDTH = tonumber(ARGV[8])
local CALLS = WIDTH == 0 and 1 or (#ARGV - 8) / WIDTH
local COMMANDS = {}         -- command -> function; dispatch.lua calls them

local P = KEYS[1]
local now = tonumber(ARGV[2])
if not now then
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + math.floor(clock[2] / 1000)
end

local GRACE = 1500          -- ms that a wake-up may be under way before the sweep publishes it again
local OUT_OF_ORDER = 15000  -- ms: a wake-up counts as lost when one published this much later was taken. Smaller
                            -- changes of order are normal: a process publishes hundreds per second
local TRIES = 3             -- publications at the interval GRACE; after them the interval doubles
local PATIENCE = 30000      -- ms: the longest interval between two sweeps of a queue
local CRASHES = 3           -- workers that may die while pushing a recall before it is set aside
local ROUNDS = 2            -- times that a recall may be set aside while others pass; then it is dead
local ATTEMPTS = 100        -- attempts kept for a recall, the latest ones
local FIRST_ANSWERS = 3     -- whole answers kept for a recall: those of the first attempts …
local LATEST_ANSWERS = 20   -- … and those of the latest ones
local ARRIVALS = 200000     -- deliveries logged for a source, the latest ones
local SKEW = 1000           -- ms: the shortest wait until a time given by a worker's clock
local LONGEST = 26 * 3600000  -- ms: the longest wait: a day of the quota, and an hour for a change of clocks

local TEST_CALL = 'a test call'  -- `inflight` of a queue during a test call

-- Return whether this run is for one of these commands. The server creates a script's functions anew in each run, so
-- functions of few commands are only created for those.
local function is_command(...)
  for _, command in ipairs({...}) do
    if command == ARGV[1] then return true end
  end
  return false
end

-- A full store refuses a script's first write if it may take memory, and accepts later ones. So a script that must
-- work on a full store (finish, release, cancel) deletes a key first.
local function allow_on_full_store()
  redis.call('DEL', P .. 'never_set')
end

local function hash(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local pending_counts = {}

-- Counts are collected and written once at the end, since an admission counts the same things many times.
local function count(what, by)
  pending_counts[what] = (pending_counts[what] or 0) + (by or 1)
end

local function save_counts()
  for what, by in pairs(pending_counts) do redis.call('HINCRBY', P .. 'counts', what, by) end
end
