-- Remove what is kept of an erased thread if its time is over.
if tonumber(redis.call('HGET', KEYS[1], 'u') or 0) > tonumber(ARGV[2]) then
  return 0
end
return redis.call('UNLINK', KEYS[1])
