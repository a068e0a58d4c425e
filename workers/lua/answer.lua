-- The end of every script: the command is run, and its reply given with what is known of the history.

local known = {
  history = ARGV[3], tick = tonumber(ARGV[4]), server = ARGV[5], ago = tonumber(ARGV[6]), who = ARGV[7],
}
local news = History.meet(known)
local reply = COMMANDS[ARGV[1]](unpack(ARGV, 8))
-- A command that gives nothing would cut the list short.
if reply == nil then reply = 0 end
keep_counts()
return {History.history, History.tick, History.server, news, reply}
