-- Upper bound of the bytes of a list's elements: Redis stores a number in as little as a third of its length as text.
-- KEYS: the list. ARGV: maximum bytes that are read of a list.
local most = tonumber(ARGV[1])
local usage = usage_of(KEYS[1])
if not usage then return 0 end
if type(usage) ~= 'number' then return most end
return math.min(usage * 3, most)
