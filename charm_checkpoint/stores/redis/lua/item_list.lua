-- Enter spaces into their list, path and tag of each, under a token. One that is to get its first item is entered
-- afresh, so that nobody who just saw it empty takes out its entry.
local list, tokens = unpack(KEYS)
local token, fresh = ARGV[2], ARGV[3]
for at = 4, #ARGV, 2 do
  local path, tag = ARGV[at], ARGV[at + 1]
  redis.call('ZADD', list, 0, path)
  if fresh == '1' then
    redis.call('HSET', tokens, tag, token)
  else
    redis.call('HSETNX', tokens, tag, token)
  end
end
return 1
