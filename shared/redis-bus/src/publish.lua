-- Publishes once: guard, stream entry with the position before it, push. Redis runs the whole script
-- without running anything else in between.
--
-- KEYS  1 stream  2 guard of this publication  3 topic        (one hash tag: one slot)
-- ARGV  1 publication id  2 payload  3 TTL of the guard, ms  4 TTL of the stream, ms
--       5 most entries in the stream  6 most bytes of payloads in the stream
-- Returns the entry's position (`<ms>-<sequence>-<history>`), or `already` if the guard exists.
--
-- Fields of an entry: `p` position of the entry before (empty: none), `h` history: a digest of `p` and
-- `i`, and so of all entries before, `i` publication id, `c` bytes of all payloads up to and including
-- this one, `d` payload. The payloads in the stream thus have newest.c - oldest.c + #oldest.d bytes: no
-- separate counter is needed, which a failover could set back.

local TRIM_STEP, TRIM_STEPS_MAX = 16, 16

local function fields_of(entry)
  local fields = {}
  for at = 1, #entry[2], 2 do
    fields[entry[2][at]] = entry[2][at + 1]
  end
  return fields
end

if redis.call('EXISTS', KEYS[2]) == 1 then
  return 'already'
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
redis.call('SET', KEYS[2], '', 'PX', ARGV[3])
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
