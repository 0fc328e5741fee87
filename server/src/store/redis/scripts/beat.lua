-- KEYS: the relay. ARGV: for how long it counts as there (ms).
if redis.call('PEXPIRE', KEYS[1], ARGV[1]) == 0 then
  local now = redis.call('TIME')
  redis.call('SET', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000), 'PX', ARGV[1])
end
return 'done'
