-- KEYS: session, its entries, acknowledged ranges. ARGV: user, relay, expiry of the session (ms), the relay's hold on
-- the session.
-- Returns the entries, as requests and entries alternately, and the acknowledged ranges; nothing if the session does
-- not exist.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[1] then return false end
redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'hold', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
lasts_as(KEYS[1], KEYS[2])
lasts_as(KEYS[1], KEYS[3])
return {redis.call('HGETALL', KEYS[2]), redis.call('ZRANGE', KEYS[3], 0, -1)}
