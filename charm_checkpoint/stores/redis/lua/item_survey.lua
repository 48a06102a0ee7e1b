-- Count what a space holds: items, those of them that are expired, payload bytes.
local P, R, X = unpack(KEYS)
local count = redis.call('HLEN', R)
if count == 0 then
  return {0, 0, 0}
end
return {count, redis.call('ZCOUNT', X, '-inf', ARGV[2]), tonumber(redis.call('HGET', P, 'b')) or 0}
