-- KEYS: the session. ARGV: its user, the relay, for how long it lasts (ms).
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'user', ARGV[1], 'owner', ARGV[2])
elseif redis.call('HGET', KEYS[1], 'owner') ~= ARGV[2] then
  return 'lost'
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'done'
