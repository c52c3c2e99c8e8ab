-- The list of workspaces that may have something in their spool, by when they were last noted.
-- KEYS: the list.
-- ARGV: workspaces to note; or an empty one, a workspace, and a time: it is forgotten unless it was noted since.
if ARGV[1] == '' then
  local noted = redis.call('ZSCORE', KEYS[1], ARGV[2])
  if noted and tonumber(noted) <= tonumber(ARGV[3]) then
    redis.call('ZREM', KEYS[1], ARGV[2])
  end
  return 'OK'
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, workspace in ipairs(ARGV) do
  redis.call('ZADD', KEYS[1], now, workspace)
end
return 'OK'
