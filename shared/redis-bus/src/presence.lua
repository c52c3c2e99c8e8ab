-- The book of presence of one workspace. Each call runs whole, by the server's own clock.
--
-- KEYS  1 nodes: sorted set of nodes by the time of their last write, ms
--       2 part: hash of one node, user -> state, and '#' -> number of the last announcement. No user's
--         id has a '#'
-- ARGV  1 call  2 how long a part is kept, ms  3 node  4… see below

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl, node = tonumber(ARGV[2]), ARGV[3]
-- Lua passes some 8,000 arguments to a call at most.
local AT_ONCE = 2000

local function kept()
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), node)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ttl))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  return 1
end

local function in_parts(command, first, last)
  for from = first, last, AT_ONCE do
    redis.call(command, KEYS[2], unpack(ARGV, from, math.min(from + AT_ONCE - 1, last)))
  end
end

local calls = {}

-- 4 number  5 '1' if whole  6 count of users who left  7… these, then user and state of the others.
-- Returns 1 if the book has it now.
function calls.announce()
  local last, number = redis.call('HGET', KEYS[2], '#'), ARGV[4]
  if last == number then
    return 1
  end
  if ARGV[5] == '1' then
    if last and tonumber(last) > tonumber(number) then
      return 0
    end
    redis.call('DEL', KEYS[2])
  elseif not last or tonumber(last) + 1 ~= tonumber(number) then
    return 0
  end
  local left = tonumber(ARGV[6])
  in_parts('HDEL', 7, 6 + left)
  in_parts('HSET', 7 + left, #ARGV)
  if redis.call('HLEN', KEYS[2]) == (ARGV[5] == '1' and 0 or 1) then
    redis.call('DEL', KEYS[2])
    redis.call('ZREM', KEYS[1], node)
    return 1
  end
  redis.call('HSET', KEYS[2], '#', number)
  return kept()
end

-- 4 number. Returns 1 if the book has it.
function calls.renew()
  if redis.call('HGET', KEYS[2], '#') ~= ARGV[4] then
    return 0
  end
  return kept()
end

function calls.nodes()
  return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', now - ttl), '+inf')
end

-- Returns fields and values.
function calls.present()
  return redis.call('HGETALL', KEYS[2])
end

return calls[ARGV[1]]()
