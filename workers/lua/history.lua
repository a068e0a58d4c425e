-- The history of what the store holds: has it gone on from what somebody saw of it, or back to before that?
--
-- A restored copy, a replica that lagged behind, a log cut short: such a store knows nothing of the latest
-- claims, and their calls may still be running. Every change of lanes and recalls counts `tick` up. Whoever
-- calls hands in which history it knows, the highest tick it saw of it and on which server, and is given
-- all three back. Where the store has less, or is another one, a new history begins: no lane gives a claim
-- until the longest call that may be running has ended, and no fence of the lost history comes again.
--
-- A server that takes the data over (a restart, a failover) notes the tick that it found: who saw a higher
-- one on the server before saw what is lost, however far the new one has counted since.

local History = {}

-- The server's name: its replication id, shortened. One that does not tell it is taken for the one before.
function History.server_now()
  local told = redis.pcall('INFO', 'replication')
  if type(told) ~= 'string' then return History.server end
  local _, at = string.find(told, 'master_replid:', 1, true)
  return at and string.sub(told, at + 1, at + 12) or History.server
end

-- What somebody knows: history, tick and server, ago (ms since it last heard of them), who it is.
-- Gives what is to be reported, to one caller alone: '' or how|tick that was found.
function History.meet(known)
  local meta = redis.call('HMGET', P .. 'meta', 'history', 'tick', 'server', 'base', 'held', 'settle', 'seq')
  History.history, History.tick, History.server = meta[1] or '', tonumber(meta[2]) or 0, meta[3] or ''
  History.base, History.held, History.settle = tonumber(meta[4]) or 0, tonumber(meta[5]) or 0, tonumber(meta[6]) or 0
  History.arrivals = tonumber(meta[7]) or 0
  local same = known.history == History.history and known.tick <= History.tick
    and known.server == History.server and History.server == History.server_now()
  if same and History.history ~= '' and History.held <= now and History.settle <= now then return '' end
  return History.look_closer(known)
end
