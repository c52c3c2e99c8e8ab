-- Removes entries of a spool whose messages are stored.
-- KEYS: the spool, then for each entry the index of its channel.
-- ARGV: the group of archivers, then the entries' ids.
for at = 2, #ARGV do
  redis.call('XDEL', KEYS[1], ARGV[at])
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[at])
  redis.call('ZREM', KEYS[at], ARGV[at])
end
return 'OK'
