-- Releases a lock or leaves its queue; from then on the taker cannot get it, even by delayed requests.
-- KEYS: lock, queue, time of each waiting taker's last poll, tombstone of this taker, names of its owner's locks.
-- ARGV: taker, name of the lock, expiry of the tombstone (ms).
local was_over = redis.call('EXISTS', KEYS[4]) == 1
redis.call('SET', KEYS[4], '1', 'PX', ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  -- A repeated request.
  return was_over and 'done' or 'lost'
end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[5], ARGV[2])
return 'done'
