-- The end of every script: the calls are run, and their replies given with what is known of the epoch.

local known = {
  epoch = ARGV[3], revision = tonumber(ARGV[4]), server = ARGV[5], ago = tonumber(ARGV[6]), who = ARGV[7],
}
local news = Epoch.meet(known)
local run = COMMANDS[ARGV[1]]
local replies = {}

-- Each call stands for itself. What one raises is its own reply, and harms none of the others.
for i = 1, CALLS do
  local first = 9 + (i - 1) * WIDTH
  local done, reply = pcall(run, unpack(ARGV, first, first + WIDTH - 1))
  if not done then reply = redis.error_reply(type(reply) == 'table' and reply.err or tostring(reply)) end
  -- A command that gives nothing would cut the list short.
  if reply == nil then reply = 0 end
  replies[i] = reply
end
keep_counts()
return {Epoch.epoch, Epoch.revision, Epoch.server, news, replies}
