-- Takes what an instance tells of a client's bucket, and grants as many of the tokens that it asks
-- for as the bucket has.
--
-- KEYS[1]  the bucket, "AT DEBT CAPACITY RATE OWED RESETS": the tokens that it lacked at a moment, in
--          microseconds of this server's clock; its terms, with the rate in tokens per second; the
--          tokens that a smaller capacity has forgiven; how often it was reset
-- ARGV     capacity, rate, tokens spent, tokens asked for, nanoseconds until the bucket is full by
--          what the instance knew before, resets that it knows of; "restore" or "reset" or nothing
-- Returns  nanoseconds until the bucket is full, tokens granted, resets
--
-- Package central does the same in Go, in the same order.

local capacity, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
local known, resets = ARGV[5] * rate / 1e9, tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]

local debt, owed = known, 0
local at, lacked, size, speed, forgiven, count =
  string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
if at then
  debt, owed, size = tonumber(lacked), tonumber(forgiven), tonumber(size)
  resets = math.max(resets, count)
  -- The refill. What the bucket cannot hold pays what is owed. A clock that went back refills nothing.
  if now > at + 0 then
    debt = debt - (now - at) * speed / 1e6
    if debt < 0 then
      owed = math.max(0, owed + debt)
      debt = 0
    end
  end
  -- Another capacity: what a smaller one forgives is owed, and a larger one pays what is owed first.
  local forgives = math.max(size - capacity, -owed)
  if size > capacity then
    forgives = math.max(0, debt - capacity)
  end
  debt = debt - forgives
  owed = owed + forgives
end

if ARGV[7] == 'restore' then
  debt = math.max(debt, known)
elseif ARGV[7] == 'reset' then
  debt, owed, resets = 0, 0, resets + 1
end

debt = debt + ARGV[3]
local granted = math.max(0, math.min(ARGV[4], math.floor(capacity - debt)))
debt = debt + granted

-- The key expires when the bucket is full and nothing is owed: then an absent key says the same. Of a
-- bucket that was reset, an instance which has not heard of it may know a debt for as long as any
-- bucket needs to be full. No bucket needs more than 30 days, and what is owed for longer than 60 is
-- forgotten.
local tokens = debt + owed
if resets > 0 then
  tokens = math.max(tokens, capacity + owed)
end
redis.call('SET', KEYS[1],
  string.format('%d %.17g %d %.17g %.17g %d', now, debt, capacity, rate, owed, resets),
  'PX', math.min(math.floor(tokens * 1e3 / rate) + 1, 5184e6))
return {math.floor(debt * 1e9 / rate), granted, resets}
