-- KEYS: the session, what it began, what it forgot. ARGV: the request, the relay, the entry that it accepted, the one of
-- what came of it.
local entry = redis.call('HGET', KEYS[2], ARGV[1])
if entry then
  -- It may run for a session that is another relay's by now; what another one accepted is that one's.
  if entry == ARGV[3] then redis.call('HSET', KEYS[2], ARGV[1], ARGV[4]) end
elseif redis.call('HGET', KEYS[1], 'owner') == ARGV[2] and not is_forgotten(KEYS[3], ARGV[1]) then
  -- It ended before it was accepted, so whoever still tries to accept it finds this.
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
  lasts_as(KEYS[1], KEYS[2])
end
return 'done'
