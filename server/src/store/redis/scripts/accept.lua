-- KEYS: session, its entries, acknowledged ranges. ARGV: request, relay, unique entry of the claim.
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[2] then return 'lost' end
local entry = redis.call('HGET', KEYS[2], ARGV[1])
-- A repeated request.
if entry == ARGV[3] then return 'done' end
if entry or is_forgotten(KEYS[3], ARGV[1]) then return 'begun' end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
lasts_as(KEYS[1], KEYS[2])
return 'done'
