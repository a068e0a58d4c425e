-- What a lost history, or a server that is new to the data, means for the lanes; and that a history grows.

local LOOK_AGAIN = 300      -- how soon the lanes ask again whether all have spoken

function History.grow()
  History.tick = redis.call('HINCRBY', P .. 'meta', 'tick', 1)
  return History.tick
end

-- ms until which a lane gives no claim because a history was lost; 0 when it may.
function History.held_until(lease_ms)
  return History.held > 0 and History.held + lease_ms or 0
end

-- ms of the next look at whether a new server's workers have spoken; 0 when they have, or had their time.
function History.settling()
  if History.settle <= now or redis.call('EXISTS', P .. 'awaited') == 0 then return 0 end
  return math.min(History.settle, now + LOOK_AGAIN)
end
