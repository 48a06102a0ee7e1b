-- Mark the layout of what is stored with a version, unless it has a higher one.
local held = tonumber(redis.call('HGET', KEYS[1], 'version')) or 1
if held < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'version', ARGV[2])
end
return 1
