-- Wishes that a delivery takes back, and those that a newer one overtakes.

-- Takes an older recall out of the queue. True when it was still there.
function Admit.overtake(lane, id, state, reason)
  if redis.call('ZREM', P .. 'lane:' .. lane .. ':queue', id) == 0 then return false end
  Recall.become(id, state, reason)
  return true
end

-- A wish taken back. What wolkvox already has, or is being given, cannot be: that is recorded.
function Admit.cancel(e, done, lanes)
  local lane = lane_of(e.account)
  local newest = Newest.get(lane, e.campaign, e.customer)
  if newest and newest.version > e.version then return end
  Newest.set(lane, e.campaign, e.customer, e.version, e.account, 'c')
  redis.call('ZADD', P .. 'fading', now, e.account .. '\0' .. Newest.field(e.campaign, e.customer))
  lanes[lane] = 'less'
  if not newest or newest.kind ~= 'r' then return end
  if Admit.overtake(lane, newest.id, 'cancelled', 'taken back by the CRM') then
    done.cancelled[#done.cancelled + 1] = newest.id
    return
  end
  local state = Recall.field(newest.id, 'state')
  if state ~= 'accepted' and state ~= 'pushing' then return end
  done.too_late[#done.too_late + 1] = newest.id
  count('cancel too late')
  local changes = Recall.field(newest.id, 'changes')
  redis.call('HSET', recall_key(newest.id), 'changes',
    changes .. '\n' .. now .. '\t' .. state .. '\ttaken back by the CRM, too late: wolkvox already has it')
end
