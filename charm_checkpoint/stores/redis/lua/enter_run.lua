-- Note that a run writes to a thread.
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
if ARGV[2] ~= '' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif redis.call('PTTL', KEYS[1]) > 0 then
  redis.call('PERSIST', KEYS[1])
end
return 1
