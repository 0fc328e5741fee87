-- Releases a lock, or leaves its queue; from then on the taker does not get it, whatever it asked before.
-- KEYS: the lock, its queue, when each in the queue asked last, what is over of this taker, the names of its owner's locks.
-- ARGV: the taker, the lock's name, for how long it is over (ms).
local was_over = redis.call('EXISTS', KEYS[4]) == 1
redis.call('SET', KEYS[4], '1', 'PX', ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  -- The same question, asked again.
  return was_over and 'done' or 'lost'
end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[5], ARGV[2])
return 'done'
