-- KEYS: session, its entries, acknowledged ranges. ARGV: relay, first request, end of the range (exclusive), requests
-- in the range that have entries.
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 'lost' end
local first, last = ARGV[2], ARGV[3]
local before = range_before(KEYS[3], first)
if before and string.sub(before, 22) >= first then first = string.sub(before, 1, 20) end
for _, range in ipairs(redis.call('ZRANGEBYLEX', KEYS[3], '[' .. first, '[' .. last .. '~')) do
  if string.sub(range, 22) > last then last = string.sub(range, 22) end
  redis.call('ZREM', KEYS[3], range)
end
redis.call('ZADD', KEYS[3], 0, first .. '-' .. last)
for at = 4, #ARGV do redis.call('HDEL', KEYS[2], ARGV[at]) end
lasts_as(KEYS[1], KEYS[3])
return 'done'
