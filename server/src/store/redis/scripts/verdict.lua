-- Records that the outcome of a call is unknown, if its relay is dead. Returns `changed`, `runs` or `unknown`.
-- KEYS: entries of the session, the relay that runs the call, the relay that asks.
-- ARGV: request, its entry, minimum uptime of the asking relay (ms), entry for an unknown outcome.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 'changed' end
if redis.call('EXISTS', KEYS[2]) == 1 then return 'runs' end
-- After an outage of Redis all heartbeats have expired, and other relays may just be late to renew theirs.
local since, now = redis.call('GET', KEYS[3]), redis.call('TIME')
if not since or now[1] * 1000 + now[2] / 1000 - since < tonumber(ARGV[3]) then return 'runs' end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
return 'unknown'
