-- Says that a client was reset, to the instances that look by their next beat.
--
-- KEYS[1]  the clients that were reset, each with the moment, in microseconds of this server's clock
-- ARGV     the client

local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]
redis.call('ZADD', KEYS[1], string.format('%d', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%d', now - 60e6))
redis.call('EXPIRE', KEYS[1], 60)
