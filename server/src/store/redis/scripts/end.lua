-- KEYS: the session, what it began, what it forgot, the names of its locks, that it has ended. ARGV: the relay, the beginning
-- that takers of its runs have, what the key of a lock begins with, the relay's hold on the session, for how long it is kept that
-- it has ended (ms).
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 'lost' end
-- The relay has taken it up again since.
if redis.call('HGET', KEYS[1], 'hold') ~= ARGV[4] then return 'lost' end
for _, name in ipairs(redis.call('SMEMBERS', KEYS[4])) do
  local key = ARGV[3] .. name
  local taker = redis.call('GET', key)
  if taker and string.sub(taker, 1, #ARGV[2]) == ARGV[2] then redis.call('DEL', key) end
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('SET', KEYS[5], '1', 'PX', ARGV[5])
return 'done'
