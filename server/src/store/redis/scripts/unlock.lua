-- Releases the lock that a run of a session holds, with an idempotency record.
-- KEYS: lock, names of the session's locks, session, its entries, acknowledged ranges.
-- ARGV: prefix of the takers of this run, name of the lock, request, reply, prefix of tombstone keys, expiry of the
-- tombstone (ms).
if redis.call('EXISTS', KEYS[3]) == 0 then return 'gone' end
if redis.call('HEXISTS', KEYS[4], ARGV[3]) == 1 or is_forgotten(KEYS[5], ARGV[3]) then return 'done' end
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 'lost' end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[2])
-- The key is computed here rather than passed in KEYS, which a single Redis (not a Redis Cluster) allows.
redis.call('SET', ARGV[5] .. held, '1', 'PX', ARGV[6])
redis.call('HSET', KEYS[4], ARGV[3], ARGV[4])
lasts_as(KEYS[3], KEYS[4])
return 'done'
