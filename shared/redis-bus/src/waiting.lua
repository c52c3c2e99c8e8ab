-- Reads entries of a spool.
-- KEYS: the spool, the index of their channel.
-- ARGV: their ids.
-- Returns those that are still there. The index forgets the others.
local found = {}
for _, id in ipairs(ARGV) do
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if entry then
    found[#found + 1] = entry
  else
    redis.call('ZREM', KEYS[2], id)
  end
end
return found
