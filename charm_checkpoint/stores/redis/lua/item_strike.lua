-- Take spaces out of their list, path, tag and token of each, unless they were entered anew since, under another one.
local list, tokens = unpack(KEYS)
for at = 2, #ARGV, 3 do
  local path, tag, token = unpack(ARGV, at, at + 2)
  if (redis.call('HGET', tokens, tag) or '') == token then
    redis.call('HDEL', tokens, tag)
    redis.call('ZREM', list, path)
  end
end
return 1
