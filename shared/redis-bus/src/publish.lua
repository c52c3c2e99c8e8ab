-- Publishes once: guard, stream entry with the position before it, push. Redis runs the whole script
-- without running anything else in between.
--
-- KEYS  1 stream  2 guard of this publication  3 topic
--       if the message is not stored yet: 4 spool  5 index of what waits in its channel
--       (one hash tag: one slot)
-- ARGV  1 publication id  2 payload  3 TTL of the guard, ms  4 TTL of the stream, ms
--       5 most entries in the stream  6 most bytes of payloads in the stream
--       with a spool: 7 most bytes of payloads in the spool  8 digest of what makes it the same message
-- Returns the entry's position (`<ms>-<sequence>-<history>`), or `already` if the guard exists; with a
-- spool also `stored` if the message's guard was set after it was stored, `conflict` if its digest is
-- another one, and `full` if the spool is.
--
-- Fields of an entry: `p` position of the entry before (empty: none), `h` history: a digest of `p` and
-- `i`, and so of all entries before, `i` publication id, `c` bytes of all payloads up to and including
-- this one, `d` payload. The payloads in the stream thus have newest.c - oldest.c + #oldest.d bytes: no
-- separate counter is needed, which a failover could set back. The spool's entries have `i`, `c` and
-- `d`, too.

local TRIM_STEP, TRIM_STEPS_MAX = 16, 16

local function fields_of(entry)
  local fields = {}
  for at = 1, #entry[2], 2 do
    fields[entry[2][at]] = entry[2][at + 1]
  end
  return fields
end

local guard = redis.call('GET', KEYS[2])
if guard then
  if not KEYS[4] or guard == ARGV[8] then return 'already' end
  return guard == '' and 'stored' or 'conflict'
end

-- Entries leave the spool in any order, so this is at least what it holds.
local spooled = 0
if KEYS[4] then
  local oldest = redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)[1]
  if oldest then
    local first = fields_of(oldest)
    spooled = tonumber(fields_of(redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)[1]).c) or 0
    local held = spooled - (tonumber(first.c) or 0) + #(first.d or '')
    if held + #ARGV[2] > tonumber(ARGV[7]) then return 'full' end
  end
end

local prev, before = '', 0
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then
  local fields = fields_of(last)
  if fields.h then
    prev = last[1] .. '-' .. fields.h
  end
  before = tonumber(fields.c) or 0
end

-- The guard is set after the entry: if the entry is refused (memory, wrong type, read-only), a guard
-- would make the next attempt a no-op. Once the first write is accepted, memory refuses no later one.
local total = before + #ARGV[2]
local history = string.sub(redis.sha1hex(prev .. ' ' .. ARGV[1]), 1, 8)
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '=', ARGV[5], '*',
  'p', prev, 'h', history, 'i', ARGV[1], 'c', string.format('%.0f', total), 'd', ARGV[2])
if KEYS[4] then
  local entry = redis.call('XADD', KEYS[4], '*',
    'i', ARGV[1], 'c', string.format('%.0f', spooled + #ARGV[2]), 'd', ARGV[2])
  redis.call('ZADD', KEYS[5], string.match(entry, '^%d+'), entry)
end
redis.call('SET', KEYS[2], ARGV[8] or '', 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])

-- Reads at most TRIM_STEP * TRIM_STEPS_MAX entries. The next publications trim the rest.
local bytes_max = tonumber(ARGV[6])
local oldest, keep_from = '-', nil
for step = 1, TRIM_STEPS_MAX do
  -- Usually nothing is to be trimmed, and one entry is read.
  local entries = redis.call('XRANGE', KEYS[1], oldest, '+', 'COUNT', step == 1 and 1 or TRIM_STEP)
  local fits = false
  for _, entry in ipairs(entries) do
    local fields = fields_of(entry)
    local upto = tonumber(fields.c) or 0
    keep_from = entry[1]
    fits = entry[1] == id or total - upto + #(fields.d or '') <= bytes_max
    if fits then break end
    oldest = '(' .. entry[1]
  end
  if fits or #entries == 0 then break end
end
if keep_from and oldest ~= '-' then
  redis.call('XTRIM', KEYS[1], 'MINID', '=', keep_from)
end

local position = id .. '-' .. history
redis.call('PUBLISH', KEYS[3], position .. ' ' .. (prev == '' and '-' or prev) .. ' ' .. ARGV[1] .. ' ' .. ARGV[2])
return position
