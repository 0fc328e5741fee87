-- Renews the leases of the locks that an owner's runs hold.
-- KEYS: names of the owner's locks. ARGV: prefix of its takers, prefix of lock keys, lease (ms).
-- Returns names and takers alternately.
local held = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local key = ARGV[2] .. name
  local taker = redis.call('GET', key)
  if taker and string.sub(taker, 1, #ARGV[1]) == ARGV[1] then
    redis.call('PEXPIRE', key, ARGV[3])
    held[#held + 1] = name
    held[#held + 1] = taker
  else
    redis.call('SREM', KEYS[1], name)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3] + 60000)
return held
