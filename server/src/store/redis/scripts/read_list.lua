-- Concatenates the first elements of a list.
-- KEYS: the list. ARGV: number of elements, maximum total bytes.
-- Returns the outcome, the bytes, and the number of elements in the list.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {'done', '', 0} end
if kind ~= 'list' then return {'kind', '', 0} end
local length = redis.call('LLEN', KEYS[1])
local count, most = math.min(length, tonumber(ARGV[1])), tonumber(ARGV[2])
local batch = batch_of(usage_of(KEYS[1]), length)
local parts, bytes = {}, 0
for at = 0, count - 1, batch do
  local last = math.min(at + batch, count) - 1
  for _, element in ipairs(redis.call('LRANGE', KEYS[1], at, last)) do
    bytes = bytes + #element
    parts[#parts + 1] = element
  end
  if bytes > most then return {'full', '', length} end
end
return {'done', table.concat(parts), length}
