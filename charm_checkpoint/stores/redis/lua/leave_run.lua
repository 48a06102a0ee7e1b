-- Forget that a run wrote to a thread, unless it did so again under another token.
if redis.call('HGET', KEYS[1], ARGV[3]) == ARGV[4] then
  return redis.call('HDEL', KEYS[1], ARGV[3])
end
return 0
