-- Prepended to other scripts: helpers for lists, which Faasm's workers also create, of any length.
-- Elements examined per step: a few MiB.
local function batch_of(usage, count)
  if type(usage) ~= 'number' or count == 0 then return 16 end
  return math.max(1, math.min(1024, math.floor(4194304 * count / usage)))
end
local function usage_of(key)
  return redis.pcall('MEMORY', 'USAGE', key, 'SAMPLES', '0')
end
-- Bytes of a list's elements; an underestimate if far below `room`. Derived from the memory usage that Redis reports:
-- it stores a number in as little as a third of its length as text.
local function bytes_of(key, count, room)
  if count == 0 then return 0 end
  local usage = usage_of(key)
  if type(usage) == 'number' and usage * 3 <= room then return 0 end
  local bytes, batch = 0, batch_of(usage, count)
  for at = 0, count - 1, batch do
    for _, element in ipairs(redis.call('LRANGE', key, at, at + batch - 1)) do
      bytes = bytes + #element
    end
    if bytes > room then return bytes end
  end
  return bytes
end
