-- KEYS: the session, what it began, what it forgot. ARGV: the relay.
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 'lost' end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return 'done'
