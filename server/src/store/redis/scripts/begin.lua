-- KEYS: session, tombstone of the ended session. ARGV: user, relay, expiry of the session (ms), latest time at which it
-- may be created (ms, by the clock of Redis).
if redis.call('EXISTS', KEYS[1]) == 0 then
  if redis.call('EXISTS', KEYS[2]) == 1 then return 'ended' end
  local now = redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 > tonumber(ARGV[4]) then return 'late' end
  redis.call('HSET', KEYS[1], 'user', ARGV[1], 'owner', ARGV[2], 'hold', '0')
elseif redis.call('HGET', KEYS[1], 'owner') ~= ARGV[2] then
  return 'lost'
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'done'
