-- Deliveries and events that were taken before.

-- A write that takes no room, but that a full store refuses.
function Admit.refuse_when_full()
  redis.call('HINCRBY', P .. 'meta', 'seq', 0)
end

-- Lists a delivery that was taken before, by the answer that it got.
function Admit.list_again(delivery, answer)
  local function many(ids)
    if ids == '' then return 0 end
    local _, commas = string.gsub(ids, ',', '')
    return commas + 1
  end
  local id, recalls, counts, cancelled, late = string.match(answer, '^([^;]*);([^;]*);([^;]*;[^;]*;[^;]*);([^;]*);([^;]*)$')
  Admit.list(delivery, id, table.concat({'again', many(recalls), counts, many(cancelled), many(late)}, ';'))
end
