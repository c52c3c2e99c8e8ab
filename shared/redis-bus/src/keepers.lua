-- Which devices keep messages: a hash for each message, whose fields are `<user>#<device>`.
-- KEYS: for each note the hash of its message. ARGV: ms that a hash lives, then for each note its field.

for at = 1, #KEYS do
  redis.call('HSET', KEYS[at], ARGV[at + 1], '')
  redis.call('PEXPIRE', KEYS[at], ARGV[1])
end
return 'OK'
