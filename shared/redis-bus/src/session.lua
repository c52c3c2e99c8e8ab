-- The session of a channel that keeps nothing: an id, the number of its last message, the history in
-- which it was counted, and when somebody last took part. Nothing of a message is kept.
-- KEYS: the session; to say something, the signals' topic as well.
-- ARGV: an id for a new session, ms until a session without participants is over, ms that it lives;
--       to say something, the signal's text before the session's id and after the number.
-- Answers `<id>:<number>`.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A failover loses what was not replicated. Each promotion and each start begins another history; a
-- server that takes over again keeps its run_id.
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
local function known(field)
  return redis.call('HGET', KEYS[1], field)
end
local id, n = known('id'), tonumber(known('n') or 0)
if not id or known('history') ~= history or now - tonumber(known('seen')) > tonumber(ARGV[2]) then
  id, n = ARGV[1], 0
end
if KEYS[2] then
  n = n + 1
end
n = string.format('%d', n)
redis.call('HSET', KEYS[1], 'id', id, 'history', history, 'seen', now, 'n', n)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if not KEYS[2] then
  return id .. ':' .. n
end
redis.call('PUBLISH', KEYS[2], ARGV[4] .. id .. '","n":' .. n .. ARGV[5])
return id .. ':' .. n
