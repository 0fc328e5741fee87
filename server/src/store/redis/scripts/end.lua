-- KEYS: session, its entries, acknowledged ranges, names of its locks, tombstone of the session. ARGV: relay, prefix of
-- the takers of its runs, prefix of lock keys, the relay's hold on the session, expiry of the tombstone (ms).
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 'lost' end
-- The relay has acquired the session again since.
if redis.call('HGET', KEYS[1], 'hold') ~= ARGV[4] then return 'lost' end
for _, name in ipairs(redis.call('SMEMBERS', KEYS[4])) do
  local key = ARGV[3] .. name
  local taker = redis.call('GET', key)
  if taker and string.sub(taker, 1, #ARGV[2]) == ARGV[2] then redis.call('DEL', key) end
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('SET', KEYS[5], '1', 'PX', ARGV[5])
return 'done'
