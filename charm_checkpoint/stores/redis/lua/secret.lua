-- Return the secret of a store, which is made once.
if ARGV[2] ~= '' then
  redis.call('HSETNX', KEYS[1], 'secret', ARGV[2])
end
return redis.call('HGET', KEYS[1], 'secret')
