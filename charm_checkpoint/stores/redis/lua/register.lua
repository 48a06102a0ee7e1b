-- Give a thread an entry in the list of threads: its tag of 22 bytes, the time as 8 hex digits, and a token. It is a new
-- one each time, so that nobody who just saw the thread gone takes it out. Where threads expire, so does the list, and
-- each entry looks whether its neighbours are long out of date (`age`, in seconds). The entry of a pinned thread has the
-- last time there is; `pin` is '1' for such a one, '' for one as the thread has. It stays, and so does the list.
local list, ttl = KEYS[1], ARGV[2]
local tag, token, pin, age, clock = unpack(ARGV, 3, 7)
local call, PINNED = redis.call, 'ffffffff'

-- The server's, since clocks of clients may be off by days; of who may not ask for that, his own.
local second = tonumber(redis.pcall('TIME')[1] or clock)
local held = call('ZRANGEBYLEX', list, '[' .. tag, '(' .. tag .. '\255')
for _, entry in ipairs(pin == '' and held or {}) do
  if entry:sub(23, 30) == PINNED then
    pin = '1'
  end
end
local fresh = tag .. (pin == '1' and PINNED or string.format('%08x', second)) .. token
if pin == '1' then
  ttl = ''
end
local life = call('PTTL', list)
call('ZADD', list, 0, fresh)
for _, entry in ipairs(held) do
  if entry ~= fresh then
    call('ZREM', list, entry)
  end
end
if ttl == '' then
  call('PERSIST', list)
  return 1
end
for _, entry in ipairs(call('ZRANGEBYLEX', list, '(' .. tag .. '\255', '+', 'LIMIT', 0, 4)) do
  if tonumber(entry:sub(23, 30), 16) < second - age then
    call('ZREM', list, entry)
  end
end
-- A list that lives for ever has threads that do: it stays.
if life ~= -1 and life < tonumber(ttl) then
  call('PEXPIRE', list, ttl)
end
return 1
