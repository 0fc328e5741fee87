-- The first elements of a list, one after the other.
-- KEYS: the list. ARGV: how many elements, most bytes of them.
-- Answers how it ended, their bytes, how many elements there are.
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
