-- KEYS: the session, what it began, what it forgot, the names of its locks. ARGV: the relay, the beginning that takers of its
-- runs have, what the key of a lock begins with.
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 'lost' end
for _, name in ipairs(redis.call('SMEMBERS', KEYS[4])) do
  local key = ARGV[3] .. name
  local taker = redis.call('GET', key)
  if taker and string.sub(taker, 1, #ARGV[2]) == ARGV[2] then redis.call('DEL', key) end
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return 'done'
