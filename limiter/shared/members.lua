-- Takes the beat of an instance, which tells that it lives.
--
-- KEYS[1]  the instances, each with the moment of its last beat, in microseconds of this server's clock
-- KEYS[2]  the epoch, a text that stays until data is lost
-- KEYS[3]  the clients that were reset, each with the moment
-- ARGV     the instance, the epoch to set if there is none, the moment of the last beat that it knows of
-- Returns  how many instances live, the epoch, the server's process, the moment of this beat and of the
--          one before it, or '', and the clients that were reset since the beat that the instance knows of
--
-- An instance without a beat for 3 seconds counts as one that does not live. Its moment stays for an
-- hour: an instance that comes back and finds an older one than its own knows that data was lost.

local time = redis.call('TIME')
local now = string.format('%d', time[1] * 1e6 + time[2])
local before = redis.call('ZSCORE', KEYS[1], ARGV[1]) or ''
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%d', now - 3600e6))
redis.call('SET', KEYS[2], ARGV[2], 'NX')

local info = redis.pcall('INFO', 'server') -- the user may lack the right
local process = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
return {
  redis.call('ZCOUNT', KEYS[1], string.format('%d', now - 3e6), '+inf'),
  redis.call('GET', KEYS[2]), process, now, before,
  redis.call('ZRANGEBYSCORE', KEYS[3], ARGV[3], '+inf', 'LIMIT', 0, 1000),
}
