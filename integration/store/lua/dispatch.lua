-- The end of the script: runs the calls and returns their replies with the current epoch.

local known = {
  epoch = ARGV[3], revision = tonumber(ARGV[4]), server = ARGV[5], ago = tonumber(ARGV[6]), who = ARGV[7],
}
local loss = Epoch.check(known)
if Epoch.fault then return redis.error_reply(Epoch.fault) end
local run = COMMANDS[ARGV[1]]
local replies = {}

-- An error of a call becomes the reply to that call. The other calls are not affected.
for i = 1, CALLS do
  local first = 9 + (i - 1) * WIDTH
  local done, reply = pcall(run, unpack(ARGV, first, first + WIDTH - 1))
  if not done then reply = redis.error_reply(type(reply) == 'table' and reply.err or tostring(reply)) end
  -- nil would end the list of replies.
  if reply == nil then reply = 0 end
  replies[i] = reply
end
save_counts()
return {Epoch.epoch, Epoch.revision, Epoch.server, loss, replies}
