-- At most how many bytes the elements of a list have: numbers take up to a third of what they are as text.
-- KEYS: the list. ARGV: most bytes of what is read of one.
local most = tonumber(ARGV[1])
local usage = usage_of(KEYS[1])
if not usage then return 0 end
if type(usage) ~= 'number' then return most end
return math.min(usage * 3, most)
