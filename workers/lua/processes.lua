-- Signs of life: what each web and worker says of itself every few seconds.
--
-- fields of P process:<id> (ms are epoch milliseconds by the store's clock, "" where there is none)
--   kind, host, pid, version   as it says        started, seen   ms of its start, of this sign of life
--   swept, doorbell            ms of its latest sweep, of the latest doorbell that it took
--   by_doorbell, by_sweep      turns that it took when rung for, and by its sweep alone
--   deaf                       ms since when it takes no doorbells, though they are rung

local LIVES = 15000         -- how long a process is believed to be there after its latest sign of life

local MOMENTS = {'started', 'swept', 'doorbell', 'deaf'}
local FACTS = {'kind', 'host', 'pid', 'version', 'by_doorbell', 'by_sweep'}

-- told: the facts; the moments as ms ago; doorbells, sweeps: turns that no sign of life has told of yet.
-- Gives how many wake-ups all workers took since the store was made.
local function beat(id, told)
  open_full_store()
  local key, flat = P .. 'process:' .. id, {'seen', now}
  for _, field in ipairs(FACTS) do
    flat[#flat + 1], flat[#flat + 2] = field, told[field] or ''
  end
  for _, field in ipairs(MOMENTS) do
    flat[#flat + 1], flat[#flat + 2] = field, told[field] and now - told[field] or ''
  end
  redis.call('HSET', key, unpack(flat))
  redis.call('PEXPIRE', key, LIVES)
  redis.call('ZADD', P .. 'processes', now, id)
  redis.call('ZREMRANGEBYSCORE', P .. 'processes', '-inf', now - LIVES)
  if told.sweeps > 0 then count('turns:sweep', told.sweeps) end
  if told.doorbells > 0 then count('turns:doorbell', told.doorbells) end
  return (tonumber(redis.call('HGET', P .. 'counts', 'turns:doorbell')) or 0) + told.doorbells
end
