-- KEYS: the relay. ARGV: expiry of its heartbeat (ms). Returns the time (ms).
local now = redis.call('TIME')
local milliseconds = now[1] * 1000 + math.floor(now[2] / 1000)
if redis.call('PEXPIRE', KEYS[1], ARGV[1]) == 0 then
  redis.call('SET', KEYS[1], milliseconds, 'PX', ARGV[1])
end
return milliseconds
