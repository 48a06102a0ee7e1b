-- Return the secret of a store, which is made once. Where it is, nothing is written: a full server would refuse that.
local held = redis.call('HGET', KEYS[1], 'secret')
if held or ARGV[2] == '' then
  return held
end
redis.call('HSET', KEYS[1], 'secret', ARGV[2])
return ARGV[2]
