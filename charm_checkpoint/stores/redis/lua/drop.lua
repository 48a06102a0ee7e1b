-- Remove chunks of a thread that did not change since it was found that nothing reaches them; return its seq.
local expect, addresses = ARGV[3], ARGV[4]

local _, _, seq, bytes = counters(H)
if tonumber(expect) ~= seq then
  return seq
end
each_address(addresses, function(address)
  local packed = call('HGET', K, address)
  if packed then
    bytes = bytes - data_size(packed)
    call('HDEL', K, address)
  end
end)
call('HSET', H, 'b', bytes)
return seq
