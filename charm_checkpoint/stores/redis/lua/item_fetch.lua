-- Return items by their keys, row and value of each, packed, as many as a reply holds. KEYS[2] may be vectors instead.
-- item_packed.lua comes first.
local R, A = unpack(KEYS)
local limit = tonumber(ARGV[2])
local call = redis.call

local found, bytes = {}, 0
for at = 3, #ARGV do
  local row = call('HGET', R, ARGV[at])
  local value = row and call('HGET', A, ARGV[at])
  found[#found + 1], found[#found + 2] = row, value
  bytes = bytes + #(value or '')
  if bytes >= limit then
    break
  end
end
return {packed(found)}
