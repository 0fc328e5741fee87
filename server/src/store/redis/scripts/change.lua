-- Changes state, optionally with an idempotency record.
-- KEYS: the value or list. With a record also: session, its entries, acknowledged ranges.
-- ARGV: operation, relay; with a record also request and reply; then the operation's arguments.
-- Returns the outcome and two numbers that describe it. All checks precede the first change.
local key, next_arg = KEYS[1], 3
local is_marked = #KEYS == 4
if is_marked then
  if redis.call('EXISTS', KEYS[2]) == 0 then return {'lost', 0, 0} end
  if redis.call('HEXISTS', KEYS[3], ARGV[3]) == 1 or is_forgotten(KEYS[4], ARGV[3]) then
    return {'done', 0, 0}
  end
  next_arg = 5
end
local kind = redis.call('TYPE', key).ok

-- ARGV: size of the value, then offset and bytes of each chunk.
local function write()
  if kind ~= 'none' and kind ~= 'string' then return {'kind', 0, 0} end
  local size = tonumber(ARGV[next_arg])
  if kind == 'none' then
    -- Extends the value with zeros; fails if Redis does not allow that size.
    redis.call('SETRANGE', key, size - 1, '\0')
  else
    local have = redis.call('STRLEN', key)
    if have ~= size then return {'size', have, size} end
  end
  for at = next_arg + 1, #ARGV, 2 do
    redis.call('SETRANGE', key, ARGV[at], ARGV[at + 1])
  end
  return {'done', 0, 0}
end

-- ARGV: element, maximum number of elements, maximum total bytes.
local function append()
  if kind ~= 'none' and kind ~= 'list' then return {'kind', 0, 0} end
  local element, most_elements, most_bytes =
    ARGV[next_arg], tonumber(ARGV[next_arg + 1]), tonumber(ARGV[next_arg + 2])
  local elements = redis.call('LLEN', key) + 1
  if elements > most_elements then return {'full', elements, 0} end
  local bytes = bytes_of(key, elements - 1, most_bytes - #element) + #element
  if bytes > most_bytes then return {'full', elements, bytes} end
  redis.call('RPUSH', key, element)
  return {'done', 0, 0}
end

local function clear()
  if kind ~= 'none' and kind ~= 'list' then return {'kind', 0, 0} end
  redis.call('DEL', key)
  return {'done', 0, 0}
end

local ended
if ARGV[1] == 'write' then ended = write() elseif ARGV[1] == 'append' then ended = append() else ended = clear() end
if is_marked and ended[1] == 'done' then
  redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
  lasts_as(KEYS[2], KEYS[3])
end
if ARGV[1] == 'write' and ended[1] == 'done' then
  -- Notifies other relays. The write stands even if PUBLISH is not permitted.
  redis.pcall('PUBLISH', '{faasm-relay}:written', ARGV[2] .. key)
end
return ended
