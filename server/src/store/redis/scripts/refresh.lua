-- KEYS: session, its entries, acknowledged ranges. ARGV: relay, expiry of the session (ms).
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 'lost' end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
lasts_as(KEYS[1], KEYS[2])
lasts_as(KEYS[1], KEYS[3])
return 'done'
