-- Put before other scripts. Numbers of requests are written with 20 digits, so that they sort as text; what was forgotten is
-- a sorted set of `START-END`, where END is not part of it.
local function range_before(key, request)
  return redis.call('ZREVRANGEBYLEX', key, '[' .. request .. '~', '-', 'LIMIT', 0, 1)[1]
end
local function is_forgotten(key, request)
  local range = range_before(key, request)
  return range and request < string.sub(range, 22)
end
-- What belongs to a session is there for longer than the session itself.
local function lasts_as(session, key)
  redis.call('PEXPIRE', key, math.max(redis.call('PTTL', session), 0) + 60000)
end
