-- KEYS: the session, what it began, what it forgot. ARGV: its user, the relay, for how long it lasts (ms), its hold on the session.
-- Answers what it began, as requests and entries in turn, and what it forgot; nothing where it is not there.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[1] then return false end
redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'hold', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
lasts_as(KEYS[1], KEYS[2])
lasts_as(KEYS[1], KEYS[3])
return {redis.call('HGETALL', KEYS[2]), redis.call('ZRANGE', KEYS[3], 0, -1)}
