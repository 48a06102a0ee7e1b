-- Remove items that are expired, as many as asked for; return how many, and as item_change does whether the last went.
local now, token, size = unpack(ARGV, 2, 4)

local before = done_before(token)
if before then
  return {tonumber(before), ''}
end
local doomed = call('ZRANGEBYSCORE', X, '-inf', now, 'LIMIT', 0, size)
if #doomed == 0 then
  return {0, ''}
end
for _, key in ipairs(doomed) do
  next_stamp(tonumber(now))
  drop(key)
end
local emptied = keep('')
remember(token, #doomed)
return {#doomed, emptied}
