-- Purge: what is old goes, a little at a time.

-- Removes what is older than `before` says, which has a ms for each of "parked", "fading", "jobs" and the states
-- that are ends. At most `limit` in all, so that no lane is held up for long.
local function purge(before, limit)
  local removers, gone = {parked = forget_parked, fading = fade, jobs = forget_job}, 0
  for kind, ms in pairs(before) do
    local index = removers[kind] and kind or 'ended:' .. kind
    local members = redis.call('ZRANGEBYSCORE', P .. index, '-inf', '(' .. ms, 'LIMIT', 0, limit - gone)
    for _, member in ipairs(members) do (removers[kind] or purge_recall)(member) end
    gone = gone + #members
  end
  return gone
end
