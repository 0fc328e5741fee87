-- Releases the lock that a run of a session holds, and marks that it did.
-- KEYS: the lock, the names of the session's locks, the session, what it began, what it forgot.
-- ARGV: the beginning that takers of this run have, the lock's name, the request, its reply, what the key of what is over begins
-- with, for how long it is over (ms).
if redis.call('EXISTS', KEYS[3]) == 0 then return 'gone' end
if redis.call('HEXISTS', KEYS[4], ARGV[3]) == 1 or is_forgotten(KEYS[5], ARGV[3]) then return 'done' end
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 'lost' end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[2])
-- One Redis, so that the key need not be named before.
redis.call('SET', ARGV[5] .. held, '1', 'PX', ARGV[6])
redis.call('HSET', KEYS[4], ARGV[3], ARGV[4])
lasts_as(KEYS[3], KEYS[4])
return 'done'
