-- The node directory. Each call runs whole, by the server's own clock.
--
-- KEYS  1 leases: sorted set of nodes by the time of their last renewal, ms. It has no TTL, so that
--         eviction (`volatile-*`) spares it.
--       2 details: hash, node -> JSON
--       3 reports: sorted set of `<node> <workspace> <user>` by time, ms
--       4 pending: prefix of the keys `<prefix>:<node>`, each a sorted set of assignments by expiry, ms.
--         The script builds these names; the hash tag keeps them in the same slot.
--       5 given: prefix of keys as above, each a sorted set of `<workspace> <user>` by the time at which
--         the node was given to that user, ms
-- ARGV  1 call  2 how long a lease is remembered, ms  3 how long a report is remembered, ms  4… see below

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local memory, report_memory = tonumber(ARGV[2]), tonumber(ARGV[3])
local FORGET_MAX = 100

local function pending_of(node)
  return KEYS[4] .. ':' .. node
end

local function given_of(node)
  return KEYS[5] .. ':' .. node
end

local function remove(node)
  redis.call('ZREM', KEYS[1], node)
  redis.call('HDEL', KEYS[2], node)
  redis.call('DEL', pending_of(node), given_of(node))
end

local function forget()
  local before = '(' .. string.format('%.0f', now - memory)
  local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', before, 'LIMIT', 0, FORGET_MAX)
  for _, node in ipairs(old) do
    remove(node)
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf',
    '(' .. string.format('%.0f', now - report_memory))
end

local function pending_count(node)
  redis.call('ZREMRANGEBYSCORE', pending_of(node), '-inf', string.format('%.0f', now))
  return redis.call('ZCARD', pending_of(node))
end

local function connections_of(node)
  local read, details = pcall(cjson.decode, redis.call('HGET', KEYS[2], node) or '')
  return read and type(details) == 'table' and tonumber(details.connections) or 0
end

local calls = {}

-- 4 node  5 details. Returns the time, ms.
function calls.renew()
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[4])
  redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
  forget()
  return now
end

-- 4 node
function calls.withdraw()
  remove(ARGV[4])
  return 1
end

-- Returns {{node, age in ms, details, pending, time of renewal in ms}…} and
-- {{`<node> <workspace> <user>`, age in ms}…}.
function calls.fleet()
  forget()
  local nodes, reports = {}, {}
  local leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
  for at = 1, #leases, 2 do
    local node = leases[at]
    nodes[#nodes + 1] = {
      node, now - tonumber(leases[at + 1]), redis.call('HGET', KEYS[2], node) or '',
      pending_count(node), tonumber(leases[at + 1]),
    }
  end
  local noted = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
  for at = 1, #noted, 2 do
    reports[#reports + 1] = { noted[at], now - tonumber(noted[at + 1]) }
  end
  return { nodes, reports }
end

-- Remembers that a node was given to a user. Keeps the newest users of each node.
local function give(node, user, memory_ms, most)
  local key = given_of(node)
  redis.call('ZADD', key, string.format('%.0f', now), user)
  redis.call('ZREMRANGEBYRANK', key, 0, -tonumber(most) - 1)
  redis.call('PEXPIRE', key, memory_ms)
end

-- 4 TTL of the assignment, ms  5 workspace  6 user  7 how long the users of a node are remembered, ms
-- 8 how many of them  9… candidates. Returns the node with the least load, or nothing.
function calls.reserve()
  local ttl = tonumber(ARGV[4])
  local taken, lightest
  for at = 9, #ARGV do
    local node = ARGV[at]
    if redis.call('ZSCORE', KEYS[1], node) then
      give(node, ARGV[5] .. ' ' .. ARGV[6], ARGV[7], ARGV[8])
      local load = connections_of(node) + pending_count(node)
      if not lightest or load < lightest then
        taken, lightest = node, load
      end
    end
  end
  if not taken then
    return false
  end
  -- The time alone is not unique: two calls may run in one microsecond.
  local key, number = pending_of(taken), 0
  local expiry = string.format('%.0f', now + ttl)
  while redis.call('ZADD', key, 'NX', expiry, time[1] .. '.' .. time[2] .. '.' .. number) == 0 do
    number = number + 1
  end
  if redis.call('PTTL', key) < ttl then
    redis.call('PEXPIRE', key, ttl)
  end
  return taken
end

-- Whether a node with a lease was recently given to a user.
local function was_given(node, user, memory_ms)
  local at = redis.call('ZSCORE', given_of(node), user)
  return at and now - tonumber(at) <= memory_ms and redis.call('ZSCORE', KEYS[1], node)
end

-- 4 node  5 workspace  6 user  7 how long the users of a node are remembered, ms  8 most reports in
-- all  9 most reports of one workspace about one node
function calls.report()
  local of_workspace = ARGV[4] .. ' ' .. ARGV[5] .. ' '
  if not was_given(ARGV[4], ARGV[5] .. ' ' .. ARGV[6], tonumber(ARGV[7])) then
    return 0
  end
  redis.call('ZADD', KEYS[3], string.format('%.0f', now), of_workspace .. ARGV[6])
  local kept = 0
  -- A few dozen at most, since this call keeps no more.
  for _, report in ipairs(redis.call('ZREVRANGE', KEYS[3], 0, -1)) do
    if string.sub(report, 1, #of_workspace) == of_workspace then
      kept = kept + 1
      if kept > tonumber(ARGV[9]) then
        redis.call('ZREM', KEYS[3], report)
      end
    end
  end
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -tonumber(ARGV[8]) - 1)
  redis.call('PEXPIRE', KEYS[3], report_memory)
  return 1
end

return calls[ARGV[1]]()
