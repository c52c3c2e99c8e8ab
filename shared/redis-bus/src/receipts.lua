-- The watermarks of a channel: per user what is delivered (`d:<user>`) and read (`r:<user>`).
-- KEYS: the marks, the signals' topic.
-- ARGV: ms that the marks live, the signal's text, then fields and ids. A mark never goes back.
for at = 3, #ARGV, 2 do
  local known = redis.call('HGET', KEYS[1], ARGV[at])
  if not known or known < ARGV[at + 1] then
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PUBLISH', KEYS[2], ARGV[2])
return 'OK'
