-- Enter a thread into the list of threads: its tag of 22 bytes, the time as 8 hex digits, and a token.
-- A thread that starts anew replaces its entry, so that nobody who just saw it gone removes it. Where threads
-- expire, so does the list, and each entry looks whether its neighbours are long out of date (`cutoff`). The entry of
-- a pinned thread has the last time there is, and stays; so does the list.
local list, ttl = KEYS[1], ARGV[2]
local tag, token, fresh, cutoff = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local call = redis.call

local held = call('ZRANGEBYLEX', list, '[' .. tag, '(' .. tag .. '\255')
if fresh ~= '1' and #held == 1 and held[1]:sub(23, 30) == 'ffffffff' then
  return 1
end
local life = call('PTTL', list)
if #held == 0 or fresh == '1' or ttl ~= '' then
  call('ZADD', list, 0, tag .. token)
  for _, entry in ipairs(held) do
    if entry ~= tag .. token then
      call('ZREM', list, entry)
    end
  end
end
if ttl == '' then
  return call('PERSIST', list)
end
for _, entry in ipairs(call('ZRANGEBYLEX', list, '(' .. tag .. '\255', '+', 'LIMIT', 0, 4)) do
  if tonumber(entry:sub(23, 30), 16) < cutoff then
    call('ZREM', list, entry)
  end
end
-- A list that lives for ever has threads that do: it stays.
if life ~= -1 and life < tonumber(ttl) then
  call('PEXPIRE', list, ttl)
end
return 1
