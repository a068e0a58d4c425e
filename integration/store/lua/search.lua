-- Search of recalls by any filter, newest or oldest first, in steps of bounded time.
--
-- A step examines a bounded number of recalls of the most selective index, and returns where the next one continues.
-- Ids sort by arrival, so a range of arrival times is a range of ids.
--
-- spec
--   states, accounts           lists
--   campaign, source, route, words, prefix   texts
--   outcome                    id of a bulk job, ":" and an outcome of it
--   customer, record           ids, in any spelling of Find.plain_id
--   telephones                 reversed digits; any of them may match. With "|" at its end only the whole number matches
--   about                      id of the customer or the record; otherwise one of the telephones must match
--   created_from, created_until, score_from, score_until   ms; "until" is exclusive
--   oldest                     true: oldest first, otherwise newest first
--   after                      the search continues after this id, in its order; "" at the start
--   most                       recalls to examine
--   want                       recalls to return

if is_command('search', 'count') then
  local Search = {}

  local GATHERED = 5000   -- most ids that are collected and sorted if an index has another order
  local MOST_QUEUES = 500      -- most queues that are searched by date

  local STATES = {'queued', 'accepted', 'dead', 'superseded', 'cancelled', 'expired', 'simulated'}

  local function as_set(list)
    local set = {}
    for _, each in ipairs(list) do set[each] = true end
    return set
  end

  local function one_of(list)
    local set = as_set(list)
    return function(value) return set[value] end
  end

  local function equal(text) return function(value) return value == text end end

  local function same_id(text)
    local plain = Find.plain_id(text)
    return function(value) return value and Find.plain_id(value) == plain end
  end

  local function between(from, till)
    return function(value)
      value = tonumber(value)
      return value and (not from or value >= from) and (not till or value < till)
    end
  end

  local function ends_with(numbers)
    return function(telephone)
      local digits = telephone and Find.reversed(telephone) .. '|'
      for _, number in ipairs(numbers) do
        if digits and string.sub(digits, 1, #number) == number then return true end
      end
    end
  end

  -- A search term may be a customer, a CRM record or the end of a number.
  local function is_about(spec)
    local has_number, is_named = ends_with(spec.telephones or {}), same_id(spec.about)
    return function(id)
      local r = redis.call('HMGET', recall_key(id), 'customer', 'record', 'telephone')
      return is_named(r[1]) or is_named(r[2]) or has_number(r[3])
    end
  end

  -- Return a function that returns whether a recall matches the filter.
  local function tests_of(spec)
    local fields, tests = {'state'}, {spec.states and one_of(spec.states) or function(state) return state end}
    local function add(field, test)
      fields[#fields + 1], tests[#tests + 1] = field, test
    end
    if spec.accounts then add('account', one_of(spec.accounts)) end
    for name, test in pairs({campaign = equal, source = equal, route = equal, words = equal, customer = same_id, record = same_id}) do
      if spec[name] then add(name, test(spec[name])) end
    end
    local about = spec.about and is_about(spec)
    if spec.telephones and not about then add('telephone', ends_with(spec.telephones)) end
    if spec.created_from or spec.created_until then add('created', between(spec.created_from, spec.created_until)) end
    if spec.score_from or spec.score_until then add('score', between(spec.score_from, spec.score_until)) end
    return function(id)
      local values = redis.call('HMGET', recall_key(id), unpack(fields))
      for i, test in ipairs(tests) do
        if not test(values[i]) then return false end
      end
      return not about or about(id)
    end
  end

  -- --- choosing the index ----------------------------------------------------------------------

  -- Return the first id of a ZSET that arrived at `ms` or later, nil if there is none.
  local function first_since(key, ms)
    local low, high = 0, redis.call('ZCARD', key)
    while low < high do
      local middle = math.floor((low + high) / 2)
      local id = redis.call('ZRANGE', key, middle, middle)[1]
      if (tonumber(Recall.field(id, 'created')) or 0) < ms then low = middle + 1 else high = middle end
    end
    return redis.call('ZRANGE', key, low, low)[1]
  end

  local function lower(a, b) return a ~= '' and (b == '' or a < b) and a or b end

  local function higher(a, b) return a > b and a or b end

  -- Return the ids between which the filter's arrival times lie, nil if there are none.
  local function bounds(stream, spec)
    local above, below = spec.prefix or '', spec.prefix and spec.prefix .. '~' or ''
    if stream.prefix then return above, below end
    if spec.created_from then
      local first = first_since(stream.key, spec.created_from)
      if not first then return nil end
      above = higher(above, first)
    end
    local past = spec.created_until and first_since(stream.key, spec.created_until) or ''
    return above, lower(past, below)
  end

  -- Return the next ids of an index that are after an id and within the filter's arrival times.
  local function next_of(stream, spec, n)
    local above, below = bounds(stream, spec)
    if not above then return {} end
    local prefix, after, found = stream.prefix or '', spec.after, nil
    if spec.oldest then
      local from = after >= above and after ~= '' and '(' .. prefix .. after or '[' .. prefix .. above
      local till = '(' .. prefix .. (below ~= '' and below or '~')
      found = redis.call('ZRANGE', stream.key, from, till, 'BYLEX', 'LIMIT', 0, n)
    else
      below = lower(after, below)
      local from = '(' .. prefix .. (below ~= '' and below or '~')
      found = redis.call('ZRANGE', stream.key, from, '[' .. prefix .. above, 'BYLEX', 'REV', 'LIMIT', 0, n)
    end
    for i, member in ipairs(found) do found[i] = string.sub(member, #prefix + 1) end
    return found
  end

  local function by_state(spec)
    local streams = {}
    local states = spec.states or STATES
    for _, state in ipairs(states) do
      if state == 'pushing' or not spec.accounts or #spec.accounts > 16 then
        streams[#streams + 1] = {key = P .. 'in:' .. state}
      else
        for _, account in ipairs(spec.accounts) do streams[#streams + 1] = {key = P .. 'of:' .. account .. ':' .. state} end
      end
    end
    return streams
  end

  local function by_text(kind, text)
    local key, prefix = Find.text(kind, text)
    return {{key = key, prefix = prefix}}
  end

  -- Sort ascending, then reverse: a comparison function makes table.sort several times slower.
  local function sorted(ids, oldest)
    table.sort(ids)
    if oldest then return ids end
    local last = #ids
    for i = 1, math.floor(last / 2) do ids[i], ids[last + 1 - i] = ids[last + 1 - i], ids[i] end
    return ids
  end

  -- Add the ids of all members with this prefix to a set. Return false if there are too many.
  local function gather(set, key, prefix)
    local from, till = '[' .. prefix, '(' .. prefix .. '~'
    set.size = set.size + redis.call('ZLEXCOUNT', key, from, till)
    if set.size > GATHERED then return false end
    for _, member in ipairs(redis.call('ZRANGEBYLEX', key, from, till)) do
      set.ids[string.match(member, 'rc_%w+$')] = true
    end
    return true
  end

  local function ids_of(set)
    local ids = {}
    for id in pairs(set.ids) do ids[#ids + 1] = id end
    return ids
  end

  -- Return all ids whose telephone ends with one of the numbers, nil if there are too many.
  local function with_number(numbers)
    local set = {size = 0, ids = {}}
    for _, number in ipairs(numbers) do
      if not gather(set, Find.number(number)) then return nil end
    end
    return ids_of(set)
  end

  -- Return all ids that a search term may be about, nil if there are too many.
  local function all_about(spec)
    local set = {size = 0, ids = {}}
    for _, kind in ipairs({'c', 'r'}) do
      if not gather(set, Find.text(kind, spec.about)) then return nil end
    end
    for _, number in ipairs(spec.telephones or {}) do
      if not gather(set, Find.number(number)) then return nil end
    end
    return ids_of(set)
  end

  local function queues_of(accounts)
    local bound, queues = hash(P .. 'accounts'), {}
    local wanted = accounts and as_set(accounts)
    for account, queue in pairs(bound) do
      if not wanted or wanted[account] then queues[queue] = true end
    end
    return queues
  end

  -- Return all ids that are queued for a range of dates, nil if there are too many.
  local function queued_between(spec)
    local from, till = spec.score_from or '-inf', spec.score_until and '(' .. spec.score_until or '+inf'
    local ids, queues = {}, 0
    for queue in pairs(queues_of(spec.accounts)) do
      local waiting = P .. 'queue:' .. queue .. ':recalls'
      queues = queues + 1
      if queues > MOST_QUEUES or #ids + redis.call('ZCOUNT', waiting, from, till) > GATHERED then return nil end
      for _, id in ipairs(redis.call('ZRANGEBYSCORE', waiting, from, till)) do ids[#ids + 1] = id end
    end
    return ids
  end

  local function only_queued(spec) return spec.states and #spec.states == 1 and spec.states[1] == 'queued' end

  local function by_outcome(text)
    local job, outcome = string.match(text, '^([^:]*):(.*)$')
    return {{key = Job.outcomes_key(job or ''), prefix = (outcome or '') .. '|'}}
  end

  -- Return the ids that may match, or nil and the indexes to be examined.
  local function places(spec)
    if spec.outcome then return nil, by_outcome(spec.outcome) end
    if spec.customer then return nil, by_text('c', spec.customer) end
    if spec.record then return nil, by_text('r', spec.record) end
    local ids = nil
    if spec.about then ids = all_about(spec) elseif spec.telephones then ids = with_number(spec.telephones) end
    if not ids and only_queued(spec) and (spec.score_from or spec.score_until) then ids = queued_between(spec) end
    return ids, by_state(spec)
  end

  local function next_among(ids, spec, n)
    local found = {}
    for _, id in ipairs(sorted(ids, spec.oldest)) do
      if #found == n then break end
      local wanted = not spec.prefix or string.sub(id, 1, #spec.prefix) == spec.prefix
      local is_after = spec.after == '' or (spec.oldest and id > spec.after) or (not spec.oldest and id < spec.after)
      if wanted and is_after then found[#found + 1] = id end
    end
    return found
  end

  local function candidates(spec, n)
    local ids, streams = places(spec)
    if ids then return next_among(ids, spec, n) end
    local found, seen = {}, {}
    for _, stream in ipairs(streams) do
      for _, id in ipairs(next_of(stream, spec, n)) do
        if not seen[id] then
          seen[id] = true
          found[#found + 1] = id
        end
      end
    end
    sorted(found, spec.oldest)
    return {unpack(found, 1, math.min(n, #found))}
  end

  -- One step. Return {ids, the id to continue after ("" at the end), its arrival in ms}.
  function Search.step(spec)
    local fits, found, looked = tests_of(spec), {}, 0
    local ids = candidates(spec, spec.most)
    for _, id in ipairs(ids) do
      if #found == spec.want then break end
      looked = looked + 1
      if fits(id) then found[#found + 1] = id end
    end
    if looked == #ids and #ids < spec.most then return {found, '', ''} end
    local last = ids[looked]
    return {found, last, Recall.field(last, 'created') or ''}
  end

  -- --- counting --------------------------------------------------------------------------------

  local function pushing_of(account)
    local found = 0
    for _, id in ipairs(redis.call('ZRANGE', P .. 'in:pushing', 0, -1)) do
      if not account or Recall.field(id, 'account') == account then found = found + 1 end
    end
    return found
  end

  local function size(account, state)
    if state == 'pushing' then return pushing_of(account) end
    local all = redis.call('ZCARD', account and P .. 'of:' .. account .. ':' .. state or P .. 'in:' .. state)
    return state == 'queued' and all - pushing_of(account) or all
  end

  -- Return the number of recalls, for filters by states and accounts only, from the sizes of the indexes.
  function Search.count(spec)
    local states, total = spec.states or {'pushing', unpack(STATES)}, 0
    for _, state in ipairs(states) do
      if spec.accounts then
        for _, account in ipairs(spec.accounts) do total = total + size(account, state) end
      else
        total = total + size(nil, state)
      end
    end
    return total
  end

  function COMMANDS.search(spec) return Search.step(cjson.decode(spec)) end

  function COMMANDS.count(spec) return Search.count(cjson.decode(spec)) end
end
