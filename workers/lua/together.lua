-- Admissions of the same moment, in one run of the script: what a run costs is paid once.
--
-- Each stands for itself. What one raises is its own reply, and harms none of the others.

local function admitted(...)
  local done, reply = pcall(COMMANDS.admit, ...)
  if done then return reply end
  return redis.error_reply(type(reply) == 'table' and reply.err or tostring(reply))
end

-- width: how many words belong to each admission
function COMMANDS.admit_all(width, ...)
  local words, replies = {...}, {}
  numbers.ahead = #words / width
  for i = 1, #words, width do replies[#replies + 1] = admitted(unpack(words, i, i + width - 1)) end
  return replies
end
