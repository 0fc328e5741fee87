-- KEYS: the session, what it began, what it forgot. ARGV: the relay, for how long it lasts (ms).
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 'lost' end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
lasts_as(KEYS[1], KEYS[2])
lasts_as(KEYS[1], KEYS[3])
return 'done'
