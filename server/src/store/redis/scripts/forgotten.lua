-- Prepended to other scripts. Request numbers have 20 digits, so that they sort as text; acknowledged requests are a
-- sorted set of `START-END`, END exclusive.
local function range_before(key, request)
  return redis.call('ZREVRANGEBYLEX', key, '[' .. request .. '~', '-', 'LIMIT', 0, 1)[1]
end
local function is_forgotten(key, request)
  local range = range_before(key, request)
  return range and request < string.sub(range, 22)
end
-- Keys of a session expire later than the session itself.
local function lasts_as(session, key)
  redis.call('PEXPIRE', key, math.max(redis.call('PTTL', session), 0) + 60000)
end
