-- What most commands need of the store beside its own commands.

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
