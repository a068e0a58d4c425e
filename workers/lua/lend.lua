-- What is not a recall's turn: a pause that may have an end, and a lane lent for a test call.

-- until_ms: when the pause ends by itself, nil when an operator must end it
function Lane.pause(l, reason, until_ms)
  Lane.set(l, 'paused', reason)
  Lane.set(l, 'paused_until', until_ms or '')
  Lane.set(l, 'paused_ms', until_ms and math.max(0, until_ms - now) or '')
end

-- Why the lane cannot be lent for a call of no recall: kind, reason, ms. A stopped or paused one can be.
function Lane.needed(l, terms)
  if Lane.get(l, 'inflight') ~= '' and Lane.num(l, 'lease') > now then return 'busy', '', Lane.num(l, 'lease') end
  local longest = math.max(Lane.num(l, 'lease_ms'), terms.lease_ms)
  local at = math.max(Lane.num(l, 'quiet'), History.held_until(longest), History.settling())
  if at > now then return 'wait', 'quiet', at end
  if Lane.num(l, 'wait') > now then return 'wait', Lane.get(l, 'wait_reason'), Lane.num(l, 'wait') end
  if terms.daily_limit and Lane.num(l, 'pushed') >= terms.daily_limit then
    return 'wait', 'the daily limit is used up', terms.day_ends
  end
end

-- A test call has the lane as a push has it: under a lease, so that nothing overlaps, whatever an operator does.
function Lane.lend(l, nonce, terms)
  Lane.clamp(l)
  Lane.count_day(l, terms)
  local kind, reason, at = Lane.needed(l, terms)
  if kind then return cjson.encode({kind = kind, reason = reason, ['until'] = at}) end
  Lane.recover(l)
  local fence = History.grow()
  for field, value in pairs({fence = fence, owner = nonce, step = 0, reply = '', inflight = LOAN}) do
    Lane.set(l, field, value)
  end
  for field, value in pairs({lease_ms = terms.lease_ms, quiet_ms = terms.quiet_ms, lease = now + terms.lease_ms}) do
    Lane.set(l, field, value)
  end
  return cjson.encode({kind = 'lent', fence = fence})
end

-- sent_ms: ms since the request was written, nil when it was not; quiet: wolkvox may still be working on it
function Lane.give_back(l, fence, sent_ms, quiet)
  if Lane.num(l, 'fence') ~= fence or Lane.get(l, 'inflight') ~= LOAN then return end
  History.grow()
  Lane.set(l, 'inflight', '')
  if sent_ms then Lane.set(l, 'pushed', Lane.num(l, 'pushed') + 1) end
  if quiet then Lane.set(l, 'quiet', now - math.max(0, sent_ms or 0) + Lane.num(l, 'quiet_ms')) end
end
