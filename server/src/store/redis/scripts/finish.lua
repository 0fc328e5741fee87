-- KEYS: session, its entries, acknowledged ranges. ARGV: request, relay, entry under which the call was accepted, entry
-- with its outcome.
local entry = redis.call('HGET', KEYS[2], ARGV[1])
if entry then
  -- Another relay may own the session by now; an entry of another claim is left unchanged.
  if entry == ARGV[3] then redis.call('HSET', KEYS[2], ARGV[1], ARGV[4]) end
elseif redis.call('HGET', KEYS[1], 'owner') == ARGV[2] and not is_forgotten(KEYS[3], ARGV[1]) then
  -- The call ended before it was accepted: a pending attempt to accept it finds this entry.
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
  lasts_as(KEYS[1], KEYS[2])
end
return 'done'
