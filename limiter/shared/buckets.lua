-- Takes what an instance tells of buckets, one for each client, and grants as many of the tokens that
-- it asks for as they have.
--
-- KEYS     the buckets. Each is six numbers, as struct.pack('<dddddd') writes them: a moment, in
--          microseconds of this server's clock; the tokens that the bucket lacked then; its capacity;
--          its rate, in tokens per second; the tokens that a smaller capacity has forgiven, and how
--          often it was reset
-- ARGV     for each key: capacity; rate; tokens spent; tokens asked for; nanoseconds until the bucket is
--          full by what the instance knew before; resets that it knows of; and 'restore' to raise the
--          debt to that, 'reset' to fill the bucket first, or ''
-- Returns  for each key: nanoseconds until the bucket is full, tokens granted, resets
--
-- Package central does the same in Go, in the same order. A bucket that another program has broken
-- counts as absent.

local call, pack, unpack, floor, max, min = redis.call, struct.pack, struct.unpack, math.floor, math.max, math.min
local time = call('TIME')
local now = time[1] * 1e6 + time[2]
local answers = {}

for i = 1, #KEYS do
  local key, a = KEYS[i], 7 * i - 7
  local capacity, rate, asked = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), tonumber(ARGV[a + 4])
  local known, resets, what = ARGV[a + 5] * rate / 1e9, tonumber(ARGV[a + 6]), ARGV[a + 7]

  local debt, owed = known, 0
  local bucket = redis.pcall('GET', key)
  if type(bucket) == 'string' and #bucket == 48 then
    local at, size, speed, count
    at, debt, size, speed, owed, count = unpack('<dddddd', bucket)
    resets = max(resets, count)
    -- The refill. What the bucket cannot hold pays what is owed. A clock that went back refills nothing.
    if now > at then
      debt = debt - (now - at) * speed / 1e6
      if debt < 0 then
        owed = max(0, owed + debt)
        debt = 0
      end
    end
    -- Another capacity: what a smaller one forgives is owed, and a larger one pays what is owed first.
    if size ~= capacity then
      local forgives = max(size - capacity, -owed)
      if size > capacity then
        forgives = max(0, debt - capacity)
      end
      debt = debt - forgives
      owed = owed + forgives
    end
  end

  if what == 'restore' then
    debt = max(debt, known)
  elseif what == 'reset' then
    debt, owed, resets = 0, 0, resets + 1
  end

  debt = debt + ARGV[a + 3]
  local granted = max(0, min(asked, floor(capacity - debt)))
  debt = debt + granted

  -- A key expires when the bucket is full and nothing is owed: then an absent one says the same. Of a
  -- bucket that was reset, an instance which has not heard of it may know a debt for as long as any
  -- bucket needs to be full. No bucket needs more than 30 days; what is owed for longer than 60 is
  -- forgotten.
  local tokens = debt + owed
  if resets > 0 then
    tokens = max(tokens, capacity + owed)
  end
  call('SET', key, pack('<dddddd', now, debt, capacity, rate, owed, resets),
    'PX', min(floor(tokens * 1e3 / rate) + 1, 5184e6))

  local n = 3 * i
  answers[n - 2], answers[n - 1], answers[n] = floor(debt * 1e9 / rate), granted, resets
end
return answers
