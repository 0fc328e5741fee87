-- Whether nobody will say what came of a call.
-- KEYS: what its session began, the relay that runs it, the relay that asks.
-- ARGV: the request, its entry, for how long the asking relay has to have been there (ms), the entry of what nobody knows.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 'changed' end
if redis.call('EXISTS', KEYS[2]) == 1 then return 'runs' end
-- Where Redis itself was away, everybody's sign of life has gone, and others may only be late to give another.
local since, now = redis.call('GET', KEYS[3]), redis.call('TIME')
if not since or now[1] * 1000 + now[2] / 1000 - since < tonumber(ARGV[3]) then return 'runs' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
return 'unknown'
