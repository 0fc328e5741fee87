-- Takes a lock, or enters its queue.
-- KEYS: lock, queue, time of each waiting taker's last poll, tombstone of this taker, names of its owner's locks.
-- ARGV: taker, prefix of the takers of the same run, lease (ms), time limit of a queue entry without a poll (ms),
-- maximum queue length, maximum locks per owner, name of the lock.
-- Returns the outcome, and the number of takers ahead.
local taker = ARGV[1]
-- The taker has released or withdrawn: this is a delayed duplicate of an earlier request.
if redis.call('EXISTS', KEYS[4]) == 1 then return {'over', 0} end
local held = redis.call('GET', KEYS[1])
if held == taker then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'held', 0}
end
if held and string.sub(held, 1, #ARGV[2]) == ARGV[2] then return {'deadlock', 0} end
if redis.call('SCARD', KEYS[5]) >= tonumber(ARGV[6]) then return {'many', 0} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Removes takers ahead that have stopped polling.
while true do
  local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not first or first == taker then break end
  local seen = redis.call('HGET', KEYS[3], first)
  if seen and now - seen < tonumber(ARGV[4]) then break end
  redis.call('ZREM', KEYS[2], first)
  redis.call('HDEL', KEYS[3], first)
end
local before = redis.call('ZRANK', KEYS[2], taker)
if not before then
  before = redis.call('ZCARD', KEYS[2])
  if before >= tonumber(ARGV[5]) then
    -- Removes takers further behind that have stopped polling.
    local all = redis.call('HGETALL', KEYS[3])
    for at = 1, #all, 2 do
      if now - all[at + 1] >= tonumber(ARGV[4]) then
        redis.call('ZREM', KEYS[2], all[at])
        redis.call('HDEL', KEYS[3], all[at])
      end
    end
    before = redis.call('ZCARD', KEYS[2])
  end
  if before >= tonumber(ARGV[5]) then return {'full', 0} end
end
if not held and before == 0 then
  redis.call('ZREM', KEYS[2], taker)
  redis.call('HDEL', KEYS[3], taker)
  redis.call('SET', KEYS[1], taker, 'PX', ARGV[3])
  redis.call('SADD', KEYS[5], ARGV[7])
  redis.call('PEXPIRE', KEYS[5], ARGV[3] + 60000)
  return {'held', 0}
end
if not redis.call('ZSCORE', KEYS[2], taker) then
  local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
  redis.call('ZADD', KEYS[2], (last or 0) + 1, taker)
end
redis.call('HSET', KEYS[3], taker, now)
redis.call('PEXPIRE', KEYS[2], ARGV[4] + 60000)
redis.call('PEXPIRE', KEYS[3], ARGV[4] + 60000)
return {'waits', before}
